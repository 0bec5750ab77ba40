"""What a fault proxy answers in a server's place, or makes of its answer: bytes, for HTTP libraries mend too much."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from http import HTTPStatus
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from tests.reliability.tools.faultproxy import Fault

_PAGE = b"<!DOCTYPE html><html><head><title>%s</title></head><body><h1>%s</h1></body></html>"
_OK = b'"Success"'
_HTML = {"Content-Type": "text/html; charset=utf-8"}
_JSON = {"Content-Type": "application/json"}


class Reply(NamedTuple):
    """An answer."""

    status: int
    headers: dict[str, str]
    body: bytes


Made = Iterator[bytes]
Answering = Callable[["Fault", "Reply | None"], Made]


def plain(reply: Reply) -> bytes:
    """An answer as it ought to be."""
    return _head(reply.status, reply.headers | {"Content-Length": str(len(reply.body))}) + reply.body


def _head(status: int, headers: dict[str, str]) -> bytes:
    phrase = HTTPStatus(status).phrase if status in HTTPStatus._value2member_map_ else "Unknown"
    lines = [f"HTTP/1.1 {status} {phrase}", *(f"{name}: {value}" for name, value in headers.items()), "", ""]
    return "\r\n".join(lines).encode("latin-1")


def _page(status: int, words: bytes, **headers: str) -> bytes:
    more = {name.replace("_", "-"): value for name, value in headers.items()}
    return plain(Reply(status, _HTML | more, _PAGE % (words, words)))


def _portal(_: Fault, __: Reply | None) -> Made:
    yield _page(200, b"Welcome to the hotel. Please accept our terms")


def _proxy_auth(_: Fault, __: Reply | None) -> Made:
    yield _page(407, b"Proxy Authentication Required", Proxy_Authenticate='Basic realm="office"')


def _redirect(fault: Fault, _: Reply | None) -> Made:
    yield plain(Reply(fault.status or 307, {"Location": fault.location}, b""))


def _too_large(_: Fault, __: Reply | None) -> Made:
    yield _page(413, b"Request Entity Too Large")


def _slow_down(fault: Fault, _: Reply | None) -> Made:
    yield _page(429, b"Too Many Requests", **({"Retry_After": fault.retry_after} if fault.retry_after else {}))


def _any_page(fault: Fault, _: Reply | None) -> Made:
    yield _page(fault.status or 502, b"Bad Gateway")


def _garbage(_: Fault, __: Reply | None) -> Made:
    yield plain(Reply(200, _JSON, random.Random(1).randbytes(500)))


def _endless(fault: Fault, _: Reply | None) -> Made:
    yield _head(200, _JSON | {"Content-Length": str(fault.size)})
    piece = b" " * (1 << 16)
    for left in range(fault.size, 0, -len(piece)):
        yield piece[:left]


def _not_http(_: Fault, __: Reply | None) -> Made:
    yield b"220 mail.example.org ESMTP\r\n"


def _real(reply: Reply | None) -> Reply:
    return reply or Reply(200, _JSON, _OK)


def _cut_answer(_: Fault, reply: Reply | None) -> Made:
    whole = plain(_real(reply))
    yield whole[: len(whole) - len(_real(reply).body) // 2 - 1]


def _truncated(_: Fault, reply: Reply | None) -> Made:
    status, headers, body = _real(reply)
    yield plain(Reply(status, headers, body[: len(body) // 2]))


def _longer(_: Fault, reply: Reply | None) -> Made:
    status, headers, body = _real(reply)
    yield _head(status, headers | {"Content-Length": str(len(body) + 100)}) + body


def _shorter(_: Fault, reply: Reply | None) -> Made:
    status, headers, body = _real(reply)
    yield _head(status, headers | {"Content-Length": str(max(0, len(body) - 3))}) + body


def _bad_chunks(_: Fault, reply: Reply | None) -> Made:
    status, headers, body = _real(reply)
    yield _head(status, headers | {"Transfer-Encoding": "chunked"})
    yield b"%x\r\n%s\r\nzz\r\n" % (max(1, len(body) // 2), body[: max(1, len(body) // 2)])


def _informational(_: Fault, reply: Reply | None) -> Made:
    yield b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\n"
    yield plain(_real(reply))


ANSWERS: dict[str, Answering] = {
    "portal": _portal, "proxy_auth": _proxy_auth, "redirect": _redirect, "too_large": _too_large,
    "slow_down": _slow_down, "page": _any_page, "garbage": _garbage, "endless": _endless, "not_http": _not_http,
    "cut_answer": _cut_answer, "truncated": _truncated, "longer": _longer, "shorter": _shorter,
    "bad_chunks": _bad_chunks, "informational": _informational,
}  # fmt: skip
