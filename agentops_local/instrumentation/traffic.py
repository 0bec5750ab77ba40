"""What a library sends for one call, and what comes back: seen where it goes through httpx.

A library that is told to wait (429), or meets a server that is down, tries again by itself, and the program sees one
call that took long. Its spans show one call as well. So the attempts are noted where they are sent, by the client that
all of these libraries stand on.
"""

from __future__ import annotations

import functools
import time
from collections.abc import AsyncIterator, Callable, Iterator
from types import ModuleType
from typing import Any

from agentops_local.instrumentation import guard


class Traffic:
    """Notes the attempts of calls, and keeps the answer of one that is read letter by letter.

    Args:
        module: `httpx`, or `httpx2`.
    """

    def __init__(self, module: ModuleType) -> None:
        self._placed: list[tuple[Any, Any, Any]] = []
        for owner, make, kind in (
            (module.Client, _sync, _tee(module)),
            (module.AsyncClient, _async, _async_tee(module)),
        ):
            original = owner.send
            noting = make(original, kind)
            owner.send = noting
            self._placed.append((owner, original, noting))

    def remove(self) -> None:
        """Takes it away, unless something else stands around it by now; then it is in nobody's way."""
        for owner, original, noting in self._placed:
            if owner.send is noting:
                owner.send = original


def _sync(original: Callable[..., Any], tee: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def send(*args: Any, **kwargs: Any) -> Any:
        call = guard.current()
        if call is None:
            return original(*args, **kwargs)
        begun = time.perf_counter()
        try:
            response = original(*args, **kwargs)
        except Exception as error:
            call.attempts.append(_attempt("error", type(error).__name__, begun))
            raise
        _note(call, response, begun, tee)
        return response

    return send


def _async(original: Callable[..., Any], tee: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    async def send(*args: Any, **kwargs: Any) -> Any:
        call = guard.current()
        if call is None:
            return await original(*args, **kwargs)
        begun = time.perf_counter()
        try:
            response = await original(*args, **kwargs)
        except Exception as error:
            call.attempts.append(_attempt("error", type(error).__name__, begun))
            raise
        _note(call, response, begun, tee)
        return response

    return send


def _note(call: guard.Call, response: Any, begun: float, tee: Callable[..., Any]) -> None:
    call.attempts.append(_attempt("status", response.status_code, begun))
    if not call.shape.is_openai or response.status_code != 200:
        return
    if response.is_stream_consumed:
        call.body = [response.content]
    elif "content-encoding" not in response.headers:
        call.body, call.is_streamed, call.is_flowing = [], True, True
        response.stream = tee(response.stream, call)


def _attempt(how: str, what: object, begun: float) -> dict[str, Any]:
    return {how: what, "seconds": round(time.perf_counter() - begun, 6)}


def _tee(module: ModuleType) -> type:
    """The bytes of a stream as they pass to who reads them; httpx knows its own streams by their class. One that is
    read no more, and never closed, ends when nobody holds it any longer."""

    class Tee(module.SyncByteStream):  # type: ignore[misc, name-defined]
        def __init__(self, stream: Any, call: guard.Call) -> None:
            self._stream, self._call = stream, call

        def __iter__(self) -> Iterator[bytes]:
            for chunk in self._stream:
                self._call.body.append(chunk)
                yield chunk
            self._call.flowed()

        def close(self) -> None:
            self._call.flowed()
            self._stream.close()

        def __del__(self) -> None:
            self._call.flowed()

    return Tee


def _async_tee(module: ModuleType) -> type:
    """The same in asynchronous code."""

    class AsyncTee(module.AsyncByteStream):  # type: ignore[misc, name-defined]
        def __init__(self, stream: Any, call: guard.Call) -> None:
            self._stream, self._call = stream, call

        async def __aiter__(self) -> AsyncIterator[bytes]:
            async for chunk in self._stream:
                self._call.body.append(chunk)
                yield chunk
            self._call.flowed()

        async def aclose(self) -> None:
            self._call.flowed()
            await self._stream.aclose()

        def __del__(self) -> None:
            self._call.flowed()

    return AsyncTee
