from __future__ import annotations

import csv
import io
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentops_local.event import LLMEvent, ToolEvent
from agentops_local.exporting.choice import TABLES
from agentops_local.exporting.spreadsheet import harmless
from tests.analytics.recording import SECRET, Book, secretive
from tests.exporting.exported import raw


def table(book: Book, name: str = "events", **how: Any) -> list[dict[str, str]]:
    """The rows of a CSV."""
    text = raw(book, None, "csv", table=name, **how).decode()
    return list(csv.DictReader(io.StringIO(text, newline="")))


def some(book: Book) -> str:
    """A session with events of all kinds; its id."""
    state = book.session("a")
    talk = [{"role": "user", "content": "first"}, {"role": "user", "content": 'last,\n"quoted"'}]
    book.add(state, LLMEvent(prompt=talk, completion="=yes", model="m", cost=0.25, prompt_tokens=7))
    tool = book.timed(ToolEvent(name="look", params={"q": -1}, returns="-5"), 1_000_000, 250_000)
    book.add(state, tool)
    book.action(state, "act", "+cmd")
    book.error(state, tool, "@broken")
    return book.end(state)


def test_events(book: Book) -> None:
    """The table of events has one header and a row for each event of every session, in the order of commits; of a
    prompt it has the last message."""
    some(book)
    some(book)
    rows = table(book)
    assert [row["kind"] for row in rows] == ["llms", "tools", "actions", "errors"] * 2
    assert [row["seq"] for row in rows] == [str(number) for number in range(1, 9)]
    assert rows[0]["last_message"] == '{"role":"user","content":"last,\\n\\"quoted\\""}'
    assert rows[0]["completion"] == "'=yes"
    assert (rows[0]["cost"], rows[0]["prompt_tokens"], rows[1]["duration_s"]) == ("0.25", "7", "0.25")
    assert (rows[1]["name"], rows[1]["init_timestamp"]) == ("look", "1970-01-01T00:00:01.000000+00:00")
    assert rows[3]["trigger_event_id"] == rows[1]["id"]


def test_each_table(book: Book) -> None:
    """Each kind of event has a table of its own with all its rows and no others, and sessions have one."""
    session = some(book)
    for name in ("llms", "tools", "actions", "errors"):
        (row,) = table(book, name)
        assert row["session_id"] == session
    assert table(book, "llms")[0]["prompt"].startswith('[{"role":"user","content":"first"},')
    (row,) = table(book, "sessions")
    assert (row["session_id"], row["events"], row["cost"], row["end_state"]) == (session, "4", "0.25", "Success")


def test_formulas(book: Book) -> None:
    """A text that a spreadsheet would take for a formula gets a ' before it; numbers do not."""
    some(book)
    rows = table(book)
    assert [rows[0]["completion"], rows[2]["params"], rows[3]["details"]] == ["'=yes", "'+cmd", "'@broken"]
    assert rows[1]["returns"] == "-5"
    for text in ("=1+1", " =1", "\t=1", "-2+3", "@SUM(A1)", "\uff1d1", "+a", "\n=1", "'quoted"):
        assert harmless(text) == f"'{text}", text
    for text in ("-5", "+1.5e3", "a=b", "", "1-2", "mail@example.org"):
        assert harmless(text) == text, text


@given(st.text())
def test_formulas_can_be_taken_back(text: str) -> None:
    """No cell begins like a formula unless it is a number, and whoever takes one ' away has the text again."""
    cell = harmless(text)
    assert cell.removeprefix("'") == text.replace("\0", "\ufffd")
    assert cell[:1] not in ("=", "@", "\t", "\r", "\n")


def test_parquet_is_the_same_table(book: Book) -> None:
    """Parquet has the rows and columns of CSV, with types: numbers are numbers, times are times in UTC."""
    pa = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    some(book)
    book.change("UPDATE events SET prompt_tokens = 'many' WHERE seq = 3")
    for name in TABLES:
        found = parquet.read_table(io.BytesIO(raw(book, None, "parquet", table=name)))
        rows = table(book, name)
        assert (found.num_rows, found.schema.names) == (len(rows), list(rows[0])), name
    found = parquet.read_table(io.BytesIO(raw(book, None, "parquet")))
    assert found.schema.field("init_timestamp").type == pa.timestamp("us", tz="UTC")
    first = found.slice(1, 1).to_pylist()[0]
    assert (first["duration_s"], first["init_timestamp"].isoformat()) == (0.25, "1970-01-01T00:00:01+00:00")
    assert found.column("cost").to_pylist() == [0.25, None, None, None]
    assert found.column("prompt_tokens").to_pylist() == [7, None, None, None]  # what is no number is none
    assert found.column("completion")[0].as_py() == "=yes"  # no spreadsheet, so nothing is put before it


def test_without_content(book: Book) -> None:
    """Without content the tables lack its columns."""
    secretive(book)
    book.change("UPDATE sessions SET tags = '[]'")
    book.change("UPDATE events SET name = 'named', model = 'm'")
    book.change("UPDATE agents SET name = 'somebody'")
    for name in TABLES:
        out = raw(book, None, "csv", table=name, content=False)
        assert SECRET.encode() not in out, name
        assert b"session_id" in out
    assert "params" not in table(book, content=False)[0]


def test_nothing_to_export(book: Book) -> None:
    """A database without a session gives the header alone."""
    book.session()
    book.change("DELETE FROM sessions")
    (line,) = raw(book, None, "csv").splitlines()
    assert line.startswith(b"session_id,seq,id,")
