"""Parquet: the tables with types, a row group at a time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, BinaryIO

from agentops_local.errors import AgentOpsLocalError
from agentops_local.exporting.choice import Choice, Progress
from agentops_local.exporting.source import SessionHead, Source
from agentops_local.exporting.tables import Cells, Column, columns, rows, typed

if TYPE_CHECKING:
    import pyarrow as pa

_ROWS = 20_000  # of a row group, at most
_SIZE = 16 << 20  # characters of a row group


class NotInstalled(AgentOpsLocalError):
    """What writes Parquet is not installed."""


def write(source: Source, sessions: Iterator[SessionHead], out: BinaryIO, choice: Choice, progress: Progress) -> None:
    """Writes a table of sessions.

    Raises:
        NotInstalled: the extra `parquet` is not installed.
    """
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError as error:
        raise NotInstalled("Parquet needs pyarrow: pip install 'agentops-local[parquet]'") from error
    kinds = {
        "text": pa.string(), "number": pa.int64(), "real": pa.float64(), "time": pa.timestamp("us", tz="UTC")
    }  # fmt: skip
    wanted = columns(choice)
    schema = pa.schema([(column.name, kinds[column.kind]) for column in wanted])
    with parquet.ParquetWriter(out, schema, compression="zstd") as writer:
        for group in _groups(rows(source, sessions, choice, progress)):
            writer.write_table(_table(group, wanted, schema))


def _table(group: list[Cells], wanted: tuple[Column, ...], schema: pa.Schema) -> Any:
    import pyarrow as pa

    arrays = [
        _array(part, column, field.type)
        for part, column, field in zip(zip(*group, strict=True), wanted, schema, strict=True)
    ]
    return pa.table(arrays, schema=schema)


def _array(part: tuple[object, ...], column: Column, kind: Any) -> Any:
    import pyarrow as pa

    try:
        return pa.array(part, kind)
    except (pa.ArrowInvalid, pa.ArrowTypeError, TypeError, OverflowError):  # what another program has put there
        return pa.array([typed(value, column.kind) for value in part], kind)


def _groups(found: Iterator[Cells]) -> Iterator[list[Cells]]:
    group: list[Cells] = []
    size = 0
    for cells in found:
        group.append(cells)
        size += sum(len(value) for value in cells if isinstance(value, str))
        if len(group) >= _ROWS or size > _SIZE:
            yield group
            group, size = [], 0
    if group:
        yield group
