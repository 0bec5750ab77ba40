"""What recording one event costs the program, beside a bare SQLite commit of the same bytes.

All sides store an event in a transaction of its own, with the same pragmas, each into a file of its own on the same
disk:

    ours    `agentops_local.record(event)`, the event object made before the timer starts; `record_tool` is timed whole,
            its function does nothing
    floor   one autocommit insert of values that were all made before the timer starts, the prompt whole
    program the same insert by a bare program, which makes the JSON with the standard library's `json` within the timer;
            beside `record_tool` it makes the id and the two times as well, for there ours does

Garbage collection is left on, and all WALs are emptied at the same moments outside the timers.

    tool              a call of a tool, 1 kB of JSON
    llm_conversation  every turn of conversations of 20 turns, messages of 500 to 1,000 bytes, one system prompt
    llm_new           a prompt of 3 messages and a completion that were never seen before, about 2 kB in all
    record_tool       @record_tool around an empty function

The sides take turns every 20 events. A ratio is taken within each round; the median over the rounds is reported.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import agentops_local
from agentops_local import LLMEvent, ToolEvent
from benchmarks.common import MODES, Message, Pair, Row, Texts, options, session, show, surroundings, timed, workplace
from benchmarks.floor import LLM, TOOL, Floor, as_it_is, checkpoint, count, llm_row, tool_row

CHUNK = 20  # events of one side before the other has its turn
CHECKPOINT = 10  # chunks; far below the size at which ours would empty its WAL by itself, inside a timer

_SYSTEM = {"role": "system", "content": Texts().text(900)}


class Chunk(NamedTuple):
    """The same events for each side: ready-made rows, rows with values still to be encoded, our events."""

    ready: list[Row]
    raw: list[Row]
    ours: list[Row]


class Case(NamedTuple):
    """What is recorded, and how."""

    columns: tuple[str, ...]
    make: Callable[[Texts], Chunk]
    call: Callable[..., object]
    whole: bool = False  # whether the program makes the id and the times as well


def tool_event(texts: Texts) -> tuple[dict[str, object], dict[str, object]]:
    """Arguments and result of a tool, 1 kB of JSON."""
    params = {"origin": "BOS", "destination": "DEN", "date": "2024-05-16", "max_stops": 1, "query": texts.text(80)}
    found = [{"flight": f"HAT{n:03d}", "price": 120.5 + n, "seats": 9 - n, "note": texts.text(180)} for n in range(3)]
    return params, {"status": "available", "flights": found}


def conversation(texts: Texts, turns: int = CHUNK) -> list[tuple[list[Message], str]]:
    """Prompt and completion of each turn. The messages are the same objects in every prompt, as in a program that
    appends to one list."""
    messages = [_SYSTEM, texts.message("user", 500, 1000)]
    calls = []
    for _ in range(turns):
        answer = texts.message("assistant", 500, 1000)
        calls.append((list(messages), answer["content"]))
        messages += [answer, texts.message("user", 500, 1000)]
    return calls


def _tool(texts: Texts) -> Chunk:
    pairs = [tool_event(texts) for _ in range(CHUNK)]
    return Chunk(
        [(tool_row(params, returns),) for params, returns in pairs],
        [(tool_row(params, returns, encode=as_it_is),) for params, returns in pairs],
        [(ToolEvent(name="search_flights", params=params, returns=returns),) for params, returns in pairs],
    )


def _llm(calls: list[tuple[list[Message], str]]) -> Chunk:
    return Chunk(
        [(llm_row(*call),) for call in calls],
        [(llm_row(*call, encode=as_it_is),) for call in calls],
        [(llm(*call),) for call in calls],
    )


def llm(prompt: list[Message], completion: str) -> LLMEvent:
    """The event of an LLM call."""
    return LLMEvent(model="gpt-4o", prompt=prompt, completion=completion, prompt_tokens=1200, completion_tokens=150)


def _llm_conversation(texts: Texts) -> Chunk:
    return _llm(conversation(texts))


def _llm_new(texts: Texts) -> Chunk:
    roles = ("system", "user", "user")
    return _llm([([texts.message(role, 400, 500) for role in roles], texts.text(450)) for _ in range(CHUNK)])


@agentops_local.record_tool("search_flights")
def _empty() -> None:
    pass


def _record_tool(texts: Texts) -> Chunk:  # noqa: ARG001 - as the others
    ready: list[Row] = [(tool_row({}, None),) for _ in range(CHUNK)]
    nothing: list[Row] = [()] * CHUNK
    return Chunk(ready, [(tool_row({}, None, encode=as_it_is),) for _ in ready], nothing)


CASES = {
    "tool": Case(TOOL, _tool, agentops_local.record),
    "llm_conversation": Case(LLM, _llm_conversation, agentops_local.record),
    "llm_new": Case(LLM, _llm_new, agentops_local.record),
    "record_tool": Case(TOOL, _record_tool, _empty, whole=True),
}


def measure(folder: Path, power: bool, events: int, rounds: int) -> dict[str, dict[str, float]]:
    """All cases in one mode: `rounds` rounds of about `events` events each."""
    files = [folder / f"{MODES[power]}{side}.db" for side in ("", "-floor", "-program")]
    recorded = session(files[0], power)
    floor, program = Floor(files[1], power), Floor(files[2], power)
    texts = Texts()
    to_floor, to_program = {name: Pair() for name in CASES}, {name: Pair() for name in CASES}
    for case in CASES.values():
        _round(case, floor, program, texts, CHUNK * 5)  # the first calls load and compile; no program is these alone
    for _ in range(rounds):
        for name, case in CASES.items():
            checkpoint(*files)
            ours, bare, whole = _round(case, floor, program, texts, events, *files)
            to_floor[name].add(ours, bare)
            to_program[name].add(ours, whole)
    recorded.end_session("Success")
    floor.close()
    program.close()
    assert len({count(file) for file in files}) == 1, "all sides have stored the same events"
    return {name: _figures(to_floor[name], to_program[name]) for name in CASES}


def _round(case: Case, floor: Floor, program: Floor, texts: Texts, events: int, *files: Path) -> list[list[int]]:
    calls = (case.call, floor.insert(case.columns), program.program(case.columns, case.whole))
    times: list[list[int]] = [[], [], []]
    for number in range(max(1, events // CHUNK)):
        chunk = case.make(texts)
        given = (chunk.ours, chunk.ready, chunk.raw)
        for turn in range(3):
            side = (number + turn) % 3
            times[side] += timed(calls[side], given[side])
        if files and number % CHECKPOINT == CHECKPOINT - 1:
            checkpoint(*files)
    return times


def _figures(floor: Pair, program: Pair) -> dict[str, float]:
    figures: dict[str, float] = {
        "ratio_p50": round(floor.ratio(0.5), 3),
        "ratio_p99": round(floor.ratio(0.99), 3),
        "p50_us": round(floor.ours(0.5), 1),
        "p99_us": round(floor.ours(0.99), 1),
        "floor_p50_us": round(floor.floor(0.5), 1),
        "floor_p99_us": round(floor.floor(0.99), 1),
        "program_ratio_p50": round(program.ratio(0.5), 3),
        "program_p50_us": round(program.floor(0.5), 1),
    }
    return {**figures, "events": floor.events}


def main() -> None:
    """Measures both modes and prints what was found."""
    parser = options(__doc__)
    parser.add_argument("--events", type=int, default=2000, help="of each case in a round")
    parser.add_argument("--rounds", type=int, default=7)
    given = parser.parse_args()
    with workplace(given.dir) as folder:
        found = {mode: measure(folder, mode == "power", given.events, given.rounds) for mode in MODES}
    if given.json:
        print(json.dumps(found))
        return
    print(f"record() beside a bare SQLite commit of the same bytes, µs. {surroundings()}")
    for mode, cases in found.items():
        show(
            f"durability={mode}",
            ("", "ratio p50", "p99", "ours p50", "p99", "floor p50", "p99", "to program", "program p50", "events"),
            [(name, *figures.values()) for name, figures in cases.items()],
        )


if __name__ == "__main__":
    main()
