"""Where the conversations of two sessions part: the first message that is not the same.

Messages that two prompts share are the same rows, so the common beginning is found by comparing numbers; what follows
is read until it differs. Tool calls have ids that are drawn anew each time. Where only these differ, the first message
that differs in anything else is told as well.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from agentops_local.analytics.one_session.conversations import Call, Relation, conversations
from agentops_local.analytics.one_session.difference import Difference, difference
from agentops_local.analytics.one_session.messages import contents, path, role, texts, words
from agentops_local.analytics.one_session.tree import Tree
from agentops_local.analytics.whole import value

MOST = 100  # pairs of conversations that are compared
_PIECE = 50  # messages a read
_IDS = frozenset({"id", "call_id", "tool_call_id", "tool_use_id"})


@dataclass(frozen=True)
class Talk:
    """A conversation: calls that go on from each other, until something is changed in what was sent before.

    Attributes:
        opening: the node of its first message that is no instruction.
        first: its first call.
        ends: the node in which it ends, the last answer included; before that, one for each time that something was
            changed that had been sent before, in which it ended until then.
    """

    agent: str | None
    thread: str | None
    opening: int | None
    first: Call
    ends: tuple[int, ...]
    calls: int


@dataclass(frozen=True)
class Divergence:
    """The first message that is not the same.

    Attributes:
        index: its place in the conversation, from 0.
        roles: who speaks in A and in B; None where the conversation ends before it.
        change: both texts around the first difference; the text of an end is empty.
        only_ids: whether only ids of tool calls differ.
    """

    index: int
    roles: tuple[str | None, str | None]
    change: Difference
    only_ids: bool
    ends: tuple[bool, bool] = (False, False)

    def to_json(self) -> dict[str, object]:
        """All of it."""
        return {
            "index": self.index, "role_a": self.roles[0], "role_b": self.roles[1], **self.change.to_json(),
            "only_ids": self.only_ids, "a_ends": self.ends[0], "b_ends": self.ends[1],
        }  # fmt: skip


@dataclass(frozen=True)
class TalkPair:
    """A conversation of A and one of B.

    Attributes:
        messages: how many each has, answers included.
        divergence: the first message that is not the same; None if there is none.
        beyond: the first that differs in more than ids, where `divergence` does not; None if there is none.
    """

    a: Talk
    b: Talk
    messages: tuple[int, int]
    divergence: Divergence | None
    beyond: Divergence | None = field(default=None)

    def to_json(self) -> dict[str, object]:
        """All of it."""
        return {
            "agent_a": self.a.agent, "agent_b": self.b.agent, "thread_a": self.a.thread, "thread_b": self.b.thread,
            "messages_a": self.messages[0], "messages_b": self.messages[1],
            "divergence": self.divergence and self.divergence.to_json(),
            "beyond_ids": self.beyond and self.beyond.to_json(),
        }  # fmt: skip


def talks(connection: sqlite3.Connection, session: int) -> list[Talk]:
    """The conversations of a session, in the order in which they began."""
    calls, tree = conversations(connection, session)
    chain_of: dict[int, int] = {}
    chains: list[list[int]] = []
    for number, call in enumerate(calls):
        before = call.before
        # Where two calls go on from the same one, the second begins a conversation of its own.
        goes_on = (
            before is not None and call.relation is not Relation.REWINDS and chains[chain_of[before]][-1] == before
        )
        if before is not None and goes_on:
            chain_of[number] = chain_of[before]
            chains[chain_of[before]].append(number)
        else:
            chain_of[number] = len(chains)
            chains.append([number])
    return [_talk([calls[number] for number in chain], tree) for chain in chains]


def paired(a: Sequence[Talk], b: Sequence[Talk]) -> tuple[list[tuple[Talk, Talk]], list[Talk], list[Talk]]:
    """Conversations of two sessions in pairs, and those that are left: of one agent and thread, of one agent, and then
    in the order in which they began; those that begin with the same messages before all others."""
    pairs: list[tuple[Talk, Talk]] = []
    left_a, left_b = list(a), list(b)
    keys: list[Callable[[Talk], object]] = [
        lambda talk: (talk.agent, talk.thread, talk.opening),
        lambda talk: (talk.agent, talk.thread),
        lambda talk: (talk.agent, talk.opening),
        lambda talk: talk.agent,
        lambda _: None,
    ]
    for key in keys:
        waiting: dict[object, list[Talk]] = {}
        for talk in reversed(left_b):
            waiting.setdefault(key(talk), []).append(talk)
        found = {id(talk): waiting[key(talk)].pop() for talk in left_a if waiting.get(key(talk))}
        pairs += [(talk, found[id(talk)]) for talk in left_a if id(talk) in found]
        taken = {id(talk) for talk in found.values()}
        left_a = [talk for talk in left_a if id(talk) not in found]
        left_b = [talk for talk in left_b if id(talk) not in taken]
    pairs.sort(key=lambda pair: (pair[0].first.init_us, pair[0].first.seq))
    return pairs, left_a, left_b


def compared(connection: sqlite3.Connection, a: Talk, b: Talk) -> TalkPair:
    """Where two conversations part."""
    before = (0, 0)
    for number in range(max(len(a.ends), len(b.ends), 1)):
        one = path(connection, a.ends[number]) if number < len(a.ends) else []
        other = path(connection, b.ends[number]) if number < len(b.ends) else []
        if number and not (one and other):  # one of them was never changed in its midst: it ends here
            break
        before = len(one), len(other)
        found = _first(connection, one, other, 0, _same_content)
        if found is None:
            continue
        divergence = _divergence(connection, one, other, found)
        beyond = None
        if divergence.only_ids:
            further = _first(connection, one, other, found + 1, _same_but_ids)
            beyond = None if further is None else _divergence(connection, one, other, further)
        return TalkPair(a, b, before, divergence, beyond)
    return TalkPair(a, b, before, None)


def _talk(calls: Sequence[Call], tree: Tree) -> Talk:
    first = calls[0]
    ends: list[int] = []
    for call in calls:
        end = call.prompt if call.completion is None else call.completion
        if end is None:
            continue
        if ends and call.relation is not Relation.CHANGES:
            ends[-1] = end
        else:
            ends.append(end)
    opening = None if first.prompt is None else tree.opening.get(first.prompt)
    return Talk(first.agent, first.thread, opening, first, tuple(ends), len(calls))


_Same = Callable[[sqlite3.Connection, Sequence[tuple[int, int]]], "int | None"]


def _first(
    connection: sqlite3.Connection, one: Sequence[int], other: Sequence[int], start: int, differ: _Same
) -> int | None:
    """The place of the first message that is not the same; None if there is none."""
    shorter = min(len(one), len(other))
    while start < shorter and one[start] == other[start]:
        start += 1
    for begin in range(start, shorter, _PIECE):
        end = min(begin + _PIECE, shorter)
        found = differ(connection, list(zip(one[begin:end], other[begin:end], strict=True)))
        if found is not None:
            return begin + found
    return None if len(one) == len(other) else shorter


def _same_content(connection: sqlite3.Connection, pairs: Sequence[tuple[int, int]]) -> int | None:
    found = contents(connection, {node for pair in pairs for node in pair})
    return next((place for place, (a, b) in enumerate(pairs) if found.get(a) != found.get(b)), None)


def _same_but_ids(connection: sqlite3.Connection, pairs: Sequence[tuple[int, int]]) -> int | None:
    found = texts(connection, {node for pair in pairs for node in pair})
    return next(
        (place for place, (a, b) in enumerate(pairs) if not _only_ids(found.get(a, ""), found.get(b, ""))), None
    )


def _divergence(connection: sqlite3.Connection, one: Sequence[int], other: Sequence[int], index: int) -> Divergence:
    nodes = [side[index] if index < len(side) else None for side in (one, other)]
    found = texts(connection, [node for node in nodes if node is not None])
    a, b = (None if node is None else found.get(node, "") for node in nodes)
    if a is None or b is None:
        change = difference("" if a is None else words(a), "" if b is None else words(b))
        return Divergence(index, (_role(a), _role(b)), change, False, (a is None, b is None))
    change = difference(words(a), words(b)) if words(a) != words(b) else difference(a, b)
    return Divergence(index, (role(a), role(b)), change, _only_ids(a, b))


def _role(text: str | None) -> str | None:
    return None if text is None else role(text)


def _only_ids(one: str, other: str) -> bool:
    """Whether two messages are the same but for the ids of tool calls."""
    return one == other or _without_ids(value(one)) == _without_ids(value(other))


def _without_ids(thing: Any) -> Any:
    if isinstance(thing, dict):
        return {key: _without_ids(item) for key, item in thing.items() if key not in _IDS}
    return [_without_ids(item) for item in thing] if isinstance(thing, list) else thing
