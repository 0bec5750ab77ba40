"""Ollama's chat: no ids, no text of arguments, lines of JSON for a stream, and a stream unless told otherwise."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime, timezone

from tests.fakes.providers.replies import LINES, Api, Json, Reply, in_messages, line, pieces
from tests.fakes.providers.script import Received


def _refusal(_: int, message: str) -> Json:
    return {"error": message}


def _streams(request: Received) -> bool:
    return request.body.get("stream") is not False


def _head(reply: Reply) -> Json:
    created = datetime.fromtimestamp(reply.created, timezone.utc)
    return {"model": reply.request.body["model"], "created_at": created.isoformat().replace("+00:00", "Z")}


def _calls(reply: Reply) -> Json:
    calls = [{"function": {"name": call.name, "arguments": call.parsed}} for call in reply.calls]
    return {"tool_calls": calls} if calls else {}


def _end(reply: Reply) -> Json:
    return {
        "done_reason": "stop",
        "done": True,
        "total_duration": 40_000_000,
        "load_duration": 10_000_000,
        "prompt_eval_count": reply.usage.input,
        "prompt_eval_duration": 10_000_000,
        "eval_count": reply.usage.output,
        "eval_duration": 20_000_000,
    }


def _whole(reply: Reply) -> Json:
    thought = {} if reply.reasoning is None else {"thinking": reply.reasoning}
    message = {"role": "assistant", "content": reply.text or "", **thought, **_calls(reply)}
    return {**_head(reply), "message": message, **_end(reply)}


def _chunks(reply: Reply) -> Iterator[bytes]:
    messages: list[Json] = [{"content": "", "thinking": piece} for piece in pieces(reply.reasoning)]
    messages += [{"content": piece} for piece in pieces(reply.text)]
    messages += [{"content": "", **_calls(reply)}] if reply.calls else []
    for message in messages:
        yield line({**_head(reply), "message": {"role": "assistant", **message}, "done": False})
    yield line({**_head(reply), "message": {"role": "assistant", "content": ""}, **_end(reply)})


CHAT = Api("ollama", re.compile("/api/chat"), in_messages, _streams, _whole, _chunks, _refusal, LINES)
