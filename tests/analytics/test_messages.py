from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentops_local.analytics.one_session import messages
from agentops_local.analytics.one_session.difference import AFTER, BEFORE, difference, same_end, same_length
from agentops_local.analytics.reading import reading
from tests.analytics.recording import LONG, Book

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["role", "content", "parts", "tool_calls", "function", "type", "text"]), inner
        )
    ),
    max_leaves=12,
)


@pytest.mark.parametrize(
    ("message", "words"),
    [
        ({"role": "user", "content": "hi"}, "hi"),
        ("only a text", "only a text"),
        ({"role": "user", "content": [{"type": "text", "text": "look"}, {"type": "image_url", "image_url": {}}]},
         "look\n[image_url]"),
        ({"role": "assistant", "content": None,
          "tool_calls": [{"id": "1", "function": {"name": "search", "arguments": '{"q": 1}'}}]}, 'search({"q": 1})'),
        ({"role": "assistant", "function_call": {"name": "old", "arguments": {"q": 1}}}, 'old({"q": 1})'),
        ({"role": "assistant", "content": [{"type": "tool_use", "id": "1", "name": "search", "input": {"q": 1}}]},
         'search({"q": 1})'),
        ({"role": "user", "content": [{"type": "tool_result", "tool_use_id": "1", "content": "hit"}]}, "hit"),
        ({"role": "user", "parts": [{"text": "from Gemini"}]}, "from Gemini"),
        ({"role": "user", "parts": [{"type": "text", "content": "a part"}]}, "a part"),
        ({"role": "user"}, '{"role": "user"}'),
        (7, "7"),
    ],
)  # fmt: skip
def test_what_a_message_says(message: Any, words: str) -> None:
    """A message is its text and the tools that it calls, in whichever provider's form."""
    assert messages.words(json.dumps(message)) == words


@given(VALUES)
def test_any_message_says_something(message: Any) -> None:
    """Whatever was recorded as a message can be told as text."""
    assert isinstance(messages.words(json.dumps(message)), str)
    messages.role(json.dumps(message))


@given(st.text("ab", max_size=30), st.text("ab", max_size=30))
def test_where_texts_part(one: str, other: str) -> None:
    """Two texts part at the first character that is not the same, and what is shown stands around it."""
    at = next(
        (place for place, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other))
    )
    assert same_length(one, other) == at
    assert same_end(one[::-1], other[::-1]) == at
    found = difference(f"{LONG}{one}{LONG}", f"{LONG}{other}{LONG}")
    assert max(len(found.one), len(found.other)) <= BEFORE + AFTER + 2


def test_the_way_to_a_message(book: Book) -> None:
    """A prompt's nodes lead from its first message to its last, and a damaged row ends the way instead of turning it
    round for ever."""
    book.llm(book.session(), "one", LONG, "three")
    with reading(book.path) as connection:
        nodes = messages.path(connection, 3)
        assert [messages.words(text)[:5] for text in messages.texts(connection, nodes).values()] == [
            "one", LONG[:5], "three",
        ]  # fmt: skip
        assert messages.path(connection, None) == []
    book.change("UPDATE messages SET parent = 3 WHERE id = 2")
    with reading(book.path) as connection:
        assert messages.path(connection, 3) == [2, 3]
