"""Reserving what a call may cost, in the one transaction that also looks whether there is so much left."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import NamedTuple

from agentops_local import clock, process
from agentops_local.errors import BudgetExceeded
from agentops_local.spending.limits import Limit

DAY_US = 86_400_000_000

_PRICED = "SELECT coalesce((SELECT value FROM about WHERE key = 'priced_seq'), 0)"
_CACHED = "SELECT pusd, seq FROM spending WHERE scope = ?"
_KEEP = "INSERT OR REPLACE INTO spending (scope, pusd, seq) VALUES (?, ?, ?)"
_SUM = "SELECT coalesce(sum(cost_pusd), 0) FROM events WHERE seq > :after AND seq <= :until AND {which}"
_RESERVED = "SELECT coalesce(sum(pusd), 0) FROM reservations WHERE {which}"
_RESERVE = "INSERT INTO reservations (session, pid, started, boot, host, at_us, pusd) VALUES (?, ?, ?, ?, ?, ?, ?)"
_OWNERS = "SELECT id, pid, started, boot, host FROM reservations WHERE pid <> 0"
_REMOVE = "DELETE FROM reservations WHERE id = ?"
# What nobody will ever know the cost of counts with what was reserved for it: it belongs to no process any more.
_CHARGE = "UPDATE reservations SET pid = 0 WHERE id = ?"

_NEVER = (1 << 63) - 1


class Scope(NamedTuple):
    """What a limit is for, in the words of SQL.

    Attributes:
        key: its row in `spending`.
        events, reservations: which count, with the parameters :session, :day and :next_day.
        words: as a message says it.
    """

    key: str
    events: str
    reservations: str
    words: str


def scope_of(limit: Limit, session_id: str | None, now_us: int) -> Scope:
    """The scope of a limit for a call at this moment."""
    if limit.scope == "project":
        return Scope("project", "1", "1", "the project")
    if limit.scope == "day":
        day = clock.to_iso(now_us)[:10]
        return Scope(
            day, "init_us >= :day AND init_us < :next_day", "at_us >= :day AND at_us < :next_day", f"{day} (UTC)"
        )
    return Scope(
        str(session_id), "session = (SELECT seq FROM sessions WHERE id = :session)", "session = :session",
        f"session {session_id}",
    )  # fmt: skip


class Account:
    """What is spent and reserved in a scope. The sum over old events is kept, so that each look costs what is new."""

    def __init__(self, scope: Scope, session_id: str | None, now_us: int) -> None:
        self.scope = scope
        day = now_us - now_us % DAY_US
        self._values = {"session": session_id, "day": day, "next_day": day + DAY_US}

    def prepare(self, connection: sqlite3.Connection) -> tuple[int, int] | None:
        """The sum over old events and where it ends, unless it is kept already. Outside of a transaction: over a large
        database it takes long, and nobody shall wait for it."""
        if connection.execute(_CACHED, (self.scope.key,)).fetchone() is not None:
            return None
        until = int(connection.execute(_PRICED).fetchone()[0])
        return self._sum(connection, 0, until), until

    def spent(self, connection: sqlite3.Connection, prepared: tuple[int, int] | None) -> int:
        """What is spent, 1e-12 US dollars. In a transaction."""
        kept = connection.execute(_CACHED, (self.scope.key,)).fetchone() or prepared or (0, 0)
        pusd, seq = int(kept[0]), int(kept[1])
        # Only up to where every call has its price: the others are summed anew each time, for they may get theirs yet.
        until = max(seq, int(connection.execute(_PRICED).fetchone()[0]))
        settled = pusd + self._sum(connection, seq, until)
        connection.execute(_KEEP, (self.scope.key, settled, until))
        return settled + self._sum(connection, until, _NEVER)

    def reserved(self, connection: sqlite3.Connection) -> int:
        """What calls under way may cost, and what calls have cost of which nothing better is known."""
        sql = _RESERVED.format(which=self.scope.reservations)
        return int(connection.execute(sql, self._values).fetchone()[0])

    def _sum(self, connection: sqlite3.Connection, after: int, until: int) -> int:
        sql = _SUM.format(which=self.scope.events)
        return int(connection.execute(sql, {**self._values, "after": after, "until": until}).fetchone()[0])


@dataclass
class Reserve:
    """The write that reserves; `number` is the reservation, `refusal` why there is none.

    Attributes:
        pusd: what the call may cost.
        limits: those that hold, each with its account and what was prepared for it.
    """

    session_id: str | None
    pusd: int
    limits: list[tuple[Limit, Account, tuple[int, int] | None]]
    number: int | None = None
    refusal: BudgetExceeded | None = None
    single_in: int = 0
    size: int = 0
    events: int = 0
    _looked_for_dead: bool = field(default=False, repr=False)

    def run(self, connection: sqlite3.Connection, epoch: int) -> None:  # noqa: ARG002 - as the store calls it
        """Looks, and reserves if there is room everywhere."""
        self.number, self.refusal, self._looked_for_dead = None, None, False
        for limit, account, prepared in self.limits:
            spent = account.spent(connection, prepared)
            if spent + account.reserved(connection) + self.pusd > limit.pusd:
                self._remove_dead(connection)
                reserved = account.reserved(connection)
                if spent + reserved + self.pusd > limit.pusd:
                    self.refusal = _refusal(limit, account.scope, spent, reserved, self.pusd)
                    return
        me = process.current()
        row = (self.session_id, *me, process.hostname(), clock.now_us(), self.pusd)
        self.number = connection.execute(_RESERVE, row).lastrowid

    def _remove_dead(self, connection: sqlite3.Connection) -> None:
        """Forgets what processes have reserved that are no more. Only when there is no room: it asks the system."""
        if self._looked_for_dead:
            return
        self._looked_for_dead = True
        for number, pid, started, boot, host in connection.execute(_OWNERS).fetchall():
            identity = process.ProcessIdentity(pid, started, boot)
            if process.liveness(identity, host) is process.Liveness.DEAD:
                connection.execute(_REMOVE, (number,))

    def keep(self) -> Reserve:
        """Itself."""
        return self


@dataclass
class Settle:
    """The write that ends a reservation.

    Attributes:
        number: the reservation.
        is_known: whether the event of the call tells its cost; else what was reserved counts for it.
    """

    number: int
    is_known: Callable[[sqlite3.Connection], bool]
    single_in: int = 0
    size: int = 0
    events: int = 0

    def run(self, connection: sqlite3.Connection, epoch: int) -> None:  # noqa: ARG002 - as the store calls it
        """Ends it."""
        connection.execute(_REMOVE if self.is_known(connection) else _CHARGE, (self.number,))

    def keep(self) -> Settle:
        """Itself."""
        return self


def dollars(pusd: int) -> str:
    """An amount in a message: as many digits as it has, at least two."""
    text = f"{Decimal(pusd).scaleb(-12):f}"
    whole, _, fraction = text.partition(".")
    return f"${whole}.{fraction.rstrip('0').ljust(2, '0')}"


def _refusal(limit: Limit, scope: Scope, spent: int, reserved: int, pusd: int) -> BudgetExceeded:
    return BudgetExceeded(
        f"the budget of {scope.words} is {dollars(limit.pusd)}: {dollars(spent)} is spent, {dollars(reserved)} is "
        f"reserved by calls under way, and this call may cost {dollars(pusd)}; it is not made. "
        "Raise the budget with agentops.budget(usd=...), or end it with usd=None"
    )
