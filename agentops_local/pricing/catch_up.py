"""Prices what is not priced yet: the calls that were recorded before the price book knew their model.

It runs on the side of those who read a cost, never while something is recorded. A piece of calls is read, what the
book lacks is looked up outside of any transaction, and a short transaction then writes prices and amounts. Many
processes may do so at once: who comes second finds the price there and the call priced, and changes nothing.
"""

from __future__ import annotations

import json
import sqlite3
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from agentops_local.log import logger
from agentops_local.pricing import book, sources
from agentops_local.pricing.access import Access
from agentops_local.pricing.lookup import Found
from agentops_local.pricing.overrides import Overrides, WrongPrices, load
from agentops_local.pricing.rates import Tokens, amount
from agentops_local.pricing.sources import Key, Sources
from agentops_local.store import changes

PIECE = 300  # calls priced in one transaction, some milliseconds
_LAZY = 1000  # numbers of events; a mark that would move on by less is not worth a write
_TRIES = 5  # while other processes come with other editions of the prices

# Columns of a call that its price depends on.
CALL = """
seq, coalesce(provider, ''), model, init_us,
prompt_tokens, completion_tokens, cache_read_tokens, cache_write_tokens, reasoning_tokens
"""
_UNPRICED = """
kind = 'llms' AND cost_pusd IS NULL AND cost_source IS NULL AND model IS NOT NULL
AND (price IS NULL OR price IN (SELECT id FROM prices WHERE ended_us IS NOT NULL))
"""
_CALLS = f"SELECT {CALL} FROM events WHERE {_UNPRICED} AND {{which}} ORDER BY seq LIMIT {PIECE}"  # noqa: S608 - ours
_NEW = "seq > :after"
_OF_EVENTS = "seq IN (SELECT value FROM json_each(:events)) AND seq > :after"
# By the index over sessions, not by the numbers of all events since.
_OF_SESSION = "session = (SELECT seq FROM sessions WHERE id = :session) AND +seq > :after"
_PRICE = """
UPDATE events SET cost_pusd = ?, cost_source = ?, price = ? WHERE seq = ? AND cost_pusd IS NULL AND cost_source IS NULL
"""
_TOP = "SELECT coalesce(max(seq), 0) FROM events"
_BEGIN_MARK = "INSERT OR IGNORE INTO about (key, value) VALUES ('priced_seq', 0)"
# Not over that of somebody who has begun from the front since, for there are other prices.
_MOVE_MARK = "UPDATE about SET value = ? WHERE key = 'priced_seq' AND value = ?"

Call = tuple[Any, ...]

_told: set[str] = set()  # what was logged once is not logged with every cost that is read


class _Anew(Exception):
    """Another process has come with other prices."""


def catch_up(access: Access, *, session: str | None = None, events: list[int] | None = None) -> None:
    """Prices the calls that are not priced yet, as far as prices can be had. What stays unpriced is tried again when
    there is another genai-prices or prices.toml.

    Args:
        access: the database.
        session: UUID text; only the calls of this session. events: only these. Else all that came since the last time.

    Raises:
        sqlite3.Error, OSError, StoreFault, DatabaseUnusable: the database cannot be read or written.
    """
    known = sources_of(access.path)
    for _ in range(_TRIES):
        notes = access.read(_notes)
        if known.overrides is not None and any(known.sources.news(notes)):
            access.write(known.sources.renew)
            notes = access.read(_notes)
        try:
            _Round(access, known, notes, session, events).run()
        except _Anew:
            continue
        return


def is_due(connection: sqlite3.Connection, path: Path) -> bool:
    """Whether there are calls that `catch_up` would look at: new ones, or any where there are other prices by now."""
    known = sources_of(path)
    notes = _notes(connection)
    anew = known.overrides is not None and any(known.sources.news(notes))
    after = 0 if anew else int(notes.get("priced_seq") or 0)
    return connection.execute(_CALLS.format(which=_NEW), {"after": after}).fetchone() is not None


@dataclass(frozen=True)
class Known:
    """Where prices come from; `overrides` is None while the user's prices cannot be understood."""

    sources: Sources
    overrides: Overrides | None

    def find(self, key: Key) -> tuple[str, list[Found]] | None:
        """As `Sources.find`; nothing while it is not known what the user has said of the model."""
        return None if self.overrides is None else self.sources.find(key)

    def may_come(self, notes: dict[str, Any]) -> bool:
        """Whether what cannot be found here may yet be found though nothing changes: by somebody with genai-prices, or
        when the user has mended the file."""
        return self.overrides is None or (self.sources.version is None and bool(notes.get("priced_by")))


def sources_of(database: Path) -> Known:
    """Where prices come from, for a database. A file of the user's that is wrong is told of, once."""
    try:
        overrides = load(database)
    except WrongPrices as error:
        if str(error) not in _told:
            _told.add(str(error))
            logger.warning("agentops_local: %s. Until then, calls of models not priced before are unpriced", error)
        return Known(Sources(Overrides({})), None)
    return Known(Sources(overrides), overrides)


@dataclass
class _Round:
    """One going through the calls, with one edition of the prices."""

    access: Access
    known: Known
    notes: dict[str, Any]
    session: str | None
    events: list[int] | None
    found: dict[Key, tuple[str, list[Found]] | None] = field(default_factory=dict)
    blocked: bool = False  # a call was met that may yet be priced: the mark stays before it

    def run(self) -> None:
        scoped = self.session is not None or self.events is not None
        after = mark = 0 if self.events is not None else int(self.notes.get("priced_seq") or 0)
        more = True
        while more:
            top, calls, lacking = self.access.read(partial(self._look, after))
            self._find(lacking)
            more = len(calls) == PIECE
            after = calls[-1][0] if more else max(top, after)
            until = mark if scoped else self._mark(calls, after, mark)
            if calls or until - mark > _LAZY:
                self._write(calls, mark, until)
                mark = until

    def _look(self, after: int, connection: sqlite3.Connection) -> tuple[int, list[Call], set[Key]]:
        top = connection.execute(_TOP).fetchone()[0]  # first: what comes meanwhile is for the next time
        which = _NEW if self.session is None else _OF_SESSION
        values: dict[str, object] = {"after": after, "session": self.session}
        if self.events is not None:
            which, values["events"] = _OF_EVENTS, json.dumps(self.events)
        calls = connection.execute(_CALLS.format(which=which), values).fetchall()
        keys = {(call[1], call[2]) for call in calls}
        return top, calls, {key for key in keys if key not in self.found and not book.live(connection, *key)}

    def _find(self, lacking: set[Key]) -> None:
        for key in sorted(lacking):
            self.found[key] = self.known.find(key)

    def _mark(self, calls: list[Call], after: int, mark: int) -> int:
        """Up to where all is done, with these calls."""
        if self.blocked:
            return mark
        if self.known.may_come(self.notes):
            for call in calls:
                if self.found.get((call[1], call[2]), ()) is None:
                    self.blocked = True
                    return int(call[0]) - 1
        return after

    def _write(self, calls: list[Call], mark: int, until: int) -> None:
        anew = False

        def change(connection: sqlite3.Connection) -> None:
            nonlocal anew
            anew = self.known.overrides is not None and any(self.known.sources.news(_notes(connection)))
            if not anew:
                self._price(connection, calls)
                if calls and calls[0][0] <= mark:
                    connection.execute(sources.FORGET_SPENDING)
                if until > mark:
                    connection.execute(_BEGIN_MARK)
                    connection.execute(_MOVE_MARK, (until, mark))

        self.access.write(change)
        if anew:
            raise _Anew

    def _price(self, connection: sqlite3.Connection, calls: list[Call]) -> None:
        prices: dict[Key, list[book.Price]] = {}
        changed: list[int] = []
        numbers = json.dumps([call[0] for call in calls])
        fresh = connection.execute(_CALLS.format(which=_OF_EVENTS), {"events": numbers, "after": 0}).fetchall()
        for seq, provider, model, init_us, *tokens in fresh:
            key = (provider, model)
            if key not in prices:
                prices[key] = self._prices(connection, key)
            price = book.at(prices[key], init_us)
            if price is not None:
                connection.execute(_PRICE, (*priced(price, Tokens(*tokens), init_us), price.id, seq))
                changed.append(seq)
        changes.note_events(connection, changed)

    def _prices(self, connection: sqlite3.Connection, key: Key) -> list[book.Price]:
        prices = book.live(connection, *key)
        found = self.found.get(key)
        if not prices and found is not None:
            sources.write(connection, key, *found)
            prices = book.live(connection, *key)
        return prices


def priced(price: book.Price, tokens: Tokens, at_us: int) -> tuple[int | None, str | None]:
    """The amount and its source, as columns of the event."""
    pusd = None if price.rates is None else amount(price.rates, tokens, at_us)
    return pusd, None if pusd is None else price.kind


def _notes(connection: sqlite3.Connection) -> dict[str, Any]:
    return {row[0]: row[1] for row in connection.execute(sources.NOTES).fetchall()}
