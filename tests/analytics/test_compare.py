from __future__ import annotations

import json
import random

import pytest

from agentops_local.analytics.one_session import alignment, contrast
from agentops_local.analytics.one_session import compare as comparing
from agentops_local.analytics.one_session.alignment import Done, aligned
from agentops_local.analytics.one_session.compare import Comparison, Metric, compare
from agentops_local.analytics.reading import reading
from agentops_local.analytics.sessions import NoSuchSession
from agentops_local.event import LLMEvent, ToolEvent
from agentops_local.recorder.state import SessionState
from tests.analytics.plans import scanned
from tests.analytics.recording import Book


def numbers(metrics: tuple[Metric, ...]) -> dict[str, tuple[float | None, float | None, float | None]]:
    """The numbers by their names."""
    return {metric.name: (metric.a, metric.b, metric.difference) for metric in metrics}


def of(book: Book, a: SessionState, b: SessionState) -> Comparison:
    """Two sessions side by side."""
    return compare(a.id, b.id, db=book.path)


def test_numbers(book: Book) -> None:
    """Durations, counts, tokens of each kind, costs and end states stand side by side, with what B has more."""
    a, b = book.session(began=1_000_000), book.session(began=5_000_000)
    counted = {"prompt_tokens": 100, "completion_tokens": 10, "cache_read_tokens": 80, "reasoning_tokens": 5}
    book.add(a, LLMEvent(model="big", cost="0.30", **counted))  # type: ignore[arg-type]
    book.add(b, LLMEvent(model="small", cost="0.10", prompt_tokens=50, completion_tokens=20))  # type: ignore[arg-type]
    book.add(b, LLMEvent(model="small", cost="0.10"))  # type: ignore[arg-type]
    book.error(b, book.tool(b, "search"))
    book.end(a, "Success", at=3_000_000)
    book.end(b, "Fail", "no", at=6_000_000)
    found = of(book, a, b)
    told = numbers(found.metrics)
    assert (found.a.end_state, found.b.end_state, found.b.end_state_reason) == ("Success", "Fail", "no")
    assert told["duration_s"] == (2.0, 1.0, -1.0)
    assert told["llms"] == (1, 2, 1)
    assert told["errors"] == (0, 1, 1)
    assert told["prompt_tokens"] == (100, 50, -50)
    assert told["cache_read_tokens"] == (80, 0, -80)
    assert told["reasoning_tokens"] == (5, 0, -5)
    assert told["cost"] == (0.3, 0.2, 0.2 - 0.3)
    assert numbers(found.models) == {"big": (1, 0, -1), "small": (0, 2, 2)}
    assert numbers(found.tools) == {"search": (0, 1, 1)}


def test_a_cost_that_nobody_knows(book: Book) -> None:
    """A session whose calls have no price costs nobody knows what, which is not nothing."""
    a, b = book.session(), book.session()
    book.llm(a, "x", model="no-such-model")
    assert numbers(of(book, a, b).metrics)["cost"] == (None, 0.0, None)


def test_steps_beside_each_other(book: Book) -> None:
    """Steps of the same kind and name stand beside each other in their order, and it is told where both part, and
    where the same step was asked, or gave, something else."""
    a, b = book.session(), book.session()
    for state, model in ((a, "big"), (b, "small")):
        book.add(state, LLMEvent(prompt="go", completion="ok", model=model))
        book.tool(state, "search", {"q": 1}, "hit" if state is a else "miss")
    book.tool(a, "only in a")
    for state in (a, b):
        book.tool(state, "search", {"q": 2 if state is a else 3})
        book.action(state, "done")
    book.tool(b, "only in b")
    steps = of(book, a, b).steps
    told = [
        (pair.a and pair.a.name, pair.b and pair.b.name, pair.alike, pair.same_given, pair.same_got)
        for pair in steps.pairs
    ]
    assert told == [
        ("big", "small", True, True, True),
        ("search", "search", True, True, False),
        ("only in a", None, False, False, False),
        ("search", "search", True, False, True),
        ("done", "done", True, True, True),
        (None, "only in b", False, False, False),
    ]
    assert (steps.parts_at, steps.differs_at) == (2, 1)


def test_the_same_twice(book: Book) -> None:
    """A session is in nothing different from itself."""
    state = book.session()
    book.llm(state, "one", completion="two")
    book.error(state, book.tool(state, "search", {"q": 1}))
    found = compare(state.id, "last", db=book.path)
    assert (found.steps.parts_at, found.steps.differs_at, found.parting) == (None, None, None)
    assert (found.prompts, found.environment, found.packages) == ((), (), ())
    assert not any(metric.difference for metric in found.metrics)
    assert len(found.conversations) == 1


@pytest.mark.parametrize("seed", range(20))
def test_every_step_stands_once_and_in_its_order(monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    """Each step of both sessions has its place, in its order, however many there are; of long sessions, too, those
    stand beside each other that are alike."""
    monkeypatch.setattr(alignment, "WINDOW", 8)
    chance = random.Random(seed)
    common = [chance.choice("abcdef") for _ in range(100)]
    sides = [[name for name in common if chance.random() < 0.9] for _ in range(2)]
    a, b = ([Done(place, place, "tools", name, None, 0, 0) for place, name in enumerate(side)] for side in sides)
    pairs = aligned(a, b).pairs
    assert [pair.a for pair in pairs if pair.a is not None] == a
    assert [pair.b for pair in pairs if pair.b is not None] == b
    assert sum(pair.alike for pair in pairs) > 50


def test_equal_ends_stay_beside_each_other(book: Book) -> None:
    """What both did last is laid beside each other, however the middle went; also where beginning and end overlap."""
    a, b = book.session(), book.session()
    for _ in range(3):
        book.tool(a, "x")
    for _ in range(5):
        book.tool(b, "x")
    steps = of(book, a, b).steps
    assert [pair.alike for pair in steps.pairs] == [True] * 3 + [False] * 2


def prompt(system: str, first: str) -> list[dict[str, str]]:
    """What a conversation begins with."""
    return [{"role": "system", "content": system}, {"role": "user", "content": first}]


def test_prompts(book: Book) -> None:
    """What differs in system prompts, first messages and params is told as a unified diff, for each agent."""
    a, b = book.session(), book.session()
    book.add(a, LLMEvent(prompt=prompt("Be kind.\nBe brief.", "hello"), params={"temperature": 0}))
    book.add(b, LLMEvent(prompt=prompt("Be kind.\nBe long.", "hello"), params={"temperature": 1}))
    found = {one.part: one.lines for one in of(book, a, b).prompts}
    assert found.keys() == {"system", "params"}
    assert found["system"] == ("--- a", "+++ b", "@@ -1,2 +1,2 @@", " Be kind.", "-Be brief.", "+Be long.")
    assert '-"temperature": 0' in [line.replace("- ", "-") for line in found["params"]]


def test_a_change_in_a_long_line_is_seen() -> None:
    """A long line is divided at the ends of its sentences, and so shows what differs in it."""
    one = " ".join(f"Sentence number {number}." for number in range(50))
    lines = contrast.diff(one, one.replace("number 25", "number 99"))
    assert [line for line in lines if line[0] in "+-" and line[:3] not in ("---", "+++")] == [
        "-Sentence number 25.", "+Sentence number 99.",
    ]  # fmt: skip
    assert contrast.diff("a\n" * 6_000, "a\n" * 5_500 + "b\n" * 500) == ("@@ they differ after 5,000 lines @@",)


def test_environment(book: Book) -> None:
    """Values of the host and versions of packages that differ are told; those of the moment are not."""
    a, b = book.session(), book.session()
    for number, (state, python, packages) in enumerate(
        ((a, "3.11", {"x": "1", "gone": "1", "same": "1"}), (b, "3.12", {"x": "2", "new": "1", "same": "1"}))
    ):
        host = {
            "SDK": {"Python Version": python}, "CPU": {"CPU Usage": f"{number}%", "Total cores": 2},
            "RAM": {"Used": f"{number} GB"}, "Disk": {"/dev/a": {"Used": number}},
            "Installed Packages": {"Installed Packages": packages},
        }  # fmt: skip
        book.change("INSERT INTO environments VALUES (?, ?, ?)", 10 + number, f"f{number}", json.dumps(host))
        book.change("UPDATE sessions SET environment = ?, moment = NULL WHERE id = ?", 10 + number, state.id)
    found = of(book, a, b)
    assert [(change.name, change.a, change.b) for change in found.environment] == [
        ("SDK.Python Version", "3.11", "3.12")
    ]
    assert [(change.name, change.a, change.b) for change in found.packages] == [
        ("gone", "1", None), ("new", None, "1"), ("x", "1", "2"),
    ]  # fmt: skip


def test_empty_sessions_and_none(book: Book) -> None:
    """Sessions without events can be compared; one that is not there is said to be missing."""
    a, b = book.session(), book.session()
    found = of(book, a, b)
    assert (found.steps.pairs, found.conversations, found.parting) == ((), (), None)
    json.dumps(found.to_json())
    with pytest.raises(NoSuchSession):
        compare(a.id, "ffff", db=book.path)


def test_an_event_without_a_name(book: Book) -> None:
    """Steps without a name, and calls without a model, are steps like others."""
    a, b = book.session(), book.session()
    for state in (a, b):
        book.add(state, ToolEvent())
        book.add(state, LLMEvent())
    found = of(book, a, b)
    assert all(pair.alike for pair in found.steps.pairs)
    json.dumps(found.to_json())


def test_a_session_is_reached_by_its_index(book: Book) -> None:
    """No statement goes through the events of other sessions."""
    book.session()
    with reading(book.path) as connection:
        for sql, values in (
            (alignment.ORDER, (1,)), (alignment.STEPS, ("[1]",)), (comparing.SUMS, (1,)), (contrast.PARAMS, (1,)),
        ):  # fmt: skip
            assert not scanned(connection, sql, values)
