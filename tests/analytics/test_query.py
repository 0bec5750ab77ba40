from __future__ import annotations

from pathlib import Path

import pytest

from agentops_local.analytics.questions.query import QueryTooLong, query
from agentops_local.errors import WrongUse
from tests.analytics.recording import Book

ENDLESS = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"


def test_rows(book: Book) -> None:
    """A query gives dicts, with values as SQLite has them; of columns with one name, the second has another."""
    state = book.session("x")
    book.tool(state, "t", returns={"a": 1})
    rows = query(
        "SELECT name, returns, 1.5 AS x, NULL AS x, x'01' AS b FROM tools WHERE name = ?", ("t",), db=book.path
    )
    assert rows == [{"name": "t", "returns": '{"a":1}', "x": 1.5, "x_2": None, "b": b"\x01"}]
    assert query("SELECT :a AS a", {"a": 7}, db=book.path) == [{"a": 7}]
    nothing = query("SELECT id FROM llms", db=book.path)
    assert (nothing, nothing.columns, nothing.is_cut) == ([], ["id"], False)
    assert query("PRAGMA table_info(events)", db=book.path)[0]["name"] == "seq"
    assert query("EXPLAIN QUERY PLAN SELECT 1", db=book.path)


def test_so_many_rows(book: Book) -> None:
    """No more rows are given than asked for, and it is told that there are more."""
    state = book.session()
    for _ in range(5):
        book.tool(state)
    some = query("SELECT id FROM tools", limit=3, db=book.path)
    assert (len(some), some.is_cut) == (3, True)
    assert (len(query("SELECT id FROM tools", limit=5, db=book.path)), some.is_cut) == (5, True)
    assert not query("SELECT id FROM tools", limit=5, db=book.path).is_cut
    assert len(query("SELECT id FROM tools", limit=0, db=book.path)) == 5


@pytest.mark.parametrize(
    "sql",
    [
        "DELETE FROM events", "UPDATE sessions SET tags = '[]'", "CREATE TABLE x (y)", "CREATE TEMP TABLE x (y)",
        "DROP VIEW llms", "VACUUM", "VACUUM INTO '{other}'", "ATTACH '{other}' AS o", "PRAGMA user_version = 9",
        "PRAGMA journal_mode = DELETE", "PRAGMA writable_schema = ON", "BEGIN IMMEDIATE", "REINDEX",
        "SELECT load_extension('x')", "SELECT 1; DELETE FROM events", "SELEKT", "SELECT nothing", "SELECT ?", "",
    ],
)  # fmt: skip
def test_only_reading(book: Book, tmp_path: Path, sql: str) -> None:
    """What would write, anywhere, or is no single statement that reads, is refused, and nothing is changed."""
    book.tool(book.session())
    book.close()
    before = book.path.read_bytes()
    other = tmp_path / "other.db"
    with pytest.raises(WrongUse):
        query(sql.format(other=other), db=book.path)
    assert book.path.read_bytes() == before
    assert not other.exists()


def test_so_long(book: Book) -> None:
    """A query that takes longer than it may is stopped, and told of."""
    book.session()
    with pytest.raises(QueryTooLong, match=r"longer than 0\.05 s"):
        query(ENDLESS, seconds=0.05, db=book.path)


def test_frames(book: Book) -> None:
    """Where pandas or polars is installed, the rows are given as their frames, with the columns in order."""
    book.tool(book.session(), "t")
    rows = query("SELECT name, 1 AS n, NULL AS none FROM tools", db=book.path)
    pandas = pytest.importorskip("pandas")
    frame = rows.to_pandas()
    assert isinstance(frame, pandas.DataFrame)
    assert list(frame.columns) == ["name", "n", "none"]
    polars = pytest.importorskip("polars")
    assert rows.to_polars().shape == (1, 3)
    assert isinstance(rows.to_polars(), polars.DataFrame)
