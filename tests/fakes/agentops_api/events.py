"""Events on their way into rows, as the real server converts them.

Two stages come before the database. First every event is taken apart: a missing key ends the batch. Then every row
is validated for the mirror, one after another: a wrong type ends the batch there. Either way the answer is 500, and
the database has seen nothing.
"""

from __future__ import annotations

import json
import uuid
from decimal import Decimal
from typing import Any

from tests.fakes.agentops_api.values import Crash, amount, identifier, instant

KINDS = ("actions", "llms", "tools", "errors")  # the order in which the server goes through its tables

# What a prompt token and a completion token of a model cost, for events that come without a cost.
PRICES = {
    "gpt-4": (Decimal("0.00003"), Decimal("0.00006")),
    "gpt-4o": (Decimal("0.0000025"), Decimal("0.00001")),
    "gpt-4o-mini": (Decimal("0.00000015"), Decimal("0.0000006")),
}

_FREE = (str, dict, type(None))  # what params and returns may be
_TEXT = (str, type(None))
_TYPES: dict[str, dict[str, tuple[type, ...]]] = {
    "actions": dict.fromkeys(("action_type", "logs", "screenshot", "params", "returns"), _TEXT),
    "llms": {"model": _TEXT, "params": _FREE, "returns": _FREE},
    "tools": {"name": (str,), "logs": _TEXT, "params": _FREE, "returns": _FREE},
    "errors": dict.fromkeys(("trigger_event_type", "error_type", "code", "details", "logs"), _TEXT),
}
_UUIDS = {
    "actions": ("agent_id",),
    "llms": ("agent_id", "thread_id"),
    "tools": ("agent_id",),
    "errors": ("trigger_event_id",),
}


def kind_of(event: Any) -> str:
    """The table an event belongs to: whatever the server does not know, it takes for an action."""
    if not isinstance(event, dict) or "event_type" not in event:
        raise Crash("no event")
    kind = event["event_type"]
    return kind if kind in ("llms", "tools", "errors") else "actions"


def row_of(kind: str, event: dict[str, Any], session: str | None) -> dict[str, Any]:
    """Stage 1: the columns an event fills; unknown keys are dropped."""
    if kind == "errors":
        names = ("trigger_event_id", "trigger_event_type", "error_type", "code", "details", "logs", "timestamp")
        return {"session_id": session, **{name: event.get(name) for name in names}}
    row = {"id": event["id"] if "id" in event else str(uuid.uuid4()), "session_id": session}
    row["agent_id"] = event.get("agent_id")
    if kind == "llms":
        row |= _llm(event)
    elif kind == "tools":
        row |= {"name": event.get("name"), "logs": event.get("logs")}
    else:
        row |= {name: event.get(name) for name in ("action_type", "logs")}
        row["screenshot"] = _screenshot(event.get("screenshot"))
    row |= {name: event.get(name) for name in ("params", "returns")}
    for name in ("init_timestamp", "end_timestamp"):
        if name not in event:
            raise Crash(f"no {name}")
        row[name] = event[name]
    return row


def _llm(event: dict[str, Any]) -> dict[str, Any]:
    # The real server counts missing tokens with a tokenizer it has to download; without one it takes 0.
    prompt_tokens, completion_tokens = event.get("prompt_tokens") or 0, event.get("completion_tokens") or 0
    if isinstance(prompt_tokens, str) or isinstance(completion_tokens, str):
        raise Crash("tokens as text")
    model, cost = event.get("model"), event.get("cost")
    if cost is None and isinstance(model, str) and model in PRICES:
        price, completion_price = PRICES[model]
        try:
            cost = str(prompt_tokens * price + completion_tokens * completion_price)
        except TypeError:
            raise Crash("tokens that cannot be priced") from None
    if cost is not None:
        amount(cost)
    prompt, completion = event.get("prompt"), event.get("completion")
    return {
        "thread_id": event.get("thread_id"),
        "prompt": _wrapped(prompt, isinstance(prompt, list) and all(map(_is_prompt, prompt))),
        "completion": _wrapped(completion, _is_completion(completion)),
        "model": model,
        "prompt_tokens": prompt_tokens,
        "completion_tokens": completion_tokens,
        "cost": cost,
        "promptarmor_flag": None,
    }


def _wrapped(message: Any, chat: bool) -> dict[str, Any]:
    if chat:
        return {"type": "chatml", "messages": message}
    return {"type": "string", "string": message if isinstance(message, str) else json.dumps(message)}


def _is_message(message: Any) -> bool:
    return (
        isinstance(message, dict)
        and isinstance(message.get("role"), str)
        and isinstance(message.get("content"), str | list | dict | None)
        and isinstance(message.get("tool_calls"), list | None)
    )


def _is_prompt(message: Any) -> bool:
    return (
        _is_message(message)
        and isinstance(message.get("name", ""), str)
        and isinstance(message.get("tool_call_id"), str | None)
    )


def _is_completion(message: Any) -> bool:
    return _is_message(message) and isinstance(message.get("function_call"), dict | None)


def _screenshot(value: Any) -> Any:
    if value is None or (isinstance(value, str) and value.startswith(("http://", "https://"))):
        return value
    raise Crash("an inline image, for which there is no storage here")


def validate(kind: str, row: dict[str, Any]) -> None:
    """Stage 2: every column has its type; identifiers and times get the spelling of the database."""
    for name, types in _TYPES[kind].items():
        if not isinstance(row[name], types):
            raise Crash(f"{name}: {row[name]!r}")
    for name in _UUIDS[kind]:
        if row[name] is not None:
            row[name] = identifier(row[name])
    if kind == "errors":
        _time(row, "timestamp")
        return
    row["id"] = identifier(row["id"])
    if kind == "llms":
        _count(row["prompt_tokens"])
        _count(row["completion_tokens"])
    _time(row, "init_timestamp")
    if row["end_timestamp"] is not None:
        _time(row, "end_timestamp")


def _count(value: Any) -> None:
    if not isinstance(value, int | float) or value != value // 1:
        raise Crash(f"no count: {value!r}")


def _time(row: dict[str, Any], name: str) -> None:
    value = row[name]
    if isinstance(value, str):
        row[name] = instant(value)
    elif isinstance(value, bool) or not isinstance(value, int | float):
        raise Crash(f"no time: {value!r}")  # a number passes here and fails in the database
