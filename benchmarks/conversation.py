"""A conversation of 300 turns: what each call costs, in time and in bytes, beside its prompts stored whole.

Each turn adds two messages of 1 kB, and its prompt repeats all that was said before. It is recorded in three ways: by
ours with the same message objects in each prompt, as a program has them that appends to a list; by ours with equal but
new objects, as from a framework that builds its messages anew; and as whole prompts in a bare table. The three take
turns every 10 calls; each event is made just before its call, outside the timer. The bytes are what each file grew by,
checkpointed.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from statistics import median

from agentops_local.session import Session
from benchmarks.common import Message, Row, Texts, options, session, show, surroundings, timed, workplace
from benchmarks.floor import LLM, Floor, checkpoint, count, llm_row
from benchmarks.record import llm

WAYS = ("shared objects", "equal new objects", "whole prompts")
EDGE = 10  # turns at the beginning and at the end that are compared

Times = dict[str, list[int]]  # way → nanoseconds of each turn


def measure(folder: Path, turns: int, rounds: int) -> dict[str, dict[str, float]]:
    """Records a conversation in each round; times are medians over the rounds, bytes are of the last one."""
    all_times: list[Times] = []
    sizes: dict[str, int] = {}
    for number in range(rounds):
        files = [folder / f"{number}-{way.replace(' ', '-')}.db" for way in WAYS]
        sessions = session(files[0]), session(files[1])
        floor = Floor(files[2])
        checkpoint(*files)
        empty = [file.stat().st_size for file in files]
        all_times.append(_record(sessions, floor, files, turns))
        for one in sessions:
            one.end_session("Success")
        floor.close()
        checkpoint(*files)
        assert [count(file) for file in files] == [turns] * 3
        sizes = {way: file.stat().st_size - before for way, file, before in zip(WAYS, files, empty, strict=True)}
    return {way: _figures([times[way] for times in all_times], sizes[way], sizes[WAYS[2]]) for way in WAYS}


def _record(sessions: tuple[Session, Session], floor: Floor, files: list[Path], turns: int) -> Times:
    texts = Texts()
    times: Times = {way: [] for way in WAYS}
    ways: list[tuple[str, Callable[..., object], Callable[[list[Message], str], Row]]] = [
        (WAYS[0], sessions[0].record, lambda prompt, said: (llm(list(prompt), said),)),
        (WAYS[1], sessions[1].record, lambda prompt, said: (llm(anew(prompt), said),)),
        (WAYS[2], floor.insert(LLM), lambda prompt, said: (llm_row(prompt, said),)),
    ]
    said = [texts.message(role, 1000, 1000) for role in ("system", "user", *["assistant", "user"] * turns)]
    for start in range(0, turns, EDGE):
        for way, call, make in ways:
            for turn in range(start, min(start + EDGE, turns)):
                end = 2 + 2 * turn
                times[way] += timed(call, [make(said[:end], said[end]["content"])])
        ways = [*ways[1:], ways[0]]  # another one begins each time
        checkpoint(*files)
    return times


def anew(messages: list[Message]) -> list[Message]:
    """Equal messages, down to their texts."""
    return [{role: text[:1] + text[1:] for role, text in message.items()} for message in messages]


def _figures(rounds: list[list[int]], size: int, whole: int) -> dict[str, float]:
    first = median(median(times[:EDGE]) for times in rounds) / 1000
    last = median(median(times[-EDGE:]) for times in rounds) / 1000
    return {
        "bytes": size,
        "bytes_ratio": round(size / whole, 5),
        "first_turns_us": round(first, 1),
        "last_turns_us": round(last, 1),
        "last_to_first": round(median(median(times[-EDGE:]) / median(times[:EDGE]) for times in rounds), 3),
        "seconds": round(median(sum(times) for times in rounds) / 1e9, 4),
    }


def main() -> None:
    """Measures and prints what was found."""
    parser = options(__doc__)
    parser.add_argument("--turns", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=7)
    given = parser.parse_args()
    with workplace(given.dir) as folder:
        found = measure(folder, given.turns, given.rounds)
    if given.json:
        print(json.dumps(found))
        return
    print(f"A conversation of {given.turns} turns. {surroundings()}")
    show(
        "recorded as",
        ("", "bytes", "of whole", f"turns 1-{EDGE} µs", f"turns {given.turns - EDGE + 1}-{given.turns} µs", "ratio",
         "seconds"),
        [
            (way, int(one["bytes"]), f"1/{1 / one['bytes_ratio']:.0f}", one["first_turns_us"], one["last_turns_us"],
             one["last_to_first"], one["seconds"])
            for way, one in found.items()
        ],
    )  # fmt: skip


if __name__ == "__main__":
    main()
