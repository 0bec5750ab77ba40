"""HTTP as bytes on a socket: what no client library would send.

python -m tests.reliability.tools.bare http://127.0.0.1:8420 'GET /health HTTP/1.1' 'Host: evil.example'
"""

from __future__ import annotations

import argparse
import socket
from typing import NamedTuple

PATIENCE = 30.0  # seconds


class Reply(NamedTuple):
    """What came back; status 0: the connection was closed without an answer."""

    status: int
    head: str
    body: bytes


def address(url: str) -> tuple[str, int]:
    """The host and the port of a URL."""
    host, _, port = url.partition("//")[2].partition("/")[0].rpartition(":")
    return host.strip("[]"), int(port)


def send(url: str, request: bytes) -> Reply:
    """Sends bytes, and takes what comes until the server closes the connection, so they should ask for that."""
    found = b""
    with socket.create_connection(address(url), timeout=PATIENCE) as connection:
        try:
            connection.sendall(request)
            while part := connection.recv(1 << 16):
                found += part
        except ConnectionError:  # refused in the midst of it
            pass
    return read(found)


def read(found: bytes) -> Reply:
    """An answer, taken apart."""
    head, _, body = found.partition(b"\r\n\r\n")
    words = head.split(None, 2)
    status = int(words[1]) if len(words) > 1 and words[1].isdigit() else 0
    return Reply(status, head.decode("latin-1"), body)


def message(line: str, *headers: str, body: bytes = b"") -> bytes:
    """A request: its first line and its headers as they are, and what ends the connection after it."""
    length = f"Content-Length: {len(body)}" if body else ""
    lines = [line, *headers, *filter(None, [length]), "Connection: close"]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


def main() -> None:
    """Sends one request and prints the answer."""
    parser = argparse.ArgumentParser(description="Send a request as it stands.")
    parser.add_argument("url", help="where to, such as http://127.0.0.1:8420")
    parser.add_argument("line", help="the first line, such as 'GET /health HTTP/1.1'")
    parser.add_argument("headers", nargs="*", help="header lines")
    parser.add_argument("--body", default="", help="a body; its length is told")
    given = parser.parse_args()
    reply = send(given.url, message(given.line, *given.headers, body=given.body.encode()))
    print(reply.head, reply.body.decode(errors="replace"), sep="\n\n")


if __name__ == "__main__":
    main()
