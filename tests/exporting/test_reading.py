from __future__ import annotations

import tracemalloc
from typing import Any

from agentops_local.analytics.reading import reading
from agentops_local.event import ActionEvent
from agentops_local.exporting import FORMATS, export, work
from agentops_local.exporting.choice import Choice, Progress
from agentops_local.exporting.source import Source
from tests.analytics.recording import Book

_OURS = [form for form in FORMATS if form != "parquet"]  # that one reads as csv does; its memory is not Python's
_EVENTS = 500
_LENGTH = 40_000
_MOST = 10 << 20  # bytes of Python's for an export of twice as much


class Nowhere:
    """Takes what is written, and keeps nothing."""

    size = 0

    def write(self, data: bytes) -> int:
        """Counts."""
        self.size += len(data)
        return len(data)


def test_memory_stays_flat(book: Book) -> None:
    """An export takes the memory of its pieces, not of the session, in every format that we write ourselves."""
    state = book.session()
    for number in range(_EVENTS):
        book.add(state, ActionEvent(action_type="act", params=f"{number:>{_LENGTH}}"))
    for form in _OURS:
        out: Any = Nowhere()
        tracemalloc.start()
        export(book.path, state.id, form, out)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert out.size > _EVENTS * _LENGTH, form
        assert peak < _MOST, form


def test_no_session_pays_for_the_others(book: Book) -> None:
    """No statement of an export walks through a table, and none through a session but those that number its events."""
    state = book.session()
    book.error(state, book.tool(state))
    book.llm(state, "one", "two")
    statements: set[str] = set()
    with reading(book.path) as connection:
        connection.set_trace_callback(statements.add)
        for form in _OURS:
            source = Source(connection)
            head = source.session(1)
            assert head is not None
            write, _ = work._format(form)
            out: Any = Nowhere()
            write(source, iter([head]), out, Choice(), Progress())
        connection.set_trace_callback(None)
        plans = {sql: " ".join(row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {sql}").fetchall())
                 for sql in statements if ("FROM" in sql and " events" in sql + " ") or "messages" in sql}  # fmt: skip
    assert len(plans) > 8
    for sql, plan in plans.items():
        for table in ("events", "e", "messages", "m", "sessions", "s"):
            assert f"SCAN {table} " not in f"{plan} ", sql
        if "json_each" in sql:
            assert "INTEGER PRIMARY KEY" in plan, sql
            assert "autoindex_events" not in plan, sql
