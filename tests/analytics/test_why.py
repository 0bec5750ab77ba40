from __future__ import annotations

import json

import pytest

from agentops_local import clock
from agentops_local.analytics.one_session import failures, steps
from agentops_local.analytics.one_session import why as asking
from agentops_local.analytics.one_session.why import why
from agentops_local.analytics.reading import reading
from agentops_local.analytics.sessions import Ambiguous, NoSuchSession
from agentops_local.errors import DatabaseUnusable
from agentops_local.event import ActionEvent, ErrorEvent, LLMEvent, ToolEvent
from tests.analytics.plans import scanned
from tests.analytics.recording import LONG, SECRET, Book, died, run

CALL = {"role": "assistant", "content": None,
        "tool_calls": [{"id": "1", "function": {"name": "search", "arguments": '{"q": 1}'}}]}  # fmt: skip


def test_what_led_to_the_error(book: Book) -> None:
    """The cause is told with what failed, what that was asked, what stands around it, what the model had said before,
    and the earlier calls of the same tool."""
    state = book.session()
    outer, inner = ActionEvent(action_type="plan"), ActionEvent(action_type="step")
    book.tool(state, "search", {"q": 0}, ["hit"])
    book.tool(state, "other", {"q": 0})
    said = book.add(state, LLMEvent(prompt=[{"role": "user", "content": "find it"}], completion=CALL, model="m"), inner)
    failed = book.add(state, ToolEvent(name="search", params={"q": 1}), inner)
    error = book.error(state, failed, "no such page")
    book.add(state, inner, outer)
    book.add(state, outer)
    book.llm(state, "and now?", completion="I give up")
    book.end(state, "Fail", "gave up")
    found = why("last", db=book.path)
    cause = found.cause
    assert cause is not None
    assert cause.error.id == error.id.bytes
    assert (cause.error.error_type, cause.error.message, cause.error.recovered) == ("ValueError", "no such page", False)
    assert cause.trigger is not None
    assert (cause.trigger.id, cause.trigger.name, cause.trigger.given) == (str(failed.id), "search", '{"q":1}')
    assert [step.name for step in cause.chain] == ["step", "plan"]
    assert cause.last_llm is not None
    assert (cause.last_llm.id, cause.last_llm.given, cause.last_llm.got) == (
        str(said.id), "find it", 'search({"q": 1})',
    )  # fmt: skip
    assert cause.tries is not None
    assert (cause.tries.times, cause.tries.failed) == (1, 0)
    assert [(step.got, in_vain) for step, in_vain in cause.tries.last] == [('["hit"]', False)]
    assert (found.verdict, found.ended_by, found.session.end_state_reason) == ("fail", "program", "gave up")
    assert found.last_llm is not None
    assert found.last_llm.got == "I give up"


def test_what_the_run_got_over_is_not_the_cause(book: Book) -> None:
    """What failed and worked again later is got over: the cause is the first error of which that is not so, and it is
    known that the same had happened before, whatever its numbers were."""
    state = book.session()
    book.error(state, book.tool(state, "search"), "timeout after 30 s")
    book.tool(state, "search", returns=["hit"])
    last = book.error(state, book.tool(state, "search"), "timeout after 45 s")
    book.error(state, None, "another thing")
    book.end(state, "Fail")
    found = why("last", db=book.path)
    assert found.cause is not None
    assert found.cause.error.id == last.id.bytes
    assert (found.cause.error.before, found.cause.again) == (1, 0)
    assert [failure.message for failure in found.recovered] == ["timeout after 30 s"]
    assert [failure.message for failure in found.others] == ["another thing"]
    assert found.to_json()["first_error"]["message"] == "timeout after 30 s"  # type: ignore[index]  # it is an object


def test_what_another_agent_can_do_does_not_make_up_for_it(book: Book) -> None:
    """An agent got over an error if what failed worked again for itself, be it with another model."""
    state = book.session()
    mine, other = clock.new_id(), clock.new_id()
    state.agent_names |= {str(mine): "mine", str(other): "other"}
    failed = LLMEvent(model="big")
    assert book.recorder.record(state, failed, str(mine), None)
    book.error(state, failed, "overloaded")
    assert book.recorder.record(state, LLMEvent(model="big", completion="fine"), str(other), None)
    found = why(state.id, db=book.path)
    assert [failure.recovered for failure in found.errors] == [False]
    assert book.recorder.record(state, LLMEvent(model="small", completion="fine"), str(mine), None)
    assert [failure.recovered for failure in why(state.id, db=book.path).errors] == [True]


def test_an_exception_on_its_way_outwards_is_one_error(project: object) -> None:
    """An exception that passes through several functions has its cause in the innermost; the others follow from it."""
    run("""
    s = ao.init()
    @ao.record_tool("fetch")
    def fetch():
        raise KeyError("page 7")
    @ao.record_action("step")
    def step():
        fetch()
    @ao.record_action("plan")
    def plan():
        step()
    try:
        plan()
    except KeyError:
        s.end_session("Fail")
    """)
    found = why("last")
    assert found.cause is not None
    assert found.cause.error.doing[:2] == ("tools", "fetch")
    assert [failure.doing[1] for failure in found.cause.follows] == ["step", "plan"]
    assert (found.cause.again, found.others) == (0, ())
    assert [step.name for step in found.cause.chain] == ["step", "plan"]
    assert "in fetch" in (found.cause.logs or "")


def test_a_session_that_failed_without_an_error(book: Book) -> None:
    """Of a session that failed without an error it is told what came last, and the reason."""
    state = book.session()
    book.tool(state, "search", {"q": 1}, "nothing found")
    book.llm(state, "well?", completion="I am sorry")
    book.end(state, "Fail", "not solved")
    found = why("last", db=book.path)
    assert (found.cause, found.errors, found.session.end_state_reason) == (None, (), "not solved")
    assert found.last_llm is not None
    assert found.last_tool is not None
    assert (found.last_llm.got, found.last_tool.got) == ("I am sorry", "nothing found")


def test_errors_that_tools_give_as_text(book: Book) -> None:
    """Of a session that failed without an error the results of tools are told that begin with one, the last of many."""
    state = book.session()
    book.tool(state, "fine", returns="no error here")
    for number in range(7):
        book.tool(state, "search", {"q": number}, f"Error: no page {number}" if number % 2 else {"error": number})
    found = why("last", db=book.path)
    assert (found.complaints[0], [step.given for step in found.complaints[1]]) == (
        7, [f'{{"q":{number}}}' for number in range(2, 7)],
    )  # fmt: skip
    book.end(state)
    assert why("last", db=book.path).complaints == (0, ())


def test_a_session_that_succeeded(book: Book) -> None:
    """A session that succeeded has no cause, and got over all of its errors."""
    state = book.session()
    book.error(state, None, "odd")
    book.error(state, book.tool(state), "never again")
    book.end(state)
    found = why("last", db=book.path)
    assert (found.verdict, found.cause) == ("success", None)
    assert [failure.message for failure in found.recovered] == ["odd", "never again"]


def test_a_session_that_nobody_ended(book: Book) -> None:
    """A session whose process died without a word says so; one that is under way is running."""
    found = why(died(book, "first", "second"), db=book.path)
    assert (found.verdict, found.ended_by, len(found.silent)) == ("died", None, 1)
    assert found.session.last_event is not None
    assert found.session.last_event.name == "second"
    state = book.session()
    assert why(state.id, db=book.path).verdict == "running"


def test_an_error_of_an_event_that_is_not_there(book: Book) -> None:
    """An error is told although the event that failed was never recorded, or is its own ancestor."""
    state = book.session()
    book.error(state, ToolEvent(name="never"), "lost")
    looped = book.tool(state, "loop")
    book.error(state, looped, "round")
    book.change("UPDATE events SET parent = id WHERE id = ?", looped.id.bytes)
    found = why("last", db=book.path)
    assert found.cause is not None
    assert (found.cause.error.message, found.cause.error.trigger_kind, found.cause.trigger) == ("lost", "tools", None)
    json.dumps(found.to_json())


def test_long_and_odd_texts(book: Book) -> None:
    """A long text is told from its beginning, and text that is no JSON as it stands."""
    state = book.session()
    failed = book.tool(state, "search", {SECRET: LONG})
    error = ErrorEvent(trigger_event=failed, error_type="Odd", code="E1", details={"why": LONG})
    book.add(state, error)
    found = why("last", db=book.path)
    assert found.cause is not None
    assert found.cause.trigger is not None
    assert len(found.cause.error.message) == len(found.cause.trigger.given or "") == steps.MOST
    assert found.cause.error.message.startswith('{"why":')
    book.change("UPDATE events SET details = 'no {json' WHERE id = ?", error.id.bytes)
    again = why("last", db=book.path)
    assert again.cause is not None
    assert again.cause.error.message == "no {json"


def test_names(book: Book) -> None:
    """A session is named by its id, the beginning of it or `last`; what is not there, or not clear, is said."""
    one, two = book.session(name="aaaa0000-0000-4000-8000-000000000001"), book.session()
    book.change("UPDATE sessions SET id = 'aaaa0000-0000-4000-8000-000000000002' WHERE id = ?", two.id)
    assert why(one.id, db=book.path).session.id == one.id
    assert why("last").session.id.endswith("2")
    with pytest.raises(Ambiguous):
        why("aaaa", db=book.path)
    with pytest.raises(NoSuchSession):
        why("bbbb", db=str(book.path))
    with pytest.raises(DatabaseUnusable):
        why("last", db=book.path.with_name("none.db"))


def test_a_session_is_reached_by_its_index(book: Book) -> None:
    """No statement goes through the events of other sessions, or through all messages."""
    book.session()
    values = {"session": 1, "before": 9, "failed": "[]", "agent": 1}
    with reading(book.path) as connection:
        for sql in (asking.NEAR, asking.FAR, failures.LATEST):
            assert not scanned(connection, sql, values)
        for sql, given in (
            (asking.TRIED, (1, "tools", "x", 9)), (asking.COMPLAINTS, (1,)), (asking.FAILED, (1,)), (asking.LOGS, (1,)),
            (failures.ERRORS, (1,)), (failures.ABOVE, (1, b"")), (steps.STEPS, ("[1]",)),
        ):  # fmt: skip
            assert not scanned(connection, sql, given)
        plan = [row["detail"] for row in connection.execute(f"EXPLAIN QUERY PLAN {failures.ERRORS}", (1,))]
        assert plan[0] == "SEARCH e USING INDEX errors_by_time (session=?)"
