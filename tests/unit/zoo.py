"""One value of every kind that a program may record, by its name, and strategies that mix them."""

from __future__ import annotations

import array
import collections
import contextvars
import datetime as dt
import decimal
import fractions
import functools
import itertools
import json
import math
import pathlib
import queue
import re
import sqlite3
import sys
import threading
import types
import unittest.mock
import uuid
import weakref
from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st

from tests.unit.hostile import (
    LONE,
    Access,
    BadError,
    Breaking,
    BrokenModel,
    Color,
    Endless,
    EndlessSequence,
    Growing,
    Itself,
    Level,
    LyingDict,
    LyingFloat,
    LyingInt,
    LyingList,
    LyingStr,
    OfRaisingMeta,
    OwnModel,
    Point,
    Raising,
    ReprOf,
    Slotted,
    Step,
    Struct,
    Tensor,
    Unreadable,
    asynchronous,
    cyclic_dataclass,
    cyclic_dict,
    cyclic_list,
    generator,
    laughing,
    nested,
    released,
)

HOSTILE: dict[str, Callable[[], Any]] = {
    "nan": lambda: math.nan,
    "infinity": lambda: [math.inf, -math.inf],
    "nan deep among plain data": lambda: {"a": [{"b": (1.0, math.nan)}], "c": None},
    "int of 65 bits": lambda: [2**64 - 1, 2**64, -(2**63), -(2**63) - 1],
    "int of 5000 digits": lambda: {10**5000: -(10**5000)},
    "int of a million digits": lambda: 1 << 3_000_000,
    "lone surrogate": lambda: {"a" + LONE: "b\udfffc"},
    "NUL": lambda: {"a\0": "b\0c"},
    "backslash u0000 as text": lambda: "\\u0000",
    "keys of all kinds": lambda: {
        None: 0, True: 1, 2: 2, 2.5: 3, (1, "a"): 4, frozenset({1}): 5, b"x": 6, uuid.UUID(int=7): 7, Color.RED: 8,
        math.nan: 9, dt.date(2020, 1, 1): 10, Raising(): 11, int: 12,
    },
    "keys that collide": lambda: {1: "int", "1": "str", "1 (2)": "more", 1.5: "float", "1.5": "again"},
    "set": lambda: {1, "a", (2, 3)},
    "frozenset of bytes": lambda: frozenset({b"\xff\0"}),
    "deque": lambda: collections.deque([1, object()], maxlen=5),
    "ordered dict": lambda: collections.OrderedDict(a=1),
    "default dict": lambda: collections.defaultdict(list, a=[1]),
    "chain map": lambda: collections.ChainMap({"a": 1}, {"b": 2}),
    "mapping proxy": lambda: types.MappingProxyType({"a": 1}),
    "dict views": lambda: [{"a": 1}.keys(), {"a": 1}.values(), {"a": 1}.items()],
    "user dict, list and string": lambda: [
        collections.UserDict(a=1), collections.UserList([1]), collections.UserString("x"),
    ],
    "array": lambda: array.array("d", [1.5, math.nan]),
    "range": lambda: range(10**18),
    "bytes of text": "é\n".encode,
    "bytes of no text": lambda: bytes(range(256)),
    "bytearray": lambda: bytearray(b"abc\0"),
    "memoryview": lambda: memoryview(b"abcdef")[::2],
    "memoryview of numbers": lambda: memoryview(array.array("i", [1, 2])),
    "memoryview released": released,
    "datetime": lambda: [dt.datetime(2020, 1, 1), dt.datetime.now(dt.timezone(dt.timedelta(hours=2))), dt.date.min],  # noqa: DTZ001
    "time and timedelta": lambda: {"t": dt.time(1, 2, tzinfo=dt.timezone.utc), "d": dt.timedelta(days=-1)},
    "uuid": lambda: uuid.UUID(int=1),
    "decimal": lambda: [decimal.Decimal("1.10"), decimal.Decimal("sNaN"), decimal.Decimal("1e999999")],
    "fraction": lambda: [fractions.Fraction(1, 3), fractions.Fraction(1, 10**5000)],
    "complex": lambda: complex(1, math.nan),
    "path": lambda: [pathlib.Path("/a/b"), pathlib.PureWindowsPath("c:\\x")],
    "enums": lambda: [Color.RED, Color.NOT_A_NUMBER, Level.HIGH, Access.READ | Access.WRITE, Color],
    "named tuple": lambda: Point(1, object()),
    "dataclass": lambda: Step(kind=object()),
    "dataclass without its field": lambda: object.__new__(Slotted),
    "dataclass, the class": lambda: Step,
    "struct": Struct,
    "model with a dump of its own": OwnModel,
    "model that cannot be dumped": BrokenModel,
    "tensor": Tensor,
    "exception": lambda: ValueError("a\0b", object()),
    "exception without str": BadError,
    "stop iteration": lambda: StopIteration(3),
    "keyboard interrupt as a value": KeyboardInterrupt,
    "classes and functions": lambda: [int, len, generator, lambda: 0, functools.partial(len, "x"), [].append, type],
    "module": lambda: json,
    "lock, event, thread": lambda: [threading.Lock(), threading.RLock(), threading.Event(), threading.current_thread()],
    "queue, weak reference, context": lambda: [queue.Queue(), weakref.ref(Color), contextvars.copy_context()],
    "iterators": lambda: [iter([1]), map(str, [1]), zip([1], [2], strict=True), itertools.count(), enumerate([1])],
    "generator": generator,
    "asynchronous generator": asynchronous,
    "file": Unreadable,
    "socket, code, frame": lambda: [sqlite3.connect, generator.__code__, sys._getframe()],
    "regular expression": lambda: [re.compile("a"), re.match("a", "a")],
    "mock": lambda: [unittest.mock.MagicMock(), unittest.mock.AsyncMock(), unittest.mock.MagicMock(spec=dict)],
    "ellipsis": lambda: [..., NotImplemented],
    "plain object": object,
    "raises at everything": Raising,
    "raises deep inside": lambda: {"a": [Raising(), {"b": Raising()}], "c": 1},
    "metaclass that raises": lambda: [OfRaisingMeta(), OfRaisingMeta],
    "repr that is no text": lambda: ReprOf(b"bytes"),
    "repr of a lying text": lambda: ReprOf(LyingStr("x")),
    "repr of a megabyte": lambda: ReprOf("x" * (1 << 20)),
    "repr with a surrogate": lambda: ReprOf("a" + LONE + "\0"),
    "endless mapping": Endless,
    "endless sequence": EndlessSequence,
    "mapping that breaks": Breaking,
    "dict that lies": lambda: LyingDict(a=1, b=object()),
    "list that lies": lambda: LyingList([1, object()]),
    "text that lies": lambda: [LyingStr("abc"), {LyingStr("k"): LyingStr("é" + LONE)}],
    "number that lies": lambda: [LyingInt(4), LyingInt(2**70), LyingFloat(1.5), LyingFloat("inf")],
    "list in itself": cyclic_list,
    "dict in itself": cyclic_dict,
    "dataclass in itself": cyclic_dataclass,
    "path in itself": Itself,
    "always another inside": Growing,
    "references that multiply": laughing,
    "references that multiply an object": lambda: laughing(object()),
    "300 lists deep": lambda: nested(300, lambda value: [value]),
    "10,000 lists deep": lambda: nested(10_000, lambda value: [value]),
    "10,000 dicts deep": lambda: nested(10_000, lambda value: {"a": value}),
    "10,000 tuples of objects deep": lambda: nested(10_000, lambda value: (value, object())),
    "text of 5 MB": lambda: "x" * 5_000_000,
    "text of 5 MB, three bytes each": lambda: "€" * 5_000_000,
    "text that grows sixfold": lambda: "\x01" * 500_000,
    "bytes of 5 MB": lambda: [b"\xff" * 5_000_000, b"x" * 5_000_000],
    "key of 5 MB": lambda: {"x" * 5_000_000: 1, object(): 2},
    "list of a million": lambda: [0] * 1_000_000,
    "dict of 200,000": lambda: dict.fromkeys(range(200_000)),
    "100,000 small texts": lambda: [{"a": "b" * 20}] * 100_000,
    "many large texts": lambda: {str(i): "x" * 100_000 for i in range(50)} | {"odd": object()},
    "200 levels beside large texts": lambda: nested(200, lambda value: {"a": value, "b": "x" * 50_000}),
}  # fmt: skip


texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=30)
floats = st.floats(allow_nan=False, allow_infinity=False)
scalars = st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | floats | texts
plain = st.recursive(scalars, lambda inner: st.lists(inner) | st.dictionaries(texts, inner), max_leaves=40)

# Not for a property: what is large, what never ends, and what raises when hypothesis itself looks at it.
LARGE = re.compile("0|million|megabyte|large|sixfold|multiply|endless|always|raise|all kinds")
odd = st.sampled_from(sorted(name for name in HOSTILE if not LARGE.search(name))).map(lambda name: HOSTILE[name]())
any_text = st.text(st.characters(), max_size=30)
numbers = st.integers() | st.floats() | st.decimals() | st.fractions() | st.complex_numbers()
times = st.datetimes() | st.dates() | st.times() | st.timedeltas()
tame = scalars | any_text | numbers | times | st.binary(max_size=50) | st.uuids()
tuples = st.tuples(st.integers(), any_text)
keys = any_text | st.integers() | st.fractions() | st.booleans() | st.none() | st.binary() | times | tuples


def mixture(leaves: st.SearchStrategy[Any], keys: st.SearchStrategy[Any] = keys) -> st.SearchStrategy[Any]:
    """Containers of many kinds around such leaves."""
    return st.recursive(
        leaves,
        lambda inner: (
            st.lists(inner, max_size=6)
            | st.dictionaries(keys, inner, max_size=6)
            | st.builds(Point, inner, inner)
            | st.builds(Step, inner)
            | inner.map(lambda value: types.MappingProxyType({"proxy": value}))
            | inner.map(lambda value: collections.deque([value]))
            | inner.map(ValueError)
        ),
        max_leaves=15,
    )
