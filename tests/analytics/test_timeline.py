from __future__ import annotations

from decimal import Decimal

from agentops_local.analytics import timeline
from agentops_local.analytics.reading import reading
from agentops_local.analytics.timeline import Line, arranged, last_seqs, lines
from agentops_local.event import ActionEvent, ErrorEvent, LLMEvent, ToolEvent
from tests.analytics.recording import Book


def told(book: Book, limit: int = 0) -> list[Line]:
    """The only session as a story."""
    with reading(book.path) as connection:
        return arranged(lines(connection, last_seqs(connection, 1, limit)))


def test_what_happened_inside_stands_under_it(book: Book) -> None:
    """An event stands under the one in whose course it happened, though it was committed before it, and siblings in
    the order in which they began."""
    state = book.session()
    outer, other = ToolEvent(name="outer"), ToolEvent(name="other")
    second = book.timed(ActionEvent(action_type="second"), 30, 1)
    first = book.timed(ActionEvent(action_type="first"), 20, 2)
    inmost = book.timed(LLMEvent(model="inmost"), 21, 1)
    for event, parent in (
        (inmost, first), (second, outer), (first, outer), (book.timed(outer, 10, 90), None),
        (book.timed(other, 15, 1), None),
    ):  # fmt: skip
        book.add(state, event, parent)
    assert [(line.name, line.depth) for line in told(book)] == [
        ("outer", 0), ("first", 1), ("inmost", 2), ("second", 1), ("other", 0),
    ]  # fmt: skip


def test_an_error_stands_under_the_event_that_failed(book: Book) -> None:
    """An error is told beneath its trigger, whatever it happened inside of."""
    state = book.session()
    outer, failed = ToolEvent(name="outer"), ToolEvent(name="failed")
    book.add(state, book.timed(failed, 20, 5), outer)
    book.add(state, book.timed(ErrorEvent(trigger_event=failed, error_type="E"), 25, 0), outer)
    book.add(state, book.timed(outer, 10, 50))
    assert [(line.name, line.depth) for line in told(book)] == [("outer", 0), ("failed", 1), ("E", 2)]


def test_a_circle_is_told_once(book: Book) -> None:
    """Events that are each other's parents are told all the same, each once."""
    state = book.session()
    one, two = ActionEvent(action_type="one"), ActionEvent(action_type="two")
    book.add(state, one, two)
    book.add(state, two, one)
    book.add(state, ActionEvent(action_type="three"))
    assert sorted(str(line.name) for line in told(book)) == ["one", "three", "two"]


def test_the_last_are_those_committed_last(book: Book) -> None:
    """With a limit, the events that were committed last are told; 0 tells all."""
    state, other = book.session(), book.session()
    for number in range(5):
        book.action(state, str(number))
        book.action(other, "other")
    assert [line.name for line in told(book, 2)] == ["3", "4"]
    assert [line.name for line in told(book)] == ["0", "1", "2", "3", "4"]


def test_a_line_says_what_went_in_and_out(book: Book) -> None:
    """A line holds the beginnings of what went in and out as text, however long it is, whatever was put aside."""
    state = book.session()
    book.tool(state, params={"q": "x" * 5000}, returns="y" * 5000)
    book.llm(state, "ask", completion="z" * 5000, cost="0.25")
    book.add(state, LLMEvent(prompt="ask", completion={"role": "assistant", "content": None, "tool_calls": [1]}))
    book.add(state, LLMEvent(prompt="ask", completion=["odd"]))
    book.add(state, ErrorEvent(code="404", details="gone", error_type="E"))
    tool, llm, called, odd, error = told(book)
    assert tool.given is not None
    assert tool.given.startswith('{"q":"xxx')
    assert (tool.got, llm.got, llm.cost) == ("y" * timeline.BRIEF, "z" * timeline.BRIEF, Decimal("0.25"))
    assert (called.got, odd.got, error.given) == ("[1]", '["odd"]', "404: gone")


def test_a_session_is_reached_by_its_index(book: Book) -> None:
    """The events of a session are found without a look at those of the others."""
    book.action(book.session())
    with reading(book.path) as connection:
        plan = [row["detail"] for row in connection.execute(f"EXPLAIN QUERY PLAN {timeline._LAST}", (1, 1))]
        assert plan[0].startswith("SEARCH events USING COVERING INDEX sqlite_autoindex_events_1 (session=?)")
        plan = [row["detail"] for row in connection.execute(f"EXPLAIN QUERY PLAN {timeline._LINES}", ("[1]",))]
    assert "SEARCH e USING INTEGER PRIMARY KEY (rowid=?)" in plan
    assert not [line for line in plan if line.startswith("SCAN") and "json_each" not in line and "VIRTUAL" not in line]
