from __future__ import annotations

import asyncio
import multiprocessing
import os
import subprocess
import sys
import threading
from decimal import Decimal
from pathlib import Path
from uuid import UUID

import pytest

import agentops_local as ao
from agentops_local.errors import WrongUse
from agentops_local.pytest_plugin.run import AgentRun
from agentops_local.pytest_plugin.selection import UnpricedCalls

ROOT = Path(__file__).parents[2]
CHAT = [{"role": "user", "content": "who?"}]


def call(model: str = "m", cost: str | None = "0.05", provider: str | None = None) -> None:
    """An LLM call whose cost the program reports, or not."""
    price = None if cost is None else Decimal(cost)
    ao.record(
        ao.LLMEvent(
            model=model, provider=provider, prompt=CHAT, completion="me", prompt_tokens=10, completion_tokens=2,
            cost=price,
        )
    )  # fmt: skip


def program(code: str, **how: object) -> None:
    """A program that the test starts, in an environment that it inherits."""
    subprocess.run(
        [sys.executable, "-c", f"import agentops_local as ao\n{code}"],
        env={**os.environ, "PYTHONPATH": str(ROOT)}, check=True, timeout=60, **how,  # type: ignore[call-overload]
    )  # fmt: skip


def test_run_is_live(agent_run: AgentRun) -> None:
    """What is asked of a run is read at the moment it is asked."""
    counts = [agent_run.events.count]
    for name in ("search", "fetch", "search"):
        ao.record(ao.ToolEvent(name=name, params={"q": name}, returns=[1]))
        counts.append(agent_run.tools.count)
    assert counts == [0, 1, 2, 3]
    assert agent_run.tools.names == ["search", "fetch", "search"]
    assert agent_run.tools("search").count == 2
    assert [tool.params["q"] for tool in agent_run.tools("search")] == ["search", "search"]
    assert agent_run.tools[1].returns == [1]
    assert agent_run.tools[1:].names == ["fetch", "search"]


def test_costs_are_compared_as_written(agent_run: AgentRun) -> None:
    """The cost of a run is the float that is nearest to the exact sum, so that a limit is compared as it is written."""
    for _ in range(2):
        call(cost="0.05")
    assert agent_run.cost == 0.10
    assert not agent_run.cost < 0.10
    call(cost="0.000000000001")
    assert agent_run.cost > 0.10
    assert agent_run.cost == pytest.approx(0.10)


def test_unknown_cost_is_no_cost(agent_run: AgentRun) -> None:
    """A run with a call whose price is not known has no cost that could be compared; what is known is asked for by
    another name."""
    call(cost="0.05")
    call("no-such-model", cost=None)
    with pytest.raises(UnpricedCalls, match=r"1 of 2 LLM calls have no price .*no-such-model"):
        assert agent_run.cost < 0.10
    assert agent_run.llms("m").cost == agent_run.priced_cost == 0.05
    assert agent_run.unpriced.names == ["no-such-model"]


def test_prices_are_looked_up(agent_run: AgentRun) -> None:
    """A call that was recorded without a price is priced when its cost is asked for."""
    pytest.importorskip("genai_prices")
    call("gpt-4o-2024-08-06", cost=None, provider="openai")
    assert 0 < agent_run.cost < 0.001
    assert not agent_run.unpriced


def test_sums(agent_run: AgentRun) -> None:
    """Tokens, models and durations are summed up over all events, and over those that are selected."""
    call("a")
    call("b")
    call("a")
    assert (agent_run.tokens, agent_run.prompt_tokens, agent_run.completion_tokens) == (36, 30, 6)
    assert agent_run.llms("a").tokens == 24
    assert agent_run.models == ["a", "b"]
    ao.record(ao.ActionEvent(
        action_type="walk", init_timestamp="2020-01-01T00:00:00+00:00", end_timestamp="2020-01-01T00:00:05+00:00"
    ))  # fmt: skip
    assert agent_run.actions.duration == agent_run.actions[0].duration == 5.0
    assert agent_run.duration > 5.0


def test_errors(agent_run: AgentRun) -> None:
    """A run without errors has a list of errors that is empty; an error marks the event that failed."""
    assert agent_run.errors == []
    with pytest.raises(ZeroDivisionError):
        divide(0)
    divide(1)
    assert agent_run.errors != []
    assert repr(agent_run.errors) == "[error ZeroDivisionError: division by zero]"
    assert agent_run.errors("ValueError") == []
    assert agent_run.tools.failed == [agent_run.tools[0]]


@ao.record_tool("divide")
def divide(by: int) -> float:
    """A tool that may fail."""
    return 1 / by


def test_selection_is_not_a_number(agent_run: AgentRun) -> None:
    """A selection that is compared with a number, as if it were its count, is refused: it would never be equal."""
    with pytest.raises(WrongUse, match=r"\.count"):
        assert agent_run.tools == 0


def test_messages(agent_run: AgentRun) -> None:
    """The conversation is the last prompt, message by message, and what was answered to it."""
    assert agent_run.messages == []
    call()
    assert agent_run.messages == [*CHAT, {"role": "assistant", "content": "me"}]
    ao.record(ao.LLMEvent(prompt="bare", completion={"role": "assistant", "content": "text"}))
    assert [message["content"] for message in agent_run.messages] == ["bare", "text"]


def test_program_that_begins_itself(agent_run: AgentRun, project: Path) -> None:
    """A program that calls init() takes part in the run, whatever database it names, and its tags and end are the
    session's."""
    session = ao.init(default_tags=["of the program"], db=project / "own.db")
    ao.record(ao.ToolEvent(name="first"))
    assert session is agent_run.session
    assert "of the program" in agent_run.session.tags
    ao.end_session("Fail", "as the program says")
    other = ao.start_session()
    assert other is not None
    other.record(ao.ToolEvent(name="second"))
    assert agent_run.tools.names == ["first", "second"]
    assert len(agent_run.session_ids) == 2
    assert list(project.iterdir()) == []


def test_sessions_are_as_many_as_without_us(agent_run: AgentRun) -> None:
    """A program that starts its sessions itself has no other beside them, so that the package's functions know which is
    meant."""
    ao.init(auto_start_session=False)
    assert ao.start_session() is not None
    ao.record(ao.ToolEvent(name="search"))
    assert agent_run.tools.names == ["search"]
    assert ao.Client().session_count == 1


def test_agents(agent_run: AgentRun) -> None:
    """Events are selected by their agent as well."""
    planner = UUID(ao.create_agent("planner"))
    ao.record(ao.ToolEvent(name="search", agent_id=planner))
    ao.record(ao.ToolEvent(name="search"))
    assert agent_run.tools("search", agent="planner").count == 1
    assert "planner" in agent_run.agents


def test_tasks_and_threads(agent_run: AgentRun) -> None:
    """What happens in tasks and threads of the test belongs to the run."""

    async def work(name: str) -> None:
        await asyncio.sleep(0)
        ao.record(ao.ToolEvent(name=name))

    async def both() -> None:
        await asyncio.gather(work("a"), work("b"))

    asyncio.run(both())
    thread = threading.Thread(target=lambda: ao.record(ao.ToolEvent(name="c")))
    thread.start()
    thread.join()
    assert sorted(agent_run.tools.names) == ["a", "b", "c"]
    assert len(agent_run.session_ids) == 1


def test_processes(agent_run: AgentRun, project: Path) -> None:
    """Processes that the test starts share its session, be they told of it or not, and do not end it."""
    program("ao.init(); ao.record(ao.ToolEvent(name='told'))")
    program("ao.record(ao.ToolEvent(name='untold'))", cwd=project)
    forked = multiprocessing.get_context("fork").Process(target=ao.record, args=(ao.ToolEvent(name="forked"),))
    forked.start()
    forked.join()
    assert agent_run.tools.names == ["told", "untold", "forked"]
    assert len(agent_run.session_ids) == 1
    assert agent_run.session.end_state == "Indeterminate"
    assert agent_run.session.is_running


@pytest.mark.agent_run(redact="secrets", default_tags=["marked"])
def test_settings(agent_run: AgentRun) -> None:
    """The marker gives settings of init() to the run."""
    ao.init()
    ao.record(ao.ToolEvent(name="t", params={"password": "hunter2"}))
    assert "hunter2" not in str(agent_run.tools[0].params)
    assert "marked" in agent_run.session.tags


@pytest.mark.parametrize("round_", [1, 2])
def test_nothing_is_left(round_: int, agent_run: AgentRun) -> None:
    """A test meets nothing of the one before it: no session, no setting, no agent."""
    assert agent_run.events == []
    assert ao.Client().get_default_tags() == []
    assert ao.Client().config.instrument_llm_calls
    ao.init(default_tags=["left"], instrument_llm_calls=False)
    ao.create_agent("left")
    assert agent_run.session.tags[-1] == "left"
