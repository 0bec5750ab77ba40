"""What two sessions did, step by step beside each other.

A step is known by its kind and its name (a model's call by its kind alone: another model does the same work). Steps of
the same kind and name are laid beside each other, in the order of both sessions; whether they were also asked the same,
and gave the same, is told of each pair. Equal payloads are stored as equal values, so they are compared without being
read as text.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import zip_longest

from agentops_local.analytics.one_session.messages import listed, pieces

WINDOW = 1_000  # steps of each side that are aligned at a time: the time it takes grows with their square

ORDER = "SELECT seq FROM events WHERE session = ? ORDER BY init_us, seq"
STEPS = """
SELECT e.seq, e.kind, CASE e.kind WHEN 'llms' THEN e.model ELSE e.name END AS name, e.prompt, e.completion, e.params,
       e.returns, e.details, (SELECT a.name FROM agents a WHERE a.seq = e.agent) AS agent
FROM events e WHERE e.seq IN (SELECT value FROM json_each(?))
"""


@dataclass(frozen=True)
class Done:
    """A step of one session.

    Attributes:
        number: its place, from 1.
        given, got: what is the same for steps that were asked the same, and that gave the same.
    """

    number: int
    seq: int
    kind: str
    name: str | None
    agent: str | None
    given: int
    got: int

    @property
    def key(self) -> tuple[str, str]:
        """What it is known by."""
        return self.kind, "" if self.kind == "llms" else self.name or ""

    def to_json(self) -> dict[str, object]:
        """What it is."""
        return {
            "number": self.number, "seq": self.seq, "kind": self.kind, "name": self.name, "agent_name": self.agent,
        }  # fmt: skip


@dataclass(frozen=True)
class Pair:
    """Two steps beside each other, or one that stands alone."""

    a: Done | None
    b: Done | None

    @property
    def alike(self) -> bool:
        """Whether both did the same kind of thing."""
        return self.a is not None and self.b is not None and self.a.key == self.b.key

    @property
    def same_given(self) -> bool:
        """Whether both were asked the same."""
        return self.a is not None and self.b is not None and self.alike and self.a.given == self.b.given

    @property
    def same_got(self) -> bool:
        """Whether both gave the same."""
        return self.a is not None and self.b is not None and self.alike and self.a.got == self.b.got

    def to_json(self) -> dict[str, object]:
        """Both, and how they compare."""
        return {
            "a": self.a and self.a.to_json(), "b": self.b and self.b.to_json(), "alike": self.alike,
            "same_given": self.same_given, "same_got": self.same_got,
        }  # fmt: skip


@dataclass(frozen=True)
class Alignment:
    """The steps of two sessions beside each other.

    Attributes:
        pairs: in order.
    """

    pairs: tuple[Pair, ...]

    @property
    def parts_at(self) -> int | None:
        """Where they begin to do different things, by its place in `pairs`; None if they never do."""
        return next((place for place, pair in enumerate(self.pairs) if not pair.alike), None)

    @property
    def differs_at(self) -> int | None:
        """The first pair that is not the same in every respect; None if all are."""
        return next((place for place, pair in enumerate(self.pairs) if not (pair.same_given and pair.same_got)), None)

    def to_json(self) -> dict[str, object]:
        """All of it."""
        return {
            "parts_at": self.parts_at, "differs_at": self.differs_at,
            "pairs": [pair.to_json() for pair in self.pairs],
        }  # fmt: skip


def align(connection: sqlite3.Connection, a: int, b: int) -> Alignment:
    """The steps of two sessions, given by their rows."""
    return aligned(done(connection, a), done(connection, b))


def done(connection: sqlite3.Connection, session: int) -> list[Done]:
    """The steps of a session, in the order in which they began."""
    order = [row["seq"] for row in connection.execute(ORDER, (session,)).fetchall()]
    found: list[Done] = []
    for piece in pieces(order):
        rows = {row["seq"]: row for row in connection.execute(STEPS, (listed(piece),)).fetchall()}
        found += [_done(len(found) + place, rows[seq]) for place, seq in enumerate(piece, 1) if seq in rows]
    return found


def aligned(a: Sequence[Done], b: Sequence[Done]) -> Alignment:
    """Steps beside each other."""
    keys_a, keys_b = [step.key for step in a], [step.key for step in b]
    ahead = _common(keys_a, keys_b)
    behind = min(_common(keys_a[::-1], keys_b[::-1]), min(len(a), len(b)) - ahead)
    end_a, end_b = len(a) - behind, len(b) - behind
    pairs = [Pair(*both) for both in zip(a[:ahead], b[:ahead], strict=True)]
    at_a = at_b = ahead
    while at_a < end_a or at_b < end_b:
        window_a, window_b = a[at_a : min(end_a, at_a + WINDOW)], b[at_b : min(end_b, at_b + WINDOW)]
        is_last = at_a + len(window_a) == end_a and at_b + len(window_b) == end_b
        found, taken_a, taken_b = _window(window_a, window_b, is_last)
        pairs += found
        at_a, at_b = at_a + taken_a, at_b + taken_b
    pairs += [Pair(*both) for both in zip(a[end_a:], b[end_b:], strict=True)]
    return Alignment(tuple(pairs))


def _window(a: Sequence[Done], b: Sequence[Done], is_last: bool) -> tuple[list[Pair], int, int]:
    """Some steps beside each other, and how many of each side. What follows the last that are alike is left to the next
    window, where it may find its like; unless that is most of this one."""
    found = SequenceMatcher(None, [step.key for step in a], [step.key for step in b], autojunk=False).get_opcodes()
    alike = next((code for code in reversed(found) if code[0] == "equal"), None)
    if not is_last and alike is not None and max(alike[2], alike[4]) >= WINDOW // 2:
        found = found[: found.index(alike) + 1]
    pairs = [
        Pair(*both) for _, from_a, to_a, from_b, to_b in found for both in zip_longest(a[from_a:to_a], b[from_b:to_b])
    ]
    return pairs, found[-1][2], found[-1][4]


def _done(number: int, row: sqlite3.Row) -> Done:
    if row["kind"] == "llms":
        given, got = (row["prompt"],), (row["completion"],)
    elif row["kind"] == "errors":
        given, got = (row["details"],), (row["returns"],)
    else:
        given, got = (row["params"],), (row["returns"],)
    # Within one process equal texts have equal hashes; that unequal ones have is as good as impossible.
    return Done(number, row["seq"], row["kind"], row["name"], row["agent"], hash(given), hash(got))


def _common(one: Sequence[object], other: Sequence[object]) -> int:
    length = 0
    for x, y in zip(one, other, strict=False):
        if x != y:
            break
        length += 1
    return length
