"""A worker of the demo's agent: reads the log files it is told on stdin and tells on stdout what it found.

`python -m agentops_local.demo.worker FOLDER NAME`

It takes part in the planner's session, whose id it inherits in AGENTOPS_LOCAL_SESSION.
"""

from __future__ import annotations

import json
import re
import sys
from itertools import pairwise
from pathlib import Path

import agentops_local as agentops
from agentops_local.demo import rules
from agentops_local.demo.ledger import Ledger

_SHOWN = 3  # lines from either end
_PATTERNS = {
    "errors_per_1000": " ERROR ",
    "p95_ms": r" \d{4,}ms",
    "starts": "process started again",
    "undecodable_lines": r"\\x",
}


@agentops.track_agent()
class Reader:
    """Reads one log file after the other, in one conversation."""

    def __init__(self, folder: Path, name: str) -> None:
        self.role = name  # the name that the recorder gives the agent
        self._folder = folder
        self._messages = [{"role": "system", "content": rules.READER_PROMPT}]
        self._lines: list[str] = []

    @agentops.record_action("examine")
    def examine(self, name: str) -> str | None:
        """Examines a file; returns what is wrong with it, if anything is."""
        undecodable = 0
        try:
            self.read_log(name)
        except UnicodeDecodeError:  # the recorder has the error already, with the call that failed
            self.read_log(name, errors="backslashreplace")
            undecodable = self.count_lines("undecodable_lines")
        counts = self.count_levels()
        figures = {
            "errors_per_1000": round(1000 * counts.get("ERROR", 0) / len(self._lines), 1),
            "longest_silence_s": self.longest_silence(),
            "p95_ms": self.latency(),
            "starts": self.count_lines("starts"),
            "undecodable_lines": undecodable,
        }
        verdict = self._ask("\n".join([f"file {name}", *(f"{key}: {value}" for key, value in figures.items())]))
        if not verdict.startswith(rules.LOOK_CLOSER):
            return None
        count, lines = self.show(verdict.removeprefix(rules.LOOK_CLOSER))
        return self._ask("\n".join([f"lines: {count}", *lines]))

    @agentops.record_tool("read_log")
    def read_log(self, name: str, errors: str = "strict") -> dict[str, int]:
        """Reads a file; raises UnicodeDecodeError if it is no UTF-8."""
        data = (self._folder / name).read_bytes()
        self._lines = data.decode("utf-8", errors).splitlines()
        return {"bytes": len(data), "lines": len(self._lines)}

    @agentops.record_tool("count_levels")
    def count_levels(self) -> dict[str, int]:
        """How many lines there are of each level."""
        counts: dict[str, int] = {}
        for line in self._lines:
            level = line.split(" ", 2)[1]
            counts[level] = counts.get(level, 0) + 1
        return counts

    @agentops.record_tool("longest_silence")
    def longest_silence(self) -> float:
        """The longest time between two lines, in seconds."""
        times = [_seconds(line) for line in self._lines]
        return round(max(later - earlier for earlier, later in pairwise(times)), 1)

    @agentops.record_tool("latency")
    def latency(self) -> int:
        """The time in ms within which 95 of 100 requests were answered."""
        times = sorted(int(found[1]) for line in self._lines if (found := re.search(r" (\d+)ms", line)))
        return times[len(times) * 95 // 100]

    @agentops.record_tool("count_lines")
    def count_lines(self, what: str) -> int:
        """How many lines show something."""
        return len(self._lines_with(what))

    @agentops.record_tool("show")
    def show(self, what: str) -> tuple[int, list[str]]:
        """How many lines lie behind a figure, and the first and last of them."""
        if what == "longest_silence_s":
            times = [_seconds(line) for line in self._lines]
            end = max(range(1, len(times)), key=lambda index: times[index] - times[index - 1])
            return 2, self._lines[end - 1 : end + 1]
        lines = self._lines_with(what)
        return len(lines), lines if len(lines) <= 2 * _SHOWN else lines[:_SHOWN] + lines[-_SHOWN:]

    def _lines_with(self, what: str) -> list[str]:
        pattern = re.compile(_PATTERNS[what])
        return [line for line in self._lines if pattern.search(line)]

    def _ask(self, question: str) -> str:
        """Asks the model, and keeps question and answer in the conversation."""
        self._messages.append({"role": "user", "content": question})
        event = agentops.LLMEvent(prompt=list(self._messages), model=rules.MODEL)
        said = rules.answer(self._messages)
        self._messages.append({"role": "assistant", "content": said.text})
        event.completion = self._messages[-1]
        event.prompt_tokens, event.completion_tokens, event.cost = said[1:]
        agentops.record(event)
        return said.text


def _seconds(line: str) -> float:
    """The time of a line, in seconds of its day."""
    return 3600 * int(line[11:13]) + 60 * int(line[14:16]) + float(line[17:23])


def _tell(**message: object) -> None:
    print(json.dumps(message), flush=True)  # noqa: T201 - the pipe to the planner


def main(folder: Path, name: str) -> None:
    """Works until stdin ends."""
    session = agentops.init()
    if session is None:
        sys.exit("there is no session to take part in")
    Ledger(folder / "acknowledged", lambda count: _tell(acknowledged=count)).watch(session)
    reader = Reader(folder / "logs", name)
    for line in sys.stdin:
        file = line.strip()
        _tell(file=file, finding=reader.examine(file))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
