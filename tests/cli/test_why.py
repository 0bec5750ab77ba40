from __future__ import annotations

from agentops_local.event import ActionEvent, LLMEvent, ToolEvent
from tests.analytics.recording import Book, died
from tests.cli.calling import call, execute


def test_what_is_told(book: Book) -> None:
    """The answer names the error, what failed, what led there, what followed, and how the session ended, on 80
    columns."""
    state = book.session()
    step = ActionEvent(action_type="step")
    book.error(state, book.tool(state, "search", {"q": "a"}), "timeout after 3 s")
    book.tool(state, "search", {"q": "b"}, ["hit"])
    book.add(state, LLMEvent(prompt="find it " * 30, completion="searching", model="gpt"), step)
    failed = book.add(state, ToolEvent(name="search", params={"q": "c"}), step)
    book.error(state, failed, "timeout after 5 s")
    book.add(state, step)
    book.error(state, None, "out of ideas")
    book.end(state, "Fail", "gave up")
    said = execute("why", "last")
    assert said.code == 0
    for text in (
        "ended by the program: gave up. 3 errors.", "ValueError", "timeout after 5 s", "1 time before",
        "What failed: tools search", 'asked: {"q":"c"}', "actions step", "The same tool before: 2 calls, 1 in vain",
        '{"q":"b"} → ["hit"]', "The LLM call before: llms gpt", "said: searching", "Later errors: 1", "out of ideas",
        "got over: 1",
    ):  # fmt: skip
        assert text in said.out, text
    assert max(map(len, said.lines)) <= 80


def test_how_it_stands(book: Book) -> None:
    """A run that succeeded says so, with what it got over; one without an error tells what came last; one that nobody
    ended tells what became of it."""
    state = book.session()
    book.error(state, book.tool(state), "odd")
    book.end(state)
    said = call("why", "last").out
    assert "It succeeded in spite of 1 error" in said
    assert "got over: 1" in said
    assert "The last tool call" not in said
    state = book.session()
    book.llm(state, "so?", completion="I am sorry")
    book.tool(state, "search", {"q": 1}, "Error: nothing there")
    said = call("why", "last").out
    assert "still running" in said
    book.end(state, "Fail", "unsolved")
    said = call("why", "last").out
    assert "unsolved. No error was recorded." in said
    assert "said: I am sorry" in said
    assert "begin with an error: 1" in said
    said = call("why", died(book, "first")).out
    assert "its process died" in said
    assert "died without a word" in said


def test_a_stranger_cannot_write_to_the_terminal(book: Book) -> None:
    """What a terminal would obey is taken out of all that was recorded."""
    state = book.session()
    evil = "\x1b[31mred\x07"
    book.error(state, book.tool(state, evil, {evil: evil}, evil), evil)
    book.end(state, "Fail", evil)
    for said in (call("why", "last"), call("why", "last", "--json")):
        assert said.code == 0
        assert "\x1b" not in said.out
        assert "\x07" not in said.out


def test_json(book: Book) -> None:
    """`--json` has the same for programs; a session that is not there ends with 1, an unclear name with 2."""
    state = book.session()
    book.error(state, book.tool(state, "search", {"q": 1}), "no")
    found = execute("why", state.id[:30], "--json").json
    assert (found["verdict"], found["ended_by"]) == ("running", None)
    assert found["cause"]["error_type"] == found["first_error"]["error_type"] == "ValueError"
    assert found["cause"]["trigger"]["given"] == '{"q":1}'
    assert found["processes"][0]["liveness"] == "alive"
    assert call("why", "ffff").code == 1
    book.session(name=f"{state.id[:-1]}{'0' if state.id[-1] != '0' else '1'}")
    assert call("why", state.id[:8]).code == 2
