"""The LLM calls of a session, each as what was asked and what can be answered: read from the database, once."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from agentops_local.analytics.whole import whole_events
from agentops_local.replay.answer import Answer, Said, Unanswerable, said_of
from agentops_local.replay.conversation import Item, items
from agentops_local.replay.failures import failure
from agentops_local.replay.formats.asked import tool

_TOKENS = ("prompt_tokens", "completion_tokens", "cache_read_tokens", "cache_write_tokens", "reasoning_tokens")
_CALLS = """
SELECT e.seq FROM events e JOIN sessions s ON s.seq = e.session
WHERE s.id = ? AND s.id <> '' AND e.kind = 'llms' ORDER BY e.init_us, e.seq
"""
# The first: what an exception passed through on its way up may have been recorded as well.
_ERRORS = """
SELECT e.seq FROM events e JOIN sessions s ON s.seq = e.session
WHERE s.id = ? AND s.id <> '' AND e.kind = 'errors' AND e.trigger_kind = 'llms' ORDER BY e.seq DESC
"""
_BATCH = 50


@dataclass(frozen=True)
class Call:
    """A recorded call.

    Attributes:
        number: its place in the session, from 1.
        conversation: what was asked.
        settings: what else, as far as it was recorded; `model` and `tools` among it.
        answers: how often it is to be answered: a library that tries again asks again.
    """

    number: int
    event: str
    conversation: list[Item]
    settings: Mapping[str, Any]
    answer: Answer
    answers: int = 1


def calls(connection: sqlite3.Connection, session_id: str) -> Iterator[Call]:
    """The calls of a session in the order in which they were begun; embeddings are none that can be replayed."""
    errors = _errors(connection, session_id)
    seqs = [row["seq"] for row in connection.execute(_CALLS, (session_id,)).fetchall()]
    number = 0
    for start in range(0, len(seqs), _BATCH):
        batch = seqs[start : start + _BATCH]
        events = {event["seq"]: event for event in whole_events(connection, batch)}
        for event in (events[seq] for seq in batch if seq in events):
            params = event["params"] if isinstance(event["params"], Mapping) else {}
            if params.get("operation") != "embeddings":
                number += 1
                yield _call(number, event, params, errors.get(event["id"]))


def _errors(connection: sqlite3.Connection, session_id: str) -> dict[str, dict[str, Any]]:
    seqs = [row["seq"] for row in connection.execute(_ERRORS, (session_id,)).fetchall()]
    found = sorted(whole_events(connection, seqs), key=lambda event: -int(event["seq"]))
    return {error["trigger_event_id"]: error for error in found}


def _call(number: int, event: dict[str, Any], params: Mapping[str, Any], error: Mapping[str, Any] | None) -> Call:
    returns = event["returns"] if isinstance(event["returns"], Mapping) else {}
    tools = params.get("tools")
    settings = {
        "model": params.get("model") or event["model"],
        **{name: value for name, value in params.items() if isinstance(value, (int, float))},
        **({"tools": _tools(tools)} if isinstance(tools, list) else {}),
    }
    attempts = returns.get("attempts")
    answers = len(attempts) if error is not None and isinstance(attempts, list) else 1
    answer = _answer(number, event, returns, error)
    return Call(number, event["id"], items(event["prompt"]), settings, answer, answers)


def _answer(number: int, event: dict[str, Any], returns: Mapping[str, Any], error: Mapping[str, Any] | None) -> Answer:
    failed = None if error is None else failure(str(error["error_type"]), error["details"])
    problem = None
    said: tuple[Said, ...] = ()
    try:
        said = tuple(_said(event["completion"], returns, number))
    except Unanswerable as reason:
        problem = str(reason)
    if error is not None and failed is None and not said:
        problem = f"it failed with {error['error_type']}, which is not how a server's answer fails"
    if error is None and not said and problem is None:
        problem = "no completion was recorded with it"
    return Answer(
        event["id"], event["model"], _text(returns.get("id")), said, {name: event[name] for name in _TOKENS},
        failed, problem,
    )  # fmt: skip


def _said(completion: object, returns: Mapping[str, Any], number: int) -> Iterator[Said]:
    reasons = returns.get("finish_reasons") or [returns.get("finish_reason")]
    told = completion if isinstance(completion, list) else [completion]
    for place, one in enumerate(told):
        if one is not None:
            yield said_of(one, reasons[min(place, len(reasons) - 1)], number)


def _tools(tools: list[Any]) -> list[dict[str, Any]]:
    found = [one.get("function") or one for one in tools if isinstance(one, Mapping)]
    return [
        tool(one.get("name"), one.get("description"), one.get("parameters") or one.get("input_schema")) for one in found
    ]


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None
