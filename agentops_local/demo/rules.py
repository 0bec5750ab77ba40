"""What stands in for the language model: a few rules. It understands nothing.

So that the demo is true of what it records, it says what it is: the model's name in every event is `demo-rules`, tokens
are words, and the price is one that we made up.
"""

from __future__ import annotations

import json
import re
from decimal import Decimal
from typing import NamedTuple

MODEL = "demo-rules"
PARTS = 3
_PRICE_IN = Decimal("0.0000005")  # US dollars a word
_PRICE_OUT = Decimal("0.0000015")

PLANNER_PROMPT = f"You plan the work of {PARTS} log readers. Answer with a JSON list of {PARTS} lists of file names."
REPAIR_PROMPT = "You are told what is wrong with the services of a shop. Propose one repair."
LOOK_CLOSER = "look closer: "
READER_PROMPT = f"""\
You read the logs of a shop. You are told figures of one file at a time. Where one is above its limit, answer
`{LOOK_CLOSER}` and its name, and you will be shown the lines; then tell in one sentence what happened. The limits:
errors_per_1000: 20
longest_silence_s: 120
p95_ms: 400
starts: 0
undecodable_lines: 0"""

_SENTENCES = {
    "errors_per_1000": "{count} requests failed, {first} to {last}",
    "longest_silence_s": "not a line was written, {first} to {last}",
    "p95_ms": "{count} requests took over a second, {first} to {last}",
    "starts": "{count} restarts, {first} to {last}",
    "undecodable_lines": "{count} line is no UTF-8, {first}",
}

Message = dict[str, str]


class Answer(NamedTuple):
    """What the rules say, and what saying it would cost."""

    text: str
    prompt_tokens: int
    completion_tokens: int
    cost: Decimal


def answer(messages: list[Message]) -> Answer:
    """The answer to a conversation: system prompt first, the question last."""
    asked = messages[-1]["content"]
    if messages[0]["content"] == PLANNER_PROMPT:
        text = _plan(asked)
    elif messages[0]["content"] == REPAIR_PROMPT:
        text = _repair(asked)
    elif asked.startswith("lines: "):
        text = _sum_up(messages[-2]["content"], asked)
    else:
        text = _judge(messages[0]["content"], asked)
    words_in = sum(len(message["content"].split()) for message in messages)
    words_out = len(text.split())
    return Answer(text, words_in, words_out, words_in * _PRICE_IN + words_out * _PRICE_OUT)


def _figures(text: str) -> dict[str, float]:
    return {name: float(number) for name, number in re.findall(r"^([\w.-]+): ([\d.]+)$", text, re.MULTILINE)}


def _plan(asked: str) -> str:
    """Parts of about the same size: the largest file first, each to the part that is smallest so far."""
    parts: list[list[str]] = [[] for _ in range(PARTS)]
    sizes = [0.0] * PARTS
    for name, size in sorted(_figures(asked).items(), key=lambda item: (-item[1], item[0])):
        smallest = sizes.index(min(sizes))
        parts[smallest].append(name)
        sizes[smallest] += size
    return json.dumps([sorted(part) for part in parts])


def _judge(prompt: str, asked: str) -> str:
    limits = _figures(prompt)
    over = [name for name, number in _figures(asked).items() if number > limits.get(name, number)]
    return LOOK_CLOSER + over[0] if over else "nothing is above its limit"


def _sum_up(said: str, asked: str) -> str:
    count, *lines = asked.removeprefix("lines: ").splitlines()
    sentence = _SENTENCES[said.removeprefix(LOOK_CLOSER)]
    return sentence.format(count=count, first=lines[0][11:19], last=lines[-1][11:19])


def _repair(asked: str) -> str:
    """The worst trouble that these rules know of is requests that fail."""
    failing = re.search(r"^(\w+)-\d+\.log: \d+ requests failed", asked, re.MULTILINE)
    return f"restart {failing[1]}" if failing else "nothing needs to be repaired"
