"""Cohere's chat, in its second version."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator

from tests.fakes.providers.replies import Api, Call, Json, Reply, asks_to_stream, event, in_messages, pieces


def _refusal(_: int, message: str) -> Json:
    return {"id": str(uuid.uuid4()), "message": message}


def _usage(reply: Reply) -> Json:
    usage = reply.usage
    told: Json = {
        "billed_units": {"input_tokens": usage.input, "output_tokens": usage.output},
        "tokens": {"input_tokens": usage.input, "output_tokens": usage.output},
    }
    return told | ({"cached_tokens": usage.cache_read} if usage.cache_read else {})


def _call(call: Call) -> Json:
    function = {"name": call.name, "arguments": call.arguments}
    return {"id": f"{call.name}_{call.key[:12]}", "type": "function", "function": function}


def _finish(reply: Reply) -> str:
    return "TOOL_CALL" if reply.calls else "COMPLETE"


def _content(reply: Reply) -> list[Json]:
    thought: list[Json] = [] if reply.reasoning is None else [{"type": "thinking", "thinking": reply.reasoning}]
    return thought + ([] if reply.text is None else [{"type": "text", "text": reply.text}])


def _whole(reply: Reply) -> Json:
    message: Json = {"role": "assistant"}
    if _content(reply):
        message["content"] = _content(reply)
    if reply.calls:
        message["tool_calls"] = [_call(call) for call in reply.calls]
    identity = str(uuid.UUID(reply.key))
    return {"id": identity, "message": message, "finish_reason": _finish(reply), "usage": _usage(reply)}


def _events(reply: Reply) -> Iterator[Json]:
    begun = {"role": "assistant", "content": [], "tool_plan": "", "tool_calls": [], "citations": []}
    yield {"type": "message-start", "id": str(uuid.UUID(reply.key)), "delta": {"message": begun}}
    content = _content(reply)
    for index, part in enumerate(content):
        kind = part["type"]
        opened = {"content": {"type": kind, kind: ""}}
        yield {"type": "content-start", "index": index, "delta": {"message": opened}}
        for piece in pieces(part[kind]):
            yield {"type": "content-delta", "index": index, "delta": {"message": {"content": {kind: piece}}}}
        yield {"type": "content-end", "index": index}
    for index, call in enumerate(reply.calls, len(content)):
        called = {"tool_calls": _call(call._replace(arguments=""))}
        yield {"type": "tool-call-start", "index": index, "delta": {"message": called}}
        for piece in pieces(call.arguments):
            more = {"tool_calls": {"function": {"arguments": piece}}}
            yield {"type": "tool-call-delta", "index": index, "delta": {"message": more}}
        yield {"type": "tool-call-end", "index": index}
    yield {"type": "message-end", "delta": {"finish_reason": _finish(reply), "usage": _usage(reply)}}


def _chunks(reply: Reply) -> Iterator[bytes]:
    return map(event, _events(reply))


CHAT = Api("cohere", re.compile("/v2/chat"), in_messages, asks_to_stream, _whole, _chunks, _refusal)
