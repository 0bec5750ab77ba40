"""SQL over the tables and views of schema.sql: reading only, for a limited time, so many rows."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from agentops_local.analytics.reading import reading
from agentops_local.errors import AgentOpsLocalError, WrongUse
from agentops_local.store.location import find_database

if TYPE_CHECKING:
    import pandas
    import polars

Value = int | float | str | bytes | None

_STEPS = 10_000  # instructions of SQLite's machine between two looks at the clock, some tenths of a millisecond
_ALLOWED = {
    sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION, sqlite3.SQLITE_RECURSIVE,
}  # fmt: skip
_PRAGMAS = {
    "table_info", "table_xinfo", "table_list", "index_list", "index_info", "index_xinfo", "foreign_key_list",
    "database_list", "collation_list", "function_list", "compile_options", "data_version",
}  # fmt: skip


class QueryTooLong(AgentOpsLocalError):
    """A query took longer than it was given."""


class Rows(list[dict[str, Value]]):
    """What a query found, a dict each.

    Attributes:
        columns: their names, also where there is no row.
        is_cut: whether there is more than was asked for.
    """

    def __init__(self, columns: Sequence[str], rows: Sequence[Sequence[Value]], is_cut: bool) -> None:
        super().__init__(dict(zip(columns, row, strict=True)) for row in rows)
        self.columns = list(columns)
        self.is_cut = is_cut

    def to_pandas(self) -> pandas.DataFrame:
        """The same as a DataFrame of pandas, which must be installed.

        Raises:
            ImportError: it is not.
        """
        import pandas

        return pandas.DataFrame(list(self), columns=self.columns)

    def to_polars(self) -> polars.DataFrame:
        """The same as a DataFrame of polars, which must be installed.

        Raises:
            ImportError: it is not.
        """
        import polars

        columns = {name: [row[name] for row in self] for name in self.columns}
        return polars.DataFrame(columns, strict=False)


def query(
    sql: str,
    values: Sequence[Value] | Mapping[str, Value] = (),
    *,
    limit: int = 10_000,
    seconds: float = 30.0,
    db: Path | str | None = None,
) -> Rows:
    """Asks the database in SQL.

    Args:
        sql: one statement that reads: SELECT, WITH, VALUES, EXPLAIN, or a PRAGMA that tells of tables.
        values: for its `?` or `:name`.
        limit: how many rows at most; 0 for all.
        seconds: how long it may take.
        db: the database; None for that of the project around the working directory.

    Returns:
        The rows; where two columns have the same name, the second is called `name_2` and so on.

    Raises:
        WrongUse: it is no such statement, or SQLite does not understand it.
        QueryTooLong: it took longer.
        DatabaseUnusable: there is no database.
    """
    with reading(find_database(None if db is None else str(db))) as connection:
        connection.row_factory = None
        connection.set_authorizer(_authorize)
        deadline = time.monotonic() + seconds
        connection.set_progress_handler(lambda: time.monotonic() > deadline, _STEPS)
        try:
            cursor = connection.execute(sql, values)
            rows = cursor.fetchmany(limit + 1) if limit else cursor.fetchall()
        except (sqlite3.Error, sqlite3.Warning) as error:
            raise _told(error, seconds) from error
        if cursor.description is None:
            raise WrongUse("the statement gives no rows: ask with SELECT")
        columns = _named([column[0] for column in cursor.description])
        cursor.close()
        return Rows(columns, rows[:limit] if limit else rows, bool(limit) and len(rows) > limit)


def _authorize(action: int, first: str | None, _second: str | None, _database: str | None, _source: str | None) -> int:
    if action in _ALLOWED or (action == sqlite3.SQLITE_PRAGMA and first in _PRAGMAS):
        return sqlite3.SQLITE_OK
    return sqlite3.SQLITE_DENY  # ATTACH among them, by which VACUUM INTO writes a file


def _told(error: Exception, seconds: float) -> AgentOpsLocalError:
    text = str(error)
    if "interrupted" in text:
        return QueryTooLong(
            f"the query took longer than {seconds:g} s: narrow it down (`WHERE session = ...` goes by an index), or "
            "give it more time"
        )
    if "authoriz" in text or "prohibited" in text:
        return WrongUse(f"only reading is allowed here ({text}): ask with SELECT")
    if isinstance(error, (sqlite3.ProgrammingError, sqlite3.Warning)):  # more than one statement, missing values
        return WrongUse(text)
    if isinstance(error, sqlite3.OperationalError) and "locked" not in text and "disk" not in text:
        return WrongUse(f"SQLite does not understand it: {text}")
    return AgentOpsLocalError(f"the query could not be answered: {text}")


def _named(columns: Sequence[str]) -> list[str]:
    """Every column by a name of its own."""
    seen: dict[str, int] = {}
    named = []
    for name in columns:
        seen[name] = seen.get(name, 0) + 1
        named.append(name if seen[name] == 1 else f"{name}_{seen[name]}")
    return named
