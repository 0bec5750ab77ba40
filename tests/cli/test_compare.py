from __future__ import annotations

from agentops_local.event import LLMEvent
from tests.analytics.recording import Book
from tests.cli.calling import call, execute


def two(book: Book) -> tuple[str, str]:
    """Two runs of one agent."""
    ids = []
    for number in range(2):
        state = book.session(f"trial {number}")
        chat: list[object] = [
            {"role": "system", "content": f"Be helpful.\nTry {'hard' if number else 'a little'}."},
            {"role": "user", "content": "one\x1b[31m"},
        ]
        for turn in range(8):
            said = {"role": "assistant", "content": f"answer {turn}"}
            book.add(
                state, LLMEvent(prompt=list(chat), completion=said, model="gpt", prompt_tokens=100 + number, cost=1)
            )
            book.tool(state, "search", {"q": turn}, "hit")
            chat += [said, {"role": "user", "content": f"question {turn}"}]
        if number:
            book.tool(state, "give up")
        ids.append(book.end(state, "Fail" if number else "Success", "no" if number else None))
    return ids[0], ids[1]


def test_what_is_told(book: Book) -> None:
    """The answer shows numbers with their differences, where the conversations part, the diff of the prompts, and the
    steps beside each other, on 80 columns."""
    a, b = two(book)
    said = execute("compare", a, "last")
    assert said.code == 0
    for text in (
        f"A {a} Success [trial 0]", f"B {b} Fail: no [trial 1]", "part at message 0", "-Try a little.", "+Try hard.",
        "A system: Be helpful. Try a little.", "alike up to 16, then A did nothing more, B tools give up",
        "steps alike",
    ):  # fmt: skip
        assert text in said.out, text
    told = [line.split() for line in said.lines]
    assert ["tokens", "in", "800", "808", "+8"] in told
    assert ["tools", "8", "9", "+1"] in told
    assert ["give", "up", "0", "1", "+1"] in told
    assert ["+", "17", "tools", "give", "up"] in told
    assert "\x1b" not in said.out
    assert max(map(len, said.lines)) <= 80


def test_how_many_steps(book: Book) -> None:
    """`--steps` says how many steps are shown at most."""
    a, b = two(book)
    assert "more (--json has them all)" in call("compare", a, b, "--steps", 2).out
    assert "more (--json" not in call("compare", a, b, "--steps", 0).out


def test_the_same(book: Book) -> None:
    """Of a session and itself it is told that both are the same."""
    a, _ = two(book)
    said = call("compare", a, a).out
    assert "1 compared, 1 the same to the end" in said
    assert "both did the same things" in said
    assert "part at message" not in said


def test_json(book: Book) -> None:
    """`--json` has all of it for programs."""
    a, b = two(book)
    found = execute("compare", a, b, "--json").json
    assert found["first_diverging_message"]["index"] == 0
    assert found["first_diverging_message"]["role_a"] == "system"
    assert found["steps"]["parts_at"] == 16
    assert len(found["steps"]["pairs"]) == 17
    assert [one["part"] for one in found["prompts"]] == ["system"]
    assert call("compare", a, "ffff").code == 1
    assert call("compare", a).code == 2
