"""A database, or a pack, that is read to be taken in: a session at a time, in short transactions of its own."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from agentops_local.analytics import ratings
from agentops_local.errors import DatabaseUnusable, WrongUse
from agentops_local.importing.told import Environment, Event, Messages, Nodes, Owner, Price, Session
from agentops_local.importing.writing import COLUMNS, FILLED, PAYLOADS
from agentops_local.store.connection import connect_readonly
from agentops_local.store.location import FILE, FOLDER
from agentops_local.store.schema import VERSION

_PIECE = 50  # events read at once: their payloads are long
_IDS = 1000  # of events compared at once

_SESSION = """
SELECT seq, init_us, end_us, auto_ended, end_state, end_state_reason, tags, video, environment, moment, key_hash,
       parent_key_hash, joined
FROM sessions WHERE id = ?
"""
_OWNERS = (
    "SELECT seq, pid, started, boot, host, program, start_us, end_us, exit FROM owners WHERE session = ? ORDER BY seq"
)
_EVENTS = f"""
SELECT e.id, e.kind, e.init_us, e.owner, a.id, a.name, e.prompt, e.completion, e.price,
       e.cost_pusd, e.cost_source, e.prompt_form, e.completion_form,
       {", ".join(f"e.{name}" for name in COLUMNS)}, {", ".join(f"p.{name}" for name in PAYLOADS)}
FROM events e JOIN payloads p ON p.seq = e.seq LEFT JOIN agents a ON a.seq = e.agent
WHERE e.seq IN (SELECT value FROM json_each(?)) ORDER BY e.seq
"""  # noqa: S608 - our own names
_PRICE = "SELECT provider, model, from_us, until_us, rates, kind, source, looked_us, ended_us FROM prices WHERE id = ?"
# What an event says, a bit for each column: one that says more than ours has something to fill in.
_SAYS = " | ".join(f"(({name} IS NOT NULL) << {bit})" for bit, name in enumerate(FILLED))
_IDS_OF = f"""
SELECT id, seq, {_SAYS} FROM events WHERE session = ? AND id > ? ORDER BY id LIMIT {_IDS}
"""  # noqa: S608 - our own names
_IDS_BETWEEN = f"""
SELECT id, {_SAYS} FROM events WHERE session = ? AND id > ? AND id <= ?
"""  # noqa: S608 - our own names


def find(place: Path) -> Path:
    """The database that a file or a folder means."""
    if place.is_dir():
        for file in (place / FILE, place / FOLDER / FILE):
            if file.is_file():
                return file
        raise DatabaseUnusable(f"there is no {FILE} in {place}: name the database itself")
    return place


class Source:
    """A database that is read. Afterwards, `close` it.

    Raises:
        DatabaseUnusable: it is none of ours, or was written by another version.
        WrongUse: it is the database itself into which it would be taken.
    """

    def __init__(self, place: Path, into: Path | None = None) -> None:
        self.path = find(place)
        if into is not None and self.path.exists() and into.exists() and self.path.samefile(into):
            raise WrongUse(f"{place} is the database itself: name another one")
        self.connection = connect_readonly(self.path)
        self.connection.text_factory = lambda raw: raw.decode("utf-8", "replace")
        (version,) = self.connection.execute("PRAGMA user_version").fetchone()
        if version != VERSION:
            self.close()
            raise DatabaseUnusable(
                f"{self.path} has schema version {version}, and this program takes in version {VERSION}: record "
                "something to it with this version, which brings it up to date (a copy will do)"
            )

    def close(self) -> None:
        """Lets go of it."""
        self.connection.close()

    def sessions(self) -> list[str]:
        """The ids of its sessions, in the order in which they began to be recorded."""
        rows = self.connection.execute("SELECT id FROM sessions WHERE id <> '' ORDER BY seq").fetchall()
        return [row[0] for row in rows]

    def losses(self) -> list[tuple[Any, ...]]:
        """The events that it knows to be lost."""
        return self.connection.execute("SELECT at_us, pid, events, reason FROM losses").fetchall()

    @contextmanager
    def reading(self, session_id: str) -> Iterator[Reading | None]:
        """A session as of one moment; None: it is gone."""
        self.connection.execute("BEGIN")
        try:
            row = self.connection.execute(_SESSION, (session_id,)).fetchone()
            yield None if row is None else Reading(self.connection, session_id, row)
        finally:
            self.connection.execute("ROLLBACK")


class Lacking(NamedTuple):
    """What another database lacks of the events of a session.

    Attributes:
        new: the numbers of those that it does not have.
        more: of those that it has, and knows less of.
        there: how many it has whole.
    """

    new: list[int]
    more: list[int]
    there: int


class Reading:
    """A session of a database.

    Attributes:
        number: its row.
        told: the session.
    """

    def __init__(self, connection: sqlite3.Connection, session_id: str, row: Sequence[Any]) -> None:
        self.connection = connection
        self.number, init_us, end_us, auto_ended, end_state, reason, tags, video, environment, moment, *rest = row
        key_hash, parent_key_hash, joined = rest
        execute = connection.execute
        host = None
        if environment is not None:
            found = execute("SELECT fingerprint, host_env FROM environments WHERE id = ?", (environment,)).fetchone()
            host = Environment(*found)
        self.told = Session(
            session_id, init_us, end_us, auto_ended, end_state, reason, json.loads(tags), video, host, moment,
            key_hash, parent_key_hash, joined,
            owners={number: Owner(*owner) for number, *owner in execute(_OWNERS, (self.number,)).fetchall()},
            agents=execute("SELECT id, name FROM agents WHERE session = ? ORDER BY seq", (self.number,)).fetchall(),
            scores=ratings.told(connection, self.number),
        )  # fmt: skip
        self._paths: dict[int, int] = {}
        self._prices: dict[int, Price] = {}

    def lacking(self, ours: sqlite3.Connection, number: int | None) -> Lacking:
        """What another database lacks of its events.

        Args:
            ours: a connection to it.
            number: of the session there; None: it has none.
        """
        new: list[int] = []
        more: list[int] = []
        there, last = 0, b""
        while rows := self.connection.execute(_IDS_OF, (self.number, last)).fetchall():
            last_of_these = rows[-1][0]
            has: dict[bytes, int] = {}
            if number is not None:
                has = dict(ours.execute(_IDS_BETWEEN, (number, last, last_of_these)).fetchall())
            for event, seq, says in rows:
                if event not in has:
                    new.append(seq)
                elif says & ~has[event]:
                    more.append(seq)
                else:
                    there += 1
            last = last_of_these
        return Lacking(new, more, there)

    def events(self, numbers: Sequence[int]) -> Iterator[Event]:
        """Some of its events, some at a time."""
        for start in range(0, len(numbers), _PIECE):
            piece = json.dumps(numbers[start : start + _PIECE])
            for row in self.connection.execute(_EVENTS, (piece,)).fetchall():
                yield self._event(row)

    def _event(self, row: Sequence[Any]) -> Event:
        event_id, kind, init_us, owner, agent, agent_name, prompt, completion, price, pusd, source, *rest = row
        columns = dict(zip(("prompt_form", "completion_form", *COLUMNS), rest, strict=False))
        payloads = dict(zip(PAYLOADS, rest[-len(PAYLOADS) :], strict=True))
        return Event(
            id=event_id, kind=kind, init_us=init_us, owner=owner, agent=agent, agent_name=agent_name,
            columns={**columns, "cost_pusd": pusd, "cost_source": source},
            payloads={name: _raw(text) for name, text in payloads.items() if text is not None},
            messages=self._messages(prompt, completion),
            price=None if price is None else self._price(price),
        )  # fmt: skip

    def _price(self, number: int) -> Price:
        known = self._prices.get(number)
        if known is None:
            known = self._prices[number] = Price(*self.connection.execute(_PRICE, (number,)).fetchone())
        return known

    def _messages(self, prompt: int | None, completion: int | None) -> Messages:
        def find_all(nodes: Nodes) -> tuple[int | None, int | None]:
            return self._node(nodes, prompt), self._node(nodes, completion)

        return find_all

    def _node(self, nodes: Nodes, number: int | None) -> int | None:
        """The node there of a message here: as far up the path as is not known yet."""
        path: list[tuple[int, str]] = []
        while number is not None and number not in self._paths:
            parent, text = self.connection.execute(
                "SELECT parent, text FROM message_texts WHERE id = ?", (number,)
            ).fetchone()
            path.append((number, text))
            number = parent
        last = None if number is None else self._paths[number]
        for here, text in reversed(path):
            last = self._paths[here] = nodes.child(last, _raw(text))
        return last


def _raw(text: Any) -> bytes:
    """JSON as it stands; in a payload a number may stand as itself."""
    return text.encode() if isinstance(text, str) else json.dumps(text).encode()
