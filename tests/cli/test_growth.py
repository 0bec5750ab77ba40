from __future__ import annotations

import pytest

from agentops_local.cli.growth import sparkline
from agentops_local.event import LLMEvent
from tests.analytics.recording import Book
from tests.cli.calling import call, execute


def talk(book: Book, calls: int) -> None:
    """A session with a conversation that grows, and a change at its end."""
    state = book.session()
    chat: list[object] = [{"role": "system", "content": "You are a careful assistant. " * 30}]
    for number in range(calls):
        chat.append({"role": "user", "content": f"question {number} \x1b[31m"})
        said = {"role": "assistant", "content": f"answer {number}"}
        book.add(state, LLMEvent(prompt=list(chat), completion=said, model="m", cost=0.25,
                                 prompt_tokens=1000 + 10 * number, cache_read_tokens=500))  # fmt: skip
        chat.append(said)
    chat[1] = {"role": "user", "content": "question zero"}
    book.add(state, LLMEvent(prompt=chat, model="m", prompt_tokens=1500, cache_read_tokens=0))


def test_what_is_told(book: Book) -> None:
    """The answer shows the curve, the calls, the most expensive messages and the breaks of the cache, on 80 columns."""
    talk(book, 4)
    said = execute("context", "last")
    assert said.code == 0
    for text in (
        "5 LLM calls in 1 conversation", "1,000 to 1,500, 5,560 together", "2,000 of them from the provider's cache",
        "(begins)", "4, changed", "You are a careful", "broke: 1 call", "call 5 after 4: message 1 (user) changed",
        "cached tokens 500 → 0", "was: question 0", "now: question zero",
    ):  # fmt: skip
        assert text in said.out, text
    assert "\x1b" not in said.out
    assert max(map(len, said.lines)) <= 80
    rows = [line.split() for line in said.lines if line.strip().startswith("2 ")]
    assert rows[0][-6:] == ["2", "1,010", "+10", "50%", "$0.2500", "1"]


def test_how_much_is_shown(book: Book) -> None:
    """`--calls` and `--messages` say how much is shown; a session without LLM calls says so."""
    talk(book, 40)
    said = call("context", "last").out
    assert "the last 30 of 41 calls" in said
    assert "the last" not in call("context", "last", "--calls", 0).out
    assert len(call("context", "last", "--messages", 3, "--json").json["messages"]) == 3
    book.session()
    assert "no LLM call" in call("context", "last").out


def test_json(book: Book) -> None:
    """`--json` has all calls for programs."""
    talk(book, 3)
    found = execute("context", "last", "--json").json
    assert [turn["relation"] for turn in found["calls"]] == ["begins", "extends", "extends", "changes"]
    assert [(one["call"], one["message"], one["reason"]) for one in found["breaks"]] == [(4, 1, "changed")]
    assert found["estimated_from"] == "tokens"
    assert call("context", "ffff").code == 1


@pytest.mark.parametrize(
    ("values", "columns", "curve"),
    [([], 5, ""), ([0, 0], 5, "▁▁"), ([1, 8, 4], 5, "▁█▄"), (list(range(100)), 4, "▂▄▆█"), ([5] * 3 + [80], 2, "▁█")],
)
def test_the_curve(values: list[int], columns: int, curve: str) -> None:
    """The curve has a character for each value or, where there is no room, for the highest of each part."""
    assert sparkline(values, columns) == curve
