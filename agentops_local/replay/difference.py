"""What a program asks beside what was recorded, so that a person sees at a glance where they part."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable

from agentops_local.replay.conversation import Item

_WIDTH = 160  # characters of a line
_BEFORE = 40  # of them, what comes before the place where two lines part
_MOST = 60  # lines


def compared(recorded: list[Item], asked: list[Item]) -> list[str]:
    """A unified diff of two conversations, long texts shortened around where they differ."""
    before, after = list(_lines(recorded)), list(_lines(asked))
    found = list(difflib.unified_diff(before, after, "recorded", "asked", lineterm="", n=2))
    told = list(_shortened(found))
    if len(told) > _MOST:
        told = [*told[:_MOST], f"... and {len(told) - _MOST} lines more"]
    return told


def _lines(conversation: Iterable[Item]) -> Iterable[str]:
    for item in conversation:
        if "call" in item:
            yield f"[call {item['call']}] {item['name']} {_text(item['arguments'])}"
        elif "result" in item:
            yield f"[result of call {item['result']}]"
            yield from _text(item["content"]).splitlines()
        else:
            ((role, content),) = item.items()
            yield f"[{role}]"
            yield from _text(content).splitlines()


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, sort_keys=True)


def _shortened(diff: list[str]) -> Iterable[str]:
    """Lines that take each other's place are cut around the place where they part; others at their end."""
    place = 0
    while place < len(diff):
        taken = _run(diff, place, "-")
        given = _run(diff, place + taken, "+")
        for number in range(taken + given):
            line = diff[place + number]
            partner = place + number + (taken if number < taken else -taken)
            is_paired = taken == given and not line.startswith(("---", "+++"))
            yield _cut(line, _parting(line, diff[partner]) if is_paired else 0)
        if not taken + given:
            yield _cut(diff[place], 0)
        place += max(taken + given, 1)


def _run(diff: list[str], start: int, sign: str) -> int:
    end = start
    while end < len(diff) and diff[end].startswith(sign):
        end += 1
    return end - start


def _parting(one: str, other: str) -> int:
    for place, (mine, theirs) in enumerate(zip(one[1:], other[1:], strict=False), 1):
        if mine != theirs:
            return place
    return min(len(one), len(other))


def _cut(line: str, around: int) -> str:
    if len(line) <= _WIDTH:
        return line
    start = max(around - _BEFORE, 1)
    end = start + _WIDTH
    return line[0] + ("..." if start > 1 else "") + line[start:end] + ("..." if end < len(line) else "")
