"""What is sent next, and what follows from the answer: one session, one step at a time.

The order within a session is: create it, its agents, its events by kind, its row whenever that has changed. Before
anything else come the requests of which nothing clear was heard: they are settled by a look at what the server holds,
and until the server has had the time to finish them, the session waits. Steps of different sessions may run at once;
those of one never do. What fails for one session, agent, kind or event makes nothing else wait.
"""

from __future__ import annotations

import json
import sqlite3
from functools import partial
from uuid import UUID

from agentops_local.analytics.owners import Status, judge, owners_of
from agentops_sync import reconcile, trials, wire
from agentops_sync.adoption import adopt
from agentops_sync.authority import Authorities, Authority, Unauthorized, Withheld
from agentops_sync.batches import Batch, Batches
from agentops_sync.calls import Calls, says, unknown_key
from agentops_sync.client import JSON, Outcome, Request, Transport, Verdict
from agentops_sync.comparison import error_key
from agentops_sync.deliveries import WITHHELD, Agent, Deliveries, Delivery, seconds_us
from agentops_sync.host import Host
from agentops_sync.ledger import Ledger
from agentops_sync.outbox import Outbox
from agentops_sync.timing import Clock, Moment, Timing, left_us
from agentops_sync.wire import Ended, SessionGone

NEED_AGENT = ("tools", "actions")  # the server refuses those whose agent it does not know
BATCH_BYTES = 1 << 20  # of a request, unless a single event is larger

_LAST_SEEN = "SELECT max(coalesce(end_us, init_us)) FROM events WHERE session = ?"
_REMOVED = "DELETE FROM uploads WHERE target = ? AND event = ? AND event NOT IN (SELECT seq FROM events)"
_IDS = "SELECT seq, id FROM events WHERE seq IN (SELECT value FROM json_each(?))"


class Uploader:
    """Brings one database to one target.

    Args:
        authorities: a session's key, and what may be uploaded of it.
    """

    def __init__(
        self, ledger: Ledger, transport: Transport, authorities: Authorities, timing: Timing, clock: Clock
    ) -> None:
        self.ledger = ledger
        self.authorities = authorities
        self.timing = timing
        self.clock = clock
        self.outbox = Outbox(ledger)
        self.deliveries = Deliveries(ledger, timing)
        self.batches = Batches(ledger, timing)
        self.host = Host(ledger, timing)
        self._calls = Calls(transport, self.host, self.deliveries, timing, clock)

    def refresh(self) -> bool:
        """Looks again at sessions that wait, if there are other keys or policies now; whether there are."""
        if not self.authorities.refresh(self.clock.now().mono_us):
            return False
        self.deliveries.wake_all()
        return True

    def step(self, session: int) -> bool:
        """Does the next thing for a session; whether there may be more to do at once.

        Raises:
            sqlite3.Error, OSError, StoreFault, DatabaseUnusable: the ledger cannot be written. What was sent and not
                noted is looked up on the server later.
        """
        with self.ledger.one_file():
            delivery = self.deliveries.load(session)
            try:
                if delivery is not None:
                    return self._step(delivery)
            except SessionGone:
                pass
            self.deliveries.gone(session)
            return False

    def begin_anew(self) -> None:
        """Looks at everything again, whatever it waits for: keys, policies, the network or the clock may be others."""
        self.host.begin_anew(self.clock.now())
        self.deliveries.wake_all()

    def look_at_processes(self) -> None:
        """Sessions whose processes have all died since get their end as it was found."""
        for session in self.deliveries.running():
            if self.ledger.read(partial(_status, session)) is Status.DIED:
                self.deliveries.wake(session)

    def _step(self, delivery: Delivery) -> bool:
        now = self.clock.now()
        if delivery.state in ("parked", "conflict"):
            self.deliveries.withhold(delivery, delivery.reason or delivery.state)
            return False
        authority = self._authority(delivery, now)
        if authority is None:
            return False
        if delivery.state != "present":  # first: of a session that is not there nothing can be looked up
            return self._create(delivery, authority, now)
        waits = self._settle(delivery, authority, now)
        if isinstance(waits, bool):
            return waits
        if delivery.found:
            return self._adopt(delivery, authority)
        token = self._calls.token(delivery, authority)
        if token is None:
            return False
        for agent in self.deliveries.agents(delivery.session):
            if agent.revision == agent.revision_sent:
                continue
            if agent.retry_us <= now.wall_us:
                return self._send_agent(delivery, authority, token, agent)
            waits |= dict.fromkeys(NEED_AGENT if not agent.revision_sent else ["agent"], agent.retry_us)
        return self._send_what_is_new(delivery, authority, token, waits, now)

    def _authority(self, delivery: Delivery, now: Moment) -> Authority | None:
        """Under what the session is uploaded; None if it has to wait, which is noted."""
        try:
            authority = self.authorities.of(delivery.id, delivery.tags, delivery.key_hash, delivery.parent_key_hash)
        except Withheld:
            self.deliveries.withhold(delivery, WITHHELD)
            return None
        except Unauthorized as why:
            self.deliveries.hold(delivery, now.wall_us + seconds_us(self.timing.key), str(why))
            return None
        retry_us = self.host.parked().get(("key", authority.key_name), 0)
        if retry_us > now.wall_us:
            self.deliveries.hold(delivery, retry_us, unknown_key(authority.key_name))
            return None
        return authority

    def _adopt(self, delivery: Delivery, authority: Authority) -> bool:
        export = self._calls.get(delivery, authority, "export")
        if export is None:
            return False
        agents = {agent.number: agent.id for agent in self.deliveries.agents(delivery.session)}
        adopt(self.ledger, delivery.session, export, agents, authority.policy)
        return True

    # What was sent before ---------------------------------------------------------------------------------------------

    def _settle(self, delivery: Delivery, authority: Authority, now: Moment) -> bool | dict[str, int]:
        """Settles requests that are open.

        Returns:
            Whether to go on with the next step, if this was one; else the kinds that have to wait, and until when.
        """
        waits: dict[str, int] = {}
        ripe: list[Batch] = []
        for batch in self.batches.open_of(delivery.session):
            settling = self.timing.settling(batch.kind)
            left = 0 if batch.manner is not None else left_us(batch.sent, now, settling)
            if left is None:
                self.batches.wait_anew(batch, now)
                left = seconds_us(settling)
            if left == 0:
                ripe.append(batch)
                continue
            waits[batch.kind] = max(waits.get(batch.kind, 0), now.wall_us + left)
            # The server may be at work on it still, and counts wrong when it works on two requests at once.
            rest = left - seconds_us(settling - self.timing.settle)
            if rest > 0 and not ripe:
                self.deliveries.hold(delivery, now.wall_us + rest, "waiting until an unanswered request is settled")
                return False
        return self._look(delivery, authority, ripe) if ripe else waits

    def _look(self, delivery: Delivery, authority: Authority, ripe: list[Batch]) -> bool:
        """Looks at what the server holds, and closes the batches by it."""
        export: dict[str, JSON] | None = None
        cut = {b.kind for b in ripe if self.batches.sent_already(delivery.session, b.kind) >= reconcile.EXPORT_ROWS}
        if any(batch.kind not in cut for batch in ripe):
            export = self._calls.get(delivery, authority, "export")
            if export is None:
                return False
        for batch in ripe:
            taken = self.batches.taken(delivery.session, batch.kind)
            found = None if export is None or batch.kind in cut else reconcile.held(export, batch.kind, taken)
            if found is None and batch.kind not in cut:
                self.deliveries.fail(delivery, f"the export has no list of {batch.kind}", self.clock.now())
                return False
            errors: int | None = None
            if reconcile.wants_count(batch, found):
                stats = self._calls.get(delivery, authority, "stats")
                if stats is None:
                    return False
                errors = _counted(stats)
            reconcile.settle(self.batches, batch, self._ids(batch), found, errors, self.clock.now())
        return True

    # The session ------------------------------------------------------------------------------------------------------

    def _create(self, delivery: Delivery, authority: Authority, now: Moment) -> bool:
        if delivery.state == "creating":
            return self._look_whether_created(delivery, authority, now)
        # Its end is told last, when its events are there.
        body = self._body(delivery, authority, Ended(None))
        self.deliveries.creating(delivery, now)
        outcome = self._calls.send(
            Request(
                "/v2/create_session", key=authority.key, parent_key=authority.parent_key,
                body=wire.encode({"session": body}),
            )
        )  # fmt: skip
        later = self.clock.now()
        if outcome.verdict is Verdict.OK and self._calls.keep_token(delivery, authority, outcome):
            self.deliveries.present(delivery, True, 0 if delivery.end_us is not None else delivery.revision)
        elif outcome.verdict in (Verdict.NOT_SENT, Verdict.SLOW_DOWN):
            self.deliveries.put_off(delivery)
            return False
        elif outcome.verdict in (Verdict.ANSWERED, Verdict.OK, Verdict.TOO_LARGE):
            self.deliveries.answered(delivery, str(outcome), later)
        return True

    def _look_whether_created(self, delivery: Delivery, authority: Authority, now: Moment) -> bool:
        outcome = self._calls.reauthorize(delivery, authority)
        if self._calls.keep_token(delivery, authority, outcome):
            self.deliveries.present(delivery, False, 0)
            return True
        if not says(outcome, "Invalid Session Id"):
            self._calls.failed(delivery, authority, outcome)
            return False
        left = 0 if delivery.sent is None else left_us(delivery.sent, now, self.timing.settle)
        if left == 0:
            # One that was lost on the way is no fault of the session, however often that happens.
            self.deliveries.not_created(delivery, now, counts=delivery.sent is None)
            return False
        if left is None:
            self.deliveries.creating(delivery, now)
            left = seconds_us(self.timing.settle)
        self.deliveries.hold(delivery, now.wall_us + left, "waiting until an unanswered request is settled")
        return False

    def _update(self, delivery: Delivery, authority: Authority, token: str, ended: Ended | None) -> bool:
        body = self._body(delivery, authority, ended)
        outcome = self._calls.post("/v2/update_session", token, {"session": body})
        if outcome.verdict is Verdict.OK and isinstance(outcome.body, dict):
            self.deliveries.updated(delivery, ended is not None or delivery.end_us is not None)
            return True
        return self._calls.failed(delivery, authority, outcome)

    def _body(self, delivery: Delivery, authority: Authority, ended: Ended | None) -> dict[str, JSON]:
        return self.ledger.read(lambda c: wire.session_body(c, delivery.session, ended=ended, policy=authority.policy))

    # What belongs to it -----------------------------------------------------------------------------------------------

    def _send_agent(self, delivery: Delivery, authority: Authority, token: str, agent: Agent) -> bool:
        body = wire.agent_body(agent.id, agent.name, authority.policy)
        outcome = self._calls.post("/v2/create_agent", token, body)
        if outcome.verdict is Verdict.OK and outcome.body == "Success":
            self.deliveries.agent_sent(agent)
            return True
        if outcome.verdict in (Verdict.ANSWERED, Verdict.UNKNOWN, Verdict.TOO_LARGE) and not says(outcome, "API"):
            # It may be sent again, for the server knows its id; and what needs no agent does not wait for it.
            self.deliveries.agent_failed(delivery, agent, str(outcome), self.clock.now())
            if outcome.status == 500:
                self._calls.drop_token(delivery)
            return True
        return self._calls.failed(delivery, authority, outcome)

    def _send_what_is_new(
        self, delivery: Delivery, authority: Authority, token: str, waits: dict[str, int], now: Moment
    ) -> bool:
        parked = self.host.parked()
        for kind in self.outbox.kinds(delivery.session):
            if kind in waits:
                continue
            canary_us = parked.get(("kind", kind))
            if canary_us is not None and canary_us > now.wall_us:
                waits[kind] = canary_us
                continue
            if canary_us is None:
                events = self.outbox.pick(delivery.session, kind, now.wall_us)
                if events and not (events := events[: self.batches.trials.most(kind, delivery.session, now)]):
                    waits[kind] = now.wall_us + trials.PAUSE
                    continue
            elif self.host.claim_canary(kind, now):
                events = self.outbox.canary(delivery.session, kind)
            else:  # another session sends it
                waits[kind] = now.wall_us + seconds_us(self.timing.canary)
                continue
            if events:
                return self._send_events(delivery, authority, token, kind, events)
            waits[kind] = self.outbox.later(delivery.session, kind) or 0
        return self._finish(delivery, authority, token, waits, now)

    def _finish(self, delivery: Delivery, authority: Authority, token: str, waits: dict[str, int], now: Moment) -> bool:
        """No event can be sent now: the session's row, if it has changed, and then nothing until something is due."""
        if delivery.is_owner:
            changed = delivery.revision > delivery.revision_sent  # then the whole row is sent, and its end with it
            find = delivery.end_us is None and (changed or not delivery.ended_sent)
            ended = self._found_end(delivery) if find else None
            end_us, changed = (delivery.end_us, changed) if ended is None else (ended.end_us, True)
            if changed and (end_us is None or not waits or now.wall_us >= end_us + seconds_us(self.timing.late_end)):
                return self._update(delivery, authority, token, ended)
            if changed and end_us is not None:
                waits["end"] = end_us + seconds_us(self.timing.late_end)
        if waits:
            self.deliveries.wait(delivery, min(waits.values()), f"waiting: {', '.join(sorted(waits))}")
        else:
            self.deliveries.idle(delivery)
        return False

    def _found_end(self, delivery: Delivery) -> Ended | None:
        """The end of a session whose processes died without a word; None if they live, or cannot be seen from here."""

        def look(connection: sqlite3.Connection) -> Ended | None:
            if _status(delivery.session, connection) is not Status.DIED:
                return None
            last = connection.execute(_LAST_SEEN, (delivery.session,)).fetchone()[0]
            return Ended(last or delivery.init_us, "Indeterminate", "its processes ended without a word")

        return self.ledger.read(look)

    def _send_events(self, delivery: Delivery, authority: Authority, token: str, kind: str, events: list[int]) -> bool:
        # Asking for a token may have taken minutes, in which somebody has made the policy stricter.
        if self._authority(delivery, self.clock.now()) != authority:
            return True
        agents = {agent.number: agent.id for agent in self.deliveries.agents(delivery.session)}
        found = self.outbox.rows(kind, events)
        wires = wire.bodies(found, kind, agents, authority.policy)
        if len(wires) < len(events):
            self._forget_removed(events)
        wires = _fitting(wires)
        if not wires:
            return True
        seqs = [event.seq for event in wires]
        body = b'{"events":[' + b",".join([event.raw for event in wires]) + b"]}"
        counted: int | None = None
        keys: list[str] = []
        if kind == "errors":
            keys = [reconcile.digest(error_key(event.body)) for event in wires]
            if self.batches.sent_already(delivery.session, kind) + len(seqs) > reconcile.COUNTED_FROM:
                stats = self._calls.get(delivery, authority, "stats")
                if stats is None:
                    return False
                counted = _counted(stats)
        batch = self.batches.begin(
            delivery.session, kind, authority.policy.name, seqs, len(body), self.clock.now(), counted, keys
        )
        outcome = self._calls.send(Request("/v2/create_events", token=token, body=body))
        return self._events_answered(delivery, authority, batch, outcome)

    def _events_answered(self, delivery: Delivery, authority: Authority, batch: Batch, outcome: Outcome) -> bool:
        now = self.clock.now()
        verdict = outcome.verdict
        if verdict is Verdict.OK and outcome.body == "Success":
            self.batches.accepted(batch, now)
            return True
        if verdict in (Verdict.NOT_SENT, Verdict.SLOW_DOWN, Verdict.EXPIRED, Verdict.TOO_LARGE, Verdict.UNUSABLE):
            self.batches.void(batch, outcome, now)
            if verdict is Verdict.UNUSABLE:
                return self._calls.failed(delivery, authority, outcome)
            if verdict is Verdict.EXPIRED:
                return self._calls.expired(delivery, outcome)
            return verdict is Verdict.TOO_LARGE
        if says(outcome, "Bearer Token is Missing"):
            self.batches.void(batch, outcome, now)
            why = "a request went out without its token: please report this"
            self.deliveries.park(delivery, why, str(outcome), now)
            return False
        self.batches.heard(batch, outcome)
        if outcome.status == 500:  # the answer to a token that it did not sign, as well
            self._calls.drop_token(delivery)
        return True  # settled by the next step, or held until the server has had its time

    def _forget_removed(self, events: list[int]) -> None:
        """Takes events out of the ledger that have been removed from the database."""
        with self.ledger.transaction() as connection:
            for event in events:
                connection.execute(_REMOVED, (self.ledger.target, event))

    def _ids(self, batch: Batch) -> dict[int, str]:
        """The ids of a batch's events, by row; those of events that have been removed are missing."""
        numbers = json.dumps(batch.events)
        rows = self.ledger.read(lambda connection: connection.execute(_IDS, (numbers,)).fetchall())
        return {seq: str(UUID(bytes=id)) for seq, id in rows}


def _status(session: int, connection: sqlite3.Connection) -> Status:
    end_us = connection.execute("SELECT end_us FROM sessions WHERE seq = ?", (session,)).fetchone()
    return judge(end_us[0] if end_us else 0, owners_of(connection, session))


def _fitting(wires: list[wire.Wire]) -> list[wire.Wire]:
    """As many events as fit into a request, at least one."""
    size = 0
    for count, event in enumerate(wires):
        size += event.size
        if size > BATCH_BYTES and count:
            return wires[:count]
    return wires


def _counted(stats: dict[str, JSON]) -> int | None:
    errors = stats.get("errors")
    return errors if isinstance(errors, int) and "session_id" in stats else None
