"""A fuzzer for the encoder that watches which of its lines run, and looks for inputs that reach more of them.

`python -m tests.reliability.tools.fuzz_serialize --seconds 60` runs until the time is over and says how many values it
has tried; a value that breaks a law ends it with a traceback and the status 1. Bytes decide what a value is made of and
what its limit is, so that every finding is a short file: `--replay FILE` shows it again. It needs atheris, of which
there are wheels for Linux on x86-64.
"""

from __future__ import annotations

import argparse
import json
import os
import sqlite3
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import atheris

with atheris.instrument_imports(include=["agentops_local.serialize"]):
    from agentops_local import serialize

from tests.reliability.tools.fighting import NASTY
from tests.unit.hostile import Point, Step
from tests.unit.zoo import HOSTILE, LARGE

_DATABASE = sqlite3.connect(":memory:")
_ODD: list[Callable[[], Any]] = [
    *(make for name, make in HOSTILE.items() if not LARGE.search(name)),
    *(make for name, make in NASTY.items() if name != "recording"),
]
_SLOW = 0.5  # seconds of processor time; watched code takes many times as long

tried = 0


# ruff: noqa: ARG005 - makers are called alike, whether they need bytes or not


def value_of(data: atheris.FuzzedDataProvider, depth: int = 0) -> Any:
    """A value that bytes describe."""
    kind = data.ConsumeIntInRange(0, 9 if depth > 8 else 17)
    if kind <= 9:
        return _LEAVES[kind](data)
    size = data.ConsumeIntInRange(0, 5)
    items = [value_of(data, depth + 1) for _ in range(size)]
    return _CONTAINERS[kind - 10](items, data)


_LEAVES: list[Callable[[atheris.FuzzedDataProvider], Any]] = [
    lambda data: None,
    lambda data: data.ConsumeBool(),
    lambda data: data.ConsumeInt(data.ConsumeIntInRange(1, 12)),
    lambda data: data.ConsumeFloat(),
    lambda data: data.ConsumeUnicode(data.ConsumeIntInRange(0, 60)),  # surrogates included
    lambda data: data.ConsumeUnicodeNoSurrogates(data.ConsumeIntInRange(0, 4000)),
    lambda data: data.ConsumeBytes(data.ConsumeIntInRange(0, 60)),
    lambda data: data.ConsumeString(data.ConsumeIntInRange(0, 9)) * data.ConsumeIntInRange(0, 3000),
    lambda data: _ODD[data.ConsumeIntInRange(0, len(_ODD) - 1)](),
    lambda data: object(),
]


def _keyed(items: list[Any], data: atheris.FuzzedDataProvider) -> dict[Any, Any]:
    found: dict[Any, Any] = {}
    for item in items:
        key = _LEAVES[data.ConsumeIntInRange(0, 7)](data)
        found[key] = item
    return found


def _brief(item: Any) -> Any:
    """What an exception holds: its own words are told by code that is not ours, which takes what time it takes."""
    return type(item) if isinstance(item, (list, tuple, dict, Step, ValueError)) else item


_CONTAINERS: list[Callable[[list[Any], atheris.FuzzedDataProvider], Any]] = [
    lambda items, data: items,
    lambda items, data: tuple(items),
    _keyed,
    lambda items, data: {"role": "user", "content": items},
    lambda items, data: Step(items),
    lambda items, data: Point(items, data.ConsumeBool()),
    lambda items, data: ValueError(*map(_brief, items)),
    lambda items, data: [items] * data.ConsumeIntInRange(0, 300),
]


def check(raw: bytes) -> None:
    """The laws of the encoder, for one value."""
    global tried  # noqa: PLW0603 - the fuzzer knows no object of ours
    tried += 1
    data = atheris.FuzzedDataProvider(raw)
    limit = [2, 7, 100, 700, 5000, serialize.FIELD_LIMIT][data.ConsumeIntInRange(0, 5)]
    redact = (lambda plain: plain) if data.ConsumeBool() else None
    value = value_of(data)
    begun = time.thread_time()
    out = serialize.dump(value, limit, redact)
    seconds = time.thread_time() - begun
    assert len(out) <= limit, f"{len(out)} bytes, {limit} allowed"
    text = out.decode()  # strictly: no lone surrogate
    assert "\0" not in text
    assert "\\u0000" not in text.replace("\\\\", "")
    json.loads(text, parse_constant=_refuse)
    assert _DATABASE.execute("SELECT json_valid(?)", (text,)).fetchone()[0] == 1
    assert seconds < _SLOW, f"{seconds:.3f} s"


def _refuse(constant: str) -> NoReturn:
    raise AssertionError(f"{constant} is no JSON")


def _check_until(end: float) -> Callable[[bytes], None]:
    """The laws, until a moment: the fuzzer's own limit ends the process without a word about what was tried."""

    def run(raw: bytes) -> None:
        if time.monotonic() > end:
            print(f"tried {tried}", flush=True)
            os._exit(0)
        check(raw)

    return run


def main() -> None:
    """Fuzzes."""
    parser = argparse.ArgumentParser(prog="python -m tests.reliability.tools.fuzz_serialize", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=0, help="0: another each time")
    parser.add_argument("--corpus", type=Path, help="a folder where inputs that reach more are kept")
    parser.add_argument("--replay", type=Path, metavar="FILE", help="one input")
    options = parser.parse_args()
    if options.replay is not None:
        check(options.replay.read_bytes())
        return
    arguments = [sys.argv[0], f"-seed={options.seed}", "-max_len=8192", "-len_control=20", "-rss_limit_mb=0"]
    atheris.Setup(
        [*arguments, *([str(options.corpus)] if options.corpus else [])],
        _check_until(time.monotonic() + options.seconds),
    )
    atheris.Fuzz()


if __name__ == "__main__":
    main()
