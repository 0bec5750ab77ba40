"""The conversations of a session, turn by turn, each message once.

A turn is an LLM call: the messages that its prompt adds to the one before, then the answer. Where a prompt does not go
on from the one before, what was changed in it is told instead. Results of tools stand with the calls that asked for
them, and with the events in which those were recorded.
"""

from __future__ import annotations

import difflib
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, field

from agentops_local.analytics.one_session.conversations import Call, Relation, conversations
from agentops_local.analytics.one_session.failures import as_text
from agentops_local.analytics.one_session.messages import contents, texts, words
from agentops_local.analytics.one_session.said import Said, ToolCall, changes, fit, said
from agentops_local.analytics.one_session.tree import Tree, mark
from agentops_local.analytics.reading import iso

TURNS = 30  # a page
LISTED = 60  # conversations, around the one that is shown
_LATER = 1 << 62

TOOLS = """
SELECT e.seq, e.name, e.init_us, e.end_us, (SELECT a.name FROM agents a WHERE a.seq = e.agent) AS agent FROM events e
WHERE e.session = ? AND e.kind = 'tools' AND e.init_us BETWEEN ? AND ? ORDER BY e.init_us, +e.seq
"""


@dataclass
class Turn:
    """An LLM call in its conversation.

    Attributes:
        messages: what its prompt adds. again: how many messages it sends again that stood elsewhere before.
        gone: messages of the prompt before that it leaves out.
        changed: messages that were changed: who speaks, and the pieces of both texts.
        answer: the completion.
        tools: events of tools that ran after it, and that no call of its answer names.
    """

    call: Call
    messages: list[Said] = field(default_factory=list)
    again: int = 0
    gone: list[Said] = field(default_factory=list)
    changed: list[tuple[str, list[tuple[str, str]]]] = field(default_factory=list)
    answer: Said | None = None
    tools: list[tuple[int, str, float | None]] = field(default_factory=list)

    def to_json(self) -> dict[str, object]:
        """All of it."""
        call = self.call
        took = None if call.end_us is None else (call.end_us - call.init_us) / 1e6
        return {
            "id": as_text(call.id), "seq": call.seq, "model": call.model, "agent": call.agent,
            "begin": iso(call.init_us), "took_s": took, "prompt_tokens": call.prompt_tokens,
            "completion_tokens": call.completion_tokens,
            "cost": None if call.cost_pusd is None else call.cost_pusd / 1e12, "relation": call.relation.value,
            "common": call.common, "messages": [one.to_json() for one in self.messages], "again": self.again,
            "gone": [one.to_json() for one in self.gone],
            "changed": [{"role": role, "pieces": pieces} for role, pieces in self.changed],
            "answer": self.answer and self.answer.to_json(),
            "tools": [{"seq": seq, "name": name, "took_s": took} for seq, name, took in self.tools],
        }  # fmt: skip


def talk(
    connection: sqlite3.Connection, session: int, conversation: int | None = None, page: int = 1,
    event: str | None = None,
) -> dict[str, object]:  # fmt: skip
    """A page of a conversation, and which others there are.

    Args:
        conversation: its number, from 0; None for the longest.
        page: from 1.
        event: the id or number of an LLM call: its conversation and page are taken instead.
    """
    calls, tree = conversations(connection, session)
    threads: dict[int, list[int]] = {}
    for number, call in enumerate(calls):
        threads.setdefault(call.conversation, []).append(number)
    if not threads:
        return {"conversations": [], "count": 0, "conversation": None, "page": 1, "pages": 1, "turns": [], "calls": 0}
    chosen, page = _chosen(calls, threads, conversation, page, event)
    numbers = threads[chosen]
    pages = -(-len(numbers) // TURNS)
    page = min(page, pages)
    shown = numbers[(page - 1) * TURNS : page * TURNS]
    turns = _Teller(connection, session, calls, tree).turns(shown, numbers)
    return {
        "conversations": _listed(connection, calls, tree, threads, chosen), "count": len(threads),
        "conversation": chosen, "page": page, "pages": pages, "calls": len(numbers),
        "first": (page - 1) * TURNS + 1, "turns": [turn.to_json() for turn in turns],
    }  # fmt: skip


def _chosen(
    calls: Sequence[Call], threads: dict[int, list[int]], conversation: int | None, page: int, event: str | None
) -> tuple[int, int]:
    if event is not None:
        for number, call in enumerate(calls):
            if event in (str(call.seq), as_text(call.id)):
                return call.conversation, threads[call.conversation].index(number) // TURNS + 1
    if conversation in threads:
        return int(conversation or 0), page
    return max(threads, key=lambda one: (len(threads[one]), -one)), page


def _listed(
    connection: sqlite3.Connection, calls: Sequence[Call], tree: Tree, threads: dict[int, list[int]], chosen: int
) -> list[dict[str, object]]:
    start = max(0, min(chosen - LISTED // 2, len(threads) - LISTED))
    near = [number for number in sorted(threads) if start <= number < start + LISTED]
    openings: dict[int, int | None] = {}
    for number in near:
        prompt = calls[threads[number][0]].prompt
        openings[number] = None if prompt is None or prompt not in tree.parent else tree.opening[prompt]
    told = texts(connection, [node for node in openings.values() if node is not None])
    found: list[dict[str, object]] = []
    for number in near:
        first = calls[threads[number][0]]
        opening = openings[number]
        title = " ".join(words(told[opening]).split())[:120] if opening in told and opening is not None else ""
        found.append({
            "number": number, "calls": len(threads[number]), "agent": first.agent, "begin": iso(first.init_us),
            "title": fit(title),
        })  # fmt: skip
    return found


class _Teller:
    """Tells turns."""

    def __init__(self, connection: sqlite3.Connection, session: int, calls: Sequence[Call], tree: Tree) -> None:
        self._connection, self._session, self._calls, self._tree = connection, session, calls, tree
        self._marks: dict[int, bytes] = {}
        self._asked: dict[str, ToolCall] = {}  # calls of tools that have no result yet

    def turns(self, shown: Sequence[int], conversation: Sequence[int]) -> list[Turn]:
        """Turns, of which the numbers are given, of a conversation."""
        plans = [self._plan(self._calls[number]) for number in shown]
        told = self._texts(shown, plans)
        found = []
        for number, plan in zip(shown, plans, strict=True):
            turn = Turn(self._calls[number], again=plan.again)
            for node in plan.new:
                self._hear(turn, said(told.get(node, "null")))
            turn.gone = [said(told.get(node, "null")) for node in plan.gone]
            for old, new in plan.changed:
                before, after = said(told.get(old, "null")), said(told.get(new, "null"))
                turn.changed.append((after.role, changes(before.text, after.text)))
            completion = turn.call.completion
            if completion is not None:
                turn.answer = said(told.get(completion, "null"), "assistant")
                self._expect(turn.answer)
            found.append(turn)
        self._match_tools(found, conversation)
        return found

    def _plan(self, call: Call) -> _Plan:
        new = self._beyond(call.prompt, call.common)
        if call.before is None:
            return _Plan(new)
        before = self._calls[call.before]
        if call.relation is not Relation.CHANGES:
            answer = before.completion
            # What it said stood at the end of the turn before.
            said_before = new and answer is not None and self._mark(new[0]) == self._mark(answer)
            kept = new[1:] if said_before else new
            return _Plan(kept)
        return self._compared(self._beyond(before.prompt, call.common), new, before.completion)

    def _compared(self, old: list[int], new: list[int], answer: int | None) -> _Plan:
        """What a prompt that was changed adds, leaves out and changes."""
        plan = _Plan([])
        whole = old if answer is None else [*old, answer]
        before, after = [self._mark(node) for node in whole], [self._mark(node) for node in new]
        matcher = difflib.SequenceMatcher(None, before, after, autojunk=False)
        for tag, i, j, k, m in matcher.get_opcodes():
            if tag == "equal":
                plan.again += j - i
                continue
            gone, fresh = whole[i:j], new[k:m]
            while gone and fresh and gone[0] != answer and self._tree.role[gone[0]] == self._tree.role[fresh[0]]:
                plan.changed.append((gone.pop(0), fresh.pop(0)))
            plan.gone += [node for node in gone if node != answer]  # an answer may well be left out of what comes next
            plan.new += fresh
        return plan

    def _mark(self, node: int) -> bytes:
        """What is the same for equal messages, answers that no prompt has taken up among them."""
        found = self._tree.mark.get(node) or self._marks.get(node)
        if found is None:
            content = contents(self._connection, [node]).get(node, b"")
            found = self._marks[node] = mark(content)
        return found

    def _beyond(self, node: int | None, depth: int) -> list[int]:
        """The messages of a prompt after the first so many."""
        found: list[int] = []
        while node is not None and node in self._tree.parent and self._tree.depth[node] > depth:
            found.append(node)
            node = self._tree.parent[node]
        return found[::-1]

    def _texts(self, shown: Sequence[int], plans: Sequence[_Plan]) -> dict[int, str]:
        nodes = {node for plan in plans for node in plan.nodes()}
        nodes |= {self._calls[number].completion or 0 for number in shown} - {0}
        return texts(self._connection, sorted(nodes))

    def _hear(self, turn: Turn, message: Said) -> None:
        """A message of a prompt: results go to the calls that asked for them."""
        kept = []
        for key, text in message.results:
            call = self._asked.pop(key, None)
            if call is None:
                kept.append((key, text))
            else:
                call.result = text
        message.results = kept
        if not message.is_empty:
            turn.messages.append(message)
        self._expect(message)

    def _expect(self, message: Said) -> None:
        for call in message.calls:
            if call.id is not None:
                self._asked[call.id] = call

    def _match_tools(self, turns: Sequence[Turn], conversation: Sequence[int]) -> None:
        """Finds the events of the tools that ran after each answer."""
        if not turns:
            return
        places = {self._calls[number].seq: place for place, number in enumerate(conversation)}
        ends = []
        for turn in turns:
            after = places[turn.call.seq] + 1
            ends.append(self._calls[conversation[after]].init_us if after < len(conversation) else _LATER)
        begin = turns[0].call.init_us
        rows = self._connection.execute(TOOLS, (self._session, begin, max(ends))).fetchall()
        for turn, end in zip(turns, ends, strict=True):
            asked = [] if turn.answer is None else list(turn.answer.calls)
            for row in rows:
                if row["agent"] == turn.call.agent and turn.call.init_us <= row["init_us"] < end:
                    _give(turn, asked, row)


def _give(turn: Turn, asked: list[ToolCall], row: sqlite3.Row) -> None:
    took = None if row["end_us"] is None else (row["end_us"] - row["init_us"]) / 1e6
    for call in asked:
        if call.name == row["name"]:
            call.event = (row["seq"], took)
            asked.remove(call)
            return
    if len(turn.tools) < TURNS:
        turn.tools.append((row["seq"], fit(row["name"] or "tool"), took))


@dataclass
class _Plan:
    """The nodes of a turn: those that are new, left out, changed, and how many are sent again."""

    new: list[int]
    gone: list[int] = field(default_factory=list)
    changed: list[tuple[int, int]] = field(default_factory=list)
    again: int = 0

    def nodes(self) -> list[int]:
        return [*self.new, *self.gone, *(node for pair in self.changed for node in pair)]
