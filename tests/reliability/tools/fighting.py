"""Values that a program may record and that fight back: beside those of the encoder's own tests, such as act when they
are looked at."""

from __future__ import annotations

import datetime as dt
import decimal
import enum
import functools
import operator
import unittest.mock
from collections import UserDict
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple, NoReturn

import attrs
import numpy as np
import pydantic
from hypothesis import strategies as st

import agentops_local
from agentops_local.event import ActionEvent
from agentops_local.serialize import dump
from tests.unit.hostile import Point
from tests.unit.zoo import any_text, keys, mixture, odd, tame


class Held(NamedTuple):
    """A value that hypothesis can show, should a test fail."""

    value: Any

    def __repr__(self) -> str:
        return dump(self.value, 3000).decode()


class Refusing:
    """Raises at every question, and is neither true nor false."""

    def _no(self, *_: object) -> NoReturn:
        raise RuntimeError("no")

    __bool__ = __len__ = __eq__ = __hash__ = __iter__ = __str__ = __repr__ = __int__ = __float__ = __index__ = _no
    __format__ = __fspath__ = __contains__ = __call__ = __getitem__ = _no


class Recording:
    """Records an event whenever somebody wants to know what it is."""

    def __repr__(self) -> str:
        session = agentops_local.Client().active_session()
        if session is not None:
            session.record(ActionEvent("in a repr"))
        return "recording"


class Endless:
    """Its repr needs its repr."""

    def __repr__(self) -> str:
        return f"<{self!r}>"


class Shrinking(UserDict):
    """Loses an item whenever one is read."""

    def __getitem__(self, key: Any) -> Any:
        value = super().__getitem__(key)
        self.data.popitem()
        return value


class Growing(Mapping[str, int]):
    """Has another item whenever one is read."""

    def __init__(self) -> None:
        self.size = 1

    def __len__(self) -> int:
        return self.size

    def __iter__(self) -> Iterator[str]:
        for number in range(10_000):
            self.size += 1
            yield str(number)

    def __getitem__(self, key: str) -> int:
        return int(key)


class Clearing:
    """Empties what holds it, when its repr is asked for."""

    def __init__(self, holder: dict[str, Any]) -> None:
        self.holder = holder
        holder["it"] = self
        holder.update(dict.fromkeys("abc"))

    def __repr__(self) -> str:
        self.holder.clear()
        return "cleared"


class Posing:
    """Says that it is a dict."""

    @property
    def __class__(self) -> Any:
        return dict

    @__class__.setter
    def __class__(self, _: Any) -> None:
        raise AssertionError


class Choice(enum.Enum):
    """Members whose values are no better."""

    NAN = float("nan")
    POINT = Point(Endless(), Posing)


@attrs.define
class Attrs:
    """With a field that was never set."""

    x: Any
    y: Any = attrs.field(init=False)


class Model(pydantic.BaseModel):
    """Takes anything."""

    model_config = pydantic.ConfigDict(arbitrary_types_allowed=True, extra="allow")
    x: Any = None

    @pydantic.computed_field  # type: ignore[prop-decorator]
    @property
    def y(self) -> int:
        """Cannot be computed."""
        raise ZeroDivisionError


def chained() -> ValueError:
    """An exception that is its own cause."""
    error = ValueError(Refusing())
    error.__cause__ = error
    return error


def cyclic_array() -> Any:
    """An array that holds itself."""
    array = np.empty(2, dtype=object)
    array[0], array[1] = array, Refusing()
    return array


NASTY: dict[str, Callable[[], Any]] = {
    "refusing": Refusing,
    "recording": Recording,
    "endless": Endless,
    "shrinking": lambda: Shrinking(a=1, b=2, c=3),
    "growing": Growing,
    "clearing": lambda: Clearing({}).holder,
    "posing": Posing,
    "choice": lambda: [Choice.NAN, Choice.POINT, {Choice.POINT: 1}],
    "attrs": lambda: Attrs(Refusing()),
    "model": lambda: Model.model_validate({"x": Refusing(), "z": [Endless()]}),
    "broken model": lambda: Model.model_construct(_fields_set=None, x=Posing()),
    "chained": chained,
    "mock": lambda: unittest.mock.MagicMock(**{"__str__.return_value": 3}),
    "call": lambda: functools.partial(operator.attrgetter("a.b"), Refusing()),
    "cyclic array": cyclic_array,
    "scalars": lambda: [
        np.datetime64("NaT"), np.timedelta64(2**62, "us"), np.float16("inf"), np.array(3), np.void(b"a\0"),
    ],
    "records": lambda: np.array([(1, "a")], dtype=[("n", "i4"), ("t", "U3")]),
    "extremes": lambda: [
        dt.datetime.max.replace(tzinfo=dt.timezone(dt.timedelta(hours=-23, minutes=-59))), dt.datetime.min,  # noqa: DTZ901
        dt.timedelta.max, dt.time.max, dt.date.max, dt.datetime(2026, 10, 25, 2, 30, fold=1),  # noqa: DTZ001
    ],
    "huge exponent": lambda: [decimal.Decimal("1e999999999"), decimal.Decimal("-sNaN123")],
    "bits": lambda: [True + 2**64, -(2**200), 1e308 * 10, -0.0, 5e-324],
}  # fmt: skip

nasty = st.sampled_from(sorted(NASTY)).map(lambda name: NASTY[name]())
choices = st.sampled_from(list(Choice.__members__)).map(Choice.__getitem__)
anything = mixture(tame | odd | nasty, keys | st.floats() | choices)
labels = any_text | tame | nasty  # where a program should give text or a number
