"""The folder of logs: an hour a file, made by arithmetic, the same on every machine, with a few faults planted."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

SERVICES = {
    "billing": ("/invoice", "/refund", "/card"),
    "orders": ("/cart", "/checkout", "/stock"),
    "search": ("/find", "/suggest", "/rank"),
}
HOURS = (8, 9, 10, 11)
LINES = 6000  # of a file without faults: one each 0.6 s

# What is wrong in which file, in the words that the agent uses for it. The agent never sees this.
PLANTED = {
    "billing-09.log": "longest_silence_s",
    "billing-11.log": "undecodable_lines",
    "orders-08.log": "starts",
    "orders-10.log": "errors_per_1000",
    "search-11.log": "p95_ms",
}


def write_logs(folder: Path) -> int:
    """Writes the files and returns the number of their lines."""
    folder.mkdir(parents=True)
    total = 0
    for service in SERVICES:
        for hour in HOURS:
            name = f"{service}-{hour:02}.log"
            lines = [line.encode() for line in _lines(service, hour, PLANTED.get(name))]
            if PLANTED.get(name) == "undecodable_lines":
                lines[len(lines) // 2] += b" user=J\xf6rg"  # Latin-1 among UTF-8, as an old client sends it
            (folder / name).write_bytes(b"\n".join(lines) + b"\n")
            total += len(lines)
    return total


def _lines(service: str, hour: int, fault: str | None) -> Iterator[str]:
    chance = random.Random(f"{service} {hour}").random  # noqa: S311 - no secret: it shall be the same everywhere
    paths = SERVICES[service]
    for number in range(LINES):
        second = number * 3600 / LINES
        in_fault = 1200 <= second < 1860  # from 20 to 31 minutes past the hour
        if fault == "longest_silence_s" and in_fault:
            continue
        at = f"2026-03-02T{hour:02}:{int(second // 60):02}:{second % 60:06.3f}Z"
        if fault == "starts" and in_fault and number % 250 == 0:
            yield f"{at} WARN process started again after exit code 137"
            continue
        path = paths[int(chance() * len(paths))]
        ms = int(20 + 80 * chance() ** 3)
        if fault == "p95_ms" and in_fault:
            ms += 2400
        dice = chance()
        if dice < (0.35 if fault == "errors_per_1000" and in_fault else 0.004):
            yield f"{at} ERROR POST {path} 502 {ms}ms upstream timed out"
        elif dice > 0.98:
            yield f"{at} WARN GET {path} 200 {ms}ms retried once"
        else:
            yield f"{at} INFO GET {path} 200 {ms}ms"
