from __future__ import annotations

from agentops_sync.timing import SECOND, Moment, Timing
from agentops_sync.trials import Trials
from tests.fakes.agentops_api import AgentOpsAPI
from tests.sync.conftest import Machines
from tests.sync.driving import action, ids_there, llm, tool

NOW = Moment(10**15, 10**9, "boot")


def after(seconds: float) -> Moment:
    """Some time after that."""
    return Moment(NOW.wall_us + round(seconds * SECOND), NOW.mono_us + round(seconds * SECOND), "boot")


def test_a_trial() -> None:
    """One session that is refused changes nothing. After a second one, one session at a time sends one event of the
    kind; each refusal gives the turn away, and the first that is taken ends the trial."""
    trials = Trials(Timing())
    trials.refused("actions", 1)
    trials.refused("actions", 1)
    assert trials.most("actions", 1, NOW) is None
    trials.refused("actions", 2)
    assert trials.most("tools", 3, NOW) is None
    assert trials.most("actions", 3, NOW) == 1
    assert trials.most("actions", 4, NOW) == 0
    assert trials.most("actions", 3, NOW) == 1
    trials.refused("actions", 3)
    assert trials.most("actions", 4, NOW) == 1
    assert trials.most("actions", 3, NOW) == 0
    assert trials.accepted("actions")
    assert trials.most("actions", 3, NOW) is None
    assert not trials.accepted("actions")


def test_a_turn_ends_by_itself() -> None:
    """Who does nothing with its turn, having been removed, keeps the others for as long as a request settles, and a
    minute more."""
    trials = Trials(Timing())
    trials.refused("errors", 1)
    trials.refused("errors", 2)
    assert trials.most("errors", 3, NOW) == 1
    assert trials.most("errors", 4, after(Timing().settle_errors + 59)) == 0
    assert trials.most("errors", 4, after(Timing().settle_errors + 61)) == 1


def test_poison_in_several_sessions_holds_nobody_up(machines: Machines, api: AgentOpsAPI) -> None:
    """A kind of which the first events of several sessions are at fault is taken as soon as one of the others has told
    that it can be: nothing is parked, and all that is good arrives within seconds."""
    machine = machines(poll=1)
    api.poison("poison")
    sessions = [machine.session() for _ in range(6)]
    for number in range(12):
        for index, session in enumerate(sessions):
            session.record(tool("poison" if number == 0 and index < 4 else number))
            session.record(llm(number))
    machine.run(10)
    assert machine.states("tools") == {"done": 6 * 12 - 4, "pending": 4}
    assert machine.states("llms") == {"done": 6 * 12}
    assert machine.rows("SELECT * FROM parked") == []
    assert sorted(len(ids_there(api, session, "tools")) for session in sessions) == [11, 11, 11, 11, 12, 12]


def test_a_kind_is_parked_for_all_by_one_session(machines: Machines, api: AgentOpsAPI) -> None:
    """Where the server takes nothing of a kind, a few requests of a few sessions tell for all; the others send none."""
    machine = machines(poll=1)
    api.actions_work = False
    sessions = [machine.session() for _ in range(10)]
    for number in range(5):
        for session in sessions:
            session.record(tool(number))
            session.record(action(number))
    machine.run(10)
    assert len(machine.rows("SELECT * FROM parked")) == 1
    tried = machine.column("SELECT session FROM batches WHERE kind = 'actions'")
    assert len(tried) <= 8
    assert len(set(tried)) <= 4
    assert machine.states("tools") == {"done": 50}
