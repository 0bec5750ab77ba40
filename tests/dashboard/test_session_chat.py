"""The conversations of a session as the chat shows them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentops_local.analytics.one_session.said import changes, said
from agentops_local.analytics.one_session.talk import TURNS, talk
from agentops_local.analytics.reading import reading
from agentops_local.event import LLMEvent
from agentops_local.recorder.state import SessionState
from tests.analytics.recording import Book
from tests.dashboard.running import Site

Messages = list[dict[str, Any]]


def system(text: str) -> dict[str, Any]:
    """Instructions."""
    return {"role": "system", "content": text}


def user(text: str) -> dict[str, Any]:
    """What a user says."""
    return {"role": "user", "content": text}


def assistant(text: str) -> dict[str, Any]:
    """What a model says."""
    return {"role": "assistant", "content": text}


def call(book: Book, state: SessionState, prompt: Messages, completion: object) -> None:
    """An LLM call."""
    book.add(state, LLMEvent(prompt=prompt, completion=completion, model="m"))


def told(book: Book, **how: Any) -> dict[str, Any]:
    """What the chat has of the one session."""
    with reading(book.path) as connection:
        return talk(connection, 1, **how)


def texts(messages: list[dict[str, Any]]) -> list[str]:
    """All that messages say."""
    return [text for message in messages for text in message["texts"]]


def test_each_message_once(book: Book) -> None:
    """A conversation is told as it grew: with each call what its prompt adds, and the answer; nothing twice."""
    state = book.session()
    talked: Messages = [system("be kind"), user("question 0")]
    for turn in range(3):
        call(book, state, talked, assistant(f"answer {turn}"))
        talked = [*talked, assistant(f"answer {turn}"), user(f"question {turn + 1}")]
    found = told(book)
    assert [texts(turn["messages"]) for turn in found["turns"]] == [
        ["be kind", "question 0"], ["question 1"], ["question 2"],
    ]  # fmt: skip
    assert [turn["answer"]["texts"] for turn in found["turns"]] == [["answer 0"], ["answer 1"], ["answer 2"]]


def test_results_stand_with_the_calls(book: Book) -> None:
    """What a tool gave stands under the call that asked for it, with the event in which the call was recorded."""
    state = book.session()
    asked = {"role": "assistant", "content": None, "tool_calls": [
        {"id": "c1", "type": "function", "function": {"name": "search", "arguments": '{"q": 1}'}}]}  # fmt: skip
    call(book, state, [user("find it")], asked)
    book.tool(state, "search", {"q": 1}, "found")
    given_back = {"role": "tool", "tool_call_id": "c1", "content": "found"}
    call(book, state, [user("find it"), asked, given_back], assistant("there it is"))
    first, second = told(book)["turns"]
    (one,) = first["answer"]["calls"]
    assert (one["name"], one["arguments"], one["result"]) == ("search", '{\n "q": 1\n}', "found")
    assert one["event"][0] == book.rows("SELECT seq FROM events WHERE kind = 'tools'")[0][0]
    assert (second["messages"], second["again"]) == ([], 0)


def test_what_was_changed_in_a_prompt(book: Book) -> None:
    """Where a prompt does not go on from the one before, it is told where they part, what was changed, and what is sent
    again; messages that are the same are not shown again."""
    state = book.session()
    talked = [user("question 0"), assistant("answer 0"), user("question 1")]
    call(book, state, [system("it is 10:00 now, be kind"), *talked[:1]], talked[1])
    call(book, state, [system("it is 10:05 now, be kind"), *talked], assistant("answer 1"))
    _, second = told(book)["turns"]
    assert (second["relation"], second["common"], second["again"]) == ("changes", 0, 2)
    (change,) = second["changed"]
    assert [tuple(piece) for piece in change["pieces"]] == [
        ("same", "it is "), ("gone", "10:00"), ("new", "10:05"), ("same", " now, be kind"),
    ]  # fmt: skip
    assert texts(second["messages"]) == ["question 1"]


def test_messages_that_are_left_out(book: Book) -> None:
    """What a prompt leaves out of the one before is told as left out."""
    state = book.session()
    talked = [user("question 0"), assistant("answer 0"), user("question 1"), assistant("answer 1"), user("question 2")]
    call(book, state, [system("be kind"), *talked], assistant("answer 2"))
    later = [system("be kind"), *talked[2:], assistant("answer 2"), user("question 3")]
    call(book, state, later, assistant("answer 3"))
    _, second = told(book)["turns"]
    assert texts(second["gone"]) == ["question 0", "answer 0"]
    assert texts(second["messages"]) == ["question 3"]


def test_pages_of_long_conversations(book: Book, site: Site) -> None:
    """A conversation comes in pages, of which each begins where the last ended; the one with a given event is found by
    it; and conversations that have nothing in common are apart."""
    state = book.session()
    talked: Messages = [user("question 0")]
    for turn in range(TURNS + 3):
        call(book, state, talked, assistant(f"answer {turn}"))
        talked = [*talked, assistant(f"answer {turn}"), user(f"question {turn + 1}")]
    call(book, state, [user("something else")], assistant("yes"))
    first, second = told(book), told(book, page=2)
    assert (first["count"], first["pages"], first["calls"]) == (2, 2, TURNS + 3)
    assert (len(first["turns"]), len(second["turns"])) == (TURNS, 3)
    assert texts(second["turns"][0]["messages"]) == [f"question {TURNS}"]
    last = second["turns"][-1]
    for event in (last["id"], str(last["seq"])):
        assert told(book, event=event)["page"] == 2
    page = site.get(f"/sessions/{state.id}?view=chat&page=2").text
    assert f"question {TURNS}" in page
    assert "Conversation 1 of 2" in page
    assert site.get(f"/sessions/{state.id}?view=chat&conversation=2").text.count("something else") >= 1
    assert site.get(f"/sessions/{state.id}?view=chat&page=x").status_code == 400


@pytest.mark.parametrize(
    "message",
    ['"plain"', "7", "null", "[]", "{}", '{"role": 5}', '{"content": {"a": 1}}', '{"tool_calls": "x"}', "no json",
     '{"content": [{"type": "tool_use", "id": 1}, 5, null]}', '{"role": "tool", "tool_call_id": []}',
     '{"content": "\\ud800"}', '{"tool_calls": [{"function": {"arguments": 5}}]}', '{"function_call": {"name": null}}'],
)  # fmt: skip
def test_whatever_stands_in_a_message(book: Book, message: str) -> None:
    """Any JSON, and what is none, can be shown as a message, in texts that a page can hold."""
    found = said(message).to_json()
    str(found).encode()
    assert isinstance(found["role"], str)


def test_pictures_in_messages() -> None:
    """Of pictures only those that lie in the message itself, in a form that holds no program, are shown as such."""

    def shown(url: str) -> list[str]:
        return said('{"content": [{"type": "image_url", "image_url": {"url": "%s"}}]}' % url).pictures  # noqa: UP031

    assert shown("data:image/png;base64,AAAA") == ["data:image/png;base64,AAAA"]
    for url in ("https://example.org/a.png", "data:image/svg+xml;base64,AAAA", "javascript:alert(1)"):
        assert shown(url) == []


@given(st.text(max_size=60), st.text(max_size=60))
def test_changes_make_one_text_of_the_other(one: str, other: str) -> None:
    """What is the same and what is gone make the first text, what is the same and what is new the second."""
    pieces = changes(one, other)
    assert "".join(text for how, text in pieces if how != "new") == one
    assert "".join(text for how, text in pieces if how != "gone") == other
