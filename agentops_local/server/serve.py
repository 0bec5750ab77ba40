"""The process of the collector: its socket, its signals, its words."""

from __future__ import annotations

import logging
import signal
import socket
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import uvicorn
from starlette.routing import BaseRoute

from agentops_local.errors import AgentOpsLocalError, WrongUse
from agentops_local.log import logger
from agentops_local.server.app import build_app
from agentops_local.server.collector import Collector
from agentops_local.server.gate import is_loopback
from agentops_local.server.idle import HOURS, Idle
from agentops_local.server.patience import PatientProtocol
from agentops_local.server.sqlite_store import SqliteStore
from agentops_local.server.store import StoreUnavailable
from agentops_local.server.tokens import Tokens, load_secret

PORT = 8420
MAX_BODY = 64 << 20  # bytes

_GRACE = 30  # seconds that requests under way are given to finish
_BACKLOG = 1024
_ANYWHERE = frozenset({"0.0.0.0", "::"})  # noqa: S104 - to recognise them


Pages = Callable[[SqliteStore, bool], Sequence[BaseRoute]]


@dataclass(frozen=True)
class Settings:
    """How a collector is run.

    Attributes:
        database: the local database; made if it is not there.
        host: a name or an address to listen on.
        port: 0 for a free one.
        root_path: a prefix of paths, such as "/agentops".
        allow_hosts: further names by which clients may call it; "*" for any.
        max_body: bytes that a request's body may have.
        idle: hours after which a session of which nothing more comes ends by itself; 0: never.
    """

    database: Path
    host: str = "127.0.0.1"
    port: int = PORT
    root_path: str = ""
    allow_hosts: tuple[str, ...] = ()
    max_body: int = MAX_BODY
    idle: float = HOURS


class Serving:
    """A collector that listens already. Clients may connect as soon as it is made; they are answered while it runs.

    Args:
        settings: how.
        pages: makes further routes, of the store and of whether only this machine can reach the server.

    Raises:
        WrongUse: it would listen to other machines while no API key is registered, or the hours are no such number.
        AgentOpsLocalError: the database or the port cannot be used.
    """

    def __init__(self, settings: Settings, pages: Pages = lambda _store, _is_open: ()) -> None:
        idle = Idle(settings.idle)
        self.store = SqliteStore(settings.database)
        loopback = is_loopback(settings.host)
        try:
            self.needs_key = self.store.access(None).required
            if not loopback and not self.needs_key:
                raise WrongUse(
                    f"--host {settings.host} would let other machines in while no API key is registered: make one with "
                    "`agentops-local keys add NAME` first"
                )
            secret = load_secret(self.store.local.path)
            self._socket = _listen(settings.host, settings.port)
        except StoreUnavailable as error:
            self.store.close()
            raise AgentOpsLocalError(f"{settings.database} cannot be used: {error.__cause__ or error}") from error
        except BaseException:
            self.store.close()
            raise
        self.collector = Collector(self.store, Tokens(secret), open_to_any_key=loopback, idle=idle)
        host = f"[{settings.host}]" if ":" in settings.host else settings.host
        place = f"{host}:{self._socket.getsockname()[1]}"
        named = () if settings.host in _ANYWHERE else (place.lower(),)
        hosts = (*named, *(name.strip().lower() for name in settings.allow_hosts))
        app = build_app(self.collector, hosts, settings.root_path, settings.max_body, pages=pages(self.store, loopback))
        self.url = f"http://{place}{settings.root_path.rstrip('/')}"
        config = uvicorn.Config(
            app, http=PatientProtocol, log_config=None, log_level=logging.WARNING, access_log=False, lifespan="on",
            server_header=False, proxy_headers=False, timeout_graceful_shutdown=_GRACE, timeout_keep_alive=75,
            ws="none",
        )  # fmt: skip
        self._server = _Server(config)

    def run(self, started: Callable[[], None] = lambda: None) -> None:
        """Answers requests until `stop` is called or, in the main thread, SIGINT or SIGTERM comes. Those under way are
        finished.

        Args:
            started: called once requests are answered.
        """
        self._server.started_hook = started
        try:
            self._server.run(sockets=[self._socket])
        finally:
            self._socket.close()
            self.store.close()

    def stop(self) -> None:
        """Lets `run` finish what is under way, and return. From any thread."""
        self._server.should_exit = True


class _Server(uvicorn.Server):
    """uvicorn's server, which tells that it has started, and ends with the exit code 0 when it is asked to."""

    started_hook: Callable[[], None] = staticmethod(lambda: None)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if not self.should_exit:
            self.started_hook()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Uvicorn's own raises the signals again when all is done, which would look like a crash."""
        import threading

        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self._ask_to_exit) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _ask_to_exit(self, number: int, _frame: FrameType | None) -> None:
        if self.should_exit and number == signal.SIGINT:
            self.force_exit = True  # asked twice: what is under way is left
        self.should_exit = True


def _listen(host: str, port: int) -> socket.socket:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, address = found[0][0], found[0][4]
        # With the protocol said: only then does asyncio set TCP_NODELAY, without which each answer may take 40 ms.
        listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        try:
            if sys.platform != "win32":  # there it would let two programs listen on one port
                listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind(address)
            listening.listen(_BACKLOG)
        except BaseException:
            listening.close()
            raise
        return listening
    except OSError as error:
        hint = ": --port 0 takes a free one" if port else ""
        raise AgentOpsLocalError(f"{host}:{port} cannot be listened on ({error.strerror or error}){hint}") from error


def log_to_stderr() -> None:
    """Gives the process of the collector a log that a person can read: a time and a sentence a line."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S"))
    for name in (logger.name, "uvicorn"):
        logging.getLogger(name).addHandler(handler)
