"""Pages made of their data: HTML by templates that escape whatever they show, or the data itself as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

import orjson
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from agentops_local import __version__, figures
from agentops_local.dashboard.asking import RANGES, Asked

_FOLDER = Path(__file__).parent

STATES = {
    "Success": "good",
    "Fail": "bad",
    "running": "live",
    "died": "bad",
    "Indeterminate": "plain",
    "unknown": "plain",
}


def html(template: str, data: Mapping[str, object], asked: Asked, part: str | None = None) -> str:
    """A page, or one block of it.

    Args:
        template: its file.
        part: the name of a block.
    """
    page = environment().get_template(template)
    context = {"data": data, "asked": asked, "ranges": RANGES, "version": __version__}
    if part is None:
        return page.render(context)
    if part not in page.blocks:
        return ""
    return "".join(page.blocks[part](page.new_context(context)))


def json(data: Mapping[str, object]) -> bytes:
    """The data of a page; amounts of money are numbers in US dollars."""
    return orjson.dumps(data, default=_plain, option=orjson.OPT_NON_STR_KEYS)


@cache
def environment() -> Environment:
    """The templates. A name that a page lacks is an error, never an empty text."""
    found = Environment(
        loader=FileSystemLoader(_FOLDER / "templates"), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    found.filters.update(
        money=money, seconds=figures.seconds, tokens=figures.tokens, size=figures.size, count="{:,}".format,
        percent="{:.1%}".format, state=lambda state: STATES.get(state, "plain"),
    )  # fmt: skip
    return found


def money(cost: float | Decimal | None, unpriced: int = 0) -> str:
    """A cost in US dollars; see `figures.money`."""
    return figures.money(None if cost is None else Decimal(str(cost)), unpriced)


def _plain(value: Any) -> Any:
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, bytes):
        return value.hex()
    raise TypeError(f"a page cannot tell {type(value).__name__}")
