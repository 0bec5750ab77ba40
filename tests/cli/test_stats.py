from __future__ import annotations

from agentops_local.event import ToolEvent
from tests.analytics.recording import Book
from tests.cli.calling import call, execute


def test_what_is_told(book: Book) -> None:
    """The statistics name totals, exact costs, latencies, models, tools and errors, of all sessions or of one."""
    first, second = book.session(), book.session()
    for _ in range(3):
        book.llm(first, "ask", cost="0.1", model="big")
    book.llm(first, "ask", model="small")
    tool = book.add(first, book.timed(ToolEvent(name="search"), 0, 250_000))
    book.error(first, tool)
    book.tool(second, "other")
    said = call("stats", COLUMNS="140").out
    for text in ("2 sessions, 7 events", "40 in, 8 out", "≥$0.3000 (1 call unpriced)", "search", "other", "ValueError"):
        assert text in said, text
    (line,) = [line for line in said.splitlines() if line.startswith("search")]
    assert line.split() == ["search", "1", "1", "250ms", "250ms", "250ms"]
    one = call("stats", first.id).out
    assert "1 session, 6 events" in one
    assert "other" not in one


def test_json(book: Book) -> None:
    """`--json` has the same for programs, costs as numbers."""
    state = book.session()
    for _ in range(10):
        book.llm(state, "ask", cost="0.1")
    book.llm(state, "ask")
    found = execute("stats", "last", "--json").json
    assert (found["cost"], found["unpriced"], found["events"], found["prompt_tokens"]) == (1.0, 1, 11, 110)
    assert found["models"][0]["model"] == "m"
    assert {"p50_s", "p95_s"} <= found["kinds"][0].keys()
    assert execute("stats", "nothing").code == 1
