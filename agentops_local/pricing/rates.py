"""What a call costs by its rates: exact to the last digit.

Rates are US dollars for a million tokens of a kind, kept as JSON in the price book:

    {"input": "1.25", "output": "10", "cache_read": "0.125"}

| kind | tokens |
|---|---|
| input, output | what no other kind of theirs has a rate for |
| cache_read, cache_write | parts of the input |
| reasoning | a part of the output |
| requests | the call itself (dollars for a million calls) |

A part without a rate is billed as the whole that it belongs to, so nothing is counted twice. A rate may rise with the
input: `{"base": "1.25", "over": [[200000, "2.5"]]}` is 2.50 dollars for every token of a call with more than 200,000
tokens of input. And it may depend on the time of the day (UTC) at which the call began: under "hours" stand the rates
of hours, and the last that hold are taken. `{}` is a price, too: the model is free of charge.

The sums are made with integers: an amount is a number of tokens times a decimal fraction, and is rounded once, half to
even, to 1e-12 dollars.
"""

from __future__ import annotations

import json
from datetime import time
from decimal import Decimal, InvalidOperation
from typing import Any, NamedTuple

_PARTS = ("cache_read", "cache_write", "reasoning")
KINDS = ("input", "output", *_PARTS, "requests")

_DAY = 86_400_000_000  # microseconds
_MOST = 10**17  # 1e-12 dollars, as the recorder has it: sums over many calls must stay within 64 bits
_DIGITS = 24  # behind the point of a rate
_DIVISOR = 10 ** (_DIGITS - 6)  # from rates in 1e-24 dollars a million tokens to 1e-12 dollars a token


class Tokens(NamedTuple):
    """The tokens of a call. None: nobody has counted."""

    input: int | None
    output: int | None
    cache_read: int | None = None
    cache_write: int | None = None
    reasoning: int | None = None


class _Rate(NamedTuple):
    """A rate, in 1e-24 dollars; and those that take its place where there is more input than so much, highest first."""

    base: int
    over: tuple[tuple[int, int], ...] = ()

    def at(self, input_tokens: int) -> int:
        for start, rate in self.over:
            if input_tokens > start:
                return rate
        return self.base


class Rates:
    """The rates of a model.

    Args:
        given: as in the price book.

    Raises:
        ValueError: that are no rates.
    """

    __slots__ = ("_hours", "_of", "text")

    def __init__(self, given: object) -> None:
        if not isinstance(given, dict):
            raise ValueError(f"{given!r} are no rates")  # noqa: TRY004 - of a text it is the value that is wrong
        self.text: str | None = None  # in the price book
        self._of = {kind: _rate(value) for kind, value in given.items() if kind != "hours"}
        if unknown := self._of.keys() - KINDS:
            raise ValueError(f"there are no rates for {sorted(unknown)}")
        self._hours = [
            (_moment(entry["from"]), _moment(entry["until"]), Rates(entry["rates"])) for entry in given.get("hours", ())
        ]

    @classmethod
    def parse(cls, text: str) -> Rates:
        """From their text in the price book.

        Raises:
            ValueError: it is none.
        """
        try:
            rates = cls(json.loads(text))
            rates.text = text
            return rates
        except (LookupError, TypeError, AttributeError, InvalidOperation) as error:
            raise ValueError(f"{text!r} are no rates: {error}") from error

    def at(self, at_us: int) -> Rates:
        """The rates at a moment."""
        of_day = at_us % _DAY
        for start, end, rates in reversed(self._hours):
            if start <= of_day < end or (end < start and (of_day >= start or of_day < end)):
                return rates
        return self

    def sum(self, tokens: Tokens) -> int | None:
        """As `amount`, whatever the time of the day."""
        counts = _counts(tokens)
        if counts is None:
            return None
        whole_in, plain_in, plain_out, *parts = counts
        rates = self._of
        if not rates:
            return 0
        total = rates["requests"].base if "requests" in rates else 0
        for kind, count in zip(_PARTS, parts, strict=True):
            if count and kind in rates:
                total += count * rates[kind].at(whole_in)
            elif kind == "reasoning":
                plain_out += count
            else:
                plain_in += count
        for kind, count in (("input", plain_in), ("output", plain_out)):
            if count:
                if kind not in rates:
                    return None  # it is billed by something that is not counted here
                total += count * rates[kind].at(whole_in)
        return _rounded(total)


def _counts(tokens: Tokens) -> tuple[int, ...] | None:
    """The input; what is left of input and output without their parts; the parts. None if that makes no sense."""
    whole_in, whole_out, *parts = (count or 0 for count in tokens)
    read, written, reasoning = parts
    plain_in, plain_out = whole_in - read - written, whole_out - reasoning
    if (tokens.input is None and tokens.output is None) or min(plain_in, plain_out, *parts) < 0:
        return None  # parts that exceed the whole: it is not known what was billed
    return whole_in, plain_in, plain_out, read, written, reasoning


def amount(rates: Rates, tokens: Tokens, at_us: int = 0) -> int | None:
    """What a call costs in 1e-12 dollars; None if that cannot be told: no tokens were counted, a part of them exceeds
    the whole, or there is no rate for them.

    Args:
        at_us: when it began.
    """
    return (rates.at(at_us) if rates._hours else rates).sum(tokens)


def _rounded(total: int) -> int | None:
    pusd, rest = divmod(total, _DIVISOR)
    twice = 2 * rest
    if twice > _DIVISOR or (twice == _DIVISOR and pusd & 1):
        pusd += 1
    return pusd if pusd <= _MOST else None


def _rate(given: object) -> _Rate:
    if not isinstance(given, dict):
        return _Rate(scaled(given))
    over = sorted(((int(start), scaled(rate)) for start, rate in given["over"]), reverse=True)
    return _Rate(scaled(given["base"]), tuple(over))


def scaled(given: object) -> int:
    """A rate in 1e-24 dollars.

    Raises:
        ValueError: it is no amount, or none that can be a rate.
    """
    if isinstance(given, bool) or not isinstance(given, (str, int, float, Decimal)):
        raise ValueError(f"{given!r} is no amount of dollars")  # noqa: TRY004 - as any other that is none
    try:
        amount = given if isinstance(given, Decimal) else Decimal(str(given))
    except InvalidOperation:
        raise ValueError(f"{given!r} is no amount of dollars") from None
    if not amount.is_finite() or amount < 0 or amount.adjusted() > _DIGITS:
        raise ValueError(f"{given!r} is no amount of dollars")
    _, digits, exponent = amount.as_tuple()
    power = int(exponent) + _DIGITS
    if power < 0:
        raise ValueError(f"{given!r} has more than {_DIGITS} digits behind the point")
    return int("".join(map(str, digits))) * int(10**power)


def _moment(text: str) -> int:
    at = time.fromisoformat(text)
    return ((at.hour * 60 + at.minute) * 60 + at.second) * 1_000_000 + at.microsecond


def dump(rates: dict[str, Any]) -> str:
    """Rates as the price book keeps them: the same rates are the same text."""
    return json.dumps(rates, sort_keys=True, separators=(",", ":"), default=_text)


def _text(rate: object) -> str:
    if not isinstance(rate, Decimal):
        raise TypeError(f"{rate!r} is no rate")
    text = f"{rate:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
