"""What a question gives for programs: JSON, or CSV that no spreadsheet takes for formulas; for people, a sparkline."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence

import click

from agentops_local.cli.common import F, json_option

_BARS = "▁▂▃▄▅▆▇█"


def data_options(command: F) -> F:
    """Adds `--json` and `--csv`."""
    return json_option(click.option("--csv", "as_csv", is_flag=True, help="Print CSV instead of a table.")(command))


def print_csv(columns: Sequence[str], rows: Sequence[Mapping[str, object]]) -> None:
    """Prints rows as CSV, with these columns of them."""
    from agentops_local.exporting.spreadsheet import harmless

    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    for row in rows:
        cells = ("; ".join(map(str, value)) if isinstance(value, list) else value for value in map(row.get, columns))
        writer.writerow([harmless(cell) if isinstance(cell, str) else cell for cell in cells])
    click.echo(text.getvalue(), nl=False)


def flat(row: Mapping[str, object], inner: str) -> dict[str, object]:
    """A row whose member `inner`, an object, is taken apart into columns of their own."""
    inside = row.get(inner)
    return {
        **{name: value for name, value in row.items() if name != inner},
        **(inside if isinstance(inside, Mapping) else {}),
    }


def sparkline(values: Sequence[float]) -> str:
    """A line of bars, from zero to the largest."""
    most = max(values, default=0)
    if most <= 0:
        return _BARS[0] * len(values)
    return "".join(_BARS[min(len(_BARS) - 1, int(value / most * len(_BARS)))] for value in values)
