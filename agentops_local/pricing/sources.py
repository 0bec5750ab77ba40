"""Where the prices that the book lacks come from: first the user, then genai-prices. Which edition of either the book
was made by stands in `about`; when one of them is another, what it said no longer holds.

- 'priced_by' is the newest version of genai-prices that has been asked. Programs without it, or with an older one, do
  not change that: with several environments on one database, each would undo what the other has found.
- 'priced_toml' is the edition of prices.toml.
- 'priced_seq': every call up to this one was looked at.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterable

from agentops_local import clock
from agentops_local.pricing import lookup
from agentops_local.pricing.lookup import Found
from agentops_local.pricing.overrides import FILE, Overrides

Key = tuple[str, str]  # provider, or '', and model

NOTES = "SELECT key, value FROM about WHERE key IN ('priced_by', 'priced_toml', 'priced_seq')"
NOTE = "INSERT OR REPLACE INTO about (key, value) VALUES (?, ?)"
# The sums that budgets keep, when calls that are in them get another price: they are made anew.
FORGET_SPENDING = "DELETE FROM spending"
_LIVE_KEYS = "SELECT DISTINCT provider, model FROM prices WHERE ended_us IS NULL"
_END = "UPDATE prices SET ended_us = ? WHERE provider = ? AND model = ? AND ended_us IS NULL"
_END_OF = "UPDATE prices SET ended_us = ? WHERE ended_us IS NULL AND (kind = ? OR (rates IS NULL AND ?))"
INSERT = """
INSERT INTO prices (provider, model, from_us, until_us, rates, kind, source, looked_us) VALUES (?, ?, ?, ?, ?, ?, ?, ?)
"""


class Sources:
    """The user's prices, and genai-prices as far as it is installed."""

    def __init__(self, overrides: Overrides) -> None:
        self.overrides = overrides
        self.version = lookup.installed()

    def find(self, key: Key) -> tuple[str, list[Found]] | None:
        """The kind and the prices of a model; None if genai-prices would have to be asked, and is not here."""
        provider, model = key
        names = [model]
        while (said := self.overrides.of(provider, model)) is not None:
            if said.rates is not None:
                return "overridden", [Found(0, None, said.rates, _named(names))]
            model = str(said.same_as)
            if model in names:
                break  # it is the same as itself: that is what genai-prices says of it
            names.append(model)
        if self.version is None:
            return None
        found = lookup.look_up(provider, model)
        if len(names) == 1:
            return "priced", found
        return "overridden", [one._replace(source=f"{_named(names)}, {one.source}") for one in found]

    def news(self, notes: dict[str, object]) -> tuple[bool, bool]:
        """Whether genai-prices, and the user's prices, are other than those that the book was made by."""
        newer = self.version is not None and _order(self.version) > _order(str(notes.get("priced_by") or ""))
        return newer, self.overrides.edition != (notes.get("priced_toml") or "")

    def renew(self, connection: sqlite3.Connection) -> None:
        """Ends what the book has of other editions. The calls that are not priced will be looked at again."""
        notes = {row[0]: row[1] for row in connection.execute(NOTES).fetchall()}
        newer, other = self.news(notes)
        now = clock.now_us()
        if newer:
            connection.execute(_END_OF, (now, "priced", 1))
            connection.execute(NOTE, ("priced_by", self.version))
        if other:
            connection.execute(_END_OF, (now, "overridden", 0))
            for key in connection.execute(_LIVE_KEYS).fetchall():
                if self.overrides.of(*key) is not None:
                    connection.execute(_END, (now, *key))
            connection.execute(NOTE, ("priced_toml", self.overrides.edition))
        if newer or other:
            connection.execute(NOTE, ("priced_seq", 0))
            connection.execute(FORGET_SPENDING)


def write(connection: sqlite3.Connection, key: Key, kind: str, found: Iterable[Found]) -> None:
    """Puts prices of a model into the book, in the place of those that are there."""
    now = clock.now_us()
    connection.execute(_END, (now, *key))
    for one in found:
        connection.execute(INSERT, (*key, one.from_us, one.until_us, one.rates, kind, one.source, now))


def _named(names: list[str]) -> str:
    return " = ".join([FILE, *names[1:]])


def _order(version: str) -> list[int]:
    return [int(part) for part in re.findall(r"\d+", version)]
