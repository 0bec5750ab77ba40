"""How a call failed, read out of the error that was recorded with it: libraries tell the status, and what the server
said, in the text of their exceptions, each in its own way."""

from __future__ import annotations

import ast
import json
import re
from typing import Any

from agentops_local.replay.answer import Failure

_STATUSES = {
    "BadRequestError": 400, "AuthenticationError": 401, "UnauthorizedError": 401, "PermissionDeniedError": 403,
    "ForbiddenError": 403, "NotFoundError": 404, "ConflictError": 409, "RequestTooLargeError": 413,
    "UnprocessableEntityError": 422, "RateLimitError": 429, "TooManyRequestsError": 429, "InternalServerError": 500,
    "ServerError": 500, "ServiceUnavailableError": 503, "OverloadedError": 529, "DeadlineExceededError": 504,
}  # fmt: skip
_TOLD = re.compile(
    r"(?:Error code: |status[_ ]code['\"]?: |Status )(?P<status>[45]\d\d)\b|^(?P<first>[45]\d\d) ", re.IGNORECASE
)
_BODY = re.compile(r"(?:Error code: \d+ - |body: |Body: |^\d+ \w+\. )(.*)", re.DOTALL)
_REMARK = re.compile(r"^(.*) \(status code: \d+\)$", re.DOTALL)  # Ollama's
_TIMEOUTS = ("timeout", "timed out")
_CONNECTIONS = (
    "APIConnectionError", "ConnectError", "ConnectionError", "ReadError", "RemoteProtocolError", "APITimeoutError",
    "ReadTimeout", "ConnectTimeout", "TimeoutException", "NetworkError",
)  # fmt: skip


def failure(error: str, details: object) -> Failure | None:
    """The failure; None if it is not one that a server or the way to it can make.

    Args:
        error: the name of the exception.
        details: its text.
    """
    text = details if isinstance(details, str) else json.dumps(details)
    if error in _CONNECTIONS:
        is_timeout = any(word in f"{error} {text}".lower() for word in _TIMEOUTS)
        return Failure(error, text, is_timeout=is_timeout)
    told = _TOLD.search(text)
    status = int(told["status"] or told["first"]) if told is not None else _STATUSES.get(error)
    if status is None:
        return None
    found = _BODY.search(text)
    remark = _REMARK.match(text)
    if remark is not None:
        return Failure(error, remark[1], status, {"error": _value(remark[1]) or remark[1]})
    said = text if found is None else found[1]
    return Failure(error, said, status, _value(said))


def _value(text: str) -> Any:
    """A body as it was parsed, and printed by Python or as JSON; None if it is neither."""
    if not text.lstrip().startswith("{"):
        return None
    for read in (json.loads, ast.literal_eval):
        try:
            value = read(text.strip())
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            continue
        return value if isinstance(value, dict) else None
    return None
