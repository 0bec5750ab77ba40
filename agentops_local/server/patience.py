"""How long the collector waits for a request: a client that sends a byte now and then would hold its connection, and
with enough of them the collector would have no file descriptor left for the others."""

from __future__ import annotations

import asyncio

from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

HEAD = 30.0  # seconds until the first line and the headers have to be there
BODY = 300.0  # seconds until the body has to be there, whole


class PatientProtocol(H11Protocol):
    """uvicorn's protocol in Python, which closes a connection whose request does not get on. uvicorn itself waits
    without an end as soon as a byte has come, and for the first one."""

    _due: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in uvicorn
        """A client has come."""
        super().connection_made(transport)
        self._due = self.loop.call_later(HEAD, self.transport.close)

    def data_received(self, data: bytes) -> None:
        """Something has come: the end of a request's headers, or only a part of them."""
        super().data_received(data)
        cycle: RequestResponseCycle | None = self.cycle  # uvicorn's types leave out that there is none at first
        if cycle is not None and not cycle.response_complete:
            self._forget()
        elif self._due is None:
            self._due = self.loop.call_later(HEAD, self.transport.close)

    def connection_lost(self, exc: Exception | None) -> None:
        """The client has gone."""
        self._forget()
        super().connection_lost(exc)

    def _forget(self) -> None:
        if self._due is not None:
            self._due.cancel()
            self._due = None
