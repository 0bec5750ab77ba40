"""Scores and notes as they stand in the database: what may be one, how it gets there, what was given.

Of one name an author says one thing of a session or of an event: what he says later takes its place, wherever he says
it, so that databases that are merged agree in the end. Notes are kept side by side.
"""

from __future__ import annotations

import json
import math
import re
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple
from uuid import UUID

from agentops_local.analytics.reading import iso
from agentops_local.errors import WrongUse, shown

NOTE = "note"  # the name of those that only say something
THUMBS = {"up": 1.0, "down": 0.0}
MOST_TEXT = 1 << 16  # characters
_MOST_NAME = 100
_RESERVED = frozenset("<>=!")  # they compare, where scores pick sessions
_COMPARES = ("any", "=", "!=", ">", ">=", "<", "<=")
_ASKED = re.compile(r"([^<>=!]+)(?:(>=|<=|!=|=|>|<)(.*))?", re.DOTALL)

_OLDER = """
SELECT id, at_us FROM scores WHERE session = :session AND name = :name AND event IS :event AND author IS :author
"""
_SAME_NOTE = f"{_OLDER} AND at_us = :at_us AND text IS :text"
_NEW = """
INSERT INTO scores (session, event, name, kind, number, text, author, at_us)
VALUES (:session, :event, :name, :kind, :number, :text, :author, :at_us)
"""
_LATER = "UPDATE scores SET kind = :kind, number = :number, text = :text, at_us = :at_us WHERE id = :id"
OF_SESSION = """
SELECT id, event, name, kind, number, text, author, at_us FROM scores WHERE session = ? ORDER BY id
"""
AVERAGES = """
SELECT name, avg(number) AS average FROM scores WHERE session = ? AND number IS NOT NULL GROUP BY name ORDER BY name
"""
_SUMS = """
SELECT name, count(*) AS scores, count(DISTINCT session) AS sessions, avg(number) AS average, min(number) AS lowest,
       max(number) AS highest
FROM scores WHERE {} GROUP BY name ORDER BY name
"""
# Which sessions fit is asked of `s`; of each name that is asked for one score of the session or of its events will do.
PICKED = """
  AND NOT EXISTS (SELECT 1 FROM json_each(:scores) asked WHERE NOT EXISTS (
      SELECT 1 FROM scores x WHERE x.session = s.seq AND x.name = json_extract(asked.value, '$.name')
      AND CASE json_extract(asked.value, '$.compares')
          WHEN 'any' THEN 1
          WHEN '>' THEN x.number > json_extract(asked.value, '$.number')
          WHEN '>=' THEN x.number >= json_extract(asked.value, '$.number')
          WHEN '<' THEN x.number < json_extract(asked.value, '$.number')
          WHEN '<=' THEN x.number <= json_extract(asked.value, '$.number')
          ELSE (json_extract(asked.value, '$.compares') = '=') = coalesce(CASE x.kind
              WHEN 'text' THEN x.text = json_extract(asked.value, '$.text')
              WHEN 'thumb' THEN x.number = json_extract(asked.value, '$.thumb')
              ELSE x.number = json_extract(asked.value, '$.number') END, 0)
          END))
"""


class Said(NamedTuple):
    """A score as it is told, without the numbers that rows have.

    Attributes:
        event: the UUID of an event; None: the session itself.
        kind: 'thumb', 'number' or 'text'.
        number: of a thumb (1 up, 0 down) and a number. text: of a text; else a remark.
    """

    event: bytes | None
    name: str
    kind: str
    number: float | None
    text: str | None
    author: str | None
    at_us: int


@dataclass(frozen=True)
class Score:
    """A score or a note that was given.

    Attributes:
        number: its row.
        event_id: None: it is about the session itself.
        kind: 'thumb', 'number' or 'text'.
        value: 1.0 or 0.0 for a thumb up or down; a number; a text.
        remark: what was said beside a thumb or a number.
    """

    number: int
    event_id: str | None
    name: str
    kind: str
    value: float | str
    remark: str | None
    author: str | None
    at_us: int

    def to_json(self) -> dict[str, object]:
        """Everything, with its time in ISO 8601."""
        return {
            "name": self.name, "kind": self.kind, "value": self.value, "remark": self.remark,
            "event_id": self.event_id, "author": self.author, "timestamp": iso(self.at_us),
        }  # fmt: skip


@dataclass(frozen=True)
class Picked:
    """What is asked of the scores of a session: `helpful>=0.5`, `thumb=up`, `verdict!=good`, or that there is any.

    Attributes:
        compares: one of =, !=, >, >=, <, <=; "any" for any value.
        text: with what, as it was written.
    """

    name: str
    compares: str = "any"
    text: str = ""

    def __str__(self) -> str:
        return self.name if self.compares == "any" else f"{self.name}{self.compares}{self.text}"

    def to_json(self) -> dict[str, object]:
        """For SQL. Of a thumb 1 and 0 mean up and down."""
        number = as_number(self.text)
        return {
            "name": self.name, "compares": self.compares, "text": self.text, "number": number,
            "thumb": THUMBS.get(self.text.lower(), number),
        }  # fmt: skip


def picked(text: str) -> Picked:
    """What is asked of scores, as people write it.

    Raises:
        WrongUse: it cannot be understood.
    """
    found = _ASKED.fullmatch(text.strip())
    if found is None or not found[1].strip():
        raise WrongUse(f'score must be a name, alone or compared as in "helpful>=0.5", "thumb=up", not {shown(text)}')
    value = (found[3] or "").strip()
    if found[2] in ("<", "<=", ">", ">=") and as_number(value) is None:
        raise WrongUse(f"score {shown(text)} must be compared with a number")
    return Picked(found[1].strip(), found[2] or "any", value)


def as_number(text: str) -> float | None:
    """The number that a text is; None if it is none."""
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def as_value(text: str) -> float | str:
    """A value as people write it: a number where it is one, else a text; of these "up" and "down" are thumbs."""
    number = as_number(text)
    return text if number is None else number


def said(
    name: str, value: bool | float | str, event: bytes | None, remark: str | None, author: str | None, at_us: int
) -> Said:
    """A score that may be stored.

    Raises:
        WrongUse: it may not.
    """
    name = clean(name).strip()
    if not name or len(name) > _MOST_NAME or not name.isprintable() or _RESERVED & set(name):
        raise WrongUse(
            f"the name of a score must be 1 to {_MOST_NAME} characters that can be seen, without < > = !, "
            f"not {shown(name)}"
        )
    remark = _text(remark, "remark") if remark and remark.strip() else None
    author = _text(author, "author") if author and author.strip() else None
    kind, number, text = _valued(value)
    if text is None:
        text = remark
    elif remark is not None:
        raise WrongUse("a text says itself what is to be said: give no remark with it")
    if name == NOTE and kind != "text":
        raise WrongUse(f"a note is a text, not {value!r}: give the score another name")
    return Said(event, name, kind, number, text, author, at_us)


def give(connection: sqlite3.Connection, session: int, one: Said) -> Score:
    """Stores what an author says now; in a transaction.

    Args:
        session: its row.
    """
    row = {"session": session, **one._asdict()}
    older = None if one.name == NOTE else connection.execute(_OLDER, row).fetchone()
    if older is None:
        number = int(connection.execute(_NEW, row).lastrowid or 0)
    else:  # a clock that was set back must not keep him from changing his mind
        number, row["at_us"] = older[0], max(one.at_us, older[1] + 1)
        connection.execute(_LATER, {**row, "id": number})
    return _score({**row, "id": number})


def bring(connection: sqlite3.Connection, session: int, one: Said) -> bool:
    """Stores what was said elsewhere, unless it is there, or its author has said otherwise since; in a transaction.
    Whether it was stored."""
    row = {"session": session, **one._asdict()}
    older = connection.execute(_SAME_NOTE if one.name == NOTE else _OLDER, row).fetchone()
    if older is None:
        connection.execute(_NEW, row)
    elif is_later(one, older[1]):
        connection.execute(_LATER, {**row, "id": older[0]})
    else:
        return False
    return True


def is_news(connection: sqlite3.Connection, session: int | None, one: Said) -> bool:
    """Whether `bring` would store it.

    Args:
        session: its row; None: it is not there.
    """
    row = {"session": session, **one._asdict()}
    older = connection.execute(_SAME_NOTE if one.name == NOTE else _OLDER, row).fetchone()
    return older is None or is_later(one, older[1])


def is_later(one: Said, at_us: int) -> bool:
    """Whether it takes the place of what was said at some time."""
    return one.name != NOTE and one.at_us > at_us


def of_session(connection: sqlite3.Connection, session: int) -> list[Score]:
    """What was said of a session and its events, in the order in which it was first said."""
    return [_score(row) for row in _asked(connection, OF_SESSION, session)]


def averages(connection: sqlite3.Connection, session: int) -> dict[str, float]:
    """The average of each name, over thumbs (1 and 0) and numbers of a session and its events."""
    return {row["name"]: row["average"] for row in _asked(connection, AVERAGES, session)}


def sums(connection: sqlite3.Connection, sessions: Sequence[int] | None = None) -> list[dict[str, object]]:
    """What was said by name: how many scores in how many sessions; average, lowest and highest of those with a number.

    Args:
        sessions: only of these, by row; None: all.
    """
    if sessions is None:
        rows = _asked(connection, _SUMS.format("session IN (SELECT seq FROM sessions WHERE id <> '')"))
    else:
        chosen = json.dumps(list(sessions))
        rows = _asked(connection, _SUMS.format("session IN (SELECT value FROM json_each(?))"), chosen)
    return [dict(row) for row in rows]


def _asked(connection: sqlite3.Connection, sql: str, *values: object) -> list[sqlite3.Row]:
    """The rows of a query. Where a damaged schema has lost the table there are none: sessions are listed all the
    same."""
    try:
        return connection.execute(sql, values).fetchall()
    except sqlite3.OperationalError as error:
        if "no such table: scores" not in str(error):
            raise
        return []


def told(connection: sqlite3.Connection, session: int) -> list[Said]:
    """What was said of a session and its events, as it may be told to another database."""
    rows = _asked(connection, OF_SESSION, session)
    return [Said(*tuple(row)[1:]) for row in rows]


def _score(row: sqlite3.Row | dict[str, Any]) -> Score:
    is_text = row["kind"] == "text"
    event = row["event"]
    return Score(
        row["id"], None if event is None else str(UUID(bytes=event)), row["name"], row["kind"],
        (row["text"] or "") if is_text else float(row["number"] or 0.0), None if is_text else row["text"],
        row["author"], row["at_us"],
    )  # fmt: skip


def _valued(value: bool | float | str) -> tuple[str, float | None, str | None]:
    """Kind, number and text of a value."""
    if isinstance(value, bool):
        return "thumb", float(value), None
    if isinstance(value, (int, float)):
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        if not math.isfinite(number):
            raise WrongUse(f"the value of a score must be a finite number, not {shown(value)}")
        return "number", number, None
    if not isinstance(value, str):
        raise WrongUse(f"the value of a score must be True or False, a number or a text, not {shown(value)}")
    thumb = THUMBS.get(value.strip().lower())
    if thumb is not None:
        return "thumb", thumb, None
    return "text", None, _text(value, "value of a score")


def _text(value: str, what: str) -> str:
    text = clean(value).strip()
    if not text or len(text) > MOST_TEXT:
        raise WrongUse(f"the {what} must be a text of 1 to {MOST_TEXT:,} characters; this one has {len(text):,}")
    return text


def clean(text: str) -> str:
    """Text that a database can hold and give back."""
    return text.encode("utf-8", "replace").decode().replace("\0", "\N{REPLACEMENT CHARACTER}")
