from __future__ import annotations

import random
from decimal import Decimal

import pytest

from agentops_local import clock
from agentops_local.analytics.one_session import conversations as finding
from agentops_local.analytics.one_session import messages, tree
from agentops_local.analytics.one_session.conversations import Relation, conversations
from agentops_local.analytics.one_session.growth import context
from agentops_local.analytics.reading import reading
from agentops_local.event import LLMEvent
from agentops_local.recorder.state import SessionState
from tests.analytics.plans import scanned, steps
from tests.analytics.recording import LONG, Book

SYSTEM = {"role": "system", "content": "You are helpful. " * 20}


def user(text: str) -> dict[str, str]:
    """What the user says."""
    return {"role": "user", "content": text}


def answer(text: str) -> dict[str, str]:
    """What the model says."""
    return {"role": "assistant", "content": text}


def ask(
    book: Book, state: SessionState, *prompt: object, said: object = None, tokens: int | None = None,
    cached: int | None = None, agent: str | None = None, **more: object,
) -> LLMEvent:  # fmt: skip
    """An LLM call."""
    event = LLMEvent(
        prompt=list(prompt), completion=said, model="m", prompt_tokens=tokens, cache_read_tokens=cached, **more  # type: ignore[arg-type]
    )  # fmt: skip
    assert book.recorder.record(state, event, agent, None)
    return event


def test_a_conversation_that_grows(book: Book) -> None:
    """Of each call it is told what it goes on from, what is new in it, and what came from the cache."""
    state = book.session()
    chat: list[object] = [SYSTEM, user("one")]
    ask(book, state, *chat, said=answer("1"), tokens=100, cost="0.5")
    chat += [answer("1"), user("two")]
    ask(book, state, *chat, said=answer("2"), tokens=130, cached=65)
    ask(book, state, *chat, said=answer("2"), tokens=130, cached=130)
    ask(book, state, *chat[:2], tokens=100, cached=100)
    found = context("last", db=book.path)
    assert [(turn.number, turn.before, turn.relation.value, turn.messages, turn.added) for turn in found.turns] == [
        (1, None, "begins", 2, 2), (2, 1, "extends", 4, 2), (3, 2, "repeats", 4, 0), (4, 3, "rewinds", 2, 0),
    ]  # fmt: skip
    assert [turn.new_tokens for turn in found.turns] == [100, 30, 0, -30]
    assert [turn.cached_share for turn in found.turns] == [None, 0.5, 1.0, 1.0]
    assert (found.turns[0].cost, found.breaks, found.uncounted) == (Decimal("0.5"), (), 0)


def test_conversations_that_interleave(book: Book) -> None:
    """A prompt that goes on with the answer of a call continues that call, whatever others began in the same way."""
    state = book.session()
    start = [SYSTEM, user("hi")]
    ask(book, state, *start, said=answer("a"))
    ask(book, state, *start, said=answer("b"))
    ask(book, state, *start, answer("a"), user("more of a"), said="A")
    ask(book, state, *start, answer("b"), user("more of b"))
    ask(book, state, *start, answer("a"), user("more of a"), answer("A"), user("and more"))
    found = context("last", db=book.path)
    assert [turn.before for turn in found.turns] == [None, 1, 1, 2, 3]
    assert found.breaks == ()


def test_instructions_alone_are_no_conversation(book: Book) -> None:
    """Two conversations with the same system prompt, and two agents that are asked the same, go on from nothing."""
    state = book.session()
    one, two = str(clock.new_id()), str(clock.new_id())
    state.agent_names |= {one: "planner", two: "critic"}
    ask(book, state, SYSTEM, user("apples"), answer("how many?"), user("two"), agent=one)
    ask(book, state, SYSTEM, user("pears"), answer("of which kind?"), user("two"), agent=one)
    ask(book, state, user("the task"), user("plan"), agent=one)
    ask(book, state, user("the task"), user("criticise"), agent=two)
    found = context("last", db=book.path)
    assert [turn.relation for turn in found.turns] == [Relation.BEGINS] * 4
    assert len({turn.conversation for turn in found.turns}) == 4
    assert found.breaks == ()


def test_a_message_that_changes_breaks_the_cache(book: Book) -> None:
    """Where a message was changed that had been sent before, the call, the message and the change are named."""
    state = book.session()
    ask(book, state, SYSTEM, user("the first thing"), answer("1"), user("two"), tokens=100, cached=80)
    last = ask(book, state, SYSTEM, user("the first sing"), answer("1"), user("two"), tokens=100, cached=20)
    (one,) = context("last", db=book.path).breaks
    assert (one.turn.id, one.before.number, one.index, one.role) == (str(last.id), 1, 1, "user")
    assert one.change is not None
    assert (one.change.at, one.change.one, one.change.other) == (10, "the first thing", "the first sing")
    assert one.to_json()["reason"] == "changed"


def test_a_time_in_the_system_prompt_breaks_the_cache(book: Book) -> None:
    """A system prompt that differs a little is the same conversation with a change; one that differs wholly is not."""
    state = book.session()
    for minute in range(3):
        system = {"role": "system", "content": f"It is 12:0{minute}. " + LONG}
        ask(book, state, system, user("go on"), *[user(f"step {number}") for number in range(minute)])
    ask(book, state, {"role": "system", "content": "Judge what they did. " * 9}, user("go on"))
    found = context("last", db=book.path)
    assert [turn.before for turn in found.turns] == [None, 1, 2, None]
    assert [(one.turn.number, one.index, one.role, one.change and one.change.at) for one in found.breaks] == [
        (2, 0, "system", 10), (3, 0, "system", 10),
    ]  # fmt: skip


def test_messages_left_out_break_the_cache(book: Book) -> None:
    """A prompt without the oldest messages goes on from the one that had them, and breaks its cache."""
    state = book.session()
    chat: list[object] = [user("one"), answer("1"), user("two")]
    ask(book, state, SYSTEM, *chat, said=answer("2"))
    ask(book, state, SYSTEM, *chat[2:], answer("2"), user("three"))
    found = context("last", db=book.path)
    assert [(one.turn.number, one.before.number, one.index) for one in found.breaks] == [(2, 1, 1)]


def test_a_cache_that_forgot(book: Book) -> None:
    """Less from the cache although nothing changed is a break as well; more, or a call of a conversation of its own, is
    none."""
    state = book.session()
    ask(book, state, SYSTEM, user("one"), tokens=100, cached=80)
    ask(book, state, SYSTEM, user("one"), user("two"), tokens=120, cached=100)
    ask(book, state, SYSTEM, user("one"), user("two"), user("three"), tokens=140)
    ask(book, state, user("another"), tokens=9, cached=0)
    (one,) = context("last", db=book.path).breaks
    assert (one.turn.number, one.before.number, one.index, one.change) == (3, 2, None, None)
    assert one.to_json()["reason"] == "fell"


def test_what_messages_cost(book: Book) -> None:
    """The tokens of each call are divided among its messages by their characters, and of a message summed up over all
    calls that sent it: together they are the tokens of all calls."""
    state = book.session()
    chat: list[object] = [SYSTEM]
    for number in range(5):
        chat.append(user(f"{number}" * 50))
        ask(book, state, *chat, tokens=100 * (number + 1))
    found = context("last", db=book.path, messages=0)
    weights = found.weights
    assert [weight.times for weight in sorted(weights, key=lambda weight: weight.index)] == [5, 5, 4, 3, 2, 1]
    first = next(weight for weight in weights if weight.index == 0)
    second = next(weight for weight in weights if weight.index == 5)
    wholes = [first.characters + second.characters * (number + 1) for number in range(5)]
    assert [turn.characters for turn in found.turns] == wholes
    expected = sum(100 * (number + 1) * first.characters / whole for number, whole in enumerate(wholes))
    assert first.tokens == round(expected)
    assert first is weights[0]
    assert first.beginning.startswith("You are helpful.")
    assert sum(weight.tokens or 0 for weight in weights) == pytest.approx(1500, abs=3)
    assert sum(weight.share for weight in weights) == pytest.approx(1)
    assert len(context("last", db=book.path, messages=2).weights) == 2


def test_calls_without_tokens_or_messages(book: Book) -> None:
    """Where no tokens were counted the estimate is of characters, and says so; a prompt that is one text is one
    message, and a call without a prompt has none."""
    state = book.session()
    assert context("last", db=book.path).turns == ()
    ask(book, state, SYSTEM, user("one"))
    book.add(state, LLMEvent(prompt="only a text"))
    book.add(state, LLMEvent(completion="out of nothing"))
    found = context("last", db=book.path)
    assert (found.estimated_from, found.uncounted) == ("characters", 3)
    assert [turn.messages for turn in found.turns] == [2, 1, 0]
    assert [weight.tokens for weight in found.weights] == [None] * 3
    assert found.weights[0].share > 0.8
    ask(book, state, SYSTEM, user("one"), tokens=50)
    assert context("last", db=book.path).estimated_from == "tokens"


@pytest.mark.parametrize("seed", range(5))
def test_the_longest_beginning_wins(book: Book, seed: int) -> None:
    """The call before is the latest one that shares the longest beginning, as a comparison with all earlier prompts
    finds it."""
    chance = random.Random(seed)
    state = book.session()
    prompts: list[list] = []
    for _ in range(100):
        prompt = chance.choice(prompts)[: chance.randint(1, 6)] if prompts else [user("begin")]
        prompt = prompt + [user(chance.choice("abc")) for _ in range(chance.randint(0, 3))]
        prompts.append(prompt)
        ask(book, state, *prompt)
    with reading(book.path) as connection:
        calls, _ = conversations(connection, 1)
    for number, call in enumerate(calls):
        shared = [common(prompts[number], earlier) for earlier in prompts[:number]]
        wanted = max(((length, index) for index, length in enumerate(shared)), default=(0, None))
        assert (call.common, call.before) == wanted, number


def common(one: list, other: list) -> int:
    """How many messages at the beginning are equal."""
    length = 0
    while length < min(len(one), len(other)) and one[length] == other[length]:
        length += 1
    return length


def test_cost_grows_with_what_is_new(book: Book) -> None:
    """What the answer costs grows with the messages, not with what the prompts amount to."""

    def needed(turns: int) -> int:
        state, chat = book.session(), [SYSTEM, user(f"begin {turns}")]
        for number in range(turns):
            ask(book, state, *chat)
            chat += [answer(f"{number}"), user(f"{number}")]
        with reading(book.path) as connection:
            seq = connection.execute("SELECT max(seq) FROM sessions").fetchone()[0]
            return steps(connection, lambda asked: conversations(asked, seq))

    assert needed(200) < 3 * needed(100)


def test_a_session_is_reached_by_its_index(book: Book) -> None:
    """No statement goes through the events of other sessions, or through all messages."""
    book.session()
    with reading(book.path) as connection:
        for sql, values in (
            (finding.CALLS, (1,)), (tree.NODES, (1,)), (tree.MEASURES, ("[1]",)), (messages._PATH, (1,)),
            (messages._TEXTS, ("[1]",)), (messages._CONTENTS, ("[1]",)),
        ):  # fmt: skip
            assert not scanned(connection, sql, values)
