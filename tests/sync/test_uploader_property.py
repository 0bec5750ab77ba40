"""Whatever goes wrong, in whatever order: in the end everything good is there, once."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agentops_local.session import Session
from tests.fakes.agentops_api import AgentOpsAPI
from tests.sync.driving import DAY, HOUR, MAKERS, Machine, tool

FAULTS = (
    "reset_before",
    "reset_after",
    "lost_answer",
    "hang",
    "502_before",
    "502_after",
    "html_200",
    "cut_body",
    "429",
)
PATHS = ("create_session", "create_agent", "create_events", "update_session", "reauthorize_jwt", "export", "stats")

faults = st.lists(st.tuples(st.sampled_from(FAULTS), st.sampled_from(PATHS), st.integers(1, 3)), max_size=12)
kinds = st.lists(st.tuples(st.integers(0, 1), st.sampled_from(sorted(MAKERS)), st.booleans()), min_size=1, max_size=30)
moments = st.lists(st.floats(0, 2000), max_size=3)


@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(script=faults, recorded=kinds, restarts=moments, expiries=moments, status=st.sampled_from([400, 500]))
def test_any_storm(
    script: list[tuple[str, str, int]],
    recorded: list[tuple[int, str, bool]],
    restarts: list[float],
    expiries: list[float],
    status: int,
) -> None:
    """After any script of faults, restarts and expired tokens every good event is on the server exactly once, and the
    ledger says done of exactly those; a poisoned event is dead, and not there."""
    with AgentOpsAPI(actions_work=True) as api, TemporaryDirectory() as folder:
        machine = Machine(Path(folder) / "machine", api, poll=120)
        for fault, path, nth in script:
            api.fault(fault, path=path, nth=nth)
        api.poison("poison", status, "22P02")
        sessions = [machine.session(), machine.session()]
        wanted: Counter[tuple[int, str, str]] = Counter()
        bad = 0
        for number, (which, kind, good) in enumerate(recorded):
            event = MAKERS[kind](number if good else f"poison {number}")
            sessions[which].record(event)
            bad += not good
            if good:
                wanted[which, kind, event.details if kind == "errors" else str(event.id)] += 1
        for moment in expiries:
            machine.clock.after(moment, api.expire_tokens)
        for moment in sorted(restarts):
            machine.run(max(1.0, moment - machine.clock.passed))
            machine.stop()
        api.clear_faults()
        chatter = machine.session()  # a server that takes nothing else has no poison
        for hour in range(10):
            machine.clock.after(hour * HOUR, lambda: chatter.record(tool("chatter")))
        machine.run(3.5 * DAY)
        there = _there(api, sessions)
        for _ in range(bad):  # a kind of which the first three were poisoned is parked, and tried with one event a day
            if there == wanted:
                break
            machine.run(DAY)
            there = _there(api, sessions)
        states = machine.states()
        machine.close()
    assert there == wanted
    assert states["done"] == len(recorded) - bad + 10
    # Of a kind of which nothing at all was taken, three refused ones are waiting and not dead.
    assert states.get("dead", 0) + states.get("pending", 0) == bad
    assert states.keys() <= {"done", "dead", "pending"}


def _there(api: AgentOpsAPI, sessions: list[Session]) -> Counter[tuple[int, str, str]]:
    """The events that the server holds, as (which session, kind, what tells it apart)."""
    return Counter(
        (which, kind, str(row["details" if kind == "errors" else "id"]))
        for which, session in enumerate(sessions)
        for kind in MAKERS
        for row in api.events(str(session.session_id), kind)
    )
