"""Laws of a budget: what it lets pass, and what not."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import Any

import pytest

import agentops_local
from agentops_local import BudgetExceeded
from agentops_local.errors import WrongUse
from agentops_local.session import Session
from tests.fakes.llm import Answer, LLMServer
from tests.sdk.records import Records


def call(client: Any, **settings: Any) -> Any:
    """A call that costs a cent, and may cost 0.502 cents by its length."""
    given = {"model": "gpt-4o", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 500, **settings}
    return client.chat.completions.create(**given)


def until_refused(client: Any) -> int:
    """How many calls are made before one is refused."""
    for made in range(100):
        try:
            call(client)
        except BudgetExceeded:  # noqa: PERF203 - it is asked each time
            return made
    raise AssertionError("no call was refused")


def test_before_the_call(client: Any, server: LLMServer, records: Records) -> None:
    """A call that would go beyond the budget is not made: the server hears nothing of it, and nothing is recorded."""
    agentops_local.budget(usd="0.03")
    assert until_refused(client) == 3
    assert len(server.requests) == 3
    assert records.column("SELECT count(*) FROM llms") == [3]
    with pytest.raises(BudgetExceeded, match=r"is \$0.03: \$0.03 is spent, \$0.00 is reserved .* not made") as refused:
        call(client)
    assert isinstance(refused.value, agentops_local.BudgetExceeded)


def test_without_a_budget(client: Any, records: Records) -> None:
    """Without a budget nothing is refused, and nothing is reserved."""
    for _ in range(5):
        call(client)
    assert records.column("SELECT count(*) FROM reservations") == [0]
    assert records.column("SELECT count(*) FROM spending") == [0]


def test_raised_and_ended(client: Any) -> None:
    """A budget may be raised, and be ended."""
    agentops_local.budget(usd=Decimal("0.01"))
    assert until_refused(client) == 1
    agentops_local.budget(usd=0.02)
    assert until_refused(client) == 1
    agentops_local.budget(usd=None)
    call(client)


def test_asynchronous(client: Any, server: LLMServer) -> None:
    """Asynchronous calls are refused as well, before they are made."""
    import openai

    agentops_local.budget(usd="0.02")

    async def many() -> list[object]:
        async with openai.AsyncOpenAI(base_url=server.openai, api_key="k") as other:
            return [(await asyncio.gather(call(other), return_exceptions=True))[0] for _ in range(3)]

    assert isinstance(asyncio.run(many())[2], BudgetExceeded)
    assert len(server.requests) == 2


def test_calls_under_way(client: Any, server: LLMServer, records: Records) -> None:
    """What calls under way may cost counts as if it were spent, until they have ended."""
    agentops_local.budget(usd="0.0101")  # two reservations, and not three
    gate = server.hold()
    streams = [call(client, stream=True, stream_options={"include_usage": True}) for _ in range(2)]
    with pytest.raises(BudgetExceeded, match=r"\$0.00 is spent, \$0.0100\d+ is reserved"):
        call(client)
    gate.set()
    for stream in streams:
        list(stream)
    assert records.column("SELECT count(*) FROM reservations") == [0]
    with pytest.raises(BudgetExceeded, match=r"\$0.02 is spent, \$0.00 is reserved"):
        call(client)


def test_a_call_that_fails(client: Any, server: LLMServer, records: Records) -> None:
    """A call that is refused by the server costs nothing."""
    import openai

    agentops_local.budget(usd="0.02")
    server.fail(400, times=5)
    for _ in range(5):
        with pytest.raises(openai.BadRequestError):
            call(client)
    assert records.column("SELECT count(*) FROM reservations") == [0]
    assert until_refused(client) == 2


def test_a_cost_that_nobody_knows(client: Any, records: Records) -> None:
    """A call whose cost is never told counts with what was reserved for it."""
    agentops_local.budget(usd="0.0101")
    for _ in range(2):
        list(call(client, stream=True))  # no usage was asked for
    with pytest.raises(BudgetExceeded):
        call(client)
    assert records.column("SELECT pid FROM reservations") == [0, 0]


def test_an_unknown_price(client: Any, server: LLMServer, records: Records) -> None:
    """A call whose price nobody knows is refused, or let pass, as the budget says."""
    agentops_local.budget(usd=5)
    with pytest.raises(BudgetExceeded, match=r"no price is known for model 'my-own' .*prices\.toml"):
        call(client, model="my-own")
    assert server.requests == []
    agentops_local.budget(usd=5, unpriced="allow")
    call(client, model="my-own")
    assert records.column("SELECT cost FROM llms") == [None]


def test_the_scope_of_a_session(client: Any) -> None:
    """A budget of a session counts what that session has spent, and no other."""
    agentops_local.budget(usd="0.02")
    assert until_refused(client) == 2
    agentops_local.end_session()
    agentops_local.start_session()
    call(client)
    agentops_local.budget(usd="0.02")
    assert until_refused(client) == 1


def test_the_scope_of_a_project(client: Any, session: Session) -> None:
    """A budget of the project counts all that was ever spent in the database, and holds for every session."""
    call(client)
    agentops_local.end_session()
    agentops_local.start_session()
    agentops_local.budget(usd="0.03", scope="project")
    assert until_refused(client) == 2
    agentops_local.end_session()
    agentops_local.start_session()
    assert until_refused(client) == 0


def test_the_scope_of_a_day(client: Any, session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    """A budget of a day begins anew with each day of UTC."""
    from agentops_local import clock

    real = clock.now_us
    agentops_local.budget(usd="0.02", scope="day")
    assert until_refused(client) == 2
    tomorrow = 86_400_000_000
    monkeypatch.setattr(clock, "now_us", lambda: real() + tomorrow)
    call(client)


def test_several_limits(client: Any, session: Session) -> None:
    """Of several budgets each must have room."""
    agentops_local.budget(usd="0.05", scope="project")
    agentops_local.budget(usd="0.02")
    agentops_local.budget(usd="0.04", scope="day")
    assert until_refused(client) == 2
    agentops_local.budget(usd=None)
    assert until_refused(client) == 2


def test_by_the_environment(client: Any, monkeypatch: pytest.MonkeyPatch, session: Session) -> None:
    """AGENTOPS_LOCAL_BUDGET sets a budget for every session, or another scope."""
    monkeypatch.setenv("AGENTOPS_LOCAL_BUDGET", "0.02")
    assert until_refused(client) == 2
    agentops_local.end_session()
    agentops_local.start_session()
    assert until_refused(client) == 2


def test_a_price_that_changes(client: Any, project: Any) -> None:
    """When the user says another price, what is spent is counted by it from then on."""
    agentops_local.budget(usd="0.05", unpriced="allow")
    call(client, model="my-own")
    (project / ".agentops" / "prices.toml").write_text('[[price]]\nmodel = "my-own"\ninput = 10\noutput = 20\n')
    with pytest.raises(BudgetExceeded, match=r"\$0.03 is spent"):
        call(client, model="my-own", max_tokens=1000)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"usd": -1}, "budget -1 is no amount"),
        ({"usd": "much"}, "budget 'much' is no amount"),
        ({"usd": float("nan")}, "budget nan is no amount"),
        ({"usd": 1, "scope": "week"}, "budget scope 'week' is not known"),
        ({"usd": 1, "unpriced": "guess"}, "budget policy unpriced='guess' is not known"),
    ],
)
def test_what_is_no_budget(session: Session, given: dict[str, Any], words: str) -> None:
    """A budget that cannot be understood is refused with what it was and what to give instead: a limit that is not
    there would be worse than none."""
    with pytest.raises(WrongUse, match=words):
        agentops_local.budget(**given)


def test_a_session_that_is_not_there(project: Any) -> None:
    """A budget of the session needs one."""
    agentops_local.init(auto_start_session=False)
    with pytest.raises(WrongUse, match="call init"):
        agentops_local.budget(usd=1)
    agentops_local.budget(usd=1, scope="project")


def test_a_long_prompt(client: Any, server: LLMServer) -> None:
    """What a call may cost grows with its prompt and with the answer that it allows."""
    agentops_local.budget(usd="0.01")
    with pytest.raises(BudgetExceeded):
        call(client, messages=[{"role": "user", "content": "x" * 100_000}])
    with pytest.raises(BudgetExceeded):
        call(client, max_tokens=10_000)
    server.answer(Answer("short"))
    call(client, messages=[{"role": "user", "content": "x" * 100}])
