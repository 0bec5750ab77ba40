from __future__ import annotations

import json

from agentops_local.event import LLMEvent, ToolEvent
from tests.analytics.recording import Book, died
from tests.cli.calling import call, execute


def test_it_tells_the_story(book: Book) -> None:
    """A session is shown with how it ended, its processes, its agents, and its events, errors under what failed."""
    state = book.session("a tag")
    state.agent_names["0197a1b2-0000-7000-8000-000000000001"] = "planner"
    state.place = None
    outer = ToolEvent(name="outer")
    book.add(state, LLMEvent(model="gpt", prompt="ask", completion="said this", cost=0.5), outer)
    book.add(state, outer)
    book.error(state, outer, "went wrong")
    book.end(state, "Fail", "because")
    said = call("show", state.id[:13])
    assert said.code == 0
    for text in (state.id, "Fail: because", "a tag", "3 (1 llm, 1 tool, 1 error)", "planner", " left", "said this"):
        assert text in said.out, text
    *_, tool, llm, error = said.lines
    assert tool.index("tools outer") < llm.index("llms gpt")
    assert error.index("errors ValueError") == llm.index("llms gpt")
    assert "$0.5000" in llm
    assert "went wrong" in error


def test_names(book: Book) -> None:
    """`last` and any beginning that fits one session name it; one that fits several is refused with 2 and the
    candidates, one that fits none with 1."""
    names = [book.session(name=f"0197a1b2-c3d4-7000-8000-00000000000{digit}").id for digit in "12"]
    assert names[1] in call("show", "last").out
    assert names[0] in call("show", names[0]).out
    several = execute("show", "0197a1b2")
    assert several.code == 2
    assert all(name in several.err for name in names)
    assert (execute("show", "0297").code, execute("show", "0297").out) == (1, "")
    assert execute("show").code == 2


def test_only_the_last_events(book: Book) -> None:
    """`--events` shows the last so many and says how many there are; 0 shows all."""
    state = book.session()
    for number in range(5):
        book.action(state, f"step-{number}")
    said = call("show", "last", "--events", 2)
    assert "the last 2 of 5 events" in said.out
    assert "step-2" not in said.out
    assert "step-3" in said.out
    assert "step-0" in call("show", "last", "-n", 0).out


def test_whole_payloads(book: Book) -> None:
    """`--full` shows what went in and came out whole, a prompt message by message."""
    state = book.session()
    book.llm(state, "first\nline two", "x" * 5000 + "END", completion="done")
    book.tool(state, "t", params={"deep": ["y" * 5000 + "END"]})
    brief, full = call("show", "last").out, call("show", "last", "--full").out
    assert "END" not in brief
    assert full.count("END") == 2
    assert "    first\n    line two\n" in full
    for text in ("prompt: user:", "completion:\n    done", "params:"):
        assert text in full


def test_json_is_whole(book: Book) -> None:
    """`--json` is one object: the session with its host, processes and agents, and its events with all their fields."""
    state = book.session("t")
    for number in range(210):
        book.tool(state, "t", params=number, returns={"n": "z" * 3000})
    book.llm(state, "ask", completion="done", cost="0.1")
    found = execute("show", "last", "--json").json
    assert found["session"]["session_id"] == state.id
    assert found["session"]["owners"][0]["liveness"] == "alive"
    assert [agent["name"] for agent in found["session"]["agents"]] == ["Default Agent"]
    events = found["events"]
    assert [event["params"] for event in events[:210]] == list(range(210))
    assert events[0]["returns"] == {"n": "z" * 3000}
    assert events[210]["prompt"] == [{"role": "user", "content": "ask"}]
    assert (events[210]["completion"], events[210]["cost"]) == ("done", 0.1)
    assert call("show", book.session().id, "--json").json["events"] == []


def test_a_died_process_is_shown(book: Book) -> None:
    """Of a session whose process died, the process is shown as dead, and the state says when and after what."""
    died(book, "the last")
    said = " ".join(call("show", "last").out.split())
    assert "Indeterminate: its process died at about" in said
    assert "last event actions the last" in said
    assert " dead" in said


def test_the_host_is_told_in_brief(book: Book) -> None:
    """Where the host environment was recorded it stands in a line."""
    state = book.session()
    env = {
        "OS": {"Hostname": "box", "OS": "Linux", "OS Release": "6.1"},
        "SDK": {"Python Version": "3.12"},
        "CPU": {"Total cores": 8},
    }
    book.change("INSERT INTO environments (fingerprint, host_env) VALUES ('x', ?)", json.dumps(env))
    book.change('UPDATE sessions SET environment = 1, moment = \'{"RAM": {"Total": "16 GB"}}\'')
    assert "box · Linux 6.1 · Python 3.12 · 8 cores · 16 GB RAM" in call("show", state.id).out
    assert call("show", state.id, "--json").json["session"]["host_env"]["RAM"] == {"Total": "16 GB"}


def test_times_are_local_or_utc(book: Book) -> None:
    """Times are shown in the local zone, with `--utc` in UTC."""
    book.end(book.session(began=1_700_000_000_000_000), at=1_700_000_001_000_000)
    assert "2023-11-14 22:13:20" in execute("--utc", "show", "last", TZ="Asia/Tokyo").out
    assert "2023-11-15 07:13:20" in execute("show", "last", TZ="Asia/Tokyo").out
