"""Connections to a server, as urllib3 and requests make them, with what those leave open closed: an answer that never
ends, one that is taken for another's, a lost one that looks like a connection that never was."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from http import HTTPStatus
from http.client import HTTPResponse
from typing import Any, ClassVar

import requests
import urllib3
import urllib3.connection
import urllib3.exceptions
from requests.auth import AuthBase


class NoNetrc(AuthBase):
    """Leaves the request as it is. Without it requests would put a password from ~/.netrc over the token."""

    def __call__(self, r: requests.PreparedRequest) -> requests.PreparedRequest:
        """The request."""
        return r


class Limit:
    """A limit to the time that one answer takes, each byte of which may come in time: then its connection is broken
    off. The connection finds it by the thread."""

    here = threading.local()

    def __init__(self, seconds: float) -> None:
        self.is_over = False
        self._socket: socket.socket | None = None
        self._timer = threading.Timer(seconds, self._end)
        self._timer.daemon = True

    def __enter__(self) -> Limit:
        self.here.limit = self
        self._timer.start()
        return self

    def __exit__(self, *raised: object) -> None:
        self._timer.cancel()
        del self.here.limit

    def watch(self, socket: socket.socket | None) -> None:
        """The answer is to come by this connection."""
        self._socket = socket
        if self.is_over:
            self._end()

    def _end(self) -> None:
        self.is_over = True
        if self._socket is not None:
            with suppress(OSError):
                socket.socket.shutdown(self._socket, socket.SHUT_RDWR)  # of TLS, too: its own is not for two threads


class _Final(HTTPResponse):
    """An answer, behind all that a server may say before it (1xx). Python's own passes over 100 alone, takes 103 for
    the answer, and the answer for that of the next request: a batch would count as stored that is not."""

    def _read_status(self) -> tuple[str, int, str]:
        version, status, reason = super()._read_status()  # type: ignore[misc]  # not in the types; since Python 2
        return (
            version,
            HTTPStatus.CONTINUE if 100 <= status < 200 and status != HTTPStatus.SWITCHING_PROTOCOLS else status,
            reason,
        )


class _Plain(urllib3.connection.HTTPConnection):
    """Has its answer limited, and waits for it."""

    response_class = _Final

    def getresponse(self, *args: Any, **kwargs: Any) -> Any:
        """The beginning of the answer."""
        Limit.here.limit.watch(self.sock)
        return super().getresponse(*args, **kwargs)


class _Connection(_Plain, urllib3.connection.HTTPSConnection):
    """Tells a connection that could not be set up, whether by TCP, a proxy or TLS, from one that broke with a request
    under way. urllib3 gives both the same exceptions (SSLError; behind a proxy even ProxyError for a lost answer), and
    only the first is proof that nothing was sent."""

    def connect(self) -> None:
        """Connects."""
        try:
            super().connect()
        except (urllib3.exceptions.NewConnectionError, urllib3.exceptions.ConnectTimeoutError):
            raise
        except Exception as error:
            raise urllib3.exceptions.NewConnectionError(self, f"{type(error).__name__}: {error}") from error


class _PlainPool(urllib3.HTTPConnectionPool):
    ConnectionCls = _Plain


class _Pool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _Connection


class Adapter(requests.adapters.HTTPAdapter):
    """Makes such connections, with a proxy and without."""

    _POOLS: ClassVar = {"http": _PlainPool, "https": _Pool}

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        """For connections of one's own."""
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = self._POOLS

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> urllib3.ProxyManager:
        """For those through a proxy."""
        manager: urllib3.ProxyManager = super().proxy_manager_for(proxy, **kwargs)
        manager.pool_classes_by_scheme = self._POOLS
        return manager


class Session(requests.Session):
    """Looks at no redirect: requests parses where one points even if it shall not be followed, and what stands there
    may be no URL."""

    def get_redirect_target(self, resp: requests.Response) -> None:
        """Nowhere."""
