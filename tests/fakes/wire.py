"""HTTP/1.1 as bytes on a socket: a request read, an answer written.

Python's own server hides what the faults need, the socket, and tidies what clients send, such as a doubled slash.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, BinaryIO, NamedTuple
from urllib.parse import unquote

LONGEST_LINE = 1 << 16


class Malformed(Exception):
    """What came is no HTTP request."""


class Answer(NamedTuple):
    """What goes back."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = {}
    content_type: str = "application/json"


@dataclass(slots=True)
class Request:
    """What came in."""

    method: str
    path: str  # as sent, without the query
    query: str
    headers: dict[str, str]  # names in lower case
    body: bytes
    closes: bool  # the client wants no further request on this connection
    _parsed: Any = field(default=None, repr=False)
    _unparsable: ValueError | None = field(default=None, repr=False)
    _tried: bool = field(default=False, repr=False)

    @property
    def name(self) -> str:
        """The last part of the path, such as create_events."""
        return self.path.rsplit("/", 1)[-1]

    def json(self) -> Any:
        """The body; parsed once, whatever its content type says."""
        if not self._tried:
            self._tried = True
            try:
                self._parsed = json.loads(self.body)
            except (ValueError, RecursionError) as error:
                self._unparsable = ValueError(str(error))
        if self._unparsable is not None:
            raise self._unparsable
        return self._parsed


def read_request(stream: BinaryIO, begun: Callable[[Request], None]) -> Request | None:
    """The next request; None when the client has closed. `begun` is called before the body is read."""
    line = stream.readline(LONGEST_LINE)
    while line in (b"\r\n", b"\n"):
        line = stream.readline(LONGEST_LINE)
    if not line.endswith(b"\n"):
        return None
    try:
        method, target, version = line.decode("latin-1").split()
    except ValueError:
        raise Malformed(line) from None
    headers = _headers(stream)
    path, _, query = target.partition("?")
    connection = headers.get("connection", "").lower()
    closes = connection == "close" or (version == "HTTP/1.0" and connection != "keep-alive")
    request = Request(method, unquote(path), query, headers, b"", closes)
    begun(request)
    body = _body(stream, headers)
    if body is None:
        return None
    request.body = body
    return request


def _headers(stream: BinaryIO) -> dict[str, str]:
    headers: dict[str, str] = {}
    while True:
        line = stream.readline(LONGEST_LINE)
        if line in (b"\r\n", b"\n", b""):
            return headers
        name, colon, value = line.decode("latin-1").partition(":")
        if not colon:
            raise Malformed(line)
        headers[name.strip().lower()] = value.strip()


def _body(stream: BinaryIO, headers: dict[str, str]) -> bytes | None:
    """The body; None when the client closed before its end."""
    try:
        if headers.get("transfer-encoding", "").lower() == "chunked":
            return _chunks(stream)
        length = int(headers.get("content-length", "0"))
    except ValueError:
        raise Malformed("length") from None
    body = stream.read(length) if length else b""
    return body if len(body) == length else None


def _chunks(stream: BinaryIO) -> bytes | None:
    parts: list[bytes] = []
    while True:
        size = int(stream.readline(LONGEST_LINE).split(b";")[0], 16)
        part = stream.read(size)
        stream.readline(LONGEST_LINE)
        if len(part) < size:
            return None
        if not size:
            return b"".join(parts)
        parts.append(part)


def render(answer: Answer, *, closes: bool) -> bytes:
    """The answer as it goes over the wire."""
    lines = [f"HTTP/1.1 {answer.status} {_phrase(answer.status)}"]
    if answer.status != HTTPStatus.NO_CONTENT:
        lines += [f"Content-Length: {len(answer.body)}", f"Content-Type: {answer.content_type}"]
    lines += [f"{name}: {value}" for name, value in answer.headers.items()]
    if closes:
        lines.append("Connection: close")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + answer.body


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"


def json_answer(status: int, value: Any) -> Answer:
    """An answer in compact JSON."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return Answer(status, text.encode("utf-8", "surrogatepass"))
