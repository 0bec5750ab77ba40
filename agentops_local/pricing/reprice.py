"""Prices everything anew: each model is looked up again, and each call whose cost was not reported gets the price that
holds then. It goes in pieces, each a short transaction beside those who record: cut short, it is done by the next.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from agentops_local.pricing import book, sources
from agentops_local.pricing.access import Access
from agentops_local.pricing.catch_up import CALL, PIECE, priced
from agentops_local.pricing.lookup import Found
from agentops_local.pricing.overrides import load
from agentops_local.pricing.rates import Rates, Tokens
from agentops_local.pricing.sources import Key, Sources
from agentops_local.store import changes

_OURS = "kind = 'llms' AND model IS NOT NULL AND cost_source IS NOT 'reported'"
_KEYS = f"SELECT DISTINCT coalesce(provider, ''), model FROM events WHERE {_OURS} ORDER BY 1, 2"  # noqa: S608 - ours
_CALLS = f"""
SELECT {CALL}, cost_pusd, cost_source, price,
       EXISTS (SELECT 1 FROM uploads u JOIN targets t ON t.id = u.target WHERE u.event = seq AND u.state = 'done')
FROM events WHERE {_OURS} AND seq > ? ORDER BY seq LIMIT {PIECE}
"""  # noqa: S608 - our own text
_SET = f"UPDATE events SET cost_pusd = ?, cost_source = ?, price = ? WHERE seq = ? AND {_OURS}"  # noqa: S608 - ours


@dataclass
class Model:
    """What the calls of a model cost.

    Attributes:
        before, after: 1e-12 US dollars, over the priced calls.
        unpriced: calls that have no price afterwards.
        uploaded: calls that a server has with another cost than they have now.
        source: where the price is from.
    """

    provider: str
    model: str
    calls: int = 0
    before: int = 0
    after: int = 0
    unpriced: int = 0
    uploaded: int = 0
    source: str = ""


@dataclass
class Reprice:
    """One pricing of everything anew.

    Args:
        access: the database.
        as_of_us: the moment whose prices are taken; None: for each call that at which it began.
        dry: nothing is written.

    Attributes:
        models: what came of it, by provider and model.
    """

    access: Access
    as_of_us: int | None = None
    dry: bool = False
    models: dict[Key, Model] = field(default_factory=dict)
    _prices: dict[Key, list[book.Price]] = field(default_factory=dict)

    def run(self) -> list[Model]:
        """Does it; the models, by name.

        Raises:
            WrongPrices: the user's prices cannot be understood; nothing is changed.
            sqlite3.Error, OSError, StoreFault, DatabaseUnusable: the database cannot be read or written.
        """
        origin = Sources(load(self.access.path))
        if not self.dry:
            self.access.write(origin.renew)
        for key in self.access.read(lambda connection: connection.execute(_KEYS).fetchall()):
            self._look_up((key[0], key[1]), origin.find((key[0], key[1])))
        after = 0
        while calls := self.access.read(partial(_piece, after)):
            changed = [change for call in calls if (change := self._price(call)) is not None]
            if changed and not self.dry:
                self.access.write(partial(_set, changed))
            after = calls[-1][0]
        return [self.models[key] for key in sorted(self.models)]

    def _look_up(self, key: Key, found: tuple[str, list[Found]] | None) -> None:
        there = self.access.read(lambda connection: book.live(connection, *key))
        if found is not None and _said(there) != _told(*found):
            if self.dry:
                there = _as_rows(*found)
            else:
                self.access.write(lambda connection: sources.write(connection, key, *found))
                there = self.access.read(lambda connection: book.live(connection, *key))
        self._prices[key] = there

    def _price(self, call: tuple[Any, ...]) -> tuple[Any, ...] | None:
        """The columns of a call that change, and its number; None if none do."""
        seq, provider, model, init_us, *tokens = call[:9]
        before, *_, uploaded = call[9:]
        at_us = init_us if self.as_of_us is None else self.as_of_us
        price = book.at(self._prices.get((provider, model), []), at_us)
        after: tuple[Any, ...] = (None, None, None)
        if price is not None:
            after = (*priced(price, Tokens(*tokens), at_us), price.id)
        told = self.models.setdefault((provider, model), Model(provider, model))
        told.calls += 1
        told.before += before or 0
        told.after += after[0] or 0
        told.unpriced += after[0] is None
        told.uploaded += bool(uploaded) and before != after[0]
        told.source = "" if price is None else price.source
        return None if after == call[9:12] else (*after, seq)


def _piece(after: int, connection: sqlite3.Connection) -> list[tuple[Any, ...]]:
    return [tuple(row) for row in connection.execute(_CALLS, (after,)).fetchall()]


def _set(changed: list[tuple[Any, ...]], connection: sqlite3.Connection) -> None:
    for change in changed:
        connection.execute(_SET, change)
    changes.note_events(connection, [change[-1] for change in changed])
    if changed:
        connection.execute(sources.FORGET_SPENDING)


def _told(kind: str, found: list[Found]) -> list[tuple[Any, ...]]:
    return sorted((one.from_us, one.until_us or 0, one.rates, kind, one.source) for one in found)


def _as_rows(kind: str, found: list[Found]) -> list[book.Price]:
    return [
        book.Price(
            0, one.from_us, one.until_us, None if one.rates is None else Rates.parse(one.rates), kind, one.source
        )
        for one in reversed(found)
    ]


def _said(prices: list[book.Price]) -> list[tuple[Any, ...]]:
    return sorted(
        (one.from_us, one.until_us or 0, None if one.rates is None else one.rates.text, one.kind, one.source)
        for one in prices
    )
