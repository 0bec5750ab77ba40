"""Running a callable inside something: before it begins, while it runs, after it ends, whatever kind it is of.

`wrap` turns one description of "inside" into a wrapper for functions, coroutines, generators and async generators. A
generator keeps its protocol (send, throw, close, return value), and what is bound for it is bound only while its own
code runs, not in its caller between two items.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import AsyncGenerator, Callable, Generator
from contextvars import ContextVar, Token
from typing import Any, Generic, Protocol, TypeVar

T = TypeVar("T")


class Inside(Protocol):
    """What a call runs in. `begin` may change the keyword arguments; then `enter`/`leave` surround each stretch of the
    call's own code; `done` or `failed` comes last, once."""

    def enter(self) -> None:
        """The call's code is about to run."""

    def leave(self) -> None:
        """It has stopped running, for now or for good."""

    def item(self, value: object) -> None:
        """A generator has yielded."""

    def done(self, result: object) -> None:
        """The call has returned; for a generator, it is exhausted or was closed."""

    def failed(self, error: BaseException) -> None:
        """The call has raised; the error goes on to the caller."""


Begin = Callable[[tuple[Any, ...], dict[str, Any]], Inside | None]


class Bound(Generic[T]):
    """Inside it, a context variable has a value."""

    def __init__(self, variable: ContextVar[T], value: T) -> None:
        self._variable = variable
        self._value = value
        self._token: Token[T] | None = None

    def enter(self) -> None:
        """Gives it the value."""
        self._token = self._variable.set(self._value)

    def leave(self) -> None:
        """Gives it back the value it had."""
        if self._token is not None:
            try:
                self._variable.reset(self._token)
            except ValueError:  # a generator finished by the garbage collector, in another context
                pass

    def item(self, value: object) -> None:
        """Nothing."""

    def done(self, result: object) -> None:
        """Nothing."""

    def failed(self, error: BaseException) -> None:
        """Nothing."""


def wrap(func: Callable[..., Any], begin: Begin) -> Callable[..., Any]:
    """The wrapper of a callable.

    Args:
        func: any function, method, coroutine function, generator function or async generator function.
        begin: told the arguments of each call; returns what the call runs in, or None to run it plainly.
    """
    if inspect.iscoroutinefunction(func):
        return _coroutine(func, begin)
    if inspect.isasyncgenfunction(func):
        return _async_generator(func, begin)
    if inspect.isgeneratorfunction(func):
        return _generator(func, begin)
    return _function(func, begin)


def _function(func: Callable[..., Any], begin: Begin) -> Callable[..., Any]:
    @functools.wraps(func)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        inside = begin(args, kwargs)
        if inside is None:
            return func(*args, **kwargs)
        inside.enter()
        try:
            result = func(*args, **kwargs)
        except BaseException as error:
            inside.leave()
            inside.failed(error)
            raise
        inside.leave()
        inside.done(result)
        return result

    return wrapper


def _coroutine(func: Callable[..., Any], begin: Begin) -> Callable[..., Any]:
    @functools.wraps(func)
    async def wrapper(*args: Any, **kwargs: Any) -> Any:
        inside = begin(args, kwargs)
        if inside is None:
            return await func(*args, **kwargs)
        inside.enter()
        try:
            result = await func(*args, **kwargs)
        except BaseException as error:
            inside.leave()
            inside.failed(error)
            raise
        inside.leave()
        inside.done(result)
        return result

    return wrapper


def _generator(func: Callable[..., Any], begin: Begin) -> Callable[..., Any]:
    @functools.wraps(func)
    def wrapper(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
        inside = begin(args, kwargs)
        if inside is None:
            return (yield from func(*args, **kwargs))
        generator = func(*args, **kwargs)
        step, given = generator.send, None
        while True:
            inside.enter()
            try:
                value = step(given)
            except StopIteration as end:
                inside.leave()
                inside.done(end.value)
                return end.value
            except BaseException as error:
                inside.leave()
                _closed_or_failed(inside, error)
                raise
            inside.leave()
            inside.item(value)
            try:
                given = yield value
                step = generator.send
            except BaseException as thrown:  # noqa: BLE001 - throw() or close(): the generator decides what comes of it
                given, step = thrown, generator.throw

    return wrapper


def _async_generator(func: Callable[..., Any], begin: Begin) -> Callable[..., Any]:
    @functools.wraps(func)
    async def wrapper(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:
        inside = begin(args, kwargs)
        generator = func(*args, **kwargs)
        step, given = generator.asend, None
        while True:
            if inside is not None:
                inside.enter()
            try:
                value = await step(given)
            except StopAsyncIteration:
                if inside is not None:
                    inside.leave()
                    inside.done(None)
                return
            except BaseException as error:
                if inside is not None:
                    inside.leave()
                    _closed_or_failed(inside, error)
                raise
            if inside is not None:
                inside.leave()
                inside.item(value)
            try:
                given = yield value
                step = generator.asend
            except BaseException as thrown:  # noqa: BLE001 - as in _generator
                given, step = thrown, generator.athrow

    return wrapper


def _closed_or_failed(inside: Inside, error: BaseException) -> None:
    """A consumer that stops early closes the generator; that is no failure."""
    if isinstance(error, GeneratorExit):
        inside.done(None)
    else:
        inside.failed(error)


def initializer(cls: type) -> Callable[..., None]:
    """The `__init__` of a class, fit to be wrapped: `object.__init__` forgives the arguments of the class's `__new__`
    only as long as nobody sets another `__init__`."""
    if cls.__init__ is not object.__init__:  # type: ignore[misc]
        return cls.__init__  # type: ignore[misc, no-any-return]

    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:  # noqa: N807
        if type(self).__new__ is object.__new__:  # type: ignore[comparison-overlap]  # a class may have none
            object.__init__(self, *args, **kwargs)

    return __init__
