"""What a call may cost, as far as one can tell before it is made.

Nobody counts tokens here: a tokenizer would have to be fetched for each model. A token of text is three bytes or more
in nearly every language and model; an answer is as long as the program allows it to be, or else as most are.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

BYTES_A_TOKEN = 3
TOKENS_A_MESSAGE = 4
TOKENS_A_FILE = 1_500  # an image or another file within a prompt, whatever its bytes
TOKENS_AN_ANSWER = 1_000  # where the program does not say
_DEEPEST = 20

# What the libraries call the longest answer, and how many they are asked for.
_MOST = ("max_completion_tokens", "max_output_tokens", "max_tokens")
_CHOICES = ("n", "candidate_count")


def prompt_tokens(prompt: object) -> int:
    """About how many tokens a prompt has, rather too many."""
    return -(-_bytes(prompt, 0) // BYTES_A_TOKEN) + (len(prompt) if isinstance(prompt, list) else 1) * TOKENS_A_MESSAGE


def completion_tokens(arguments: Mapping[str, Any]) -> int:
    """How many tokens the answer may have, by the arguments of the call."""
    config = arguments.get("config")  # google-genai has them there: an object, or a dict
    most = choices = None
    for source in (arguments, config if isinstance(config, Mapping) else getattr(config, "__dict__", {})):
        most = most or next((source[name] for name in _MOST if isinstance(source.get(name), int)), None)
        choices = choices or next((source[name] for name in _CHOICES if isinstance(source.get(name), int)), None)
    return (TOKENS_AN_ANSWER if most is None else most) * (choices or 1)


def _bytes(value: object, depth: int) -> int:
    if isinstance(value, str):
        return TOKENS_A_FILE * BYTES_A_TOKEN if value.startswith("data:") else len(value.encode("utf-8", "replace"))
    if isinstance(value, (bytes, bytearray)):
        return TOKENS_A_FILE * BYTES_A_TOKEN
    if depth >= _DEEPEST:
        return 0
    if isinstance(value, Mapping):
        return sum(_bytes(item, depth + 1) for item in value.values())
    if isinstance(value, (list, tuple)):
        return sum(_bytes(item, depth + 1) for item in value)
    inside = getattr(value, "__dict__", None)  # the messages of some libraries are objects
    return _bytes(inside, depth + 1) if isinstance(inside, dict) else 0
