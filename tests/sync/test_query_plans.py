from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from types import ModuleType

import pytest

from agentops_sync import batches, deliveries, host, outbox, uploader
from tests.sync.driving import MAKERS, Machine

# Tables that grow as long as something is recorded.
ENDLESS = ("events", "messages", "blobs", "uploads", "batches", "agent_deliveries", "payloads")
# The progress bar counts everything, on a terminal only.
COUNTS = {"outbox._PROGRESS"}
STATEMENT = re.compile(r"\s*(SELECT|INSERT|UPDATE|DELETE)\b")
# How a plan names all the rows of one target.
ALL_OF_A_TARGET = re.compile(r"\(target=\?\)$")


def statements(module: ModuleType) -> Iterator[tuple[str, str]]:
    """The statements that a module names."""
    for name, value in vars(module).items():
        if name.startswith("_") and isinstance(value, str) and STATEMENT.match(value):
            yield f"{module.__name__.rpartition('.')[2]}.{name}", value


STATEMENTS = dict(entry for module in (outbox, deliveries, batches, host, uploader) for entry in statements(module))


@pytest.fixture
def connection(machine: Machine) -> Iterator[sqlite3.Connection]:
    """A database with the ledger's tables."""
    machine.session()
    with closing(sqlite3.connect(machine.file, isolation_level=None)) as opened:
        yield opened


def plan(connection: sqlite3.Connection, sql: str) -> list[str]:
    """How SQLite carries out a statement."""
    names = re.findall(r"(?<![:\w]):([a-z]\w*)", sql)
    values = dict.fromkeys(names, 1) if names else (1,) * sql.count("?")
    return [str(row[3]) for row in connection.execute(f"EXPLAIN QUERY PLAN {sql}", values)]


def aliases(sql: str) -> dict[str, str]:
    """The tables of a statement by the names that its plan uses."""
    found: dict[str, str] = {}
    for table, alias in re.findall(r"\b(?:FROM|JOIN|UPDATE)\s+(\w+)(?:\s+([a-z]\w*)\b)?", sql):
        found[alias or table] = table
    return found


def whole_reads(connection: sqlite3.Connection, sql: str) -> list[str]:
    """The steps of a plan that read all of an endless table, or all of it that belongs to a target."""
    tables = aliases(sql)
    found = []
    for step in plan(connection, sql):
        verb, _, rest = step.partition(" ")
        name = rest.split(" ", 1)[0]
        endless = tables.get(name, name) in ENDLESS and "VIRTUAL TABLE" not in step  # json_each has none
        if endless and (verb == "SCAN" or ALL_OF_A_TARGET.search(step)):
            found.append(step)
    return found


@pytest.mark.parametrize("name", sorted(STATEMENTS.keys() - COUNTS))
def test_no_statement_reads_all_there_is(connection: sqlite3.Connection, name: str) -> None:
    """What a statement of the daemon costs does not grow with all events or all requests."""
    assert whole_reads(connection, STATEMENTS[name]) == []


def test_what_is_pending_is_not_sorted(connection: sqlite3.Connection) -> None:
    """The next events of a session are taken from the front of an index, however many wait behind them."""
    for name in ("outbox._PICK", "outbox._KINDS", "outbox._DUE_SESSIONS"):
        steps = plan(connection, STATEMENTS[name])
        assert not [step for step in steps if "TEMP B-TREE" in step], name
    assert "uploads_unsent (target=? AND session=? AND kind=?)" in " ".join(plan(connection, outbox._PICK))


def test_what_a_drain_does_is_searched(machine: Machine) -> None:
    """Nor does any statement of a drain that is put together while it runs."""
    session = machine.session()
    for number in range(3):
        for make in MAKERS.values():
            session.record(make(number))
    session.end_session("Success")
    seen: set[str] = set()
    machine.uploader.ledger.read(lambda connection: connection.set_trace_callback(seen.add))
    machine.drain()
    assert machine.states() == {"done": 12}
    traced = [sql for sql in seen if STATEMENT.match(sql)]
    assert len(traced) > 20
    with closing(sqlite3.connect(machine.file)) as connection:
        for sql in traced:
            assert whole_reads(connection, sql) == [], sql
