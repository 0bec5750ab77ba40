"""One attempt at one request, and what came of it, in terms of what the server may have done with it.

Nothing is retried here, no redirect is followed (a POST would become a GET, and a custom key header would go along to a
foreign host), and certificates are verified. Plain http is for loopback only.
"""

from __future__ import annotations

import json
import re
import threading
from dataclasses import dataclass, field
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from enum import Enum
from typing import Protocol
from urllib.parse import urlsplit

import requests
import urllib3.exceptions

from agentops_local import __version__
from agentops_local.cli.text import one_line  # what a server says gets into the ledger, the log and on terminals
from agentops_local.errors import WrongUse
from agentops_sync.connections import Adapter, Limit, NoNetrc, Session

JSON = None | bool | int | float | str | list["JSON"] | dict[str, "JSON"]

_ANSWERS = 5  # times the read time-out: as long as a whole answer may take
_LARGEST = 256 << 20  # bytes of an answer
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
_CODE = re.compile(r"""['"]code['"]: ?['"]([0-9A-Z]{5}|PGRST\d{3})['"]""")
_SQLSTATE = re.compile(r"(?<![0-9A-Za-z])(2[23][0-9A-Z]{3}|PGRST\d{3})(?![0-9A-Za-z])")
# The request has not left, or the server has not begun to read it.
_NOT_SENT = (
    urllib3.exceptions.NewConnectionError,
    urllib3.exceptions.ConnectTimeoutError,
    urllib3.exceptions.LocationValueError,
)


class Verdict(Enum):
    """What a request came to."""

    OK = "accepted"  # 200 with JSON
    NOT_SENT = "not sent"  # no connection
    EXPIRED = "token expired"  # 401, and nothing was done
    TOO_LARGE = "too large"  # 413, and nothing was done
    SLOW_DOWN = "asked to wait"  # 429, and nothing was done
    ANSWERED = "refused"  # 400 or 500 in the server's own words: it has finished; what it did is open
    UNUSABLE = "cannot be sent"  # the token or key is none
    UNKNOWN = "unclear"  # anything else: it may be at work on it still


@dataclass(frozen=True)
class Request:
    """A request, exactly as it goes out.

    Attributes:
        path: with the leading /v2.
        key: for `X-Agentops-Api-Key`.
        token: for `Authorization: Bearer`.
        parent_key: for `X-Agentops-Parent-Key`.
        body: JSON in UTF-8; None for a GET.
    """

    path: str
    key: str | None = None
    token: str | None = None
    parent_key: str | None = None
    body: bytes | None = None

    @property
    def method(self) -> str:
        """The HTTP method."""
        return "GET" if self.body is None else "POST"

    def headers(self) -> dict[str, str]:
        """The headers, those of the transport left out."""
        named = {
            "Content-Type": None if self.body is None else "application/json; charset=UTF-8",
            "X-Agentops-Api-Key": self.key,
            "X-Agentops-Parent-Key": self.parent_key,
            "Authorization": None if self.token is None else f"Bearer {self.token}",
        }
        return {name: value for name, value in named.items() if value is not None}


@dataclass(frozen=True)
class Outcome:
    """What came of a request.

    Attributes:
        status: of HTTP; None if there was no answer.
        body: the answer as JSON; None if it is none.
        words: what the server, or the network, said, in at most 500 characters.
        retry_after: seconds that the server asked to wait for.
        server_time: the server's clock, Unix time in seconds.
    """

    verdict: Verdict
    status: int | None = None
    body: JSON = None
    words: str = ""
    retry_after: float | None = None
    server_time: float | None = field(default=None, compare=False)

    @property
    def sqlstate(self) -> str | None:
        """The store's error code in the words, if there is one."""
        found = _CODE.search(self.words) or _SQLSTATE.search(self.words)
        return found[1] if found else None

    @property
    def manner(self) -> str:
        """The way of a refusal: the status and the code. Two that are alike have the same."""
        return f"{self.status} {self.sqlstate or ''}".strip()

    def __str__(self) -> str:
        """In a line, for people."""
        status = "" if self.status is None else f" ({self.status})"
        return f"{self.verdict.value}{status}" + (f": {self.words}" if self.words else "")


class Transport(Protocol):
    """Whatever carries a request to a server."""

    def send(self, request: Request) -> Outcome:
        """Makes one attempt."""


class Client:
    """A server, by HTTP; for several threads.

    Args:
        endpoint: the URL without /v2.
        connect, read: time-outs in seconds.

    Raises:
        WrongUse: it is no http(s) URL, or plain http to another machine.
    """

    def __init__(self, endpoint: str, connect: float = 10.0, read: float = 120.0) -> None:
        self.url = normal_endpoint(endpoint)
        self._timeout = (connect, read)
        self._local = threading.local()
        self._sessions: list[requests.Session] = []

    def send(self, request: Request) -> Outcome:
        """Makes one attempt. Never raises what the network does."""
        limit = Limit(_ANSWERS * self._timeout[1])
        try:
            with limit:
                answer = self._session().request(
                    request.method,
                    self.url + request.path,
                    data=request.body,
                    headers=request.headers(),
                    timeout=self._timeout,
                    allow_redirects=False,
                    stream=True,
                )
                with answer:
                    content = _read(answer, limit)
        except requests.exceptions.InvalidHeader:
            # In words of our own: theirs quote the token.
            return Outcome(Verdict.UNUSABLE, words="the token or key cannot stand in a header")
        except UnicodeError:
            return Outcome(Verdict.UNUSABLE, words="the token or key cannot stand in a header")
        except requests.exceptions.RequestException as error:
            return Outcome(Verdict.NOT_SENT if _is_unsent(error) else Verdict.UNKNOWN, words=_words(error))
        except OSError as error:  # requests found no certificates to verify with, and has not tried
            return Outcome(Verdict.NOT_SENT, words=_words(error))
        if content is None:
            return Outcome(Verdict.UNKNOWN, answer.status_code, words="the answer did not end")
        return judge(answer.status_code, content, answer.headers)

    def close(self) -> None:
        """Closes the connections."""
        for session in self._sessions:
            session.close()

    def _session(self) -> requests.Session:
        session: requests.Session | None = getattr(self._local, "session", None)
        if session is None:
            session = self._local.session = Session()
            session.auth = NoNetrc()
            # What may go in plain text to this machine only must not go to a proxy of the environment.
            session.trust_env = self.url.startswith("https:")
            for scheme in ("http://", "https://"):
                session.mount(scheme, Adapter())
            session.headers.update({"User-Agent": f"agentops-sync/{__version__}", "Accept": "application/json"})
            self._sessions.append(session)
        return session


def judge(status: int, content: bytes, headers: requests.structures.CaseInsensitiveDict[str]) -> Outcome:
    """The outcome of an answer (protocol: the table of what a failure means)."""
    try:
        body: JSON = json.loads(content)
    except (ValueError, RecursionError):
        body = None
    verdict = Verdict.UNKNOWN
    if status == 200 and body is not None:
        verdict = Verdict.OK
    elif status == 401 and _message(body) == "Expired Token":
        verdict = Verdict.EXPIRED
    elif status == 413:
        verdict = Verdict.TOO_LARGE
    elif status == 429:
        verdict = Verdict.SLOW_DOWN
    elif (status == 400 and _message(body) is not None) or (
        status == 500 and isinstance(body, dict) and "error" in body
    ):
        verdict = Verdict.ANSWERED
    words = (
        "" if verdict is Verdict.OK else one_line((_message(body) or content[:500].decode("utf-8", "replace"))[:500])
    )
    return Outcome(verdict, status, body, words, _retry_after(headers.get("Retry-After")), _date(headers.get("Date")))


def normal_endpoint(endpoint: str) -> str:
    """An endpoint in the one spelling under which the ledger knows it.

    Raises:
        WrongUse: it is no http(s) URL, or plain http to another machine.
    """
    shown = re.sub("//.*@", "//", endpoint, flags=re.DOTALL)  # a message is no place for a password
    try:
        parts = urlsplit(endpoint.strip())
        given_port = parts.port
    except ValueError as error:
        raise WrongUse(f"{shown!r} is no endpoint: {error}") from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise WrongUse(f"{shown!r} is no endpoint: give a URL such as https://api.agentops.ai")
    if parts.scheme == "http" and parts.hostname not in _LOOPBACK:
        raise WrongUse(f"{shown!r} would send the API key and your prompts in plain text: use https")
    if parts.username is not None or parts.query or parts.fragment:
        raise WrongUse(f"{shown!r}: an endpoint has no user, query or fragment")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    port = "" if given_port in (None, {"http": 80, "https": 443}[parts.scheme]) else f":{given_port}"
    path = re.sub(r"(/v2)?/*$", "", parts.path)
    return f"{parts.scheme}://{host}{port}{path}"


def _read(answer: requests.Response, limit: Limit) -> bytes | None:
    """The body of an answer; None if it is too long, or takes too long."""
    pieces: list[bytes] = []
    size = 0
    for piece in answer.iter_content(1 << 16):
        pieces.append(piece)
        size += len(piece)
        if size > _LARGEST:
            return None
    return None if limit.is_over else b"".join(pieces)  # broken off it may look like one that has ended


def _is_unsent(error: BaseException) -> bool:
    """Whether the server certainly has nothing of the request."""
    if isinstance(error, (requests.exceptions.ConnectTimeout, requests.exceptions.InvalidURL)):
        return True
    cause = error.args[0] if error.args else None
    if isinstance(cause, urllib3.exceptions.MaxRetryError):
        cause = cause.reason
    if isinstance(cause, urllib3.exceptions.ProxyError):  # it wraps whatever happened on the way through one
        cause = cause.original_error
    return isinstance(cause, _NOT_SENT)


def _words(error: Exception) -> str:
    cause = error.args[0] if error.args else error
    cause = cause.reason if isinstance(cause, urllib3.exceptions.MaxRetryError) else cause
    text = re.sub(r"<[^>]* object at 0x[0-9a-f]+>:?\s*", "", str(cause))
    return one_line(f"{type(error).__name__}: {text}"[:500])


def _message(body: JSON) -> str | None:
    if isinstance(body, dict):
        for name in ("message", "error", "detail"):
            if isinstance(text := body.get(name), str):
                return text
    return None


def _retry_after(text: str | None) -> float | None:
    """Seconds from a Retry-After header, which holds seconds or a date (RFC 9110, 10.2.3)."""
    if text is None:
        return None
    if re.fullmatch(r"\s*\d+(\.\d+)?\s*", text):
        return float(text)
    moment = _date(text)
    return None if moment is None else max(0.0, moment - datetime.now(timezone.utc).timestamp())


def _date(text: str | None) -> float | None:
    try:
        return None if text is None else parsedate_to_datetime(text).timestamp()
    except (TypeError, ValueError):
        return None
