"""Local rows against what the server holds of a session: what is missing there, what is double, what differs."""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from dataclasses import asdict, dataclass, field

from agentops_local.errors import AgentOpsLocalError
from agentops_sync import reconcile, wire
from agentops_sync.authority import Authorities
from agentops_sync.client import JSON, Outcome, Request, Transport, Verdict
from agentops_sync.comparison import drift, error_key, error_key_of_row, session_drift
from agentops_sync.deliveries import Deliveries, Delivery
from agentops_sync.ledger import Ledger
from agentops_sync.policy import Policy
from agentops_sync.timing import Timing

KINDS = ("llms", "tools", "actions", "errors")

_EVENTS = """
SELECT u.event, u.kind, u.state, u.batch, b.policy FROM uploads u LEFT JOIN batches b ON b.id = u.batch
WHERE u.target = ? AND u.session = ? ORDER BY u.event
"""
_KEYS = "SELECT events, keys FROM batches WHERE target = ? AND session = ? AND keys IS NOT NULL"
_RESEND = "UPDATE uploads SET state = 'pending' WHERE target = ? AND event = ? AND state = 'done'"
_PIECE = 500  # events read at once


class Unanswered(AgentOpsLocalError):
    """The server did not give what is needed to compare."""


@dataclass(frozen=True)
class Drift:
    """A row that is there, but not as it was sent: which fields differ."""

    kind: str
    id: str
    fields: list[str]


@dataclass
class Verdicts:
    """What came of a comparison.

    Attributes:
        local: events here, by kind.
        there: rows there, by kind.
        waiting: events that have not been sent yet, or were given up; `agentops-sync status` says more.
        missing: ids of events that were sent and are not there.
        unseen: ids of events that were sent and may be there: the export was cut.
        doubled: ids of events that are there more than once.
        foreign: rows there that are not from this database, by kind.
        drifted: rows that differ; the session's own has the kind "session".
        stats: what the server counts more (or less) than its rows; it counts again what it is sent again.
    """

    session: str
    local: dict[str, int] = field(default_factory=lambda: dict.fromkeys(KINDS, 0))
    there: dict[str, int] = field(default_factory=lambda: dict.fromkeys(KINDS, 0))
    waiting: int = 0
    missing: list[str] = field(default_factory=list)
    unseen: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    foreign: dict[str, int] = field(default_factory=dict)
    drifted: list[Drift] = field(default_factory=list)
    stats: dict[str, int] = field(default_factory=dict)

    @property
    def agrees(self) -> bool:
        """Whether everything that is here is there, once, as it was sent."""
        return not (self.waiting or self.missing or self.unseen or self.doubled or self.drifted)

    def to_json(self) -> dict[str, JSON]:
        """As JSON."""
        return {**asdict(self), "agrees": self.agrees}


@dataclass(frozen=True)
class _Sent:
    """An event that was sent, under what id or key, and under which policy."""

    event: int
    name: str
    policy: str | None


class Verifier:
    """Compares sessions of one database with one target."""

    def __init__(self, ledger: Ledger, transport: Transport, authorities: Authorities, timing: Timing) -> None:
        self._ledger = ledger
        self._transport = transport
        self._authorities = authorities
        self._deliveries = Deliveries(ledger, timing)

    def verify(self, session: int) -> Verdicts:
        """Compares a session.

        Raises:
            Unanswered: the server did not answer, its key is not known, or it has never been uploaded.
        """
        delivery = self._deliveries.load(session)
        if delivery is None or delivery.state not in ("present", "creating"):
            raise Unanswered(f"session {session if delivery is None else delivery.id} has not been uploaded yet")
        policy = self._authorities.policy(delivery.id, delivery.tags, delivery.key_hash)
        found = Verdicts(delivery.id)
        sent = self._sent(delivery, found)  # before the export: what is sent after it would seem to be missing in it
        export, stats = self._get(delivery, "export"), self._get(delivery, "stats")
        for kind in KINDS:
            self._compare(kind, sent[kind], export, stats, policy, delivery, found)
        self._compare_session(delivery, export, policy, found)
        for name in ("events", "errors"):
            counted = stats.get(name)
            rows = sum(found.there.values()) if name == "events" else found.there["errors"]
            if isinstance(counted, int) and counted != rows:
                found.stats[name] = counted - rows
        return found

    def repair(self, session: int, found: Verdicts) -> int:
        """Makes ready to be sent what is missing there, and the session's row if it differs.

        What is double or differs cannot be mended through this API.

        Returns:
            How many events.
        """
        target = self._ledger.target
        rows = self._ledger.read(
            lambda connection: connection.execute(
                "SELECT seq, lower(hex(id)) FROM events WHERE session = ?", (session,)
            ).fetchall()
        )
        missing = {name.replace("-", "") for name in found.missing}
        with self._ledger.transaction() as connection:
            again = sum(connection.execute(_RESEND, (target, number)).rowcount for number, id in rows if id in missing)
            behind = any(one.kind == "session" for one in found.drifted)
            connection.execute(
                "UPDATE deliveries SET work = work + 1, retry_us = 0, next_us = 0, "
                "revision_sent = CASE WHEN ? THEN 0 ELSE revision_sent END WHERE target = ? AND session = ?",
                (behind, target, session),
            )
        return again

    def _get(self, delivery: Delivery, what: str) -> dict[str, JSON]:
        key = self._authorities.key(delivery.key_hash)
        if key is None:
            raise Unanswered(f"the API key of session {delivery.id} is not known here: agentops-sync login")
        outcome: Outcome = self._transport.send(Request(f"/v2/sessions/{delivery.id}/{what}", key=key))
        if outcome.verdict is not Verdict.OK or not isinstance(outcome.body, dict):
            raise Unanswered(f"{self._ledger.url} gave no {what} of session {delivery.id}: {outcome}")
        return outcome.body

    def _sent(self, delivery: Delivery, found: Verdicts) -> dict[str, list[_Sent]]:
        """The events that should be there, by kind."""
        values = (self._ledger.target, delivery.session)
        rows = self._ledger.read(lambda connection: connection.execute(_EVENTS, values).fetchall())
        digests: dict[int, str] = {}
        for events, keys in self._ledger.read(lambda connection: connection.execute(_KEYS, values).fetchall()):
            digests.update(zip(json.loads(events), json.loads(keys), strict=False))
        sent: dict[str, list[_Sent]] = {kind: [] for kind in KINDS}
        for event, kind, state, _, policy in rows:
            found.local[kind] += 1
            if state == "done":
                sent[kind].append(_Sent(event, digests.get(event, ""), policy))
            else:
                found.waiting += 1
        return sent

    def _compare(
        self, kind: str, sent: list[_Sent], export: dict[str, JSON], stats: dict[str, JSON], policy: Policy,
        delivery: Delivery, found: Verdicts,
    ) -> None:  # fmt: skip
        held = export.get(kind)
        if not isinstance(held, list):
            raise Unanswered(f"the export of session {delivery.id} has no list of {kind}")
        rows = [row for row in held if isinstance(row, dict)]
        found.there[kind] = len(rows)
        names = [_name(kind, row) for row in rows]
        times, by_name = Counter(names), dict(zip(names, rows, strict=True))
        ours = set()
        for piece in (sent[start : start + _PIECE] for start in range(0, len(sent), _PIECE)):
            for one, event in zip(piece, self._bodies(kind, piece, policy, delivery), strict=False):
                if event is None:
                    continue
                name = (one.name or reconcile.digest(error_key(event.body))) if kind == "errors" else event.id.lower()
                ours.add(name)
                if not times[name]:
                    # An error that is sent again though it is there is there twice: the server's count must agree.
                    counted = stats.get("errors") if kind == "errors" else None
                    whole = len(rows) < reconcile.EXPORT_ROWS and not (isinstance(counted, int) and counted > len(rows))
                    (found.missing if whole else found.unseen).append(event.id)
                    continue
                if times[name] > 1:
                    found.doubled.append(event.id)
                if one.policy in (None, policy.name) and (differing := drift(kind, event.body, by_name[name])):
                    found.drifted.append(Drift(kind, event.id, differing))
        if foreign := sum(count for name, count in times.items() if name not in ours):
            found.foreign[kind] = foreign

    def _bodies(self, kind: str, piece: list[_Sent], policy: Policy, delivery: Delivery) -> list[wire.Wire | None]:
        """The events as they are sent; None for one that has been removed since."""
        agents = {agent.number: agent.id for agent in self._deliveries.agents(delivery.session)}
        seqs = [one.event for one in piece]

        def read(connection: sqlite3.Connection) -> dict[int, wire.Wire]:
            return {event.seq: event for event in wire.events(connection, kind, seqs, agents, policy)}

        bodies = self._ledger.read(read)
        return [bodies.get(seq) for seq in seqs]

    def _compare_session(self, delivery: Delivery, export: dict[str, JSON], policy: Policy, found: Verdicts) -> None:
        row = export.get("session")
        if not delivery.is_owner or not isinstance(row, dict):
            return
        body = self._ledger.read(
            lambda connection: wire.session_body(connection, delivery.session, ended=None, policy=policy)
        )
        if found.waiting and delivery.revision > delivery.revision_sent:
            return  # told when its events are there
        differing = session_drift(body, row)
        if delivery.end_us is None:  # what its end is there was found, not recorded
            differing = [name for name in differing if not name.startswith("end_")]
        if differing:
            found.drifted.append(Drift("session", delivery.id, differing))


def _name(kind: str, row: dict[str, JSON]) -> str:
    return reconcile.digest(error_key_of_row(row)) if kind == "errors" else str(row.get("id", "")).lower()
