"""Prompts as a tree of prefixes: each message stored once, a longer conversation costs only what is new in it.

What costs is not storing but hashing and encoding, so this process remembers its last conversations as plain Python
values and compares a new prompt with them: the same prefix is recognised without encoding it again (a 300-turn
conversation takes 109 µs a call at its end instead of 2.9 ms). What is remembered are copies, so a message edited in
place is noticed. The rest is found, or written, in the database, which all processes share.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from hashlib import blake2b
from typing import NamedTuple

from agentops_local.recorder.payload import Recipe, cut, place
from agentops_local.serialize import MEDIA_LIMIT, dump

REMEMBERED = 32  # first messages, and conversations that begin with each
REMEMBERED_BYTES = 64 << 20  # of their messages, so that images do not fill the memory of the program

# Each question to the database costs 3 µs, so the highest number comes with the answer to another one.
_TOP = "SELECT max(id) FROM messages"
_ROOT = "SELECT (SELECT max(id) FROM messages), (SELECT id FROM messages WHERE parent IS NULL AND hash = ?)"
_CHILD = (
    "SELECT id FROM messages WHERE id = ? + 1 AND parent = ? AND hash IS NULL AND content = ? "
    "UNION ALL SELECT id FROM messages WHERE parent = ? AND hash = ?"
)
_INSERT = "INSERT INTO messages (id, parent, hash, content) VALUES "
_ROWS = 64  # at most so many in one statement; SQLite before 3.32 takes 999 values
_inserts: dict[int, str] = {n: _INSERT + ", ".join(["(?, ?, ?, ?)"] * n) for n in range(1, _ROWS + 1)}

Redact = Callable[[object], object] | None


class _Encoded:
    """A remembered message that Python's == would compare too loosely (1 == True == 1.0) or that is no plain data:
    it is equal to what encodes to the same JSON."""

    __slots__ = ("_digest",)
    __hash__ = None  # type: ignore[assignment]  # it is only ever compared

    def __init__(self, raw: bytes) -> None:
        self._digest = blake2b(raw, digest_size=16).digest()

    def __eq__(self, other: object) -> bool:
        return blake2b(dump(other, MEDIA_LIMIT), digest_size=16).digest() == self._digest


class _Loose(Exception):
    """A message is not made of dict, list, str and None alone."""


def _copy(value: object) -> object:
    kind = type(value)
    if kind is str or value is None:
        return value
    if kind is dict:
        return {_text(key): _copy(item) for key, item in value.items()}  # type: ignore[attr-defined]
    if kind is list:
        return [_copy(item) for item in value]  # type: ignore[attr-defined]
    raise _Loose


def _text(key: object) -> str:
    if type(key) is not str:
        raise _Loose
    return key


def _copied(message: object) -> object:
    """A copy that is equal to the message, and to nothing that would be stored differently."""
    if type(message) is dict:
        for key, value in message.items():
            if type(value) is not str or type(key) is not str:
                break
        else:
            return message.copy()  # the usual message: text by reference, which nobody can change
    return _copy(message)


class Conversation(NamedTuple):
    """Messages known to be in the database, in order, and the nodes that hold them; and the text they are found by."""

    epoch: int
    first: object
    messages: list[object]
    nodes: list[int]
    size: int


class Node(NamedTuple):
    """A message to be found or written: its content, and the JSON that it is known by."""

    raw: bytes
    content: str | Recipe

    def hash(self) -> bytes:
        """What it is found by, as a root or a branch."""
        return blake2b(self.raw, digest_size=16).digest()


class PromptTree:
    """The part of the tree that this process remembers: its last conversations, by their first message.

    Threads share it without a lock: lists are replaced, never changed, and what a race loses is only looked up again.

    Args:
        redact: applied to every message before it is encoded.
    """

    def __init__(self, redact: Redact = None) -> None:
        self._redact = redact
        self._conversations: dict[object, list[Conversation]] = {}  # both orders: the one used last comes last, first
        self._bytes = 0

    def take(self, message: object) -> tuple[object, Node]:
        """A message as it is at this moment: what is remembered of it, and what will be stored. They are made of one
        copy: another thread may change the message while it is written, and the next prompt would be taken for this."""
        try:
            kept = _copied(message)
        except (_Loose, RecursionError, RuntimeError):  # RuntimeError: another thread changes it
            raw = dump(message, MEDIA_LIMIT)
            kept = _Encoded(raw)
            if self._redact is None:
                return kept, Node(raw, cut(raw))
        else:
            message = kept
        raw = dump(message, MEDIA_LIMIT, self._redact)
        return kept, Node(raw, cut(raw))

    def known(self, prompt: Sequence[object], epoch: int) -> tuple[Conversation | None, int]:
        """The remembered conversation with the longest common prefix, and how many messages that is."""
        best: Conversation | None = None
        most = 0
        for conversation in self._conversations.get(first_text(prompt), ()):
            if conversation.epoch == epoch:
                common = _common(conversation.messages, prompt, most)
                if common > most:
                    best, most = conversation, common
                    if most == len(prompt) or most >= len(conversation.messages) - 1:
                        break
        return best, most

    def remember(self, new: Conversation, base: Conversation | None, common: int) -> None:
        """Remembers a conversation: the first `common` messages of `base`, then new ones with their nodes."""
        epoch, first, messages, nodes, size = new
        if base is not None:
            first = base.first
            messages = base.messages[:common] + messages
            nodes = base.nodes[:common] + nodes
            # Of a branch, the part that it has in common: with the whole, each branch of a branch would count for more.
            size += base.size * common // len(base.messages)
        recent = [Conversation(epoch, first, messages, nodes, size)]
        # What it continues is no longer needed: a prompt that goes on from there finds the same prefix in this one.
        continued = base if base is not None and common >= len(base.messages) - 1 else None
        dropped = continued.size if continued is not None else 0
        recent += [conversation for conversation in self._conversations.pop(first, ()) if conversation is not continued]
        if len(recent) > REMEMBERED:
            dropped += recent.pop().size
        self._conversations[first] = recent
        self._bytes += size - dropped
        if len(self._conversations) > 2 * REMEMBERED or self._bytes > REMEMBERED_BYTES:
            self._forget()

    def _forget(self) -> None:
        """Forgets the conversations used longest ago."""
        groups = list(self._conversations.values())
        firsts = list(self._conversations)
        self._bytes = sum(conversation.size for group in groups for conversation in group)
        for first, group in zip(firsts, groups, strict=False):  # False: another thread may add one in between
            if len(self._conversations) <= REMEMBERED and self._bytes <= REMEMBERED_BYTES:
                return
            if self._conversations.pop(first, None) is not None:
                self._bytes -= sum(conversation.size for conversation in group)


def first_text(prompt: Sequence[object]) -> object:
    """What conversations are grouped by: the text of the first message, as far as it is text."""
    first = prompt[0] if prompt else None
    text = first.get("content") if type(first) is dict else first
    return text if type(text) is str else None


def _common(old: list[object], new: Sequence[object], most: int) -> int:
    """How many messages at the beginning are equal, if they are more than `most`; else no matter what up to that."""
    try:
        length = min(len(old), len(new))
        # Most conversations that begin alike are told apart by this one.
        if length <= most or old[most] != new[most]:
            return 0
        # Nearly always all of them, or all but the completion, are the same: one comparison in C.
        for end in (length, length - 1):
            if old[:end] == new[:end]:
                return end
        for index in range(length):
            if old[index] != new[index]:
                return index
    except Exception:  # noqa: BLE001 - objects whose == fails (arrays): encoded, then found by content
        return 0
    return length


def grow(connection: sqlite3.Connection, parent: int | None, nodes: Sequence[Node]) -> list[int]:
    """Finds or writes the nodes of messages that follow one another, below `parent`. In a transaction.

    Returns:
        Their row numbers.
    """
    execute = connection.execute
    numbers: list[int] = []
    contents = [content if type(content) is str else place(connection, content) for _, content in nodes]
    index = 0
    if parent is None and nodes:
        top, found = execute(_ROOT, (nodes[0].hash(),)).fetchone()
        if found is not None:
            parent = found
            numbers.append(found)
            index = 1
    else:
        (top,) = execute(_TOP).fetchone()
    top = top or 0
    # The newest row has no children yet: nothing to look for below it.
    while parent is not None and parent != top and index < len(nodes):
        child = (parent, parent, contents[index], parent, nodes[index].hash())
        found = execute(_CHILD, child).fetchone()
        if found is None:
            break
        parent = found[0]
        numbers.append(found[0])
        index += 1
    values: list[object] = []
    for node, content in zip(nodes[index:], contents[index:], strict=True):
        chained = parent == top  # a root has no parent, and no row has the number 0
        top += 1
        values += (top, parent, None if chained else node.hash(), content)
        numbers.append(top)
        parent = top
    for start in range(0, len(values), 4 * _ROWS):
        part = values[start : start + 4 * _ROWS]
        execute(_inserts[len(part) // 4], part)
    return numbers
