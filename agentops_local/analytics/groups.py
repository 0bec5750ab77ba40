"""Events that are counted together: by model, tool, agent, tag, host, day or session, of all or of those that a filter
leaves.

Without a filter the sums of the index answer. With one its cells do, and where the time asked for begins or ends within
a slot of them, the events of that slot: so a number is always that of the events, exactly.
"""

from __future__ import annotations

import json
import sqlite3
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from decimal import Decimal
from functools import cache
from operator import add

from agentops_local.analytics import filters
from agentops_local.analytics.filters import Filter
from agentops_local.analytics.index import codes
from agentops_local.analytics.index.cells import CELL, COLUMNS, Cells, Names, place
from agentops_local.analytics.index.sums import SUMS
from agentops_local.analytics.index.tables import SLOT
from agentops_local.analytics.reading import added, exact_sum
from agentops_local.analytics.sessions import tag_list
from agentops_local.analytics.totals import dollars

TOKENS = ("prompt_tokens", "completion_tokens", "cache_read_tokens", "cache_write_tokens", "reasoning_tokens")

_ALL = f"SELECT key, {', '.join(SUMS)} FROM idx.sums WHERE dimension = ?"  # noqa: S608 - our own text
_WITHIN = f"{_ALL} AND key >= ? AND key < ?"
_SPREAD = "SELECT what, code, events FROM idx.spread"
_COLUMNS = ", ".join(CELL)
CELLS = """
SELECT {dimension} AS key, {sums} FROM {cells} c WHERE {where} GROUP BY {dimension}
"""
COSTS = """
SELECT slot, what, {cost} FROM {cells} c WHERE {where} AND c.what IN ({whats}) GROUP BY slot, what
"""
CALLS = """
SELECT {dimension} AS key, times FROM {cells} c WHERE {where} AND c.what IN ({whats})
"""
LONGEST = """
SELECT * FROM {cells} c WHERE {where} AND c.longest_us IS NOT NULL ORDER BY c.longest_us DESC, c.longest LIMIT {limit}
"""
_SLOTS = "SELECT (SELECT min(slot) FROM idx.cells), (SELECT max(slot) FROM idx.cells)"
EDGE = f"""
SELECT {COLUMNS} FROM events e WHERE e.session = ? AND e.init_us >= ? AND e.init_us < ? AND +e.seq <= ?
"""  # noqa: S608 - our own text
EDGE_SESSIONS = "SELECT DISTINCT session FROM idx.cells WHERE slot = ?"
FAILED = """
SELECT trigger_id, count(*) FROM events
WHERE session = ? AND kind = 'errors' AND trigger_id IS NOT NULL AND +seq <= ? GROUP BY trigger_id
"""
_MARK = "SELECT value FROM idx.marks WHERE key = 'seq'"
_OVERFLOW = "overflow"
_MOST = (1 << 63) - 1


@dataclass
class Group:
    """Events that are counted together.

    Attributes:
        events: how many. calls: LLM calls among them. errors: errors among them.
        failed: how often an error says of one of them that it failed.
        us: how long they took together, microseconds, as far as they have an end.
        times: how long each took, where they are few; else `spread`, how many took how long (see index/codes.py).
        cost_pusd: over the priced LLM calls, 1e-12 US dollars. unpriced: the others.
    """

    events: int = 0
    calls: int = 0
    errors: int = 0
    failed: int = 0
    us: int = 0
    tokens: dict[str, int] = field(default_factory=lambda: dict.fromkeys(TOKENS, 0))
    cost_pusd: int = 0
    unpriced: int = 0
    times: array[int] = field(default_factory=lambda: array("q"))
    spread: dict[int, int] = field(default_factory=dict)

    @property
    def cost(self) -> Decimal:
        """US dollars, exactly."""
        return dollars(self.cost_pusd)

    def percentiles(self, percents: Sequence[int]) -> list[float | None]:
        """Seconds within which so many of a hundred were done (nearest rank); None if none has an end. Of many sessions
        they are right to 0.1 %, of one exactly.

        Args:
            percents: in ascending order.
        """
        if self.spread or not self.times:
            return codes.percentiles(self.spread, percents)
        times = sorted(self.times)
        return [times[max(1, -(-percent * len(times) // 100)) - 1] / 1e6 for percent in percents]

    def percentile(self, percent: int) -> float | None:
        """One of them."""
        return self.percentiles([percent])[0]

    def add(self, row: sqlite3.Row) -> None:
        """Counts an event."""
        self.events += 1
        if row["us"] is not None and row["us"] >= 0:  # a clock set back tells nothing
            self.times.append(row["us"])
            self.us += row["us"]
        self.errors += row["kind"] == "errors"
        if row["kind"] != "llms":
            return
        self.calls += 1
        for name in TOKENS:
            self.tokens[name] += row[name] or 0
        if row["cost_pusd"] is None:
            self.unpriced += 1
        else:
            self.cost_pusd += row["cost_pusd"]

    def join(self, other: Group) -> None:
        """Adds what another one counts."""
        self.events += other.events
        self.calls += other.calls
        self.errors += other.errors
        self.failed += other.failed
        self.us += other.us
        for name in TOKENS:
            self.tokens[name] += other.tokens[name]
        self.cost_pusd += other.cost_pusd
        self.unpriced += other.unpriced
        self.times.extend(other.times)
        for code, events in other.spread.items():
            self.spread[code] = self.spread.get(code, 0) + events

    def to_json(self) -> dict[str, object]:
        """Its numbers, with durations in seconds and the cost in dollars."""
        return {
            "events": self.events, "calls": self.calls, "errors": self.errors, "failed": self.failed,
            **self.tokens, "cost": float(self.cost),
            "unpriced": self.unpriced, "duration_s": self.us / 1e6,
        }  # fmt: skip


Groups = dict[str, Group]


class Counting:
    """Counting by one thing or another, of the same events.

    Args:
        connection: with the index (see index/file.py), in one transaction.
        where: which events.
    """

    def __init__(self, connection: sqlite3.Connection, where: Filter) -> None:
        self._connection = connection
        self._where = where
        self._names = {row[0]: tuple(row)[1:] for row in connection.execute("SELECT * FROM idx.names").fetchall()}
        self._sessions = list(filters.sessions(connection, where.of_sessions)) if where.picks_sessions else None
        # What is counted: a table of cells, and a condition for them; the events at the edges of a time come apart.
        self._counted = [("idx.cells", self._conditions())]
        self._slots: tuple[int, int] | None = None  # whole ones, where nothing but a time is asked for
        if where.since_us is not None or where.until_us is not None:
            self._cut_time()

    @property
    def is_narrowed(self) -> bool:
        """Whether anything is left out."""
        return self._where != Filter()

    def kinds_and_names(self, spread: bool = True) -> dict[tuple[str, str], Group]:
        """By kind and name: LLM calls by model, tools, actions and error types by theirs.

        Args:
            spread: whether it is told how long each took, from which percentiles are made.
        """
        found: dict[tuple[str, str], Group] = {}
        for what, group in self._keyed("what", spread).items():
            kind, _, name = self._names[what]
            found.setdefault((kind, name), Group()).join(group)
        return found

    def agents(self, spread: bool = False) -> Groups:
        """By the name of the agent; "" for events without one.

        Args:
            spread: here and below, whether it is told how long the LLM calls among them took.
        """
        names = {row[0]: row[1] for row in self._connection.execute("SELECT seq, name FROM agents").fetchall()}
        return self._folded("agent", lambda agent: [names.get(agent, "")], spread)

    def hosts(self, spread: bool = False) -> Groups:
        """By host; "" where it was not recorded."""
        names = {row[0]: row[1] for row in self._connection.execute("SELECT id, name FROM idx.hosts").fetchall()}
        return self._folded("host", lambda host: [names.get(host, "")], spread)

    def days(self, utc: bool = False, spread: bool = False) -> Groups:
        """By the day on which they began, here or in UTC: "2026-01-31"."""
        zone = timezone.utc if utc else None
        day = cache(lambda slot: [f"{datetime.fromtimestamp(slot * SLOT / 1e6, tz=zone):%Y-%m-%d}"])
        return self._folded("slot", day, spread)

    def tags(self, spread: bool = False) -> Groups:
        """By tag of the session: an event counts for each of them; "" for sessions without any."""
        rows = self._connection.execute("SELECT seq, tags FROM sessions").fetchall()
        tags = {row[0]: sorted(set(tag_list(row[1]))) or [""] for row in rows}
        return self._folded("session", lambda session: tags.get(session, []), spread)

    def sessions(self) -> dict[int, Group]:
        """By session, its `seq`."""
        return self._keyed("session")

    def costs_by_day_and_model(self, utc: bool = False) -> dict[tuple[str, str], int]:
        """What LLM calls cost, in 1e-12 US dollars, by the day on which they began, here or in UTC, and by model."""
        found: dict[tuple[str, str], int] = {}
        zone = timezone.utc if utc else None
        whats = ", ".join(str(what) for what, name in self._names.items() if name[0] == "llms")
        for row in self._asked(COSTS, cost=exact_sum("cost_pusd"), whats=whats):
            day = f"{datetime.fromtimestamp(row['slot'] * SLOT / 1e6, tz=zone):%Y-%m-%d}"
            key = (day, self._names[row["what"]][2])
            found[key] = found.get(key, 0) + added(row, "cost_pusd")
        return found

    def slots(self) -> int:
        """In how many slots of time (see index/tables.py) there is any event."""
        return len(self._keyed("slot"))

    def longest(self, limit: int) -> list[int]:
        """The numbers of the longest events, the longest first.

        Of each cell the longest is known. The others that may be among them are in the cells that have one of them.
        """
        longest = sorted(self._asked(LONGEST, limit=limit), key=lambda row: (-row["longest_us"], row["longest"]))
        cells = longest[:limit]
        names = Names(self._connection)
        keys = {(row["session"], row["slot"], row["agent"], row["host"], row["what"]) for row in cells}
        since = -_MOST if self._where.since_us is None else self._where.since_us
        until = _MOST if self._where.until_us is None else self._where.until_us
        (mark,) = self._connection.execute(_MARK).fetchone()
        found: list[tuple[int, int]] = []
        for session in {key[0] for key in keys}:
            rows = self._connection.execute(EDGE, (session, since, until, mark)).fetchall()
            took = [(row["init_us"] - row["end_us"], row) for row in rows if row["end_us"] is not None]
            found += ((less, row["seq"]) for less, row in took if less <= 0 and place(names, row) in keys)
        return [seq for _, seq in sorted(found)[:limit]]

    def _folded(self, dimension: str, names_of: Callable[[int], Iterable[str]], spread: bool) -> Groups:
        # Sums are added as they are, for there may be a group for each of many thousand keys.
        sums: dict[str, list[int]] = {}
        for row in self._summed(dimension):
            values = values_of(row)
            for name in names_of(row["key"]):
                sums[name] = list(map(add, sums[name], values)) if name in sums else values
        found = {name: _made(values) for name, values in sums.items()}
        if spread:
            times: dict[str, array[int]] = {}
            for key, took in self._calls(dimension).items():
                for name in names_of(key):
                    times.setdefault(name, array("H")).extend(took)
            for name, took in times.items():
                found[name].spread = Counter(took)
        return found

    def _calls(self, dimension: str) -> dict[int, array[int]]:
        """The codes of how long LLM calls took."""
        whats = ", ".join(str(what) for what, name in self._names.items() if name[0] == "llms")
        packed: dict[int, bytearray] = {}
        for key, times in self._asked(CALLS, dimension=dimension, whats=whats):
            packed.setdefault(key, bytearray()).extend(times)
        return {key: codes.unpack(bytes(times)) for key, times in packed.items()}

    def _keyed(self, dimension: str, spread: bool = False) -> dict[int, Group]:
        found: dict[int, Group] = {}
        for row in self._summed(dimension, spread):
            found.setdefault(row["key"], Group()).join(group_of(row))
        if spread and not self.is_narrowed:
            for what, code, events in self._connection.execute(_SPREAD).fetchall():
                if events:
                    found[what].spread[code] = events
        return found

    def _summed(self, dimension: str, spread: bool = False) -> list[sqlite3.Row]:
        """The sums by one dimension; a key may have several rows, which are to be added up."""
        if not self.is_narrowed:
            return self._connection.execute(_ALL, (dimension,)).fetchall()
        tables, whole = self._counted, []
        if dimension == "slot" and self._slots is not None:
            tables, whole = self._counted[1:], self._connection.execute(_WITHIN, (dimension, *self._slots)).fetchall()
        sums = ", ".join(f"sum({name}) AS {name}" for name in SUMS)
        times = ", join_times(times) AS times" if spread else ""
        self._connection.create_aggregate("join_times", 1, codes.Joined)  # type: ignore[arg-type]  # as sqlite3 calls it
        try:
            return whole + self._asked(CELLS, tables, dimension=dimension, sums=sums + times)
        except sqlite3.DatabaseError as error:
            if _OVERFLOW not in str(error):
                raise
            exact = ", ".join(map(exact_sum, SUMS))
            return whole + self._asked(CELLS, tables, dimension=dimension, sums=exact + times)

    def _asked(
        self, sql: str, tables: Sequence[tuple[str, str]] | None = None, **parts: object
    ) -> list[sqlite3.Row]:  # fmt: skip
        """The rows of a question, of each table of cells in turn."""
        values = {"sessions": json.dumps(self._sessions)}
        found = []
        for cells, where in self._counted if tables is None else tables:
            found += self._connection.execute(sql.format(cells=cells, where=where, **parts), values).fetchall()
        return found

    def _conditions(self) -> str:
        where, connection = self._where, self._connection
        found = ["1"]
        if self._sessions is not None:
            found.append("c.session IN (SELECT value FROM json_each(:sessions))")
        if where.agent is not None:
            found.append(_among("agent", connection, "SELECT seq FROM agents WHERE name = ?", where.agent))
        if where.host is not None:
            found.append(_among("host", connection, "SELECT id FROM idx.hosts WHERE name = ?", where.host))
        if where.model is not None:
            sql = "SELECT id FROM idx.names WHERE kind = 'llms' AND name = ?"
            found.append(_among("what", connection, sql, where.model))
        return " AND ".join(found)

    def _cut_time(self) -> None:
        since = -_MOST if self._where.since_us is None else self._where.since_us
        until = _MOST if self._where.until_us is None else self._where.until_us
        first, end = -(-since // SLOT), until // SLOT
        edges = []
        if since % SLOT and self._where.since_us is not None:
            edges.append((since, min(until, first * SLOT)))
        if until % SLOT and self._where.until_us is not None and end >= first:
            edges.append((end * SLOT, until))
        self._connection.execute("DROP TABLE IF EXISTS temp.edge")
        self._connection.execute(f"CREATE TEMP TABLE edge AS SELECT {_COLUMNS} FROM idx.cells LIMIT 0")  # noqa: S608
        put = f"INSERT INTO temp.edge VALUES ({', '.join('?' for _ in CELL)})"  # noqa: S608 - our own text
        for begin, stop in edges:
            self._connection.executemany(put, self._edge(begin, stop))
        condition = self._conditions()
        slot = "c.slot" if self._is_short(first, end) else "+c.slot"  # the +: not by the index of slots
        whole = f"{condition} AND {slot} >= {first:d} AND {slot} < {end:d}"
        self._counted = [("idx.cells", whole), ("temp.edge", condition)]
        if self._where == Filter(self._where.since_us, self._where.until_us):
            self._slots = first, end

    def _is_short(self, first: int, end: int) -> bool:
        """Whether a time is so short that its cells are better looked up one by one than all of them gone through."""
        least, most = self._connection.execute(_SLOTS).fetchone()
        return least is None or (min(end, most + 1) - max(first, least)) * 4 < most + 1 - least

    def _edge(self, begin: int, stop: int) -> Iterable[Sequence[object]]:
        connection = self._connection
        (mark,) = connection.execute(_MARK).fetchone()
        names = Names(connection)
        cells = Cells(names)
        for (session,) in connection.execute(EDGE_SESSIONS, (begin // SLOT,)).fetchall():
            failed = dict(map(tuple, connection.execute(FAILED, (session, mark)).fetchall()))
            for row in connection.execute(EDGE, (session, begin, stop, mark)).fetchall():
                cells.add(row)
                for _ in range(failed.get(row["id"], 0)):
                    cells.fail(place(names, row))
        return cells.rows()


def ranked(groups: dict[str, Group]) -> list[tuple[str, Group]]:
    """The largest first."""
    return sorted(groups.items(), key=lambda item: (-item[1].events, item[0]))


def group_of(row: sqlite3.Row) -> Group:
    """A row of sums as a group."""
    group = _made(values_of(row))
    if "times" in row.keys():  # noqa: SIM118 - a row is looked into for values
        group.spread = dict(Counter(codes.unpack(row["times"])))
    return group


def values_of(row: sqlite3.Row) -> list[int]:
    """The sums of a row, in the order of `SUMS`."""
    if SUMS[0] in row.keys():  # noqa: SIM118 - as above
        return [int(row[name]) for name in SUMS]
    return [added(row, name) for name in SUMS]


def _made(values: Sequence[int]) -> Group:
    sums = dict(zip(SUMS, values, strict=True))
    return Group(tokens={name: sums.pop(name) for name in TOKENS}, **sums)  # type: ignore[arg-type]  # numbers all


def _among(column: str, connection: sqlite3.Connection, sql: str, name: str) -> str:
    numbers = ", ".join(str(int(row[0])) for row in connection.execute(sql, (name,)).fetchall())
    return f"c.{column} IN ({numbers})"
