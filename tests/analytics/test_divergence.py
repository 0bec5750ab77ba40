from __future__ import annotations

from agentops_local import clock
from agentops_local.analytics.one_session.divergence import Divergence, Talk, TalkPair, compared, paired, talks
from agentops_local.analytics.reading import reading
from agentops_local.event import LLMEvent
from agentops_local.recorder.state import SessionState
from tests.analytics.recording import LONG, Book

SYSTEM = {"role": "system", "content": "You are helpful."}


def user(text: str) -> dict[str, str]:
    """What the user says."""
    return {"role": "user", "content": text}


def answer(text: str) -> dict[str, str]:
    """What the model says."""
    return {"role": "assistant", "content": text}


def call(number: int, what: str = "x") -> dict[str, object]:
    """What the model says when it calls a tool."""
    function = {"name": "search", "arguments": what}
    return {"role": "assistant", "tool_calls": [{"id": f"call_{number}", "function": function}]}


def talk(book: Book, state: SessionState, *messages: dict, agent: str | None = None, thread: str | None = None) -> None:
    """A conversation: an LLM call for each message of the assistant."""
    for place, message in enumerate(messages):
        if message["role"] == "assistant":
            event = LLMEvent(prompt=list(messages[:place]), completion=message, thread_id=thread)
            assert book.recorder.record(state, event, agent, None)


def pairs(book: Book, a: SessionState, b: SessionState) -> tuple[list[TalkPair], list[Talk], list[Talk]]:
    """The conversations of two sessions."""
    with reading(book.path) as connection:
        seqs = [
            connection.execute("SELECT seq FROM sessions WHERE id = ?", (state.id,)).fetchone()[0] for state in (a, b)
        ]
        found, left_a, left_b = paired(*(talks(connection, seq) for seq in seqs))
        return [compared(connection, *pair) for pair in found], left_a, left_b


def first(book: Book, one: list[dict], other: list[dict]) -> TalkPair:
    """Where two conversations part."""
    a, b = book.session(), book.session()
    talk(book, a, *one)
    talk(book, b, *other)
    (found,), *_ = pairs(book, a, b)
    return found


def place(divergence: Divergence | None) -> tuple[int, tuple[str | None, str | None]] | None:
    """Where, and who speaks there."""
    return None if divergence is None else (divergence.index, divergence.roles)


def test_an_answer(book: Book) -> None:
    """Where the answers differ to what both were asked, the conversations part at the answer."""
    start = [SYSTEM, user("one"), answer("1"), user("two")]
    found = first(book, [*start, answer("a little two")], [*start, answer("a big two"), user("three"), answer("3")])
    assert place(found.divergence) == (4, ("assistant", "assistant"))
    assert found.divergence is not None
    assert (found.divergence.change.at, found.divergence.change.one) == (2, "a little two")
    assert (found.messages, found.divergence.only_ids, found.beyond) == ((5, 7), False, None)


def test_the_first_message(book: Book) -> None:
    """Where the system prompts differ, the conversations part at once."""
    found = first(book, [SYSTEM, answer("1")], [{"role": "system", "content": "You are not."}, answer("1")])
    assert place(found.divergence) == (0, ("system", "system"))


def test_an_end(book: Book) -> None:
    """A conversation that goes on where the other ends parts from it there."""
    start = [SYSTEM, user("one"), answer("1")]
    found = first(book, start, [*start, user("two"), answer("2")])
    assert place(found.divergence) == (3, (None, "user"))
    assert found.divergence is not None
    assert (found.divergence.ends, found.divergence.change.other) == ((True, False), "two")
    assert first(book, start, start).divergence is None


def test_long_texts(book: Book) -> None:
    """Of long texts it is shown what stands around the first difference."""
    found = first(book, [user(LONG + "left" + LONG), answer("1")], [user(LONG + "right" + LONG), answer("1")])
    assert found.divergence is not None
    change = found.divergence.change
    assert (change.at, len(change.one) < 300) == (len(LONG), True)
    assert "left" in change.one
    assert "right" in change.other


def test_ids_of_tool_calls(book: Book) -> None:
    """Ids of tool calls differ each time: that is told for what it is, and with it the first message that differs in
    anything else."""
    result = {"role": "tool", "tool_call_id": "call_1", "content": "hit"}
    one: list[dict] = [SYSTEM, user("go"), call(1), result, call(3), answer("done")]
    other: list[dict] = [
        SYSTEM,
        user("go"),
        call(2),
        {**result, "tool_call_id": "call_2"},
        call(4, "y"),
        answer("done"),
    ]
    found = first(book, one, other)
    assert (place(found.divergence), found.divergence and found.divergence.only_ids) == (
        (2, ("assistant", "assistant")), True,
    )  # fmt: skip
    assert place(found.beyond) == (4, ("assistant", "assistant"))
    found = first(book, one, [SYSTEM, user("go"), call(9), {**result, "tool_call_id": "call_9"}, call(8), one[-1]])
    assert (found.divergence and found.divergence.index, found.beyond) == (2, None)


def test_equal_messages_in_other_rows(book: Book) -> None:
    """Messages are the same if they say the same, even where another program has stored them twice."""
    start = [SYSTEM, user("one"), answer("1"), user("two")]
    a, b = book.session(), book.session()
    talk(book, a, *start, answer("2"))
    talk(book, b, {"role": "system", "content": "Another."}, *start[1:], answer("3"))
    text = book.rows("SELECT content FROM messages WHERE parent IS NULL ORDER BY id LIMIT 1")[0][0]
    book.change("UPDATE messages SET content = ?, hash = x'00' WHERE parent IS NULL AND content <> ?", text, text)
    (found,), *_ = pairs(book, a, b)
    assert place(found.divergence) == (4, ("assistant", "assistant"))


def test_pairs(book: Book) -> None:
    """Conversations are paired by agent and thread, then by agent, then in their order; what is left has no partner."""
    a, b = book.session(), book.session()
    planner, critic, other = (str(clock.new_id()) for _ in range(3))
    for state in (a, b):
        state.agent_names |= {planner: "planner", critic: "critic", other: "other"}
    talk(book, a, user("plan in a"), answer("1"), agent=planner)
    talk(book, a, user("judge"), answer("2"), agent=critic, thread="t")
    talk(book, a, user("help"), answer("3"), agent=other)
    talk(book, b, user("judge otherwise"), answer("2"), agent=critic)
    talk(book, b, user("judge thread"), answer("2"), agent=critic, thread="t")
    talk(book, b, user("plan in b"), answer("1"), agent=planner)
    talk(book, b, user("more"), answer("4"), agent=planner)
    found, left_a, left_b = pairs(book, a, b)
    assert [(pair.a.agent, pair.a.thread, pair.b.agent, pair.b.thread) for pair in found] == [
        ("planner", None, "planner", None), ("critic", "t", "critic", "t"), ("other", None, "critic", None),
    ]  # fmt: skip
    assert [left.agent for left in left_b] == ["planner"]
    assert left_a == []


def test_conversations_that_begin_alike_are_paired(book: Book) -> None:
    """Of several conversations of an agent those are paired that begin with the same messages."""
    a, b = book.session(), book.session()
    for state, order in ((a, ("apples", "pears")), (b, ("pears", "apples"))):
        for fruit in order:
            talk(book, state, SYSTEM, user(fruit), answer(f"{fruit} from {state.id}"))
    found, *_ = pairs(book, a, b)
    assert [place(pair.divergence) for pair in found] == [(2, ("assistant", "assistant"))] * 2


def test_a_second_try_is_not_a_divergence(book: Book) -> None:
    """A call that was made again with the same prompt does not part two conversations that go on in the same way."""
    chat = [SYSTEM, user("one"), answer("1"), user("two"), answer("2")]
    a, b = book.session(), book.session()
    book.add(a, LLMEvent(prompt=chat[:2]))
    talk(book, a, *chat)
    talk(book, b, *chat)
    (found,), *_ = pairs(book, a, b)
    assert found.divergence is None


def test_what_was_changed_in_the_midst(book: Book) -> None:
    """A conversation in which messages were replaced is compared as it was before, and as it went on."""
    a, b = book.session(), book.session()
    before = [SYSTEM, user("one"), user("long " * 50), answer("1"), user("two"), answer("2")]
    for state, summary in ((a, "in short"), (b, "briefly")):
        talk(book, state, *before)
        talk(book, state, SYSTEM, user("one"), user(summary), answer("9"))
    (found,), *_ = pairs(book, a, b)
    assert place(found.divergence) == (2, ("user", "user"))
    assert found.divergence is not None
    assert (found.divergence.change.one, found.messages) == ("in short", (4, 4))
    other = book.session()
    talk(book, other, *before[:3], answer("uno"), *before[4:])
    talk(book, other, SYSTEM, user("one"), user("in short"), answer("9"))
    (found,), *_ = pairs(book, a, other)
    assert place(found.divergence) == (3, ("assistant", "assistant"))
