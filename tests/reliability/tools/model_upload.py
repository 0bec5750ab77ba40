"""The rules that concern the upload, beside those of recording: a server and a network that fail, a daemon that is
stopped and killed, time that passes. After each step the ledger calls done only what the server holds, and the server
holds nothing twice; in the end it holds everything."""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

from hypothesis import note
from hypothesis import strategies as st
from hypothesis.stateful import rule

from agentops_sync.client import Outcome, Request
from agentops_sync.requeue import requeue
from agentops_sync.verify import Unanswered, Verifier
from tests.fakes.agentops_api import AgentOpsAPI
from tests.reliability.tools.model import Session
from tests.reliability.tools.model_base import Tally, ints, kinds, step, values
from tests.reliability.tools.model_rules import Recording
from tests.reliability.tools.model_stage import Stage
from tests.sync.driving import DAY, HOUR, Machine, tool

FAULTS = (
    "reset_before", "reset_after", "lost_answer", "hang", "502_before", "502_after", "html_200", "cut_body", "429",
)  # fmt: skip
PATHS = (
    "create_session", "create_agent", "update_session", "reauthorize_jwt", "export", "stats",
    "create_events", "create_events", "create_events", "create_events",
)  # fmt: skip
POISON = {400: "the poison that the store refuses", 500: "the poison that breaks the server"}
DIED = ("Indeterminate", "its processes ended without a word")

_STATES = "SELECT p.id, u.state FROM uploads u JOIN payloads p ON p.seq = u.event"
_SESSION = "SELECT seq FROM sessions WHERE id = ?"


class Killed(BaseException):
    """The end of the daemon's process."""


class Mortal(Machine):
    """A machine whose daemon can be killed just before a request leaves, or just after its answer has come."""

    dies_in: int | None = None  # requests
    dies_after = False

    def send(self, request: Request) -> Outcome:
        """Carries a request."""
        if self.dies_in is not None:
            self.dies_in -= 1
        if self.dies_in == 0 and not self.dies_after:
            raise Killed
        outcome = super().send(request)
        if self.dies_in == 0:
            raise Killed
        return outcome


class Uploading(Recording):
    """Processes that record, a daemon and a server."""

    def __init__(self, stage: Stage, folder: Path, tally: Tally) -> None:
        super().__init__(stage, folder, tally)
        self.server = AgentOpsAPI(actions_work=True)
        for status, marker in POISON.items():
            self.server.poison(marker, status, "22P02")
        self.machine = Mortal(self.db.parent, self.server, poll=120, running=300)
        self.bad: set[str] = set()  # poisoned events
        self.chatter: str | None = None  # a session of ours, which is not in the model
        self._looked_at = 0

    @property
    def can_upload(self) -> bool:
        """Whether there is anything yet."""
        return bool(self.model.sessions)

    # The invariants ---------------------------------------------------------------------------------------------------

    def compare(self) -> None:
        """The database equals the model, and what the ledger says is true."""
        super().compare()
        if len(self.machine.sent) != self._looked_at:
            self._looked_at = len(self.machine.sent)
            self.compare_server()

    def compare_server(self) -> None:
        """What is called done is there, nothing is there twice, and nothing good is given up."""
        there = Counter(id for _, id, _ in self._rows())
        states = self._states()
        doubled = [name for name, times in there.items() if times > 1]
        untrue = [id for id, state in states.items() if state == "done" and id in self.model.events and not there[id]]
        self.tally.doubled, self.tally.lost = len(doubled), len(untrue)
        assert not doubled, f"there twice: {doubled}"
        assert not untrue, f"called done, and not there: {untrue}"
        assert not there.keys() - self.model.events.keys() - self.model.erased.keys()
        given_up = [id for id, state in states.items() if state in ("dead", "uncertain")]
        assert set(given_up) <= self.bad, "good events that were given up"

    def _rows(self) -> list[tuple[str, str, dict[str, Any]]]:
        """The events that the server holds: kind, id here, row. Errors have no id there, but their number."""
        store = self.server.api.store
        ours = {
            event["details"]["n"]: id
            for id, event in (self.model.events | self.model.erased).items()
            if event["kind"] == "errors"
        }
        with store.lock:
            return [
                (kind, ours[json.loads(row["details"])["n"]] if kind == "errors" else row["id"], row)
                for (kind, _), rows in store.of_session.items()
                if kind in ("llms", "tools", "actions", "errors")
                for row in rows
                if row["session_id"] != self.chatter
            ]

    def _states(self) -> dict[str, str]:
        with closing(sqlite3.connect(f"{self.db.as_uri()}?mode=ro", uri=True)) as connection:
            return dict(connection.execute(_STATES).fetchall())

    # What goes wrong --------------------------------------------------------------------------------------------------

    @rule(faults=st.lists(st.tuples(st.sampled_from(FAULTS), st.sampled_from(PATHS), st.integers(1, 3)), min_size=1))
    @step
    def fault(self, faults: list[tuple[str, str, int]]) -> None:
        """Requests will fail, in one of many ways each."""
        for name, path, nth in faults:
            self.server.fault(name, path=path, nth=nth)

    @rule()
    @step
    def expire(self) -> None:
        """Every token has expired."""
        self.server.expire_tokens()

    @rule(who=ints, which=ints, kind=kinds, value=values, status=st.sampled_from(sorted(POISON)))
    @step
    def poison(self, who: int, which: int, kind: str, value: str, status: int) -> None:
        """An event that the server will not take, and which would take its batch along."""
        player, session = self.place(who, which)
        event = self.event(kind, value)
        event["details" if kind == "errors" else "params"]["poison"] = POISON[status]
        self.bad.add(event["id"])
        self.order(player, self.recorded(player, session, [event]), "record", session=session, events=[event])

    # The daemon -------------------------------------------------------------------------------------------------------

    @rule(seconds=st.sampled_from([1.0, 100.0, 2000.0]))
    @step
    def upload(self, seconds: float) -> None:
        """The daemon runs for a while."""
        if self.can_upload:
            self.machine.run(seconds)

    def meanwhile(self, number: int) -> None:
        """The daemon runs while processes record, or a session is erased."""
        if number % 2:
            super().meanwhile(number)
        elif self.can_upload:
            self.machine.run(100.0)

    @rule()
    @step
    def restore_backup(self) -> None:
        """A backup is put in place, while no daemon runs."""
        self.machine.stop()
        self.put_backup_in_place()

    @rule(count=st.integers(1, 4))
    @step
    def upload_some(self, count: int) -> None:
        """The daemon does a few steps of each session."""
        if self.can_upload:
            self.machine.steps(count)

    @rule(requests=st.integers(1, 12), after=st.booleans())
    @step
    def kill_daemon(self, requests: int, after: bool) -> None:
        """The daemon is killed beside a request, before or after it; what it knew is what it had written."""
        if self.can_upload:
            self.machine.dies_in, self.machine.dies_after = requests, after
            try:
                self.machine.run(200.0)
            except Killed:
                note("the daemon is killed")
            self.machine.dies_in = None
            self.machine.stop()

    @rule()
    @step
    def stop_daemon(self) -> None:
        """The daemon ends, and begins again when it is needed."""
        self.machine.stop()

    @rule(seconds=st.sampled_from([1.0, 61.0, 901.0, 5000.0]))
    @step
    def wait(self, seconds: float) -> None:
        """Time passes in which no daemon runs."""
        self.machine.clock.sleep(seconds)

    @rule()
    @step
    def requeue(self) -> None:
        """A person has everything sent again that was given up."""
        if self.can_upload:
            requeue(self.machine.uploader.ledger)

    @rule(which=ints)
    @step
    def verify(self, which: int) -> None:
        """A session is compared with the server, as `agentops-sync verify` does: nothing is missing, doubled or other
        than it was sent."""
        if self.can_upload:
            found = self._verify(list(self.model.sessions)[which % len(self.model.sessions)])
            assert found is None or (found.missing, found.doubled, found.unseen) == ([], [], [])

    def _verify(self, session: str) -> Any:
        uploader = self.machine.uploader
        verifier = Verifier(uploader.ledger, self.machine, uploader.authorities, self.machine.timing)
        try:
            return verifier.verify(self.machine.value(_SESSION, session))
        except Unanswered:
            return None

    # The end ----------------------------------------------------------------------------------------------------------

    def teardown(self) -> None:
        """All of it ends."""
        try:
            super().teardown()
        finally:
            self.machine.close()
            self.server.close()

    def finish(self) -> None:
        """The network heals, everything is uploaded, and the server holds what the database holds."""
        super().finish()
        if self.can_upload:
            self.server.clear_faults()
            self._drain()
            self.compare_server()
            self._compare_events()
            for id in self.model.sessions.keys() - self.model.behind:
                self._compare_session(self.model.sessions[id])

    def _drain(self) -> None:
        """Runs the daemon until nothing can be left to do. Where of a kind only poisoned events came, the server seems
        to take nothing at all; then it takes a day, and other events, to tell the difference."""
        self.machine.timing = replace(self.machine.timing, poll=600.0)
        self.machine.run(3 * HOUR)
        if self.bad & self.model.events.keys():
            chatter = self.machine.session()
            self.chatter = str(chatter.session_id)
            for hour in range(8):
                self.machine.clock.after(hour * HOUR, lambda: chatter.record(tool("chatter")))
            self.machine.timing = replace(self.machine.timing, poll=1800.0)
            self.machine.run(2.5 * DAY)

    def _compare_events(self) -> None:
        """Every good event is there once, as it was recorded, and called done; no other is."""
        rows = {id: (kind, row) for kind, id, row in self._rows()}
        good = {id: event for id, event in self.model.events.items() if id not in self.bad}
        assert rows.keys() - self.model.erased.keys() == good.keys()
        for id, event in good.items():
            kind, row = rows[id]
            assert (kind, row["session_id"]) == (event["kind"], event["session"])
            for name, value in _sent(event).items():
                assert _read(row[name]) == value, (id, name)
        self.tally.requests += len(self.machine.sent)
        self.tally.uploaded += len(good)
        states = self._states()
        assert {id for id, state in states.items() if state == "done"} & self.model.events.keys() == good.keys()
        assert {state for id, state in states.items() if id in self.bad} <= {"dead", "pending"}

    def _compare_session(self, session: Session) -> None:
        """A session's row and agents are there; one whose processes died has got its end."""
        row = self.server.session(session.id)
        assert row is not None
        end = DIED if session.end is None else session.end[:2]
        assert (row["end_state"], row["end_state_reason"]) == end
        assert (_read(row["tags"]), row["video"]) == (session.tags, session.video)
        assert (row["end_timestamp"] is None) == (session.end is None and not session.owners)
        agents = {(one["id"], one["name"]) for one in self.server.store()["agents"] if one["session_id"] == session.id}
        missing = session.agents.items() - agents
        assert not missing, (missing, agents)
        if not self.bad & {id for id, event in self.model.events.items() if event["session"] == session.id}:
            found = self._verify(session.id)
            assert found is not None
            assert found.agrees, found


def _sent(event: dict[str, Any]) -> dict[str, Any]:
    """What the server has to hold of an event."""
    if event["kind"] == "errors":
        return {name: event[name] for name in ("error_type", "code", "details")}
    sent = {"params": event["params"]}
    if event["kind"] == "llms":
        sent |= {"prompt": {"type": "chatml", "messages": event["prompt"]}, "model": event["model"]}
    return sent


def _read(value: Any) -> Any:
    """A value that is JSON text in some columns."""
    return json.loads(value) if isinstance(value, str) and value[:1] in ("{", "[") else value
