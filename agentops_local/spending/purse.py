"""The limits as a program meets them: asked before each of its calls."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping
from typing import Any
from uuid import UUID

from agentops_local import clock, faults
from agentops_local.errors import BudgetExceeded
from agentops_local.pricing import book, sources
from agentops_local.pricing.access import OfProgram
from agentops_local.pricing.catch_up import catch_up, sources_of
from agentops_local.pricing.rates import Tokens, amount
from agentops_local.spending import estimate
from agentops_local.spending.limits import Limit, of_session, put
from agentops_local.spending.reserve import Account, Reserve, Settle, scope_of
from agentops_local.store.database import Database

_COST = "SELECT cost_pusd FROM events WHERE session = (SELECT seq FROM sessions WHERE id = ?) AND id = ?"


class Reservation:
    """What is reserved for a call under way.

    Args:
        end: ends it, told the id of the event that the call has become, and whether it has cost nothing.
    """

    def __init__(self, end: Callable[[UUID | None, bool], None]) -> None:
        self._end = end
        self._is_open = True

    def settle(self, event_id: UUID | None, is_free: bool) -> None:
        """The call has ended. If nobody knows what it has cost, what was reserved counts for it.

        Args:
            event_id: of the event that it has become.
            is_free: it has failed before the model said anything.
        """
        if self._is_open:
            self._is_open = False
            with faults.contained("settling a budget"):
                self._end(event_id, is_free)


class Purse:
    """The limits of a database, for the calls of this process.

    Args:
        database: the one that this process records to.
        default: a limit that the environment sets, beside those of the database.
    """

    def __init__(self, database: Database, default: Limit | None) -> None:
        self._database = database
        self._access = OfProgram(database)
        self._default = default

    def set(self, scope: str, given: Limit | None) -> None:
        """Sets a limit in the database, or takes it away; it survives a power cut.

        Args:
            scope: 'project', 'day', or the id of a session.
        """
        self._database.write(_Put(scope, given), power=True)

    def reserve(
        self, session_id: str | None, provider: str, arguments: Mapping[str, Any], prompt: object
    ) -> Reservation | None:
        """Reserves what a call may cost; None if there is no limit.

        Raises:
            BudgetExceeded: it does not fit, or its price is not known and a limit refuses such calls.
        """
        limits = self._database.read(lambda connection: of_session(connection, session_id or ""))
        if self._default is not None:
            limits.append(self._default)
        if not limits:
            return None
        catch_up(self._access)  # so that what is spent is known, and the book is of the newest edition
        model = str(arguments.get("model") or "")
        pusd = self._cost(provider, model, prompt, arguments)
        if pusd is None:
            strict = next((limit for limit in limits if limit.unpriced == "refuse"), None)
            if strict is not None:
                raise BudgetExceeded(
                    f"no price is known for model {model!r} of {provider}, and the budget refuses calls that cannot be "
                    "priced; give its price in prices.toml (see docs/costs.md), or set the budget with unpriced='allow'"
                )
            return None
        now = clock.now_us()
        accounts = [(limit, Account(scope_of(limit, session_id, now), session_id, now)) for limit in limits]
        prepared = self._database.read(lambda connection: [account.prepare(connection) for _, account in accounts])
        write = Reserve(session_id, pusd, [(*pair, ready) for pair, ready in zip(accounts, prepared, strict=True)])
        self._database.write(write)
        if write.refusal is not None:
            raise write.refusal
        number = write.number
        if number is None:  # the database cannot be written now; that stops no call
            return None
        return Reservation(lambda event_id, is_free: self._settle(number, session_id, event_id, is_free))

    def _settle(self, number: int, session_id: str | None, event_id: UUID | None, is_free: bool) -> None:
        if session_id is not None and event_id is not None and not is_free:
            catch_up(self._access, session=session_id)

        def is_known(connection: sqlite3.Connection) -> bool:
            if is_free:
                return True
            if session_id is None or event_id is None:
                return False
            row = connection.execute(_COST, (session_id, event_id.bytes)).fetchone()
            return row is not None and row[0] is not None

        self._database.write(Settle(number, is_known))

    def _cost(self, provider: str, model: str, prompt: object, arguments: Mapping[str, Any]) -> int | None:
        now = clock.now_us()
        key = (provider, model)
        prices = self._database.read(lambda connection: book.live(connection, *key))
        if not prices:
            found = sources_of(self._database.path).find(key)
            if found is None:
                return None
            self._access.write(lambda connection: _enter(connection, key, found))
            prices = self._database.read(lambda connection: book.live(connection, *key))
        price = book.at(prices, now)
        if price is None or price.rates is None:
            return None
        tokens = Tokens(estimate.prompt_tokens(prompt), estimate.completion_tokens(arguments))
        return amount(price.rates, tokens, now)


def _enter(connection: sqlite3.Connection, key: sources.Key, found: tuple[str, list[Any]]) -> None:
    if not book.live(connection, *key):  # another process may have been faster
        sources.write(connection, key, *found)


class _Put:
    """A limit as a write of the store."""

    def __init__(self, scope: str, given: Limit | None) -> None:
        self._scope = scope
        self._given = given
        self.single_in = self.size = self.events = 0

    def run(self, connection: sqlite3.Connection, epoch: int) -> None:  # noqa: ARG002 - as the store calls it
        """Sets it."""
        put(connection, self._scope, self._given)

    def keep(self) -> _Put:
        """Itself."""
        return self
