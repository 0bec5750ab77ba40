"""The LLM calls of a session, and which of them goes on from which.

Conversations interleave: agents, threads, sub-agents. The call before, in the same conversation, is the latest one that
shares the longest beginning with a prompt; where several do, the one whose answer the prompt goes on with. Calls that
share instructions alone are conversations of their own, unless the rest shows that it is the same one with something
changed at its beginning: a time in the system prompt, or old messages left out.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from enum import Enum

from agentops_local.analytics.one_session.difference import same_end, same_length
from agentops_local.analytics.one_session.messages import texts, words
from agentops_local.analytics.one_session.tree import Latest, Tree

CALLS = """
SELECT e.seq, e.id, (SELECT a.name FROM agents a WHERE a.seq = e.agent) AS agent, e.thread_id, e.model, e.init_us,
       e.end_us, e.prompt, e.completion, e.prompt_tokens, e.completion_tokens, e.cache_read_tokens, e.cost_pusd
FROM events e WHERE e.session = ? AND e.kind = 'llms' ORDER BY e.init_us, e.seq
"""
_LOOKED = 200  # messages of an earlier prompt that are looked for in a later one
_ALIKE = 0.8  # of two first messages that are the same but for a change: so much of the shorter begins or ends alike


class Relation(str, Enum):
    """What a prompt is to the prompt of the call before."""

    BEGINS = "begins"  # a conversation: there is no call before
    EXTENDS = "extends"  # all of it, and more
    REPEATS = "repeats"  # the same
    REWINDS = "rewinds"  # a beginning of it
    CHANGES = "changes"  # another message in the midst of it


@dataclass
class Call:
    """An LLM call.

    Attributes:
        prompt, completion: the nodes of the last message of the prompt, and of the answer.
        messages: how many messages the prompt has.
        relation: what its prompt is to that of the call before.
        before: the call before in its conversation, by its place in the list of calls; None if it begins one.
        common: how many messages the two prompts have in common at their beginnings.
        conversation: a number for its conversation, from 0.
    """

    seq: int
    id: bytes
    agent: str | None
    thread: str | None
    model: str | None
    init_us: int
    end_us: int | None
    prompt: int | None
    completion: int | None
    prompt_tokens: int | None
    completion_tokens: int | None
    cached: int | None
    cost_pusd: int | None
    messages: int = 0
    relation: Relation = Relation.BEGINS
    before: int | None = None
    common: int = 0
    conversation: int = 0

    @property
    def key(self) -> tuple[str | None, str | None]:
        """Whose conversation it can be."""
        return self.agent, self.thread


def conversations(connection: sqlite3.Connection, session: int) -> tuple[list[Call], Tree]:
    """The calls of a session in the order in which they began, and their messages."""
    rows = connection.execute(CALLS, (session,)).fetchall()
    tree = Tree(connection, session)
    calls = [Call(*row) for row in rows]
    finder = _Finder(connection, tree, calls)
    for number in range(len(calls)):
        finder.place(number)
    return calls, tree


class _Finder:
    """Finds the call before, for one call after the other."""

    def __init__(self, connection: sqlite3.Connection, tree: Tree, calls: list[Call]) -> None:
        self._connection = connection
        self._tree = tree
        self._calls = calls
        self._latest = Latest(tree)
        self._sent: set[int] = set()
        self._answers: dict[int, int] = {}  # nodes of completions, and their calls
        self._known: dict[tuple[object, bytes], int] = {}  # messages by content, and a call that sent them
        self._last: list[int] = []  # of each conversation
        self._alike: dict[tuple[int, int], bool] = {}

    def place(self, number: int) -> None:
        """Finds the call before a call, which is the next in order."""
        call, tree = self._calls[number], self._tree
        if call.prompt is None or call.prompt not in tree.parent:
            self._join(number, None)
            return
        call.messages = tree.depth[call.prompt]
        shared, new = self._way(call.prompt)
        call.common = 0 if shared is None else tree.depth[shared]
        before = self._sharing(call, shared, new)
        if before is None:
            before = self._changed(call, new)
        if before is None:
            call.common = 0
        else:
            call.relation = self._relation(call, self._calls[before])
        self._join(number, before)
        self._note(number, new)

    def _way(self, node: int | None) -> tuple[int | None, list[int]]:
        """The last message of a prompt that was sent before, and those after it, the last one first."""
        new = []
        while node is not None and node not in self._sent:
            new.append(node)
            node = self._tree.parent[node]
        return node, new

    def _sharing(self, call: Call, shared: int | None, new: list[int]) -> int | None:
        """The call before, if more is shared than instructions."""
        if shared is None or self._tree.opening[shared] is None:
            return None
        if new and new[-1] in self._answers:
            return self._answers[new[-1]]
        before = self._latest.through(shared)
        # Two agents may be asked the same thing; if they go on with different things, nothing has changed.
        if self._relation(call, self._calls[before]) is Relation.CHANGES and self._calls[before].key != call.key:
            return None
        return before

    def _changed(self, call: Call, new: list[int]) -> int | None:
        """The call before, if something at its beginning has changed since."""
        tree, prompt = self._tree, call.prompt
        if prompt is None or (opening := tree.opening[prompt]) is None:
            return None
        marks = {tree.mark[node] for node in new}
        known = self._known.get((call.key, tree.mark[opening]))
        if known is not None:
            before = self._last[self._calls[known].conversation]
            ended = self._calls[before].prompt or prompt
            goes_on = (
                tree.mark[ended] in marks if call.common else self._is_alike(tree.first[ended], tree.first[prompt])
            )
            if goes_on:
                return before
        for node in new:
            known = self._known.get((call.key, tree.mark[node]))
            if known is not None:
                before = self._last[self._calls[known].conversation]
                return before if self._repeats_much(self._calls[before], call.common, marks) else None
        return None

    def _repeats_much(self, before: Call, common: int, marks: set[bytes]) -> bool:
        """Whether half of the earlier prompt, as far as it is not shared, is sent again."""
        tree, node = self._tree, before.prompt
        looked = again = 0
        while node is not None and tree.depth[node] > common and looked < _LOOKED:
            looked += 1
            again += tree.mark[node] in marks
            node = tree.parent[node]
        return 0 < looked <= 2 * again

    def _is_alike(self, one: int, other: int) -> bool:
        """Whether two messages are the same but for a change."""
        if (one, other) not in self._alike:
            if len(self._alike) > 1_000:
                self._alike.clear()
            found = texts(self._connection, (one, other))
            a, b = words(found.get(one, "")), words(found.get(other, ""))
            ahead = same_length(a, b)
            behind = same_end(a[ahead:], b[ahead:])
            self._alike[one, other] = ahead + behind >= _ALIKE * min(len(a), len(b))
        return self._alike[one, other]

    def _relation(self, call: Call, before: Call) -> Relation:
        if call.common == before.messages:
            return Relation.EXTENDS if call.messages > call.common else Relation.REPEATS
        return Relation.REWINDS if call.common == call.messages else Relation.CHANGES

    def _join(self, number: int, before: int | None) -> None:
        call = self._calls[number]
        call.before = before
        if before is None:
            call.conversation = len(self._last)
            self._last.append(number)
        else:
            call.conversation = self._calls[before].conversation
            self._last[call.conversation] = number

    def _note(self, number: int, new: list[int]) -> None:
        call, tree = self._calls[number], self._tree
        for node in new:
            if tree.opening[node] is not None:
                self._known[call.key, tree.mark[node]] = number
        self._sent.update(new)
        if call.prompt is not None:
            self._latest.tell(call.prompt, number)
        if call.completion is not None:
            self._answers[call.completion] = number
