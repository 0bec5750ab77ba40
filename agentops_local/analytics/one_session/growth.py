"""How the prompts of a session grew: what each call added, which messages were paid for how often, and where the
provider's cache could not help.

A provider keeps the beginning of a prompt, and charges less for it, as long as the next prompt begins with the same.
One message that changes near the beginning makes all after it new.

What a message costs is an estimate: providers count a prompt as a whole. The tokens of each call are divided among its
messages by their characters, so what goes along with every call and is no message (the tools that the model may use)
counts with them.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from agentops_local.analytics.one_session.asked import Database, asked
from agentops_local.analytics.one_session.conversations import Call, Relation, conversations
from agentops_local.analytics.one_session.difference import Difference, difference
from agentops_local.analytics.one_session.failures import as_text
from agentops_local.analytics.one_session.messages import texts, words
from agentops_local.analytics.one_session.tree import Tree
from agentops_local.analytics.reading import iso
from agentops_local.analytics.sessions import Summary
from agentops_local.analytics.totals import dollars

_BEGINNING = 200  # characters of a message that are told
_TOLD = 100  # breaks of the cache that are told with both texts


@dataclass(frozen=True)
class Turn:
    """An LLM call.

    Attributes:
        number: its place among the calls, from 1; `before` is that of the call before in its conversation.
        messages, added: the messages of its prompt, and those after what it has in common with the call before.
        tokens, new_tokens: of its prompt, and how many more than the call before had; None if nobody counted.
        cached: the tokens that came from the provider's cache; None if it tells of none.
    """

    number: int
    id: str
    seq: int
    agent: str | None
    thread: str | None
    model: str | None
    init_us: int
    conversation: int
    relation: Relation
    before: int | None
    messages: int
    added: int
    characters: int
    tokens: int | None
    new_tokens: int | None
    cached: int | None
    cost: Decimal | None

    @property
    def cached_share(self) -> float | None:
        """How much of the prompt came from the cache, from 0 to 1."""
        return None if self.cached is None or not self.tokens else self.cached / self.tokens

    def to_json(self) -> dict[str, object]:
        """All of it."""
        return {
            "number": self.number, "id": self.id, "seq": self.seq, "agent_name": self.agent, "thread_id": self.thread,
            "model": self.model, "init_timestamp": iso(self.init_us), "conversation": self.conversation,
            "relation": self.relation.value, "before": self.before, "messages": self.messages,
            "new_messages": self.added, "characters": self.characters, "prompt_tokens": self.tokens,
            "new_tokens": self.new_tokens, "cache_read_tokens": self.cached, "cached_share": self.cached_share,
            "cost": None if self.cost is None else float(self.cost),
        }  # fmt: skip


@dataclass(frozen=True)
class Weight:
    """What a message costs, as far as that can be told.

    Attributes:
        index, role: its place in its prompts, from 0, and who speaks.
        beginning: of its text.
        characters, times: its length, and how many calls sent it.
        tokens: of all these times together, estimated; None where no call's tokens were counted.
        share: of all that was sent, from 0 to 1.
    """

    node: int
    index: int
    role: str | None
    beginning: str
    characters: int
    times: int
    tokens: int | None
    share: float

    def to_json(self) -> dict[str, object]:
        """All of it."""
        return {
            "message": self.node, "index": self.index, "role": self.role, "beginning": self.beginning,
            "characters": self.characters, "times": self.times, "estimated_tokens": self.tokens, "share": self.share,
        }  # fmt: skip


@dataclass(frozen=True)
class Break:
    """A call for which the provider's cache could not be used, or not as far as for the call before.

    Attributes:
        turn, before: the call, and the one before it in its conversation.
        index, role: the first message that changed, by its place in the prompt from 0, and who speaks in it; None if
            all of the earlier prompt was sent again, and less came from the cache all the same.
        change: both texts around the first difference; None beyond the first 100 breaks.
    """

    turn: Turn
    before: Turn
    index: int | None
    role: str | None
    change: Difference | None

    @property
    def waited_s(self) -> float:
        """Seconds since the call before began: what is not asked for is forgotten after some minutes."""
        return (self.turn.init_us - self.before.init_us) / 1e6

    def to_json(self) -> dict[str, object]:
        """All of it."""
        return {
            "call": self.turn.number, "id": self.turn.id, "before": self.before.number, "before_id": self.before.id,
            "reason": "fell" if self.index is None else "changed", "message": self.index, "role": self.role,
            "change": self.change and self.change.to_json(), "cache_read_tokens": self.turn.cached,
            "cache_read_tokens_before": self.before.cached, "waited_s": self.waited_s,
            "other_model": self.turn.model != self.before.model,
        }  # fmt: skip


@dataclass(frozen=True)
class Context:
    """How the prompts of a session grew.

    Attributes:
        turns: the LLM calls, in the order in which they began.
        weights: the most expensive messages first.
        breaks: where the provider's cache could not help.
        uncounted: calls whose tokens nobody counted; they are no part of the estimate, if any call's were.
    """

    session: Summary
    turns: tuple[Turn, ...]
    weights: tuple[Weight, ...]
    breaks: tuple[Break, ...]
    messages: int
    uncounted: int

    @property
    def estimated_from(self) -> str:
        """What the weights were worked out from: "tokens" of the calls; or "characters" alone, if no call has any."""
        return "tokens" if self.uncounted < len(self.turns) else "characters"

    def to_json(self) -> dict[str, object]:
        """All of it, for programs."""
        return {
            "session": self.session.to_json(),
            "conversations": len({turn.conversation for turn in self.turns}),
            "distinct_messages": self.messages,
            "uncounted": self.uncounted,
            "estimated_from": self.estimated_from,
            "calls": [turn.to_json() for turn in self.turns],
            "messages": [weight.to_json() for weight in self.weights],
            "breaks": [one.to_json() for one in self.breaks],
        }


def context(session: str, *, db: Database = None, messages: int = 20) -> Context:
    """How the prompts of a session grew over its LLM calls.

    Args:
        session: a whole id, a beginning that fits no other, or "last".
        db: the database; None for the project's.
        messages: how many of the most expensive messages are told; 0 for all.

    Raises:
        DatabaseUnusable: if there is no such database.
        NoSuchSession: if there is no such session.
        Ambiguous: if the beginning fits several.
    """
    with asked(db, session, priced=True) as (connection, (found,)):
        calls, tree = conversations(connection, found.seq)
        turns = tuple(_turn(number, calls, tree) for number in range(len(calls)))
        weights = _weights(connection, calls, tree, messages)
        breaks = tuple(_breaks(connection, calls, turns, tree))
        uncounted = sum(turn.tokens is None for turn in turns)
        return Context(found, turns, weights, breaks, len(tree.parent), uncounted)


def _turn(number: int, calls: Sequence[Call], tree: Tree) -> Turn:
    call = calls[number]
    before = None if call.before is None else calls[call.before]
    earlier = 0 if before is None else before.prompt_tokens
    return Turn(
        number + 1, as_text(call.id) or "", call.seq, call.agent, call.thread, call.model, call.init_us,
        call.conversation, call.relation, None if call.before is None else call.before + 1, call.messages,
        call.messages - call.common, 0 if call.prompt is None else tree.whole.get(call.prompt, 0), call.prompt_tokens,
        None if call.prompt_tokens is None or earlier is None else call.prompt_tokens - earlier, call.cached,
        None if call.cost_pusd is None else dollars(call.cost_pusd),
    )  # fmt: skip


def _weights(connection: sqlite3.Connection, calls: Sequence[Call], tree: Tree, most: int) -> tuple[Weight, ...]:
    """The sum over all calls, made on the way to the root: each message is looked at once."""
    counted = any(call.prompt_tokens is not None for call in calls)
    times = dict.fromkeys(tree.parent, 0)
    rate = dict.fromkeys(tree.parent, 0.0)  # tokens a character, over all calls that end here or below
    for call in calls:
        if call.prompt in times and call.prompt is not None:
            times[call.prompt] += 1
            if not counted:
                rate[call.prompt] += 1.0
            elif call.prompt_tokens:
                rate[call.prompt] += call.prompt_tokens / max(1, tree.whole[call.prompt])
    for node in reversed(tree.parent):  # the higher number first, and so the children before their parent
        parent = tree.parent[node]
        if parent is not None:
            times[parent] += times[node]
            rate[parent] += rate[node]
    weight = {node: tree.chars[node] * rate[node] for node in tree.parent}
    total = sum(weight.values())
    ranked = sorted(weight, key=lambda node: (-weight[node], node))[: most or None]
    found = texts(connection, ranked)
    return tuple(
        Weight(
            node, tree.depth[node] - 1, tree.role[node], words(found.get(node, ""))[:_BEGINNING], tree.chars[node],
            times[node], round(weight[node]) if counted else None, weight[node] / total if total else 0.0,
        )
        for node in ranked
    )  # fmt: skip


def _breaks(connection: sqlite3.Connection, calls: Sequence[Call], turns: Sequence[Turn], tree: Tree) -> list[Break]:
    found: list[Break] = []
    for call, turn in zip(calls, turns, strict=True):
        if call.before is None:
            continue
        before, earlier = calls[call.before], turns[call.before]
        if call.relation is Relation.CHANGES and call.prompt is not None and before.prompt is not None:
            was, now = tree.at(before.prompt, call.common + 1), tree.at(call.prompt, call.common + 1)
            change = None
            if len(found) < _TOLD:
                told = texts(connection, (was, now))
                change = _change(told.get(was, ""), told.get(now, ""))
            found.append(Break(turn, earlier, call.common, tree.role[now], change))
        elif call.relation in (Relation.EXTENDS, Relation.REPEATS) and (call.cached or 0) < (before.cached or 0):
            found.append(Break(turn, earlier, None, None, None))
    return found


def _change(was: str, now: str) -> Difference:
    """Where two messages part, in their words; in their JSON, where the words are the same."""
    one, other = words(was), words(now)
    return difference(one, other) if one != other else difference(was, now)
