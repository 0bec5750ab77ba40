"""Conversations are compared by what they say."""

from __future__ import annotations

import json

from agentops_local.replay.conversation import items, key
from agentops_local.replay.difference import compared
from agentops_local.replay.failures import failure

_ARGUMENTS = {"city": "Rome", "days": 2}
_CALL = {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": json.dumps(_ARGUMENTS)}}

OPENAI = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": [{"type": "text", "text": "Weather?"}]},
    {"role": "assistant", "content": "Let me look.", "tool_calls": [_CALL], "refusal": None},
    {"role": "tool", "tool_call_id": "c1", "content": '{"sky": "blue"}'},
]
ANTHROPIC = [
    {"role": "system", "content": [{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}]},
    {"role": "user", "content": "Weather?"},
    {"role": "assistant", "content": [
        {"type": "thinking", "thinking": "hm", "signature": "x"}, {"type": "text", "text": "Let me look."},
        {"type": "tool_use", "id": "toolu_7", "name": "weather", "input": _ARGUMENTS},
    ]},
    {"role": "user", "content": [
        {"type": "tool_result", "tool_use_id": "toolu_7", "content": [{"type": "text", "text": '{"sky":"blue"}'}]},
    ]},
]  # fmt: skip
GEMINI = [
    {"role": "system", "parts": [{"text": "Be brief."}]},
    {"role": "user", "parts": [{"text": "Weather?"}]},
    {"role": "model", "parts": [{"text": "Let me look."}, {"functionCall": {"name": "weather", "args": _ARGUMENTS}}]},
    {"role": "user", "parts": [{"functionResponse": {"name": "weather", "response": {"sky": "blue"}}}]},
]
RESPONSES = [
    {"role": "developer", "content": "Be brief."},
    {"role": "user", "content": [{"type": "input_text", "text": "Weather?"}]},
    {"type": "reasoning", "summary": [], "encrypted_content": "x"},
    {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Let me look."}]},
    {"type": "function_call", "call_id": "x9", "name": "weather", "arguments": '{"days":2,"city":"Rome"}'},
    {"type": "function_call_output", "call_id": "x9", "output": '{"sky": "blue"}'},
]


def test_the_same_in_every_shape() -> None:
    """A conversation is the same in the shape of every provider, whatever ids its calls have, and with or without what
    the model thought."""
    assert len({key(items(one)) for one in (OPENAI, ANTHROPIC, GEMINI, RESPONSES)}) == 1


def test_which_result_is_whose() -> None:
    """Results of tools belong to their calls: exchanged, they make another conversation; in another order only, too,
    for so the model reads them."""
    calls = [{**_CALL, "id": name} for name in "ab"]
    said = {"role": "assistant", "content": None, "tool_calls": calls}
    results = [{"role": "tool", "tool_call_id": name, "content": f"of {name}"} for name in "ab"]
    exchanged = [{**result, "tool_call_id": other} for result, other in zip(results, "ba", strict=True)]
    keys = {key(items([said, *order])) for order in (results, exchanged, results[::-1])}
    assert len(keys) == 3


def test_images() -> None:
    """An image is compared by its data, in whatever shape it is sent."""
    shapes = [
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA", "detail": "low"}},
        {"type": "input_image", "image_url": "data:image/png;base64,AAAA"},
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}},
        {"inlineData": {"mimeType": "image/png", "data": "AAAA"}},
    ]
    assert len({key(items([{"role": "user", "content": [shape]}])) for shape in shapes}) == 1


def test_every_other_word_counts() -> None:
    """A prompt that says something else, or as somebody else, is another one."""
    files = [[{"role": "user", "content": [{"type": "file", "file_id": name}]}] for name in "12"]
    prompts = ["a", "b", {"x": 1}, {"x": 2}, [{"role": "system", "content": "a"}], [], None, ["a", "a"], *files]
    keys = [key(items(prompt)) for prompt in prompts]
    assert len(set(keys)) == len(prompts) - 1  # an empty list and nothing say the same


def test_a_difference_in_a_long_text() -> None:
    """Of long lines the diff shows what surrounds the place where they part."""
    before, after = "x" * 500 + "OLD" + "y" * 500, "x" * 500 + "NEW" + "y" * 500
    old, new = compared([{"user": before}], [{"user": after}])[-2:]
    assert "xOLDy" in old
    assert "xNEWy" in new
    assert max(len(old), len(new)) < 180


def test_a_great_difference() -> None:
    """A diff of very much has an end."""
    found = compared([{"user": str(number)} for number in range(900)], [])
    assert len(found) == 61
    assert found[-1].endswith("lines more")


def test_failures_in_the_words_of_the_libraries() -> None:
    """The status of a failure, and what the server said, are found in the text of each library's exception."""
    texts = {
        ("RateLimitError", "Error code: 429 - slow down"): (429, "slow down", None),
        ("InternalServerError", "Error code: 500 - {'error': {'message': 'no'}}"): (
            500, None, {"error": {"message": "no"}}),
        ("ClientError", "404 NOT_FOUND. {'error': {'code': 404}}"): (404, None, {"error": {"code": 404}}),
        ("SDKError", 'API error occurred: Status 401. Body: {"message": "who?"}'): (401, None, {"message": "who?"}),
        ("ResponseError", "no such model (status code: 404)"): (404, "no such model", {"error": "no such model"}),
        ("TooManyRequestsError", "headers: {'x': '1'}, status_code: 429, body: {'message': 'm'}"): (
            429, None, {"message": "m"}),
        ("AuthenticationError", "who are you?"): (401, "who are you?", None),
        ("ConnectError", "refused"): (None, "refused", None),
    }  # fmt: skip
    for (error, text), (status, message, body) in texts.items():
        found = failure(error, text)
        assert found is not None
        assert (found.status, found.body) == (status, body)
        assert message in (None, found.message)
    assert failure("ValueError", "a bad value 404 in it") is None
