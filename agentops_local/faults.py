"""The one place where a fault of ours is kept away from the user's program.

A recorder must never be the reason why an agent fails. So the public functions run under `contained`: an exception of
ours becomes one clear log line a kind, and a count that `agentops-local doctor` shows. With AGENTOPS_LOCAL_STRICT=1,
as under our own tests, it is raised instead.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from agentops_local.log import logger

counts: Counter[str] = Counter()


def strict() -> bool:
    """Whether faults are raised (AGENTOPS_LOCAL_STRICT=1)."""
    return os.environ.get("AGENTOPS_LOCAL_STRICT", "") not in ("", "0")


def report(fault: BaseException, doing: str) -> None:
    """Logs a fault (once for each kind and place) and counts it; raises it in strict mode."""
    if strict():
        raise fault
    kind = f"{doing}: {type(fault).__name__}"
    counts[kind] += 1
    if counts[kind] == 1:
        logger.error("agentops_local: %s failed: %s: %s", doing, type(fault).__name__, fault)
        logger.debug("agentops_local: the fault in full", exc_info=fault)


@contextmanager
def contained(doing: str) -> Iterator[None]:
    """Runs a block of ours inside the user's program: no Exception leaves it."""
    try:
        yield
    except Exception as fault:
        report(fault, doing)
