"""The price book as a recorder sees it: what the table `prices` holds, remembered for a few seconds.

Looking a price up anywhere else is not for those who record; a model that is not in the table costs one short SELECT.
"""

from __future__ import annotations

import sqlite3
from time import monotonic
from typing import NamedTuple

from agentops_local.log import logger
from agentops_local.pricing.rates import Rates

# Seconds after which the table is looked at again: another process may have put another price in the place of this one.
_LIFETIME = 5.0

LIVE = """
SELECT id, from_us, until_us, rates, kind, source FROM prices
WHERE model = ? AND provider = ? AND ended_us IS NULL ORDER BY from_us DESC, id DESC
"""


class Price(NamedTuple):
    """A row of the price book.

    Attributes:
        rates: None: no price is known.
        kind: 'priced' or 'overridden'.
    """

    id: int
    from_us: int
    until_us: int | None
    rates: Rates | None
    kind: str
    source: str


def live(connection: sqlite3.Connection, provider: str, model: str) -> list[Price]:
    """The prices of a model that hold, the latest first."""
    rows = connection.execute(LIVE, (model, provider)).fetchall()
    return [Price(row[0], row[1], row[2], _parsed(row[0], row[3]), row[4], row[5]) for row in rows]


def at(prices: list[Price], at_us: int) -> Price | None:
    """That of some prices which holds for a call that began at a moment."""
    moment = max(at_us, 0)
    for price in prices:
        if price.from_us <= moment and (price.until_us is None or moment < price.until_us):
            return price
    return None


class Book:
    """The price book of one recorder."""

    def __init__(self) -> None:
        self._epoch = 0
        self._known: dict[tuple[str, str], list[Price]] = {}
        self._until = 0.0

    def price(self, connection: sqlite3.Connection, epoch: int, provider: str, model: str, at_us: int) -> Price | None:
        """The price of a model at a moment; None if none is known.

        Args:
            epoch: what was learnt under another one no longer holds.
            provider: '': none was named.
        """
        now = monotonic()
        if epoch != self._epoch or now > self._until:
            self._known.clear()
            self._epoch, self._until = epoch, now + _LIFETIME
        prices = self._known.get((provider, model))
        if prices is None:
            prices = live(connection, provider, model)
            if not prices:
                return None
            self._known[provider, model] = prices
        found = at(prices, at_us)
        return None if found is None or found.rates is None else found


def _parsed(number: int, text: str | None) -> Rates | None:
    try:
        return None if text is None else Rates.parse(text)
    except ValueError as error:
        logger.warning("agentops_local: price %d cannot be read, its calls are unpriced: %s", number, error)
        return None
