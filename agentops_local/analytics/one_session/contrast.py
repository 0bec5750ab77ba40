"""In what two sessions differed before they began: prompts, settings of the model, host and packages."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import unified_diff
from typing import Any

from agentops_local.analytics import story
from agentops_local.analytics.one_session.divergence import Talk
from agentops_local.analytics.one_session.messages import path, texts, words
from agentops_local.analytics.whole import value

_LINES = 5_000  # of a text that is compared, for two long ones that have nothing in common take for ever
_LONG = 160  # characters; a longer line is divided at the ends of its sentences, so that a change in it can be seen
_SENTENCE = re.compile(r"(?<=[.!?;]) +")
_MOMENTARY = re.compile(r"CPU\.CPU Usage|RAM\.(?:Available|Used|Percentage)|Disk\..*")
_PACKAGES = re.compile(r"(?:SDK\.System Packages|Installed Packages\.Installed Packages)\.(.+)", re.DOTALL)

PARAMS = "SELECT params FROM payloads WHERE seq = ?"


@dataclass(frozen=True)
class PromptDiff:
    """What differs in a prompt.

    Attributes:
        agent: whose it is, in A.
        part: "system", the "first message" of the user, or the "params" of the first call.
        lines: a unified diff, long lines divided at the ends of their sentences.
    """

    agent: str | None
    part: str
    lines: tuple[str, ...]

    def to_json(self) -> dict[str, object]:
        """All of it."""
        return {"agent_name": self.agent, "part": self.part, "diff": list(self.lines)}


@dataclass(frozen=True)
class Change:
    """A value of the environment, or the version of a package; None on the side where it is not there."""

    name: str
    a: object
    b: object

    def to_json(self) -> dict[str, object]:
        """All of it."""
        return {"name": self.name, "a": self.a, "b": self.b}


def prompts(connection: sqlite3.Connection, a: Talk, b: Talk) -> Iterator[PromptDiff]:
    """What differs between what two conversations began with."""
    for part, one, other in zip(
        ("system", "first message", "params"), _beginning(connection, a), _beginning(connection, b), strict=True
    ):
        lines = diff(one, other)
        if lines:
            yield PromptDiff(a.agent, part, lines)


def diff(one: str, other: str) -> tuple[str, ...]:
    """The unified diff of two texts; nothing if they are the same."""
    if one == other:
        return ()
    before, after = _lines(one), _lines(other)
    return tuple(unified_diff(before[:_LINES], after[:_LINES], "a", "b", lineterm="", n=1)) or (
        f"@@ they differ after {_LINES:,} lines @@",
    )


def environment(connection: sqlite3.Connection, a: int, b: int) -> tuple[list[Change], list[Change]]:
    """The values of the host environment that differ, and the packages; not what changes from moment to moment."""
    one, other = (dict(_flat(story.host_env(connection, session))) for session in (a, b))
    changes = [
        Change(name, one.get(name), other.get(name))
        for name in sorted(one.keys() | other.keys())
        if one.get(name) != other.get(name) and not _MOMENTARY.fullmatch(name)
    ]
    packages: dict[str, Change] = {}
    values = []
    for change in changes:
        found = _PACKAGES.fullmatch(change.name)
        if found is None:
            values.append(change)
        else:
            packages[found[1]] = Change(found[1], change.a, change.b)
    return values, sorted(packages.values(), key=lambda change: change.name)


def _beginning(connection: sqlite3.Connection, talk: Talk) -> tuple[str, str, str]:
    """The instructions, the first message after them, and the params of the first call."""
    row = connection.execute(PARAMS, (talk.first.seq,)).fetchone()
    params = None if row is None else value(row["params"])
    nodes = path(connection, talk.first.prompt)
    place = nodes.index(talk.opening) if talk.opening in nodes else len(nodes)
    wanted = nodes[: place + 1]
    found = texts(connection, wanted)
    spoken = [words(found.get(node, "")) for node in wanted]
    first = spoken[place] if place < len(spoken) else ""
    settings = "" if params is None else json.dumps(params, ensure_ascii=False, indent=1, sort_keys=True)
    return "\n".join(spoken[:place]), first, settings


def _lines(text: str) -> list[str]:
    return [part for line in text.splitlines() for part in (_SENTENCE.split(line) if len(line) > _LONG else (line,))]


def _flat(thing: Any, name: str = "") -> Iterator[tuple[str, object]]:
    if isinstance(thing, dict):
        for key, item in thing.items():
            yield from _flat(item, f"{name}.{key}" if name else str(key))
    else:
        yield name, thing


def leading(pairs: Sequence[tuple[Talk, Talk]]) -> list[tuple[Talk, Talk]]:
    """The first pair of each agent: further conversations of an agent begin as it does, or are about something else."""
    found: dict[str | None, tuple[Talk, Talk]] = {}
    for pair in pairs:
        found.setdefault(pair[0].agent, pair)
    return list(found.values())
