"""Events whole: every field as the value it was, prompts with all their messages."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Sequence
from typing import Any

from agentops_local.analytics.reading import iso
from agentops_local.analytics.totals import dollars

_BATCH = 50  # events a read: prompts whole are long

# A prompt that is a list (form 0) is put together by the view; a prompt or completion that is one value stands in one
# message as JSON, which tells the text "1" from the number 1.
_WHOLE = """
SELECT p.*,
       CASE p.prompt_form WHEN 0 THEN (SELECT l.prompt FROM llms l WHERE l.seq = p.seq)
                          WHEN 1 THEN (SELECT t.text FROM message_texts t WHERE t.id = p.prompt) END AS prompt_json,
       (SELECT t.text FROM message_texts t WHERE t.id = p.completion) AS completion_json,
       b.source AS price_source, b.looked_us AS price_looked_us
FROM payloads p LEFT JOIN prices b ON b.id = p.price WHERE p.seq IN (SELECT value FROM json_each(?)) ORDER BY p.seq
"""

_LLM = (
    "provider", "model", "prompt_tokens", "completion_tokens", "cache_read_tokens", "cache_write_tokens",
    "reasoning_tokens", "cost_source", "price_source", "thread_id",
)  # fmt: skip


def whole_events(connection: sqlite3.Connection, seqs: Sequence[int]) -> Iterator[dict[str, Any]]:
    """Events as JSON objects, in the order of their commits, some at a time."""
    ordered = sorted(seqs)
    for start in range(0, len(ordered), _BATCH):
        batch = json.dumps(ordered[start : start + _BATCH])
        for row in connection.execute(_WHOLE, (batch,)).fetchall():
            yield _event(row)


def _event(row: sqlite3.Row) -> dict[str, Any]:
    event: dict[str, Any] = {
        "id": row["id"],
        "session_id": row["session_id"],
        "seq": row["seq"],
        "kind": row["kind"],
        "agent_id": row["agent_id"],
        "agent_name": row["agent_name"],
        "parent_id": row["parent_id"],
        "init_timestamp": iso(row["init_us"]),
        "end_timestamp": iso(row["end_us"]),
    }
    event |= _OWN.get(row["kind"], _action)(row)
    event |= {"params": value(row["params"]), "returns": value(row["returns"])}
    if row["extra"] is not None:
        event["extra"] = value(row["extra"])
    return event


def _llm(row: sqlite3.Row) -> dict[str, Any]:
    completion = value(row["completion_json"])
    if row["completion_form"] == 2 and isinstance(completion, dict):
        completion = completion.get("content")
    return {
        "prompt": value(row["prompt_json"]),
        "completion": completion,
        **{name: row[name] for name in _LLM},
        "cost": None if row["cost_pusd"] is None else float(dollars(row["cost_pusd"])),
        "price_looked_up": iso(row["price_looked_us"]),
    }


def _tool(row: sqlite3.Row) -> dict[str, Any]:
    return {"name": row["name"], "logs": value(row["logs"])}


def _action(row: sqlite3.Row) -> dict[str, Any]:
    return {"action_type": row["name"], "logs": value(row["logs"]), "screenshot": value(row["screenshot"])}


def _error(row: sqlite3.Row) -> dict[str, Any]:
    return {
        "error_type": row["name"],
        "code": row["code"],
        "details": value(row["details"]),
        "logs": value(row["logs"]),
        "trigger_event_id": row["trigger_id"],
        "trigger_event_type": row["trigger_kind"],
    }


_OWN = {"llms": _llm, "tools": _tool, "errors": _error}


def value(text: str | None) -> Any:
    """The value of a JSON text; the text itself if it is none, for a damaged row must not hide the others."""
    if text is None:
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text
