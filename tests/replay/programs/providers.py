"""Asks every provider's library the same: whole, as a stream and asynchronously, with a tool; prints what it got."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import sys
from collections.abc import Callable
from typing import Any

import agentops_local
from tests.replay.programs.libraries import LIBRARIES

SYSTEM, QUESTION = "Be brief.", "Weather in Rome?"


def told(call: Callable[[], Any]) -> Any:
    """What a call gives, or how it fails."""
    try:
        return call()
    except Exception as error:  # noqa: BLE001 - as agents do
        return f"{type(error).__name__}: {error}"


def main() -> None:
    """Asks all."""
    gc.disable()  # to import so many libraries takes a third less time without
    session = agentops_local.init()
    found: dict[str, Any] = {}
    for name, make in LIBRARIES.items():
        client = make(os.environ["LLM"])
        found[name] = {
            "whole": told(lambda client=client: client.whole(SYSTEM, QUESTION)),  # type: ignore[misc]
            "stream": told(lambda client=client: client.stream(SYSTEM, QUESTION)),  # type: ignore[misc]
            "async": told(lambda client=client: asyncio.run(client.whole_async(SYSTEM, QUESTION))),  # type: ignore[misc]
            "refused": told(lambda client=client: client.whole(SYSTEM, "Say no.")),  # type: ignore[misc]
        }
    json.dump(found, sys.stdout)
    assert session is not None
    session.end_session("Success")


if __name__ == "__main__":
    main()
