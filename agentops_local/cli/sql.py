"""`agentops-local sql`: the tables and views, asked in SQL."""

from __future__ import annotations

import sys

import click

from agentops_local.analytics.questions.query import Rows, Value, query
from agentops_local.cli.common import Settings, db_option, examples, price, print_json, screen_width
from agentops_local.cli.output import data_options, print_csv
from agentops_local.cli.table import Column, table
from agentops_local.cli.text import many, one_line

_LEAST = 8  # columns of the screen that a column of the answer gets at least


@click.command(
    epilog=examples(
        'agentops-local sql "SELECT model, sum(cost) FROM llms GROUP BY model"',
        'agentops-local sql "SELECT * FROM session_stats ORDER BY cost" --csv',
        "agentops-local sql - --json < question.sql",
    )
)
@click.argument("statement")
@click.option("--limit", type=click.IntRange(min=0), default=1000, show_default=True, help="Rows at most; 0 for all.")
@click.option(
    "--seconds", type=click.FloatRange(min=0.001), default=30.0, show_default=True, help="How long it may take."
)
@data_options
@db_option
@click.pass_obj
def sql(settings: Settings, statement: str, limit: int, seconds: float, as_json: bool, as_csv: bool) -> None:
    """Ask the database in SQL; STATEMENT may be - for standard input.

    One statement that only reads, over the views llms, tools, actions, errors, session_stats, payloads and egress, and
    the tables of schema.sql. Exit code 1 if it takes longer than it may, 2 if SQLite does not understand it.
    """
    path = settings.path()
    price(path)
    text = sys.stdin.read() if statement == "-" else statement
    found = query(text, limit=limit, seconds=seconds, db=path)
    if as_json:
        print_json([{name: _plain(value) for name, value in row.items()} for row in found])
    elif as_csv:
        print_csv(found.columns, [{name: _plain(value) for name, value in row.items()} for row in found])
    elif found.columns:
        click.echo(
            "\n".join(table(_columns(found), [tuple(map(_cell, row.values())) for row in found], screen_width()))
        )
    if found.is_cut:
        click.echo(f"there are more than {many(limit, 'row')}: --limit 0 shows all", err=True)


def _columns(found: Rows) -> list[Column]:
    numbers = [all(isinstance(row[name], (int, float, type(None))) for row in found) for name in found.columns]
    return [
        Column(name, right=number and bool(found), least=0 if number else _LEAST)
        for name, number in zip(found.columns, numbers, strict=True)
    ]


def _cell(value: Value) -> str:
    if value is None:
        return "-"
    return f"{value:,}" if isinstance(value, int) else one_line(str(_plain(value)))


def _plain(value: Value) -> object:
    """Bytes as hexadecimal digits."""
    return value.hex() if isinstance(value, bytes) else value
