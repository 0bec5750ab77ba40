"""Prompts out of the tree of messages, each put together from the one before it.

The view `llms` walks from the last message to the first for every call: a conversation of n turns costs n² reads. Here
what was put together is kept, and the next prompt of the conversation adds its new messages to it. Both are bounded, so
memory stays flat however long the session is.
"""

from __future__ import annotations

import json
import sqlite3
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from typing import Generic, NamedTuple, TypeVar

from agentops_local.exporting.texts import Texts, checked, loaded

_NODES_KEPT = 4 << 20  # characters of messages
_PROMPTS_KEPT = 8 << 20  # characters of prompts
_FIRST_STEPS, _MOST_STEPS = 4, 256  # messages a read: mostly only the last two are new

_PATH = """
WITH RECURSIVE path (id, parent, hash, content, steps) AS (
    SELECT id, parent, hash, content, 1 FROM messages WHERE id = :last
    UNION ALL
    SELECT m.id, m.parent, m.hash, m.content, steps + 1 FROM path p JOIN messages m ON m.id = p.parent
    WHERE p.parent < p.id AND steps < :most)
SELECT id, parent, content FROM path WHERE parent IS NOT NULL OR hash IS NOT NULL
"""

_SOME = """
SELECT id, parent, content FROM messages
WHERE id IN (SELECT value FROM json_each(?)) AND (parent IS NOT NULL OR hash IS NOT NULL)
"""

T = TypeVar("T")


class Node(NamedTuple):
    """A message: the number of the one before it, and its JSON on one line."""

    parent: int | None
    text: str
    is_chat: bool  # it has a role


class Prompt(NamedTuple):
    """Messages in order: their JSON, with commas between them."""

    text: str
    is_chat: bool  # all of them have a role
    length: int


class _Kept(Generic[T]):
    """What was used last, up to a size."""

    def __init__(self, most: int, size: Callable[[T], int]) -> None:
        self._most, self._size_of, self._size = most, size, 0
        self._items: OrderedDict[int, T] = OrderedDict()

    def get(self, number: int) -> T | None:
        found = self._items.get(number)
        if found is not None:
            self._items.move_to_end(number)
        return found

    def put(self, number: int, item: T) -> None:
        if number in self._items:
            return
        self._items[number] = item
        self._size += self._size_of(item)
        while self._size > self._most and len(self._items) > 1:
            self._size -= self._size_of(self._items.popitem(last=False)[1])


class Messages:
    """The tree of messages of a database.

    Args:
        connection: from `analytics.reading`.
        texts: of the same database.
        shape: makes of the JSON of a message that which is wanted; it is asked once for each message that is kept.
    """

    def __init__(
        self, connection: sqlite3.Connection, texts: Texts, shape: Callable[[str], str] = lambda text: text
    ) -> None:
        self._shape = shape
        self._connection = connection
        self._texts = texts
        self._nodes = _Kept[Node](_NODES_KEPT, lambda node: len(node.text) + 100)
        self._prompts = _Kept[Prompt](_PROMPTS_KEPT, lambda prompt: len(prompt.text) + 100)

    def node(self, number: int | None) -> Node | None:
        """A message; None if it is not there."""
        if number is None:
            return None
        found = self._nodes.get(number)
        if found is None:
            self._read(number, 1)
            found = self._nodes.get(number)
        return found

    def prompt(self, last: int | None) -> Prompt:
        """All messages up to this one."""
        tail: list[Node] = []
        head = Prompt("", True, 0)
        for number, node in self.back(last):
            known = self._prompts.get(number)
            if known is not None:
                head = known
                break
            tail.append(node)
        if last is None or not tail:
            return head
        tail.reverse()
        texts = [node.text for node in tail]
        whole = Prompt(
            ",".join([head.text, *texts] if head.length else texts),
            head.is_chat and all(node.is_chat for node in tail),
            head.length + len(tail),
        )
        self._prompts.put(last, whole)
        return whole

    def back(self, last: int | None) -> Iterator[tuple[int, Node]]:
        """The messages from this one to the first, each with its number."""
        number, steps = last, _FIRST_STEPS
        while number is not None:
            node = self._nodes.get(number)
            if node is None:
                self._read(number, steps)
                node = self._nodes.get(number)
                steps = min(4 * steps, _MOST_STEPS)
            if node is None:
                return
            yield number, node
            # Ever lower: a damaged row that named itself would send us round for ever.
            number = node.parent if node.parent is not None and node.parent < number else None

    def ahead(self, events: list[sqlite3.Row]) -> None:
        """Reads what the events of a piece have said last and heard, all at once: of a conversation that goes on, this
        is all that is new."""
        wanted = {event[name] for event in events for name in ("prompt", "completion") if event[name] is not None}
        if wanted:
            self._keep(self._connection.execute(_SOME, (json.dumps(sorted(wanted)),)).fetchall())

    def _read(self, last: int, steps: int) -> None:
        # The last one is put in at the end, so that the bound cannot push out what was asked for.
        self._keep(reversed(self._connection.execute(_PATH, {"last": last, "most": steps}).fetchall()))

    def _keep(self, rows: Iterable[sqlite3.Row]) -> None:
        for row in rows:
            text = checked(self._texts.raw(row["content"]) or "null")
            value = loaded(text) if text[:1] == "{" else None
            is_chat = isinstance(value, dict) and isinstance(value.get("role"), str)
            self._nodes.put(row["id"], Node(row["parent"], self._shape(text), is_chat))
