"""Values that lie, raise, never end or stand in themselves: what a program may hold when it records."""

from __future__ import annotations

import dataclasses
import enum
import io
import itertools
import math
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

LONE = chr(0xD800)


class Color(enum.Enum):
    RED = "red"
    NOT_A_NUMBER = math.nan


class Level(enum.IntEnum):
    HIGH = 3


class Access(enum.Flag):
    READ = 1
    WRITE = 2


class Point(NamedTuple):
    x: object
    y: object


@dataclasses.dataclass
class Step:
    name: object = "one"
    _hidden: int = 2
    kind: Any = dataclasses.field(default=None, repr=False)


@dataclasses.dataclass
class Slotted:
    __slots__ = ("missing",)
    missing: int


class Raising:
    """Raises at whatever one asks of it."""

    def __repr__(self) -> str:
        raise ValueError("no repr")

    __str__ = __repr__

    @property
    def __class__(self) -> Any:
        raise RuntimeError("no class")

    @__class__.setter
    def __class__(self, kind: Any) -> None:
        raise RuntimeError("no class")

    def __getattr__(self, name: str) -> Any:
        raise KeyError(name)

    def __hash__(self) -> int:
        return 123456789

    def __eq__(self, other: object) -> bool:
        raise OSError("not comparable")


class ReprOf:
    """Its repr is what one gave it, even if that is no text."""

    def __init__(self, text: Any) -> None:
        self.text = text

    def __repr__(self) -> str:
        return self.text  # type: ignore[no-any-return]


class RaisingMeta(type):
    def __hash__(cls) -> int:
        raise ValueError("no hash")

    def __eq__(cls, other: object) -> bool:
        raise ValueError("not comparable")

    def __getattribute__(cls, name: str) -> Any:
        raise ValueError(name)


class OfRaisingMeta(metaclass=RaisingMeta):
    pass


class Endless(Mapping[int, int]):
    def __iter__(self) -> Iterator[int]:
        return itertools.count()

    def __len__(self) -> int:
        return 3

    def __getitem__(self, key: int) -> int:
        return key


class EndlessSequence(Sequence[Any]):
    def __len__(self) -> int:
        return -1  # noqa: PLE0303 - it lies

    def __getitem__(self, index: Any) -> Any:
        return self


class Breaking(Mapping[str, int]):
    def __iter__(self) -> Iterator[str]:
        yield "first"
        raise ConnectionError("gone")

    def __len__(self) -> int:
        return 2

    def __getitem__(self, key: str) -> int:
        return 1


class LyingDict(dict[Any, Any]):
    def __len__(self) -> int:
        return 10**9

    def __iter__(self) -> Iterator[Any]:
        return itertools.count()

    def items(self) -> Any:
        """Raises."""
        raise ValueError("no items")

    def values(self) -> Any:
        """Raises."""
        return self.items()


class LyingList(list[Any]):
    def __len__(self) -> int:
        return -5  # noqa: PLE0303 - it lies

    def __iter__(self) -> Iterator[Any]:
        return itertools.repeat(self)


class LyingStr(str):
    __slots__ = ()

    def __len__(self) -> int:
        return -1  # noqa: PLE0303 - it lies

    def __str__(self) -> str:
        raise ValueError("no str")

    def encode(self, *_: Any) -> bytes:
        """Raises."""
        raise ValueError("no encode")


class LyingInt(int):
    def __repr__(self) -> str:
        raise ValueError("no repr")

    def __index__(self) -> int:
        return 7

    def __lt__(self, other: object) -> bool:
        raise ValueError("no order")


class LyingFloat(float):
    def __float__(self) -> float:
        return math.nan

    def __repr__(self) -> str:
        return "lies"


class BadError(Exception):
    def __str__(self) -> str:
        raise ValueError("no str")


class Unreadable(io.StringIO):
    def read(self, size: int | None = -1) -> str:
        """Tells on whoever reads."""
        raise AssertionError("somebody reads me")

    def readline(self, size: int = -1) -> str:  # type: ignore[override]
        """Tells on whoever reads."""
        raise AssertionError("somebody reads me")

    def __next__(self) -> Any:
        raise AssertionError("somebody reads me")


class Itself:
    def __fspath__(self) -> Any:
        return self


class Growing:
    """A dataclass in appearance, with a new one of its kind in it, for ever."""

    __dataclass_fields__ = Step.__dataclass_fields__

    @property
    def name(self) -> Growing:
        """Yet another."""
        return Growing()


class Struct:
    __struct_fields__ = ("a",)

    def __init__(self) -> None:
        self.a = 1


class OwnModel:
    def model_dump(self) -> object:
        """As in pydantic, without its arguments."""
        return {"own": 1}


class BrokenModel:
    def model_dump(self, **_: object) -> object:
        """Raises."""
        raise ZeroDivisionError


class Tensor:
    shape = (3, 4)
    dtype = "float32"

    def __repr__(self) -> str:
        raise AssertionError("a repr would copy me from the device")


def cyclic_list() -> list[Any]:
    """A list in itself."""
    value: list[Any] = [1]
    value.append(value)
    return value


def cyclic_dict() -> dict[str, Any]:
    """A dict in itself."""
    value: dict[str, Any] = {"a": 1, "odd": object()}
    value["self"] = {"again": [value]}
    return value


def cyclic_dataclass() -> Step:
    """A dataclass in itself."""
    step = Step()
    step.name = [step]
    return step


def nested(levels: int, wrap: Callable[[Any], Any]) -> Any:
    """A value wrapped so many times."""
    value: Any = "bottom"
    for _ in range(levels):
        value = wrap(value)
    return value


def laughing(odd: object = None) -> list[Any]:
    """Two references to two references to ... more items than there are atoms."""
    value: list[Any] = ["ha", odd]
    for _ in range(90):
        value = [value, value]
    return value


def generator() -> Iterator[int]:
    """Three numbers."""
    yield from (1, 2, 3)


async def asynchronous() -> AsyncIterator[int]:
    """One number."""
    yield 1


def released() -> memoryview:
    """A view on nothing any more."""
    view = memoryview(b"abc")
    view.release()
    return view
