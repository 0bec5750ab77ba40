"""What genai-prices says of a model, as rows for the price book. Nothing else of ours imports it: that takes half a
second, and the package is an extra."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, time, timezone
from functools import cache
from importlib import metadata
from typing import TYPE_CHECKING, Any, NamedTuple

from agentops_local.forks import import_whole
from agentops_local.pricing.rates import dump

if TYPE_CHECKING:
    from genai_prices.types import ConditionalPrice, ModelPrice

NAME = "genai-prices"

# How OpenTelemetry calls a provider, where genai-prices would not know it, or take it for another.
_PROVIDERS = {
    "azure.ai.openai": "azure", "azure.ai.inference": "azure", "az.ai.openai": "azure", "az.ai.inference": "azure",
    "gcp.gen_ai": "google", "x_ai": "x-ai", "together_ai": "together", "fireworks_ai": "fireworks",
}  # fmt: skip
_KINDS = {
    "input_mtok": "input", "output_mtok": "output", "cache_read_mtok": "cache_read",
    "cache_write_mtok": "cache_write", "output_reasoning_mtok": "reasoning",
}  # fmt: skip
_REQUESTS = "requests_kcount"  # dollars for a thousand calls


class Found(NamedTuple):
    """A price: from when until when it holds, its rates (None: none is known), where it is from."""

    from_us: int
    until_us: int | None
    rates: str | None
    source: str


@cache
def installed() -> str | None:
    """The version of genai-prices here; None if it is not installed. It is not imported."""
    try:
        return metadata.version(NAME)
    except metadata.PackageNotFoundError:
        return None


def look_up(provider: str, model: str) -> list[Found]:
    """All the prices of a model, one after the other; one without rates if it is not known.

    Raises:
        ImportError: genai-prices is not installed.
    """
    library: Any = import_whole("genai_prices")
    name = f"{NAME} {installed()}"
    asked = provider.lower()
    try:
        found = library.calc_price(library.Usage(), model, provider_id=_PROVIDERS.get(asked, asked) or None)
    except (LookupError, ValueError):
        return [Found(0, None, None, name)]
    source = f"{name} {found.provider.id}/{found.model.id}"
    prices = found.model.prices
    if not isinstance(prices, list):
        return [Found(0, None, dump(_rates(prices)), source)]
    return [Found(start, end, dump(rates), source) for start, end, rates in _history(prices)]


def _history(prices: list[ConditionalPrice]) -> Iterator[tuple[int, int | None, dict[str, Any]]]:
    """The prices of a model between the dates on which one changes. Of those that hold, the last is taken."""
    starts = sorted({0, *(_start(price) for price in prices)})
    for start, end in zip(starts, [*starts[1:], None], strict=True):
        base: dict[str, Any] = _rates(prices[0].prices)
        hours: list[dict[str, Any]] = []
        for price in reversed(prices):
            if _start(price) > start:
                continue
            between = price.constraint
            if between is None or hasattr(between, "start_date"):
                base = _rates(price.prices)
                break
            hours.insert(
                0,
                {
                    "from": _of_day(between.start_time),
                    "until": _of_day(between.end_time),
                    "rates": _rates(price.prices),
                },
            )
        yield start, end, base | ({"hours": hours} if hours else {})


def _start(price: ConditionalPrice) -> int:
    date = getattr(price.constraint, "start_date", None)
    if date is None:
        return 0
    return max(0, int(datetime(date.year, date.month, date.day, tzinfo=timezone.utc).timestamp()) * 1_000_000)


def _of_day(at: time) -> str:
    if at.tzinfo is not None:
        day = datetime(2000, 1, 2, tzinfo=timezone.utc).date()
        at = datetime.combine(day, at).astimezone(timezone.utc).time()
    return at.isoformat()


def _rates(prices: ModelPrice) -> dict[str, Any]:
    """Prices of a model as rates. What it bills beside tokens and calls (searches, hours of sound) is not counted; but
    one that bills nothing else is not free of charge."""
    given = {name: value for name, value in vars(prices).items() if value is not None}
    rates = {kind: _rate(given[name]) for name, kind in _KINDS.items() if name in given}
    if _REQUESTS in given:
        rates["requests"] = given[_REQUESTS] * 1000
    if given and not rates:
        rates["requests"] = "0"
    return rates


def _rate(price: Any) -> Any:
    tiers = getattr(price, "tiers", None)
    if tiers is None:
        return price
    return {"base": price.base, "over": [[tier.start, tier.price] for tier in tiers]}
