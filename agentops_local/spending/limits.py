"""What the limits are: a sum of US dollars, and what it is for."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import NamedTuple

from agentops_local import clock
from agentops_local.errors import WrongUse, shown

VARIABLE = "AGENTOPS_LOCAL_BUDGET"
SCOPES = ("session", "project", "day")
POLICIES = ("refuse", "allow")
_PUSD = Decimal(10) ** 12
_MOST_PUSD = 10**18  # a million US dollars: sums stay within SQLite's 64 bits

_OF = "SELECT scope, pusd, unpriced FROM budgets WHERE scope IN ('project', 'day', ?)"
_ALL = "SELECT scope, pusd, unpriced FROM budgets ORDER BY scope"
_SET = "INSERT OR REPLACE INTO budgets (scope, pusd, unpriced, set_us) VALUES (?, ?, ?, ?)"
_REMOVE = "DELETE FROM budgets WHERE scope = ?"


class Limit(NamedTuple):
    """A budget.

    Attributes:
        scope: 'project', 'day', or the id of a session; 'session' for every session that is meant by the environment.
        pusd: 1e-12 US dollars.
        unpriced: 'refuse' or 'allow': what becomes of a call whose price is not known.
    """

    scope: str
    pusd: int
    unpriced: str


def limit(usd: object, scope: str, unpriced: str = "refuse") -> Limit:
    """A budget as it is given.

    Raises:
        WrongUse: for an amount, a scope or a policy that is none.
    """
    if scope not in SCOPES:
        raise WrongUse(f"budget scope {shown(scope)} is not known: use 'session', 'project' or 'day'")
    if unpriced not in POLICIES:
        raise WrongUse(f"budget policy unpriced={shown(unpriced)} is not known: use 'refuse' or 'allow'")
    try:
        pusd = int(Decimal(str(usd)) * _PUSD)
    except (InvalidOperation, ValueError, OverflowError):
        pusd = -1
    if not 0 <= pusd <= _MOST_PUSD:
        raise WrongUse(f"budget {shown(usd)} is no amount of US dollars: use a number from 0 to 1,000,000")
    return Limit(scope, pusd, unpriced)


def from_environment(environment: Mapping[str, str]) -> Limit | None:
    """The budget that AGENTOPS_LOCAL_BUDGET sets: '5', '5/day' or '5/day/allow'; None if it is not set.

    Raises:
        WrongUse: it cannot be understood.
    """
    given = environment.get(VARIABLE, "").strip()
    if not given:
        return None
    usd, *more = (part.strip() for part in given.split("/"))
    if len(more) > 2:
        raise WrongUse(f"{VARIABLE}={shown(given)} is no budget: use '5', '5/day' or '5/day/allow'")
    return limit(usd, *(more or ["session"]))


def of_session(connection: sqlite3.Connection, session_id: str) -> list[Limit]:
    """The limits that hold for a session's calls."""
    return [Limit(*row) for row in connection.execute(_OF, (session_id,)).fetchall()]


def all_limits(connection: sqlite3.Connection) -> list[Limit]:
    """Every limit of the database."""
    return [Limit(*row) for row in connection.execute(_ALL).fetchall()]


def put(connection: sqlite3.Connection, scope: str, given: Limit | None) -> None:
    """Sets the limit of a scope, or takes it away. In a transaction."""
    if given is None:
        connection.execute(_REMOVE, (scope,))
    else:
        connection.execute(_SET, (scope, given.pusd, given.unpriced, clock.now_us()))
