"""The page of a session: what stands in its head, why it failed, and its views."""

from __future__ import annotations

import json

from agentops_local.analytics.one_session import columns as told
from agentops_local.analytics.one_session import containing, detail, talk
from agentops_local.analytics.one_session.columns import columns
from agentops_local.analytics.reading import reading
from agentops_local.dashboard.pages import session, session_media
from agentops_local.dashboard.pages.session import VIEWS
from agentops_local.event import ActionEvent, ErrorEvent, LLMEvent, ToolEvent
from tests.analytics.plans import scanned
from tests.analytics.recording import Book
from tests.dashboard.running import Site

SECOND = 1_000_000
BEGAN = 1_800_000_000_000_000
LARGE = 2**60 + 1  # a browser would round it


def fill(book: Book) -> str:
    """A run that failed, with a tool inside of an action, and its error; its id."""
    state = book.session("nightly", began=BEGAN)
    book.add(state, book.timed(LLMEvent(prompt="what now?", completion="search", model="m", cost=0.25,
                                        prompt_tokens=10, completion_tokens=2), BEGAN + SECOND, SECOND))  # fmt: skip
    action = book.timed(ActionEvent(action_type="plan"), BEGAN + 3 * SECOND, 4 * SECOND)
    tool = book.timed(ToolEvent(name="search", params={"q": "<b>"}, returns={"n": LARGE}), BEGAN + 4 * SECOND, SECOND)
    book.add(state, tool, action)
    error = ErrorEvent(trigger_event=tool, error_type="Timeout", details="no answer", code="504")
    book.add(state, book.timed(error, BEGAN + 5 * SECOND, 0))
    book.add(state, action)
    return book.end(state, "Fail", "gave up", at=BEGAN + 8 * SECOND)


def test_the_head_and_why_it_failed(book: Book, site: Site) -> None:
    """The head has state, duration, cost, tags and the run before; the banner names the error that decided it, links to
    it and to what failed, and tells how the run ended."""
    before = book.end(book.session("nightly"))
    book.end(book.session("other"))
    found = site.json(f"/sessions/{fill(book)}.json")
    assert (found["state"], found["session"]["duration_s"], found["session"]["cost"]) == ("Fail", 8.0, 0.25)
    assert found["before"]["id"] == before
    cause = found["why"]["cause"]
    assert (cause["error_type"], cause["trigger"]["name"]) == ("Timeout", "search")
    assert found["why"]["ending"] == "Fail after 8.0s, ended by the program: gave up."
    page = site.get(f"/sessions/{found['session']['session_id']}").text
    for text in ("Why it failed", "no answer", f"#e={cause['event_id']}", f"#e={cause['trigger']['id']}", "nightly",
                 f"a={before}"):  # fmt: skip
        assert text in page, text


def test_every_view_by_itself(book: Book, site: Site) -> None:
    """Each view is a page of its own, has its data as JSON, and escapes what was recorded."""
    one = fill(book)
    for view in VIEWS:
        page = site.get(f"/sessions/{one}?view={view}")
        assert page.status_code == 200, (view, page.text)
        assert "<b>" not in page.text.split("<main", 1)[1]
        assert site.json(f"/sessions/{one}.json?view={view}")["view"] == view
    assert "&lt;b&gt;" in site.get(f"/sessions/{one}?view=tree").text


def test_a_session_without_events(book: Book, site: Site) -> None:
    """Every view of a session in which nothing has happened yet is a page."""
    state = book.session()
    for view in VIEWS:
        assert site.get(f"/sessions/{state.id}?view={view}").status_code == 200, view
        assert site.json(f"/sessions/{state.id}.json?view={view}")["session"]["events"] == 0
    assert site.json(f"/sessions/{state.id}/columns.json")["events"] == 0


def test_events_that_hold_a_text(book: Book, site: Site) -> None:
    """A text is found in whatever an event was given, gave or said, long payloads included, as it was written: nothing
    stands for something else."""
    state = book.session()
    book.tool(state, params={"q": 'say "100 %"\nor less'}, returns="x" * 3000 + "Needle")
    book.llm(state, "first", "second", completion="third")
    first, second = (row[0] for row in book.rows("SELECT seq FROM events ORDER BY seq"))

    def found(text: str) -> list[int]:
        answer = site.get(f"/sessions/{state.id}/matches.json", params={"q": text}).json()["events"]
        assert isinstance(answer, list)
        return answer

    for text in ('"100 %"', "needle", '%"\nor'):
        assert found(text) == [first], text
    for text in ("second", "THIRD"):
        assert found(text) == [second], text
    for text in ("1__", "100%", "first", "", "nothing"):
        assert found(text) == [], text


def test_what_is_not_there(book: Book, site: Site) -> None:
    """A session or an event that is not there is told with status 404, a view that there is not with 400."""
    one = fill(book)
    missing = "00000000-0000-0000-0000-000000000000"
    assert site.get(f"/sessions/{missing}").status_code == 404
    for event in (missing, "7" * 30, "x", "0"):
        assert site.get(f"/sessions/{one}/events/{event}.json").status_code == 404
    assert site.get(f"/sessions/{one}?view=film").status_code == 400
    other = book.session()
    tool = book.tool(other)
    assert site.get(f"/sessions/{one}/events/{tool.id}.json").status_code == 404


def test_all_events_as_columns(book: Book, site: Site) -> None:
    """Columns have one number for each event: in the order of the story, with what each happened in, its time from the
    beginning, and what failed; a column that is the same everywhere is one number."""
    found = site.json(f"/sessions/{fill(book)}/columns.json")
    ones = found["columns"]
    assert [found["what"][place] for place in ones["what"]] == [
        ["llms", "m"], ["actions", "plan"], ["tools", "search"], ["errors", "Timeout"],
    ]  # fmt: skip
    assert ones["above"] == [0, 0, 1, 1]
    assert [sum(ones["start"][: place + 1]) for place in range(4)] == [1e6, 3e6, 4e6, 5e6]
    assert ones["duration"] == [1e6, 4e6, 1e6, -1]
    assert found["failed"] == [2]
    assert ones["agent"] == ones["process"] == 0
    assert found["calls"] == {"prompt_tokens": 10, "completion_tokens": 2, "cost": 250_000_000}


def test_columns_again(book: Book, site: Site) -> None:
    """Who has seen the last event is told that there is none later, and all of them once there is one."""
    state = book.session()
    book.tool(state)
    url = f"/sessions/{state.id}/columns.json"
    seq = site.json(url)["seq"]
    assert site.json(f"{url}?after={seq}") == {"unchanged": True}
    book.tool(state)
    assert site.json(f"{url}?after={seq}")["events"] == 2


def test_events_in_a_circle(book: Book) -> None:
    """Events that name each other as their parents, as damage may leave them, are each told once."""
    state = book.session()
    one, two = book.tool(state), book.tool(state)
    for event, parent in ((one, two), (two, one)):
        book.change("UPDATE events SET parent = ? WHERE id = ?", parent.id.bytes, event.id.bytes)
    with reading(book.path) as connection:
        found = columns(connection, state.id)
    assert found.events == 2
    assert found.columns["above"] == [0, 1]


def test_long_sessions_are_told_in_coarser_units(book: Book) -> None:
    """Times stay small numbers: the unit grows with the length of a session, and durations with it."""
    state = book.session(began=BEGAN)
    book.add(state, book.timed(ActionEvent(action_type="a"), BEGAN + 36_000 * SECOND, 50 * SECOND))
    with reading(book.path) as connection:
        found = columns(connection, state.id)
    assert (found.unit_us, found.columns["start"], found.columns["duration"]) == (100, 360_000_000, 500_000)


def test_one_event_whole(book: Book, site: Site) -> None:
    """An event is told by its id or its number, with payloads as the JSON they are (no number is rounded), what it
    happened in, what happened in its course, and the errors that tell of it."""
    one = fill(book)
    rows = site.json(f"/sessions/{one}/columns.json")["columns"]["seq"]
    seqs = [sum(rows[: place + 1]) for place in range(4)]
    llm, action, tool, error = (site.json(f"/sessions/{one}/events/{seq}.json") for seq in seqs)
    assert site.json(f"/sessions/{one}/events/{tool['id']}.json") == tool
    assert tool["payloads"]["returns"] == f'{{"n":{LARGE}}}'
    assert [above["name"] for above in tool["above"]] == ["plan"]
    assert [below["name"] for below in action["below"]] == ["search"]
    assert [(failed["id"], failed["message"]) for failed in tool["errors"]] == [(error["id"], "no answer")]
    assert error["trigger"]["id"] == tool["id"]
    assert "search" in llm["llm"]["completion"]
    assert [json.loads(message) for message in llm["llm"]["prompt"]] == ["what now?"]
    assert llm["llm"]["tokens"] == {"prompt_tokens": 10, "completion_tokens": 2}
    assert (llm["llm"]["cost"], llm["llm"]["cost_source"], llm["at_s"], llm["took_s"]) == (0.25, "reported", 1.0, 1.0)


def test_no_statement_goes_through_all_events(book: Book) -> None:
    """What a page asks of one session is found by its index or by numbers."""
    fill(book)
    with reading(book.path) as connection:
        for sql, values in (
            (told.EVENTS, (1,)), (told.NEWEST, (1,)), (detail.BY_ID, (1, b"")), (detail.BY_SEQ, (1, 1)),
            (detail.WHOLE, (1,)), (detail.NAMED, (1,)), (detail.BELOW, (1, b"", 20)), (detail.ERRORS, (1, b"", 20)),
            (talk.TOOLS, (1, 0, 1)), (session_media.PICTURED, (1,)),
            (containing.HOLDING, {"session": 1, "text": "", "most": 1}), (session.BEFORE, {"seq": 1}),
        ):  # fmt: skip
            assert scanned(connection, sql, values) == [], sql
