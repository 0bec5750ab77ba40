"""The part of the tree of messages that a session's prompts are made of, read once: each message is looked at once,
however many calls have sent it."""

from __future__ import annotations

import json
import sqlite3
from hashlib import blake2b

from agentops_local.analytics.one_session.messages import pieces

# UNION, not UNION ALL: a message that many prompts share is met once. The way to the root goes to ever lower numbers.
NODES = """
WITH RECURSIVE node (id, parent) AS (
    SELECT m.id, m.parent FROM events e JOIN messages m ON m.id = e.prompt WHERE e.session = ? AND e.kind = 'llms'
    UNION SELECT m.id, m.parent FROM node JOIN messages m ON m.id = node.parent WHERE node.parent < node.id)
SELECT id, parent FROM node ORDER BY id
"""
MEASURES = """
SELECT m.id, m.content, length(t.text) AS chars,
       CASE WHEN json_valid(t.text) THEN json_extract(t.text, '$.role') END AS role
FROM messages m JOIN message_texts t ON t.id = m.id WHERE m.id IN (SELECT value FROM json_each(?))
"""
_INSTRUCTIONS = ("system", "developer")


def mark(content: str | bytes) -> bytes:
    """What is the same for messages that are stored alike."""
    raw = content.encode("utf-8", "surrogatepass") if isinstance(content, str) else bytes(content)
    return blake2b(raw, digest_size=12).digest()


class Tree:
    """Messages by their nodes.

    Attributes:
        parent: the node before; None for the first message of a prompt.
        depth: its place in its prompts, from 1; so many messages has a prompt that ends here.
        chars, whole: characters of its JSON, and of the whole prompt that ends here.
        role: who speaks.
        mark: what is the same for equal messages.
        first: the first message of its prompts.
        opening: the first message of its prompts that is no instruction to the model; None if there is none yet.
    """

    def __init__(self, connection: sqlite3.Connection, session: int) -> None:
        rows = connection.execute(NODES, (session,)).fetchall()
        self.parent: dict[int, int | None] = {row["id"]: row["parent"] for row in rows}
        self.depth: dict[int, int] = {}
        self.chars: dict[int, int] = {}
        self.whole: dict[int, int] = {}
        self.role: dict[int, str | None] = {}
        self.mark: dict[int, bytes] = {}
        self.first: dict[int, int] = {}
        self.opening: dict[int, int | None] = {}
        for piece in pieces(self.parent):
            for row in connection.execute(MEASURES, (json.dumps(piece),)).fetchall():
                self._measure(row)
        for node in self.parent:  # the lower number first, and so the parent before its children
            self._place(node)

    def _measure(self, row: sqlite3.Row) -> None:
        node, content = row["id"], row["content"]
        self.chars[node] = row["chars"] or 0
        self.role[node] = row["role"] if isinstance(row["role"], str) else None
        self.mark[node] = mark(content)

    def _place(self, node: int) -> None:
        parent = self.parent[node]
        if parent is not None and (parent not in self.depth or parent >= node):  # damaged
            parent = self.parent[node] = None
        self.chars.setdefault(node, 0)
        self.mark.setdefault(node, b"")
        self.role.setdefault(node, None)
        self.depth[node] = 1 if parent is None else self.depth[parent] + 1
        self.whole[node] = self.chars[node] + (0 if parent is None else self.whole[parent])
        self.first[node] = node if parent is None else self.first[parent]
        opening = None if parent is None else self.opening[parent]
        self.opening[node] = node if opening is None and self.role[node] not in _INSTRUCTIONS else opening

    def at(self, node: int, depth: int) -> int:
        """The message at a place of the prompt that ends in a node."""
        while self.depth[node] > depth:
            parent = self.parent[node]
            if parent is None:
                break
            node = parent
        return node


class Latest:
    """Of the prompts told so far, the latest that goes through a node: a tree of maxima over the nodes in the order of
    a walk, in which all that stands below a node follows it at once."""

    def __init__(self, tree: Tree) -> None:
        self._place: dict[int, int] = {}
        self._end: dict[int, int] = {}
        below: dict[int | None, list[int]] = {}
        for node, parent in tree.parent.items():
            below.setdefault(parent, []).append(node)
        self._walk(below)
        self._size = max(1, len(self._place))
        self._highest: list[int] = [-1] * (2 * self._size)

    def _walk(self, below: dict[int | None, list[int]]) -> None:
        waiting = [(node, False) for node in reversed(below.get(None, []))]
        while waiting:
            node, left = waiting.pop()
            if left:
                self._end[node] = len(self._place)
                continue
            self._place[node] = len(self._place)
            waiting.append((node, True))
            waiting += [(child, False) for child in reversed(below.get(node, []))]

    def tell(self, node: int, number: int) -> None:
        """A prompt that ends in a node; numbers rise."""
        at = self._place[node] + self._size
        while at:
            self._highest[at] = number
            at //= 2

    def through(self, node: int) -> int:
        """The number of the latest prompt through a node; -1 if there is none."""
        low, high = self._place[node] + self._size, self._end[node] + self._size
        found = -1
        while low < high:
            if low % 2:
                found = max(found, self._highest[low])
                low += 1
            if high % 2:
                high -= 1
                found = max(found, self._highest[high])
            low //= 2
            high //= 2
        return found
