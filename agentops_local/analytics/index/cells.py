"""Events summed up into cells (see tables.py), and cells put into the index."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass, field

from agentops_local.analytics.index import codes
from agentops_local.analytics.index.sums import SUMS, Sums
from agentops_local.analytics.index.tables import SLOT

# Columns of an event that a cell is made of.
COLUMNS = """
e.seq, e.session, e.id, e.kind, e.owner, coalesce(e.agent, 0) AS agent, e.init_us, e.end_us,
CASE e.kind WHEN 'llms' THEN coalesce(e.provider, '') ELSE '' END AS provider,
coalesce(CASE e.kind WHEN 'llms' THEN e.model ELSE e.name END, '') AS name,
e.prompt_tokens, e.completion_tokens, e.cache_read_tokens, e.cache_write_tokens, e.reasoning_tokens, e.cost_pusd,
e.prompt, e.completion, e.trigger_id
"""
# Their sums have fewer than 63 bits, as long as no value has more than this and a cell no more events than that.
_LARGE = 1 << 43
_MOST = 1 << 19

_STORED = (*SUMS, "longest_us", "longest", "first_us", "last_us", "times")
# All columns of a cell, in the order in which `Cells.rows` gives them.
CELL = ("session", "slot", "agent", "host", "what", "part", *_STORED)
_LAST = f"""
SELECT part, {", ".join(_STORED)} FROM idx.cells
WHERE session = ? AND slot = ? AND agent = ? AND host = ? AND what = ? ORDER BY part DESC LIMIT 1
"""  # noqa: S608 - our own text
_OF_SESSION = "SELECT * FROM idx.cells WHERE session = ?"
_PUT = f"""
INSERT OR REPLACE INTO idx.cells ({", ".join(CELL)}) VALUES ({", ".join("?" for _ in CELL)})
"""  # noqa: S608 - our own text

Key = tuple[int, int, int, int, int]  # session, slot, agent, host, what


@dataclass
class Cell:
    """Sums of events; the attributes are the columns of the table."""

    events: int = 0
    calls: int = 0
    errors: int = 0
    failed: int = 0
    us: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0
    cost_pusd: int = 0
    unpriced: int = 0
    longest_us: int | None = None
    longest: int | None = None
    first_us: int = (1 << 63) - 1
    last_us: int = -(1 << 63)
    codes: list[int] = field(default_factory=list)
    times: bytes = b""

    def add(self, row: sqlite3.Row) -> None:
        """Counts an event."""
        self.events += 1
        begun, end = row["init_us"], row["end_us"]
        self.first_us = min(self.first_us, begun)
        self.last_us = max(self.last_us, begun)
        if end is not None and end >= begun:  # a clock set back tells nothing
            us = end - begun
            self.us += us
            self.codes.append(codes.code(us))
            if self.longest_us is None or us > self.longest_us:
                self.longest_us, self.longest = us, row["seq"]
        if row["kind"] == "errors":
            self.errors += 1
        if row["kind"] != "llms":
            return
        self.calls += 1
        self.prompt_tokens += row["prompt_tokens"] or 0
        self.completion_tokens += row["completion_tokens"] or 0
        self.cache_read_tokens += row["cache_read_tokens"] or 0
        self.cache_write_tokens += row["cache_write_tokens"] or 0
        self.reasoning_tokens += row["reasoning_tokens"] or 0
        if row["cost_pusd"] is None:
            self.unpriced += 1
        else:
            self.cost_pusd += row["cost_pusd"]

    def join(self, stored: sqlite3.Row) -> None:
        """Adds what is in the index already."""
        for name in SUMS:
            setattr(self, name, getattr(self, name) + stored[name])
        if stored["longest_us"] is not None and (self.longest_us is None or stored["longest_us"] >= self.longest_us):
            self.longest_us, self.longest = stored["longest_us"], stored["longest"]
        self.first_us = min(self.first_us, stored["first_us"])
        self.last_us = max(self.last_us, stored["last_us"])
        self.times = stored["times"]

    def row(self) -> tuple[object, ...]:
        """Its columns, in the order in which they are stored."""
        return (*(getattr(self, name) for name in _STORED[:-1]), self.times + codes.pack(self.codes))


def take_away(connection: sqlite3.Connection, session: int, sums: Sums) -> None:
    """Takes the cells of a session out of the index, and out of the sums."""
    for row in connection.execute(_OF_SESSION, (session,)).fetchall():
        key = (row["session"], row["slot"], row["agent"], row["host"], row["what"])
        sums.add(key, [row[name] for name in SUMS], codes.unpack(row["times"]), -1)
    connection.execute("DELETE FROM idx.cells WHERE session = ?", (session,))


class Names:
    """The numbers that hosts, and kinds with their names, have in the index; new ones are given where need be."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._hosts: dict[int, int] = {}  # by owner
        self._names: dict[tuple[str, str, str], int] = {}

    def host(self, owner: int) -> int:
        """The number of the host on which a process ran, by the process's row."""
        known = self._hosts.get(owner)
        if known is None:
            row = self._connection.execute("SELECT host FROM owners WHERE seq = ?", (owner,)).fetchone()
            name = "" if row is None or row[0] is None else str(row[0])
            known = self._hosts[owner] = self._number("hosts", name=name)
        return known

    def what(self, kind: str, provider: str, name: str) -> int:
        """The number of a kind with a name."""
        key = (kind, provider, name)
        known = self._names.get(key)
        if known is None:
            known = self._names[key] = self._number("names", kind=kind, provider=provider, name=name)
        return known

    def _number(self, table: str, **known: str) -> int:
        wanted = " AND ".join(f"{column} = :{column}" for column in known)
        row = self._connection.execute(f"SELECT id FROM idx.{table} WHERE {wanted}", known).fetchone()  # noqa: S608
        if row is not None:  # else: only where the index is brought up to date; who asks meets what is there
            return int(row[0])
        values = ", ".join(f":{column}" for column in known)
        sql = f"INSERT INTO idx.{table} ({', '.join(known)}) VALUES ({values})"  # noqa: S608 - our own names
        return int(self._connection.execute(sql, known).lastrowid or 0)


def place(names: Names, row: sqlite3.Row) -> Key:
    """Where an event belongs."""
    what = names.what(row["kind"], row["provider"], row["name"])
    return row["session"], row["init_us"] // SLOT, row["agent"], names.host(row["owner"]), what


class Cells:
    """Cells under way."""

    def __init__(self, names: Names) -> None:
        self._names = names
        self._cells: dict[Key, list[Cell]] = {}

    def add(self, row: sqlite3.Row) -> None:
        """Counts an event."""
        key = place(self._names, row)
        cells = self._cells.get(key)
        if cells is None:
            cells = self._cells[key] = [Cell()]
        if cells[-1].events and (_is_large(row) or cells[-1].events >= _MOST):
            cells.append(Cell())
        cells[-1].add(row)

    def fail(self, key: Key) -> None:
        """Counts an event, counted here or stored already, as one that failed."""
        self._cells.setdefault(key, [Cell()])[0].failed += 1

    def put(self, connection: sqlite3.Connection, sums: Sums) -> None:
        """Puts them into the index, to those that are there, and to the sums."""
        for key, cells in self._cells.items():
            last = connection.execute(_LAST, key).fetchone()
            part = 0 if last is None else last["part"]
            for number, cell in enumerate(cells):
                sums.add(key, [getattr(cell, name) for name in SUMS], cell.codes)
                if number == 0 and last is not None and _fit(cell, last):
                    cell.join(last)
                elif number or last is not None:
                    part += 1
                connection.execute(_PUT, (*key, part, *cell.row()))

    def rows(self) -> Iterable[tuple[object, ...]]:
        """All of them, as rows of a table that is empty yet."""
        for key, cells in self._cells.items():
            for part, cell in enumerate(cells):
                yield (*key, part, *cell.row())


def _is_large(row: sqlite3.Row) -> bool:
    end = row["end_us"] or 0
    return any((row[name] or 0) > _LARGE for name in SUMS[5:-1]) or end - row["init_us"] > _LARGE


def _fit(cell: Cell, stored: sqlite3.Row) -> bool:
    """Whether the sums of both fit into one."""
    return all(getattr(cell, name) + stored[name] < 1 << 62 for name in SUMS) and stored["events"] < _MOST
