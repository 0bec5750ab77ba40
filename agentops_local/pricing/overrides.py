"""The user's own prices: `prices.toml` beside the database.

    [[price]]
    model = "our-finetune"
    input = "2.50"            # US dollars for a million tokens, as text or as a number
    output = 10
    cache_read = "0.25"       # cache_read, cache_write, reasoning: as input, input, output where they are left out

    [[price]]
    model = "gpt-4o"
    provider = "azure.ai.openai"   # calls to that provider only, by the name that stands in the events
    input = 2
    output = 8

    [[price]]
    model = "mistral-large-latest"
    same_as = "mistral-large-2512" # a name that moves: looked up as this model

An entry that names a provider comes before one that does not. A file that cannot be understood raises `WrongPrices`,
which names the entry and the remedy; until it is mended, nothing new is priced: a price that the user has put right
must not come wrong from elsewhere.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from hashlib import blake2b
from pathlib import Path
from typing import Any

from agentops_local.errors import AgentOpsLocalError
from agentops_local.pricing.rates import dump, scaled

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

FILE = "prices.toml"

_RATES = ("input", "output", "cache_read", "cache_write", "reasoning")
_KNOWN = ("model", "provider", "same_as", *_RATES)


class WrongPrices(AgentOpsLocalError):
    """The user's prices cannot be understood; the message names the place and the remedy."""


@dataclass(frozen=True, slots=True)
class Override:
    """What the user has said of a model: its rates as the price book keeps them, or whose it shares."""

    rates: str | None
    same_as: str | None


@dataclass(frozen=True)
class Overrides:
    """The user's prices.

    Attributes:
        edition: tells this edition of the file from another; '' if there is none.
    """

    entries: Mapping[tuple[str | None, str], Override]
    edition: str = ""

    def of(self, provider: str, model: str) -> Override | None:
        """What was said of a model of a provider, or of the model."""
        return self.entries.get((provider, model)) or self.entries.get((None, model))


def load(database: Path) -> Overrides:
    """The user's prices for a database.

    Raises:
        WrongPrices: they cannot be understood.
    """
    file = database.with_name(FILE)
    raw = read(database)
    if raw is None:
        return Overrides({})
    try:
        parsed = tomllib.loads(raw.decode("utf-8"), parse_float=Decimal)
    except ValueError as error:  # TOMLDecodeError tells the line; UnicodeDecodeError is one as well
        raise WrongPrices(f"{file} is not TOML ({error}): correct that line") from error
    if unknown := [name for name in parsed if name != "price"]:
        raise WrongPrices(f"{file}: there is no setting {unknown[0]!r}: it holds [[price]] entries only")
    given = parsed.get("price", [])
    if not isinstance(given, list):
        raise WrongPrices(f"{file}: [price] is one table where a list is wanted: write [[price]]")
    entries: dict[tuple[str | None, str], Override] = {}
    for number, entry in enumerate(given, 1):
        key, override = _entry(entry, f"{file}: price {number}")
        if key in entries:
            raise WrongPrices(f"{file}: price {number}: {key[1]!r} has an entry already: keep one of the two")
        entries[key] = override
    return Overrides(entries, edition_of(raw))


def read(database: Path) -> bytes | None:
    """The file, None if there is none.

    Raises:
        WrongPrices: it cannot be read.
    """
    file = database.with_name(FILE)
    try:
        return file.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise WrongPrices(f"{file} cannot be read ({error.strerror}): make it readable, or remove it") from error


def edition_of(raw: bytes | None) -> str:
    """What tells one edition of the file from another."""
    return "" if raw is None else blake2b(raw, digest_size=8).hexdigest()


def _entry(entry: object, place: str) -> tuple[tuple[str | None, str], Override]:
    if not isinstance(entry, dict):
        raise WrongPrices(f"{place} is no table: write [[price]] above it")
    if unknown := [name for name in entry if name not in _KNOWN]:
        raise WrongPrices(f"{place}: there is no setting {unknown[0]!r}: it holds {', '.join(_KNOWN)}")
    model = _text(entry, "model", place)
    if model is None:
        raise WrongPrices(f'{place} names no model: add model = "..."')
    same_as = _text(entry, "same_as", place)
    rates = {name: _rate(entry[name], f"{place} ({model}): {name}") for name in _RATES if name in entry}
    if (same_as is None) == (not rates):
        raise WrongPrices(f"{place} ({model}): give it rates (input, output, ...) or same_as, one of the two")
    return (_text(entry, "provider", place), model), Override(dump(rates) if rates else None, same_as)


def _text(entry: Mapping[str, Any], name: str, place: str) -> str | None:
    value = entry.get(name)
    if value is not None and (not isinstance(value, str) or not value):
        raise WrongPrices(f"{place}: {name} = {value!r} is no text: write it in quotes")
    return value


def _rate(value: object, place: str) -> Decimal:
    try:
        scaled(value)
    except ValueError:
        raise WrongPrices(
            f'{place} = {value!r} is no rate: write US dollars for a million tokens, as in "2.50"'
        ) from None
    return value if isinstance(value, Decimal) else Decimal(str(value))
