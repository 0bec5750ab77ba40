"""What a call costs: as genai-prices has it, for all its models; and where we would rather say nothing."""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone
from decimal import Context, Decimal, localcontext
from typing import Any

import genai_prices
import pytest
from genai_prices import Usage
from genai_prices.data_snapshot import get_snapshot
from hypothesis import given, settings
from hypothesis import strategies as st

from agentops_local.pricing import Rates, Tokens, amount
from agentops_local.pricing.book import Price, at
from agentops_local.pricing.lookup import Found, look_up

EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
KEYS = ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens", "output_reasoning_tokens")


def models() -> list[tuple[str, str]]:
    """Every name of genai-prices under which it finds a model."""
    found = []
    for provider in get_snapshot().providers:
        for model in provider.models:
            try:
                genai_prices.calc_price(Usage(), model.id, provider_id=provider.id)
            except LookupError:
                continue  # the name of a family; it matches itself no more than anything else would
            found.append((provider.id, model.id))
    return found


MODELS = models()
COUNTS = st.one_of(st.integers(0, 5), st.integers(0, 600_000), st.sampled_from([0, 128_000, 200_000, 200_001, 272_000]))
MOMENTS = st.datetimes(datetime(2023, 1, 1), datetime(2027, 6, 1), timezones=st.just(timezone.utc))  # noqa: DTZ001


@st.composite
def usages(draw: st.DrawFn) -> Tokens:
    """Tokens of a call, the parts within their wholes."""
    read, written, reasoning = draw(COUNTS), draw(COUNTS), draw(COUNTS)
    parts = st.sampled_from([0, 1])
    read, written, reasoning = (count * draw(parts) for count in (read, written, reasoning))
    return Tokens(read + written + draw(COUNTS), reasoning + draw(COUNTS), read, written, reasoning)


def ours(found: list[Found], tokens: Tokens, moment: datetime) -> int | None:
    """What the price book says, given what was looked up."""
    at_us = (moment - EPOCH) // timedelta(microseconds=1)
    rows = [
        Price(number, one.from_us, one.until_us, None if one.rates is None else Rates.parse(one.rates), "priced", "")
        for number, one in enumerate(found)
    ]
    holding = [row for row in rows if row.from_us <= at_us and (row.until_us is None or at_us < row.until_us)]
    assert len(holding) == 1, "one price holds at any time"
    price = at(rows, at_us)
    assert price is holding[0]
    assert price.rates is not None
    return amount(price.rates, tokens, at_us)


def theirs(provider: str, model: str, tokens: Tokens, moment: datetime) -> tuple[int | None, Any]:
    """What genai-prices says, in 1e-12 dollars, and the prices by which; None where it refuses."""
    usage = Usage(**{key: count for key, count in zip(KEYS, tokens, strict=True) if count})
    with localcontext(Context(prec=80)):
        try:
            found = genai_prices.calc_price(usage, model, provider_id=provider, genai_request_timestamp=moment)
        except ValueError:
            return None, None
        return int((found.total_price * 10**12).to_integral_value()), found.model_price


def counted(prices: Any, tokens: Tokens) -> bool:
    """Whether a model bills by the tokens that a call has used, or by nothing at all."""
    given = {name for name, value in vars(prices).items() if value is not None}
    return not given or (("input_mtok" in given or not tokens.input) and ("output_mtok" in given or not tokens.output))


@settings(deadline=None, max_examples=15)
@given(st.lists(usages(), min_size=1, max_size=4), MOMENTS)
def test_every_model(tokens: list[Tokens], moment: datetime) -> None:
    """For every model of genai-prices, any usage and any time, a call costs what genai-prices says, rounded; where that
    refuses, or bills by something else than the tokens that were used, the call is unpriced."""
    for number, key in enumerate(MODELS):
        agree(key, tokens[number % len(tokens)], moment)


LOOKED_UP = {key: look_up(*key) for key in MODELS}


def changing() -> list[tuple[str, str]]:
    """The models whose price changes with time."""
    return [key for key in MODELS if len(LOOKED_UP[key]) > 1 or "hours" in str(LOOKED_UP[key])]


@settings(deadline=None, max_examples=300)
@given(st.sampled_from(changing()), usages(), MOMENTS, st.integers(-1, 1))
def test_prices_that_change(key: tuple[str, str], tokens: Tokens, moment: datetime, shift: int) -> None:
    """At every time of a day and on both sides of the moment at which a price changes, that of the moment is taken."""
    for one in LOOKED_UP[key]:
        for when in (moment, EPOCH + timedelta(microseconds=max(one.from_us, 86_400_000_000) + shift)):
            agree(key, tokens, when)


def agree(key: tuple[str, str], tokens: Tokens, moment: datetime) -> None:
    """Ours is theirs."""
    expected, prices = theirs(*key, tokens, moment)
    if expected is not None and not counted(prices, tokens):
        expected = None
    assert ours(LOOKED_UP[key], tokens, moment) == expected, (key, tokens, moment)


def test_tiers() -> None:
    """At the number of tokens where a dearer tier begins, and one more, each model costs what genai-prices says."""
    seen = 0
    for key in MODELS:
        texts = " ".join(one.rates or "" for one in LOOKED_UP[key])
        for start in {int(digits) for digits in re.findall(r"\[(\d+),", texts)}:
            seen += 1
            for tokens in (Tokens(start, 7), Tokens(start + 1, 7, 3), Tokens(start - 1, 7)):
                agree(key, tokens, datetime(2026, 11, 29, tzinfo=timezone.utc))
    assert seen > 50


def test_hours() -> None:
    """At the moment where an hour of other prices begins or ends, and just before, that of the moment is taken."""
    seen = 0
    for key in changing():
        for of_day in set(re.findall(r'"(?:from|until)":"([\d:]+)"', str(LOOKED_UP[key]))):
            seen += 1
            moment = datetime.fromisoformat(f"2026-11-29T{of_day}+00:00")
            for when in (moment, moment - timedelta(microseconds=1), moment + timedelta(microseconds=1)):
                agree(key, Tokens(1000, 1000, 10), when)
    assert seen


def test_hours_past_midnight() -> None:
    """Hours that end before they begin go on past midnight."""
    night = {"from": "22:30:00", "until": "06:00:00", "rates": {"input": "1"}}
    rates = Rates({"input": "2", "hours": [night]})
    hour = 3_600_000_000
    for at_us, pusd in ((0, 1), (6 * hour - 1, 1), (6 * hour, 2), (22 * hour, 2), (23 * hour, 1), (47 * hour, 1)):
        assert amount(rates, Tokens(1, None), at_us) == pusd * 1_000_000


@pytest.mark.parametrize(("tokens", "pusd"), [(1, 0), (2, 1), (3, 2), (5, 2), (7, 4)])
def test_halves(tokens: int, pusd: int) -> None:
    """A half of 1e-12 dollars is rounded to the even digit."""
    assert amount(Rates({"input": "0.0000005"}), Tokens(tokens, None)) == pusd


@given(usages(), st.integers(1, 1000))
def test_parts_that_exceed_the_whole(tokens: Tokens, more: int) -> None:
    """Where the parts of input or output are more than the whole, nobody knows what was billed: unpriced."""
    rates = Rates({"input": "1", "output": "2", "cache_read": "0.1"})
    assert amount(rates, tokens._replace(input=(tokens.cache_read or 0) + (tokens.cache_write or 0) - more)) is None
    assert amount(rates, tokens._replace(output=(tokens.reasoning or 0) - more)) is None
    assert amount(rates, tokens._replace(reasoning=(tokens.output or 0) + more)) is None


@given(usages(), st.integers(0, 10**30), st.integers(0, 24))
def test_exact(tokens: Tokens, digits: int, places: int) -> None:
    """An amount is exact to the last digit and rounded once, half to even, however long the rate is."""
    rate = Decimal(digits).scaleb(-places) % 1000
    got = amount(Rates({"input": str(rate), "output": str(rate)}), tokens)
    with localcontext(Context(prec=100)):
        whole = rate * ((tokens.input or 0) + (tokens.output or 0)) * 10**6
        assert got == (int(whole.to_integral_value()) if whole <= 10**17 else None)


@pytest.mark.parametrize(
    ("tokens", "pusd"),
    [
        (Tokens(None, None), None),
        (Tokens(None, None, 5), None),
        (Tokens(0, 0), 0),
        (Tokens(10, None), 10_000_000),
        (Tokens(None, 10), 20_000_000),
        (Tokens(10, 10, 4, 3, 5), 3_000_000 + 400_000 + 3 * 1_250_000 + 20_000_000),
    ],
)
def test_what_is_counted(tokens: Tokens, pusd: int | None) -> None:
    """Each token is counted once, with the rate of its kind or else of the whole; no tokens known, no amount."""
    assert amount(Rates({"input": "1", "output": "2", "cache_read": "0.1", "cache_write": "1.25"}), tokens) == pusd


@pytest.mark.parametrize(
    "text", ["[]", "{", '{"input":"x"}', '{"input":-1}', '{"sound":1}', '{"input":true}', '{"input":"NaN"}',
             '{"input":{"base":1}}', '{"hours":[1]}', '{"input":"1e999"}', '{"input":[]}'],
)  # fmt: skip
def test_no_rates(text: str) -> None:
    """What are no rates is told by a ValueError, never taken for some."""
    with pytest.raises(ValueError):  # noqa: PT011 - json has its own words for it
        Rates.parse(text)
