"""A session that is told, written into a database: in one transaction, and what is there already is found.

Everything is known by something else than its number: a session and an agent by their ids, an event by its id within
its session, a message by what comes before it, a long text by its content. So what is written twice is there once, and
what ours lacks is filled in; nothing that ours says is said otherwise.
"""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from functools import cache
from typing import Any

from agentops_local import clock
from agentops_local.analytics import ratings
from agentops_local.importing.told import Event, Owner, Price, Session
from agentops_local.recorder import ground, rows
from agentops_local.recorder.payload import cut, place
from agentops_local.recorder.prompts import Node, grow
from agentops_local.recorder.state import Place
from agentops_local.store import changes

UNNAMED = "Unnamed agent"
PAYLOADS = ("params", "returns", "logs", "screenshot", "details")
# What stands or falls together: the first of them tells whether it is there.
TOGETHER = (
    ("prompt_form", "prompt"), ("completion_form", "completion"), ("cost_pusd", "cost_source", "price"),
)  # fmt: skip
COLUMNS = (
    "end_us", "name", "provider", "model", "prompt_tokens", "completion_tokens", "cache_read_tokens",
    "cache_write_tokens", "reasoning_tokens", "thread_id", "code", "extra", "parent", "trigger_id", "trigger_kind",
)  # fmt: skip
FILLED = (*COLUMNS, *PAYLOADS, *(names[0] for names in TOGETHER))  # what one that is there may lack

_EPOCH = 1  # of row numbers: they are used within one transaction
_SESSION = """
SELECT seq, init_us, end_us, auto_ended, end_state, end_state_reason, tags, video, environment, moment, key_hash,
       parent_key_hash, joined
FROM sessions WHERE id = ?
"""
_NAMES = (
    "init_us", "end_us", "auto_ended", "end_state", "end_state_reason", "tags", "video", "environment", "moment",
    "key_hash", "parent_key_hash", "joined",
)  # fmt: skip
_NEW_SESSION = f"""
INSERT INTO sessions (id, {", ".join(_NAMES)}, revision)
VALUES (?{", ?" * len(_NAMES)}, (SELECT coalesce(max(revision), 0) + 1 FROM sessions))
"""  # noqa: S608 - our own names
_ENVIRONMENT = "SELECT id FROM environments WHERE fingerprint = ?"
_OWNER = """
SELECT seq, end_us FROM owners
WHERE session = ? AND pid = ? AND started = ? AND boot = ? AND host IS ? AND program IS ?
"""
_NEW_OWNER = """
INSERT INTO owners (session, pid, started, boot, host, program, start_us, end_us, exit)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
_PRICE = """
SELECT id FROM prices WHERE model = ? AND provider = ? AND from_us = ? AND until_us IS ? AND rates IS ? AND kind = ?
AND source = ? AND looked_us = ? ORDER BY id LIMIT 1
"""
_LIVE = "SELECT 1 FROM prices WHERE model = ? AND provider = ? AND ended_us IS NULL"
_NEW_PRICE = """
INSERT INTO prices (provider, model, from_us, until_us, rates, kind, source, looked_us, ended_us)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
_EVENT = f"SELECT seq, {', '.join(FILLED)} FROM events WHERE session = ? AND id = ?"  # noqa: S608 - our own names
_ERROR_AT = "SELECT 1 FROM events WHERE kind = 'errors' AND session = ? AND init_us = ?"


class Tree:
    """The tree of messages, as one session meets it: each of its messages is looked for once."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._known: dict[tuple[int | None, bytes], int] = {}

    def child(self, parent: int | None, raw: bytes) -> int:
        """The node of a message after another, found or written."""
        known = self._known.get((parent, raw))
        if known is None:
            (known,) = grow(self._connection, parent, [Node(raw, cut(raw))])
            self._known[parent, raw] = known
        return known


class Writing:
    """A session in a transaction.

    Args:
        connection: in a transaction.
        told: the session; what ours lacks of it is filled in.

    Attributes:
        number: its row.
        is_new: whether it was not there.
        is_changed: whether it was there, and its row says more now.
        counts: how many events were new, changed, and there.
    """

    def __init__(self, connection: sqlite3.Connection, told: Session) -> None:
        self._connection = connection
        self._told = told
        self._tree = Tree(connection)
        self._prices: dict[Price, int] = {}
        self.counts: Counter[str] = Counter()
        self.is_changed = False
        row = connection.execute(_SESSION, (told.id,)).fetchone()
        self.is_new = row is None
        if row is None:
            values = self._values()
            number = connection.execute(_NEW_SESSION, (told.id, *values.values())).lastrowid
            self.number = int(number or 0)
        else:
            self.number = row[0]
            self._fill(dict(zip(_NAMES, row[1:], strict=True)))
        self._place = Place(_EPOCH, self.number, 0, 0)
        for number, agent_id in connection.execute(
            "SELECT seq, id FROM agents WHERE session = ? ORDER BY seq", (self.number,)
        ).fetchall():
            self._place.agents[agent_id] = number
        for agent_id, name in told.agents:
            self.agent(agent_id, name)
        self._owners = {number: self._owner(owner) for number, owner in told.owners.items()}

    # The session ------------------------------------------------------------------------------------------------------

    def _values(self) -> dict[str, Any]:
        return _values(self._told, self._environment())

    def _environment(self) -> int | None:
        environment = self._told.environment
        if environment is None:
            return None
        execute = self._connection.execute
        row = execute(_ENVIRONMENT, (environment.fingerprint,)).fetchone()
        if row is None:
            return execute("INSERT INTO environments (fingerprint, host_env) VALUES (?, ?)", environment).lastrowid
        return int(row[0])

    def _fill(self, ours: dict[str, Any]) -> None:
        changed = _news(ours, self._values(), self._told.tags)
        if changed:
            self.is_changed = True
            ground.update(
                self._connection, Place(_EPOCH, self.number, 0, 0),
                ", ".join(f"{name} = ?" for name in changed), *changed.values(),
            )  # fmt: skip

    def _owner(self, owner: Owner) -> int:
        execute = self._connection.execute
        row = execute(_OWNER, (self.number, *owner[:5])).fetchone()
        if row is None:
            return int(execute(_NEW_OWNER, (self.number, *owner)).lastrowid or 0)
        if row[1] is None and owner.end_us is not None:
            execute("UPDATE owners SET end_us = ?, exit = ? WHERE seq = ?", (owner.end_us, owner.exit, row[0]))
        return int(row[0])

    def agent(self, agent_id: str, name: str | None) -> int:
        """The row of an agent; one that had no name gets it."""
        is_there = agent_id in self._place.agents
        number = ground.agent(self._connection, self._place, agent_id, name or UNNAMED)
        if is_there and name not in (None, UNNAMED):
            self._connection.execute(
                "UPDATE agents SET name = ?, revision = (SELECT max(revision) + 1 FROM agents) "
                "WHERE seq = ? AND name = ?",
                (name, number, UNNAMED),
            )
        return number

    def scores(self) -> int:
        """Writes what was said of it and its events, as far as that is news; how many there were."""
        return sum(ratings.bring(self._connection, self.number, one) for one in self._told.scores)

    # Events -----------------------------------------------------------------------------------------------------------

    def add(self, event: Event) -> int:
        """The row of an event, written if it is not there, filled in if it lacks something."""
        row = self._connection.execute(_EVENT, (self.number, event.id)).fetchone()
        if row is None:
            self.counts["new"] += 1
            return self._insert(event)
        lacks = {name for name, value in zip(FILLED, row[1:], strict=True) if value is None}
        given = self._given(event, lacks)
        if given:
            names = ", ".join(f"{name} = ?" for name in given)
            self._connection.execute(f"UPDATE events SET {names} WHERE seq = ?", (*given.values(), row[0]))  # noqa: S608
            changes.note(self._connection, [self.number])
        self.counts["changed" if given else "there"] += 1
        return int(row[0])

    def _insert(self, event: Event) -> int:
        begin = event.init_us
        if event.kind == "errors":  # servers give errors no id: their time tells two equal ones apart
            while self._connection.execute(_ERROR_AT, (self.number, begin)).fetchone() is not None:
                begin += 1
        values = {
            "session": self.number,
            "owner": self._owner_of(event),
            "agent": None if event.agent is None else self.agent(event.agent, event.agent_name),
            "id": event.id,
            "kind": event.kind,
            "init_us": begin,
            **self._given(event, set(FILLED)),
        }
        return int(self._connection.execute(_insert(tuple(values)), tuple(values.values())).lastrowid or 0)

    def _given(self, event: Event, lacks: set[str]) -> dict[str, Any]:
        """The columns of an event that ours lacks and it gives."""
        columns = event.columns
        given = {name: columns[name] for name in COLUMNS if name in lacks and columns.get(name) is not None}
        for name, raw in event.payloads.items():
            if name in lacks:
                given[name] = place(self._connection, cut(raw))
        if event.kind == "llms":
            given |= self._call(event, lacks)
        return given

    def _call(self, event: Event, lacks: set[str]) -> dict[str, Any]:
        columns = event.columns
        wanted = [
            names[0] for names in TOGETHER if names[0] in lacks and columns.get(names[0]) is not None
        ]  # fmt: skip
        given: dict[str, Any] = {}
        if event.messages is not None and {"prompt_form", "completion_form"} & set(wanted):
            prompt, completion = event.messages(self._tree)
            for name, number in (("prompt", prompt), ("completion", completion)):
                if f"{name}_form" in wanted:
                    given |= {f"{name}_form": columns[f"{name}_form"], name: number}
        if "cost_pusd" in wanted:
            given |= {"cost_pusd": columns["cost_pusd"], "cost_source": columns.get("cost_source")}
        if event.price is not None and ("cost_pusd" in wanted or len(lacks) == len(FILLED)):
            given["price"] = self._price(event.price)
        return given

    def _owner_of(self, event: Event) -> int:
        found = self._owners.get(event.owner)
        if found is None:
            if not self._owners:
                self._owners[event.owner] = self._owner(imported(self._told.init_us, self._told.end_us))
            found = next(iter(self._owners.values()))
        return found

    def _price(self, price: Price) -> int:
        """The row of a price. It holds for new calls as well only where it is not known what holds for them; that no
        price is known there does not mean that none is here."""
        known = self._prices.get(price)
        if known is None:
            execute = self._connection.execute
            row = execute(_PRICE, (price.model, price.provider, *price[2:8])).fetchone()
            if row is not None:
                known = int(row[0])
            else:
                ended = price.ended_us
                if ended is None and (price.rates is None or execute(_LIVE, price[1::-1]).fetchone() is not None):
                    ended = clock.now_us()
                known = int(execute(_NEW_PRICE, (*price[:8], ended)).lastrowid or 0)
            self._prices[price] = known
        return known


_LACKING = frozenset({"video", "environment", "moment", "key_hash", "parent_key_hash"})


def look(connection: sqlite3.Connection, told: Session) -> tuple[int | None, bool]:
    """The row of a session, None if it is not there; and whether something would change in it."""
    row = connection.execute(_SESSION, (told.id,)).fetchone()
    if row is None:
        return None, False
    ours = dict(zip(_NAMES, row[1:], strict=True))
    theirs = _values(told, None if told.environment is None else 0)  # any number: it counts only where ours has none
    return int(row[0]), bool(_news(ours, theirs, told.tags))


def _values(told: Session, environment: int | None) -> dict[str, Any]:
    values = {name: getattr(told, name) for name in _NAMES}
    return {**values, "tags": json.dumps(told.tags), "environment": environment}


def _news(ours: dict[str, Any], theirs: dict[str, Any], tags: list[str]) -> dict[str, Any]:
    """What ours does not know of a session that is there. An end that came by itself yields to one that somebody
    declared, and to a later one of its kind."""
    found = {name: value for name, value in theirs.items() if ours[name] is None and name in _LACKING}
    found["init_us"] = min(ours["init_us"], theirs["init_us"])
    found["joined"] = min(ours["joined"], theirs["joined"])
    has = json.loads(ours["tags"])
    if any(tag not in has for tag in tags):
        found["tags"] = json.dumps(list(dict.fromkeys([*has, *tags])))
    if theirs["end_us"] is not None and _ends(ours, theirs):
        found |= {name: theirs[name] for name in ("end_us", "auto_ended", "end_state", "end_state_reason")}
    return {name: value for name, value in found.items() if value != ours[name]}


def imported(start_us: int, end_us: int | None) -> Owner:
    """Who contributed what was taken in, where the source does not say: nobody whose life could be looked at."""
    return Owner(0, "", "", None, "import", start_us, end_us, None if end_us is None else "end")


def _ends(ours: dict[str, Any], theirs: dict[str, Any]) -> bool:
    """Whether their end takes the place of ours, if there is one."""
    if ours["end_us"] is None:
        return True
    if not ours["auto_ended"]:
        return False
    return not theirs["auto_ended"] or bool(theirs["end_us"] > ours["end_us"])


@cache
def _insert(columns: tuple[str, ...]) -> str:
    return rows.insert(columns)
