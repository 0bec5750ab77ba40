"""Model, tools and settings of a request beside those that were recorded."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any


def differences(recorded: Mapping[str, Any], asked: Mapping[str, Any]) -> list[str]:
    """Where a request is other than what was recorded, in words. What was not recorded cannot differ: instrumentors do
    not tell all of it."""
    found = []
    was, now = recorded.get("model"), asked.get("model")
    # A provider answers by the dated name of a model; some recordings hold that one only.
    if was and now and was != now and not str(was).startswith(f"{now}-"):
        found.append(f"model {now} instead of {was}")
    for name, value in asked.items():
        was = recorded.get(name)
        if name not in ("model", "tools") and was is not None and was != value:
            found.append(f"{name} {json.dumps(value)} instead of {json.dumps(was)}")
    if recorded.get("tools") is not None:
        found += _tools(recorded["tools"], asked.get("tools") or [])
    return found


def _tools(recorded: list[dict[str, Any]], asked: list[dict[str, Any]]) -> list[str]:
    before = {str(tool["name"]): tool for tool in recorded}
    after = {str(tool["name"]): tool for tool in asked}
    found = [f"tool {name} is new" for name in after if name not in before]
    found += [f"tool {name} is gone" for name in before if name not in after]
    for name in before:
        parts = ("description", "parameters")
        if name in after and any(before[name][part] not in (None, after[name][part]) for part in parts):
            found.append(f"tool {name} is described otherwise")
    return found
