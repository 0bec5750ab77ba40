"""JSON as clients send it, turned into plain data that can be stored as it is.

Python's own json module writes what JSON does not know: bare NaN and Infinity, lone surrogates, integers of any length;
and NUL, which databases refuse. All of it is taken. What JSON cannot hold becomes text, as in the recorder: "NaN",
"Infinity"; NUL and lone surrogates become U+FFFD. So what leaves here can be encoded again without a loss.
"""

from __future__ import annotations

import json
import re
from typing import cast

import orjson

from agentops_local.digits import integer, number
from agentops_local.recorder.payload import Encoded
from agentops_local.serialize import dump
from agentops_local.server.refusal import BadInput

# What the quick parser would refuse, or change: NUL and surrogates as escapes, integers that it turns into floats. The
# latter are looked for among digits that all look alike: an expression for them takes ten times as long.
_SUSPECT = re.compile(rb"\\u(?:0000|[dD][89a-fA-F])")
_ALIKE = bytes(48 if byte in b"0123456789" else 32 for byte in range(256))
_LONG_NUMBER = b"0" * 19
# Every escape, so that the backslash of one is never taken for the beginning of the next.
_ESCAPE = re.compile(
    rb"\\u[dD][89aAbB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|\\u0000|\\u[dD][89a-fA-F][0-9a-fA-F]{2}|\\.",
    re.DOTALL,
)
_REPLACEMENT = rb"\ufffd"
_SHOWN = 80  # characters of a value that a message repeats


def parse(raw: bytes) -> dict[str, object]:
    """The JSON object of a request's body.

    Raises:
        BadInput: it is no JSON, or no object.
    """
    value = _parse(raw)
    if not isinstance(value, dict):
        raise BadInput(f"the body must be a JSON object, not {shown(value)}")
    return cast("dict[str, object]", value)


def _parse(raw: bytes) -> object:
    if _SUSPECT.search(raw) is not None:
        raw = _ESCAPE.sub(_storable, raw)
    elif _LONG_NUMBER not in raw.translate(_ALIKE):
        try:
            return orjson.loads(raw)
        except orjson.JSONDecodeError:
            pass  # perhaps a bare NaN
    try:
        text = raw.decode("utf-8-sig")
        return json.loads(text, parse_constant=str, parse_int=integer, parse_float=number)
    except UnicodeDecodeError as error:
        raise BadInput(f"the body is not UTF-8: {error.reason} at byte {error.start}") from error
    except RecursionError as error:
        raise BadInput("the body is nested too deeply") from error
    except ValueError as error:
        raise BadInput(f"the body is not JSON: {error}") from error


def _storable(escape: re.Match[bytes]) -> bytes:
    text = escape[0]
    if text == rb"\u0000" or (len(text) == 6 and text[2:3] in b"dD"):
        return _REPLACEMENT
    return text


def encode(value: object) -> bytes:
    """JSON of parsed data, whole: what a client may send in one body may be stored in one column."""
    try:
        return orjson.dumps(value)
    except (TypeError, ValueError):  # nested deeper than the encoder follows: what is below is cut off, and marked
        return dump(value, 1 << 30)


def encoded(value: object) -> Encoded | None:
    """A payload; None for null."""
    return None if value is None else Encoded(encode(value))


def shown(value: object) -> str:
    """A value in a message: short, in one line."""
    text = encode(value).decode()
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
