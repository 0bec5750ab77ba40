"""Where a text occurs: in prompts, answers, parameters, results, logs and errors.

Three characters of it in a row, and the next three, and so on, are looked up in the index; each text in which all of
them stand is then looked at itself. So any piece of a text is found, in any script, whatever stands around it. What the
index does not know yet SQLite looks through, the latest first; and everything, for a text of fewer than three
characters, or without FTS5.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from agentops_local.analytics import filters
from agentops_local.analytics.filters import Filter
from agentops_local.analytics.index import words
from agentops_local.analytics.project import indexed
from agentops_local.analytics.reading import iso
from agentops_local.errors import WrongUse

_SHORTEST = 3  # characters that the index knows
_AROUND = 60  # characters shown before and after
_MOST_NODES = 2_000  # messages below one that are looked at for the calls in which it occurs
_PATIENCE = 20.0  # seconds

MESSAGES = "SELECT rowid FROM idx.message_words WHERE message_words MATCH :match ORDER BY rowid DESC"
EVENTS = "SELECT rowid FROM idx.event_words WHERE event_words MATCH :match ORDER BY rowid DESC"
LATER_MESSAGES = r"""
SELECT t.id FROM message_texts t WHERE t.id > :after AND t.text LIKE :like ESCAPE '\' ORDER BY t.id DESC
"""
LATER_EVENTS = rf"""
SELECT p.seq FROM payloads p
WHERE p.seq > :after AND ({" OR ".join(f"p.{field} LIKE :like ESCAPE '{chr(92)}'" for field in words.FIELDS)})
ORDER BY p.seq DESC
"""  # noqa: S608 - our own text
EVENT = """
SELECT p.seq, p.id, p.session, p.session_id, p.kind, coalesce(CASE p.kind WHEN 'llms' THEN p.model ELSE p.name END, '')
       AS title, p.agent_name, p.model, p.owner, p.init_us, p.prompt, p.completion,
       p.name, p.code, p.params, p.returns, p.logs, p.details
FROM payloads p WHERE p.seq = ?
"""
MESSAGE = "SELECT text FROM message_texts WHERE id = ?"
# The messages that follow one, itself included, by the index or by their number (see schema.sql).
CALLS = f"""
WITH RECURSIVE below (id) AS (
    SELECT :message
    UNION ALL SELECT m.id FROM below JOIN messages m ON m.parent = below.id AND m.hash IS NOT NULL
    UNION ALL SELECT m.id FROM below JOIN messages m ON m.id = below.id + 1 AND m.parent = below.id AND m.hash IS NULL
    LIMIT {_MOST_NODES})
SELECT c.seq, e.session
FROM below JOIN idx.calls c ON c.message = below.id JOIN events e ON e.seq = c.seq ORDER BY c.seq
"""  # noqa: S608 - our own text
_PLACE = "SELECT seq FROM idx.places WHERE message = ?"
_HOST = "SELECT host FROM owners WHERE seq = ?"


@dataclass(frozen=True)
class Hit:
    """A text that holds what was searched.

    Attributes:
        session_id, event_id: where it came up first, of what was asked for.
        kind, name: of that event.
        field: where in it: "prompt", "completion", "params", "returns", "logs", "details", "name", "code".
        role: of a message; None otherwise.
        before, match, after: what stands there.
        sessions: in how many sessions that very message occurs, as far as was looked; 1 for what is no message.
    """

    session_id: str
    event_id: str
    kind: str
    name: str
    field: str
    role: str | None
    at_us: int
    before: str
    match: str
    after: str
    sessions: int

    def to_json(self) -> dict[str, object]:
        """Everything, with the time in ISO 8601."""
        return {
            "session_id": self.session_id, "event_id": self.event_id, "kind": self.kind, "name": self.name or None,
            "field": self.field, "role": self.role, "timestamp": iso(self.at_us), "sessions": self.sessions,
            "before": self.before, "match": self.match, "after": self.after,
        }  # fmt: skip


class Hits(list[Hit]):
    """What was found.

    Attributes:
        is_cut: whether there was no time to look through everything.
    """

    is_cut: bool = False


def search(
    text: str, limit: int = 20, *, kind: str | None = None, where: Filter | None = None, db: Path | str | None = None
) -> Hits:
    """Where a text occurs, the latest first; upper and lower case are alike. Each message is told once, however many
    calls repeat it.

    Args:
        text: any piece of a text.
        limit: how many places at most.
        kind: only in events of this kind: "llms", "tools", "actions", "apis", "errors".
        where: in which events (see `filters.parse`).
        db: the database; None for that of the project around the working directory.

    Raises:
        WrongUse: the text is empty.
        DatabaseUnusable: there is no database.
    """
    if not text.strip():
        raise WrongUse("say what to search for: the text is empty")
    more = (words.catch_up,) if len(text) >= _SHORTEST else ()
    with indexed(db, *more) as connection:
        return _Search(connection, text, limit, kind, where or Filter()).run()


class _Search:
    def __init__(
        self, connection: sqlite3.Connection, text: str, limit: int, kind: str | None, where: Filter
    ) -> None:  # fmt: skip
        self._connection = connection
        self._text = text
        self._folded = text.casefold()
        self._limit = limit
        self._kind = kind
        self._where = where
        self._is_cut = False
        self._events_known, self._messages_known = words.known(connection) if len(text) >= _SHORTEST else (0, 0)
        self._deadline = time.monotonic() + _PATIENCE
        picked = filters.sessions(connection, where.of_sessions)
        self._sessions = set(picked) if where.picks_sessions else None

    def run(self) -> Hits:
        messages = self._messages() if self._kind in (None, "llms") else iter(())
        found = [*self._first(messages), *self._first(self._events())]
        hits = Hits(sorted(found, key=lambda hit: (-hit.at_us, hit.event_id))[: self._limit])
        hits.is_cut = self._is_cut
        return hits

    def _first(self, hits: Iterator[Hit]) -> Iterator[Hit]:
        for number, hit in enumerate(hits, 1):
            yield hit
            if number == self._limit:
                return

    def _numbers(self, later: str, known: str, after: int) -> Iterator[int]:
        values = {"after": after, "like": _like(self._text), "match": _match(self._text)}
        for sql in (later, known) if after else (later,):
            for row in self._connection.execute(sql, values):
                if time.monotonic() > self._deadline:
                    self._is_cut = True
                    return
                yield int(row[0])

    def _messages(self) -> Iterator[Hit]:
        for message in self._numbers(LATER_MESSAGES, MESSAGES, self._messages_known):
            row = self._connection.execute(MESSAGE, (message,)).fetchone()
            piece = None if row is None else self._find(_spoken(row["text"])) or self._find(_words(row["text"]))
            if piece is not None:
                hit = self._message(message, row["text"], piece)
                if hit is not None:
                    yield hit

    def _message(self, message: int, text: str, piece: tuple[str, str, str]) -> Hit | None:
        first = self._connection.execute(_PLACE, (message,)).fetchone()
        calls = self._connection.execute(CALLS, {"message": message}).fetchall()
        for seq in sorted({*(row["seq"] for row in calls), *(() if first is None else (first["seq"],))}):
            event = self._connection.execute(EVENT, (seq,)).fetchone()
            if event is not None and self._is_meant(event):
                sessions = {row["session"] for row in calls} | {event["session"]}
                field = "completion" if event["completion"] == message else "prompt"
                return _hit(event, field, _role(text), piece, len(sessions))
        return None

    def _events(self) -> Iterator[Hit]:
        for seq in self._numbers(LATER_EVENTS, EVENTS, self._events_known):
            event = self._connection.execute(EVENT, (seq,)).fetchone()
            if event is None or not self._is_meant(event):
                continue
            for field in words.FIELDS:
                said = [event[field]] if field in ("name", "code") else words.words(event[field])
                piece = self._find("\n".join(part for part in said if part))
                if piece is not None:
                    yield _hit(event, field, None, piece, 1)
                    break

    def _find(self, text: str) -> tuple[str, str, str] | None:
        """What stands before, at and after the first place of the text."""
        at = text.lower().find(self._text.lower())
        length = len(self._text)
        if at < 0 or len(text.lower()) != len(text):  # a letter that grows when it is folded: by hand, then
            at = next((place for place in range(len(text)) if _begins(text, place, self._folded)), -1)
            if at < 0:
                return None
        begin, end = max(0, at - _AROUND), at + length + _AROUND
        before = ("…" if begin else "") + text[begin:at]
        return before, text[at : at + length], text[at + length : end] + ("…" if end < len(text) else "")

    def _is_meant(self, event: sqlite3.Row) -> bool:
        where = self._where
        return (
            self._kind in (None, event["kind"])
            and (self._sessions is None or event["session"] in self._sessions)
            and (where.since_us is None or event["init_us"] >= where.since_us)
            and (where.until_us is None or event["init_us"] < where.until_us)
            and where.agent in (None, event["agent_name"])
            and where.model in (None, event["model"])
            and (where.host is None or self._connection.execute(_HOST, (event["owner"],)).fetchone()[0] == where.host)
        )


def _words(text: str) -> str:
    return "\n".join(words.words(text))


def _spoken(text: str) -> str:
    """What a message says, without the names of its parts; "" where it says nothing in plain words."""
    try:
        value = json.loads(text)
    except ValueError:
        return ""
    content = value.get("content") if isinstance(value, dict) else value
    return content if isinstance(content, str) else ""


def _match(text: str) -> str:
    """What is asked of the index: every three characters in a row."""
    threes = dict.fromkeys(text[at : at + 3] for at in range(len(text) - 2))
    return " AND ".join('"' + three.replace('"', '""') + '"' for three in threes)


def _like(text: str) -> str:
    """A pattern for what stands in JSON. Where SQLite does not know upper and lower case, any character will do: what
    is found is looked at again."""
    pattern = ""
    for letter in json.dumps(text, ensure_ascii=False)[1:-1]:
        if ord(letter) > 127 and letter.lower() != letter.upper():
            pattern += "_"
        else:
            pattern += f"\\{letter}" if letter in "%_\\" else letter
    return f"%{pattern}%"


def _begins(text: str, place: int, folded: str) -> bool:
    return text[place : place + len(folded)].casefold().startswith(folded)


def _role(text: str) -> str | None:
    try:
        value = json.loads(text)
    except ValueError:
        return None
    role = value.get("role") if isinstance(value, dict) else None
    return role if isinstance(role, str) else None


def _hit(event: sqlite3.Row, field: str, role: str | None, piece: tuple[str, str, str], sessions: int) -> Hit:
    return Hit(
        event["session_id"], event["id"], event["kind"], event["title"], field, role, event["init_us"], *piece, sessions
    )  # fmt: skip
