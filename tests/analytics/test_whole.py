from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agentops_local.analytics import whole
from agentops_local.analytics.reading import reading
from agentops_local.analytics.whole import whole_events
from agentops_local.event import ActionEvent, ErrorEvent, Event, LLMEvent, ToolEvent
from tests.analytics.recording import Book

NUMBERS = st.integers(-(2**53), 2**53)
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS | TEXTS.map(lambda text: text * 300),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)


def only(book: Book, event: Event) -> dict[str, Any]:
    """An event, recorded and read whole."""
    book.add(book.session(), event)
    with reading(book.path) as connection:
        top = connection.execute("SELECT max(seq) FROM events").fetchone()[0]
        (found,) = whole_events(connection, [top])
    return found


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(given=JSON, got=JSON)
def test_what_went_in_comes_out(book: Book, given: Any, got: Any) -> None:
    """A payload is read as the value that was recorded: the text "1" is not the number, long texts are whole."""
    found = only(book, ToolEvent(name="t", params=given, returns=got, logs=given))
    assert (found["params"], found["returns"], found["logs"]) == (given, got, given)


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(prompt=st.lists(JSON, max_size=4) | TEXTS, completion=TEXTS | st.dictionaries(TEXTS, JSON, max_size=3))
def test_prompts_come_out_whole(book: Book, prompt: Any, completion: Any) -> None:
    """A prompt is read as it was sent, a list with all its messages or one text, and so is a completion."""
    found = only(book, LLMEvent(prompt=prompt, completion=completion, model="m", cost=0.1, prompt_tokens=3))
    assert (found["prompt"], found["completion"]) == (prompt, completion)
    assert (found["model"], found["cost"], found["prompt_tokens"], found["completion_tokens"]) == ("m", 0.1, 3, None)


def test_every_kind_has_its_fields(book: Book) -> None:
    """Each kind has the fields of its event class, under their names."""
    tool = ToolEvent(name="t")
    assert only(book, tool)["name"] == "t"
    action = only(book, ActionEvent(action_type="a", screenshot="data:,x"))
    assert (action["action_type"], action["screenshot"]) == ("a", "data:,x")
    error = only(book, ErrorEvent(trigger_event=tool, exception=KeyError("k"), code="7"))
    assert (error["error_type"], error["details"], error["code"]) == ("KeyError", "'k'", "7")
    assert (error["trigger_event_id"], error["trigger_event_type"]) == (str(tool.id), "tools")
    assert only(book, Event("my-kind", params=1))["kind"] == "my-kind"


def test_they_come_in_the_order_of_commits(book: Book) -> None:
    """However many there are and however they are asked for, they come in the order of their commits."""
    state = book.session()
    for number in range(120):
        book.action(state, str(number))
    with reading(book.path) as connection:
        found = [event["action_type"] for event in whole_events(connection, range(120, 0, -1))]
    assert found == [str(number) for number in range(120)]


def test_a_damaged_row_hides_no_other(book: Book) -> None:
    """A payload that is no JSON, or no UTF-8, is read as text."""
    state = book.session()
    book.tool(state, params=1)
    book.tool(state, params=2)
    book.change("UPDATE events SET params = '{broken', name = CAST(x'ff41' AS TEXT) WHERE seq = 1")
    with reading(book.path) as connection:
        first, second = whole_events(connection, [1, 2])
    assert (first["params"], first["name"], second["params"]) == ("{broken", "\N{REPLACEMENT CHARACTER}A", 2)
    assert whole.value("[" * 100_000) == "[" * 100_000
