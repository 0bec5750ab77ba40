"""The calls of a replay, in a file of its own that all processes of the program share.

Each question opens it anew and asks in one transaction: so every call is answered once, whichever thread or process
asks, nothing is left open that a fork could break, and what the program died of stands here for the command to tell.
"""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agentops_local.replay.answer import Answer, Said
from agentops_local.replay.conversation import Item, key, masked
from agentops_local.replay.settings import differences

if TYPE_CHECKING:
    from agentops_local.replay.recording import Call

VARIABLE = "AGENTOPS_LOCAL_REPLAY"  # the file, for the program and all that it starts

_SCHEMA = """
CREATE TABLE calls (
    number       INTEGER PRIMARY KEY,
    event        TEXT NOT NULL,
    key          TEXT NOT NULL,        -- of the conversation
    conversation TEXT NOT NULL,        -- JSON
    settings     TEXT NOT NULL,        -- JSON
    answer       TEXT NOT NULL,        -- JSON
    answers      INTEGER NOT NULL,     -- how often it may still be given
    is_asked     INTEGER NOT NULL DEFAULT 0,
    is_ours      INTEGER NOT NULL      -- 1: the answer was put in its place
);
CREATE INDEX calls_by_key ON calls (key, number);
CREATE TABLE orders (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE remarks (text TEXT PRIMARY KEY);
CREATE TABLE passed (id INTEGER PRIMARY KEY); -- calls that went to the provider
CREATE TABLE ends (id INTEGER PRIMARY KEY, report TEXT NOT NULL);
"""
_FREE = "SELECT number, settings, answer FROM calls WHERE key = ? AND answers > 0 AND number < ? ORDER BY number"
_LEFT = """
SELECT number, event FROM calls
WHERE NOT is_asked AND number < coalesce((SELECT json_extract(value, '$') FROM orders WHERE name = 'start'), number + 1)
ORDER BY number
"""
_NEAREST = 30  # calls that are looked at for one that is like what was asked
_PATIENCE = 30.0  # seconds for another process to be done


@dataclass(frozen=True)
class Orders:
    """How it is to be replayed.

    Attributes:
        origin: the session whose calls are given again.
        start: the number of the first call that goes to the provider; None: none does.
        is_live: whether a call that fits none goes to the provider.
        is_strict: whether model, tools and settings must be equal as well.
        is_offline: whether every other request is refused.
        tags: of sessions that are begun meanwhile.
        ignored: patterns of what may differ within messages.
    """

    origin: str
    start: int | None = None
    is_live: bool = False
    is_strict: bool = False
    is_offline: bool = False
    tags: Sequence[str] = ()
    ignored: Sequence[str] = ()

    @property
    def patterns(self) -> list[re.Pattern[str]]:
        """Those of `ignored`, to be used."""
        return [re.compile(pattern) for pattern in self.ignored]


@dataclass(frozen=True)
class Tally:
    """What came of it.

    Attributes:
        answered: calls that were given again. left: those that were not, although they should, as (number, event).
        passed: calls that went to the provider.
        remarks: where the program asked otherwise, and was answered all the same.
        end: why it was stopped.
    """

    calls: int
    answered: int
    left: list[tuple[int, str]]
    passed: int
    remarks: list[str]
    end: dict[str, Any] | None


class Tape:
    """A replay's file.

    Args:
        path: where it is.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def write(self, calls: Iterable[Call], patterns: Sequence[re.Pattern[str]] = ()) -> None:
        """Makes it, of the calls that were recorded.

        Args:
            patterns: of what does not count in their messages.
        """
        with closing(sqlite3.connect(self.path)) as connection, connection:
            connection.executescript(_SCHEMA)
            for call in calls:
                conversation = masked(call.conversation, patterns)
                row = (call.number, call.event, key(conversation), json.dumps(conversation),
                       json.dumps(call.settings), call.answer.to_json(), call.answers)  # fmt: skip
                connection.execute("INSERT INTO calls VALUES (?, ?, ?, ?, ?, ?, ?, 0, 0)", row)

    def events(self) -> list[str]:
        """The ids of the calls' events, in the order of their numbers."""
        with self._opened() as connection:
            return [row[0] for row in connection.execute("SELECT event FROM calls ORDER BY number").fetchall()]

    def override(self, number: int, said: Said) -> None:
        """Lets a call be answered otherwise. How many tokens that would have been, nobody knows."""
        with self._opened() as connection:
            (text,) = connection.execute("SELECT answer FROM calls WHERE number = ?", (number,)).fetchone()
            answer = replace(Answer.from_json(text), said=(said,), tokens={}, failure=None, problem=None)
            connection.execute(
                "UPDATE calls SET answer = ?, answers = 1, is_ours = 1 WHERE number = ?", (answer.to_json(), number)
            )

    def order(self, orders: Orders) -> None:
        """Says how it is to be replayed."""
        with self._opened() as connection:
            given = [(name, json.dumps(value)) for name, value in vars(orders).items()]
            connection.executemany("INSERT INTO orders VALUES (?, ?)", given)

    def orders(self) -> Orders:
        """How it is to be replayed."""
        with self._opened() as connection:
            rows = connection.execute("SELECT name, value FROM orders").fetchall()
        return Orders(**{name: json.loads(value) for name, value in rows})

    def take(
        self, conversation: list[Item], settings: Mapping[str, Any], orders: Orders, is_once: bool
    ) -> tuple[int, Answer] | None:
        """The answer for a request, which nobody else gets then; None if no call fits.

        Of several that fit, the first whose model, tools and settings are equal; if there is none, the first.

        Args:
            is_once: whether it will not be asked for again, although it may have been tried several times.
        """
        with self._opened() as connection:
            connection.execute("BEGIN IMMEDIATE")
            found = connection.execute(_FREE, (key(conversation), orders.start or 1 << 62)).fetchall()
            told = [(differences(json.loads(row[1]), settings), row) for row in found]
            fitting = [(others, row) for others, row in told if not (orders.is_strict and others)]
            if not fitting:
                return None
            others, (number, _, answer) = min(fitting, key=lambda one: bool(one[0]))
            left = "0" if is_once else "answers - 1"
            connection.execute(f"UPDATE calls SET is_asked = 1, answers = {left} WHERE number = ?", (number,))  # noqa: S608 - our own text
            for other in others:
                connection.execute("INSERT OR IGNORE INTO remarks VALUES (?)", (f"call {number}: {other}",))
            connection.execute("COMMIT")
        return number, Answer.from_json(answer)

    def again(self, conversation: list[Item]) -> Answer | None:
        """The failure that such a request had last: a library tries again what cannot succeed."""
        query = "SELECT answer FROM calls WHERE key = ? AND is_asked ORDER BY number DESC"
        with self._opened() as connection:
            for (text,) in connection.execute(query, (key(conversation),)).fetchall():
                answer = Answer.from_json(text)
                if answer.failure is not None:
                    return answer
        return None

    def has_answered(self, conversation: list[Item]) -> bool:
        """Whether such a request was answered from here."""
        query = "SELECT 1 FROM calls WHERE key = ? AND is_asked LIMIT 1"
        with self._opened() as connection:
            return connection.execute(query, (key(conversation),)).fetchone() is not None

    def is_over(self, start: int | None) -> bool:
        """Whether all calls before a number were asked for, or one was answered otherwise than recorded."""
        query = "SELECT count(*) FILTER (WHERE NOT is_asked AND number < ?), max(is_asked AND is_ours) FROM calls"
        with self._opened() as connection:
            missing, changed = connection.execute(query, (start or 1 << 62,)).fetchone()
        return not missing or bool(changed)

    def nearest(self, conversation: list[Item]) -> tuple[int, str, list[Item], dict[str, Any]] | None:
        """The call not yet asked for that is most like a request: (number, event, conversation, settings)."""
        query = """SELECT number, event, conversation, settings FROM calls WHERE answers > 0 AND NOT is_asked
                   ORDER BY number LIMIT ?"""
        with self._opened() as connection:
            rows = connection.execute(query, (_NEAREST,)).fetchall()
        found = [(number, event, json.loads(said), json.loads(settings)) for number, event, said, settings in rows]
        return max(found, key=lambda one: _alike(one[2], conversation), default=None)

    def passes(self) -> None:
        """A call goes to the provider."""
        with self._opened() as connection:
            connection.execute("INSERT INTO passed DEFAULT VALUES")

    def end(self, report: Mapping[str, Any]) -> None:
        """The program is stopped."""
        with self._opened() as connection:
            connection.execute("INSERT INTO ends (report) VALUES (?)", (json.dumps(report),))

    def is_ended(self) -> bool:
        """Whether a process of the program was stopped."""
        with self._opened() as connection:
            return connection.execute("SELECT 1 FROM ends").fetchone() is not None

    def tally(self) -> Tally:
        """What came of it."""
        with self._opened() as connection:
            calls, answered = connection.execute("SELECT count(*), total(is_asked) FROM calls").fetchone()
            left = connection.execute(_LEFT).fetchall()
            (passed,) = connection.execute("SELECT count(*) FROM passed").fetchone()
            remarks = [row[0] for row in connection.execute("SELECT text FROM remarks ORDER BY rowid").fetchall()]
            end = connection.execute("SELECT report FROM ends ORDER BY id LIMIT 1").fetchone()
        return Tally(calls, int(answered), left, passed, remarks, None if end is None else json.loads(end[0]))

    @contextmanager
    def _opened(self) -> Iterator[sqlite3.Connection]:
        uri = f"{self.path.as_uri()}?mode=rw"  # never made anew: a program that outlives its replay gets an error
        connection = sqlite3.connect(uri, uri=True, timeout=_PATIENCE, isolation_level=None)
        with closing(connection):
            connection.execute("PRAGMA synchronous = OFF")  # it need not survive the machine
            yield connection


def _alike(one: list[Item], other: list[Item]) -> int:
    """How many items they begin with in common, counted from the front; then from the back."""
    return sum(mine == theirs for mine, theirs in zip(one, other, strict=False)) * 2 + (one[-1:] == other[-1:])
