from __future__ import annotations

import array
import collections
import contextvars
import dataclasses
import datetime as dt
import decimal
import enum
import fractions
import functools
import importlib.util
import io
import itertools
import json
import math
import pathlib
import queue
import re
import sqlite3
import subprocess
import sys
import threading
import types
import unittest.mock
import uuid
import weakref
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, NoReturn

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentops_local import serialize
from agentops_local.serialize import FIELD_LIMIT, dump

DATABASE = sqlite3.connect(":memory:")
LONE = chr(0xD800)


def without_orjson() -> types.ModuleType:
    """The module as it is where orjson cannot be imported, beside the ordinary one."""
    spec = importlib.util.spec_from_file_location("serialize_without_orjson", serialize.__file__)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    with unittest.mock.patch.dict(sys.modules, {"orjson": None}):
        module.dump(object())
    assert module._encode is not serialize._encode
    return module


dump_by_json: Callable[..., bytes] = without_orjson().dump
both = pytest.mark.parametrize("dump", [dump, dump_by_json], ids=["orjson", "json"])


def read(raw: bytes, limit: int = FIELD_LIMIT) -> Any:
    """What the JSON holds, after making sure that it is strict, short and usable in a database."""
    assert len(raw) <= limit
    text = raw.decode("utf-8")
    assert "\0" not in text
    assert "\\u0000" not in text.replace("\\\\", "")
    assert DATABASE.execute("SELECT json_valid(?), json_type(json_extract(?, '$'))", (text, "[]")).fetchone()[0] == 1
    DATABASE.execute("SELECT json_extract(?, '$'), json_extract(?, '$.a')", (text, text)).fetchone()

    def refuse(constant: str) -> NoReturn:
        raise AssertionError(f"{constant} is no JSON")

    return json.loads(text, parse_constant=refuse)


# ------------------------------------------------------------------------------------------------------ hostile values


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


@both
@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("limit", [FIELD_LIMIT, 700, 2])
def test_any_value_becomes_strict_json_within_the_limit(dump: Callable[..., bytes], name: str, limit: int) -> None:
    """Whatever the value: no exception, strict JSON that SQLite reads, and not a byte over the limit."""
    value = HOSTILE[name]()
    read(dump(value, limit), limit)
    read(dump([value, {"k": value}], limit), limit)
    read(dump(value, limit, lambda plain: plain), limit)


# ---------------------------------------------------------------------------------------------------------- properties

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


@both
@given(plain)
def test_plain_data_comes_back_equal(dump: Callable[..., bytes], value: object) -> None:
    """What JSON can hold is stored as it is, by either encoder."""
    assert read(dump(value)) == value


@both
@given(plain)
def test_plain_data_comes_back_equal_beside_an_odd_object(dump: Callable[..., bytes], value: object) -> None:
    """One object that JSON cannot hold changes nothing around it."""
    assert read(dump({"odd": object(), "value": value, "deep": [[[value, ...]]]})) == {
        "odd": "<object object>",
        "value": value,
        "deep": [[[value, "Ellipsis"]]],
    }


@given(mixture(tame | odd, keys | st.floats()), st.integers(2, 3_000))
def test_any_mixture_becomes_strict_json_within_any_limit(value: object, limit: int) -> None:
    """No mixture of values and no limit makes dump raise, overrun, or write what a database refuses."""
    read(dump(value, limit), limit)
    read(dump_by_json(value, limit), limit)


@given(plain, st.integers(0, 200))
def test_what_fits_is_never_cut(value: object, more: int) -> None:
    """A value is cut only if its JSON is longer than the limit, also where the walk writes it."""
    whole = dump_by_json(value)
    assert dump_by_json(value, len(whole) + more) == whole
    odd = [value, object()]
    assert dump(odd, len(dump(odd)) + more) == dump(odd)


@given(mixture(tame))
def test_both_encoders_agree(value: object) -> None:
    """Without orjson the same data is stored."""
    assert read(dump(value)) == read(dump_by_json(value))


@given(plain)
def test_a_redactor_sees_plain_data_only(value: object) -> None:
    """What a redactor is given is made of JSON's own types, exactly."""
    seen: list[object] = []

    def look(data: object) -> object:
        todo = [data]
        for item in todo:
            seen.append(item)
            if type(item) is dict:
                todo += [*item.keys(), *item.values()]
            elif type(item) is list:
                todo += item
        return data

    assert read(dump({"odd": Step(), "value": value}, redact=look))["value"] == value
    assert {type(item) for item in seen} <= {dict, list, str, int, float, bool, type(None)}


# ------------------------------------------------------------------------------------------------------- what is stored


@both
@pytest.mark.parametrize(
    ("value", "stored"),
    [
        ([math.nan, math.inf, -math.inf, None], ["NaN", "Infinity", "-Infinity", None]),
        (2**64, "18446744073709551616"),
        (10**5000, hex(10**5000)),
        ("a\0b" + LONE, "a\ufffdb\ufffd"),
        ({None: 1, True: 2, 3: 4, 1.5: 5}, {"null": 1, "true": 2, "3": 4, "1.5": 5}),
        ({(1, "a"): 1, uuid.UUID(int=1): 2}, {"[1,\"a\"]": 1, "00000000-0000-0000-0000-000000000001": 2}),
        ({1: "int", "1": "str"}, {"1": "int", "1 (2)": "str"}),
        ({"a\0": 1, "a\ufffd": 2}, {"a\ufffd": 1, "a\ufffd (2)": 2}),
        ((1, {2}, frozenset({3}), collections.deque([4])), [1, [2], [3], [4]]),
        (b"text\n", "text\n"),
        (b"\xff\x00", "base64:/wA="),
        (bytearray(b"\x00"), "base64:AA=="),
        (dt.datetime(2020, 1, 2, 3, tzinfo=dt.timezone.utc), "2020-01-02T03:00:00+00:00"),
        ([dt.date(2020, 1, 2), dt.time(3, 4)], ["2020-01-02", "03:04:00"]),
        (dt.timedelta(days=1, seconds=2), "1 day, 0:00:02"),
        (uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        ([decimal.Decimal("1.10"), fractions.Fraction(1, 3)], ["1.10", "1/3"]),
        (pathlib.PurePosixPath("/a"), "/a"),
        ([Color.RED, Level.HIGH, Access.READ], ["red", 3, 1]),
        (1 + 2j, "(1+2j)"),
        (Point(1, [2]), {"x": 1, "y": [2]}),
        (Step(), {"name": "one", "_hidden": 2, "kind": None}),
        (Struct(), {"a": 1}),
        (OwnModel(), {"own": 1}),
        (BrokenModel(), "<BrokenModel: ZeroDivisionError>"),
        (Tensor(), {"type": "tests.Tensor", "shape": [3, 4], "dtype": "float32"}),
        (ValueError("boom"), {"type": "ValueError", "message": "boom"}),
        (BadError(), {"type": "BadError", "message": "<ValueError>"}),
        (object(), "<object object>"),
        (generator, "<function generator>"),
        (int, "<class 'int'>"),
        (Raising(), "<Raising: ValueError>"),
        (LyingDict(a=1), {"a": 1}),
        (LyingList([1, object()]), [1, "<object object>"]),
        ([LyingStr("abc"), LyingInt(4), LyingFloat(1.5), True], ["abc", 4, 1.5, True]),
        (Breaking(), {"first": 1, "…": "…[cut: 1 items kept, there are more]"}),
        (Slotted.__new__(Slotted), {"missing": "<AttributeError>"}),
    ],
    ids=lambda value: repr(type(value).__name__),
)  # fmt: skip
def test_what_a_value_becomes(dump: Callable[..., bytes], value: object, stored: object) -> None:
    """Each kind of value has one form in which it is stored."""
    assert read(dump(value)) == stored


def test_a_generator_is_named_without_its_address() -> None:
    """What is stored does not change from run to run."""
    assert read(dump(generator())) == "<generator object generator>"
    assert read(dump(threading.Lock())) == "<unlocked _thread.lock object>"
    assert read(dump(unittest.mock.MagicMock(name="m"))) == "<MagicMock name='m'>"


def test_a_cycle_is_marked_where_it_closes() -> None:
    """A container inside itself is stored once, and marked the second time."""
    assert read(dump(cyclic_list())) == [1, "<cycle>"]
    assert read(dump(cyclic_dict())) == {"a": 1, "odd": "<object object>", "self": {"again": ["<cycle>"]}}


def test_a_value_that_stands_twice_is_stored_twice() -> None:
    """Only a container inside itself is a cycle; one beside itself is not."""
    shared = [object()]
    assert read(dump([shared, shared])) == [["<object object>"]] * 2


def test_depth_is_bounded_and_marked() -> None:
    """Below 100 levels stands a mark."""
    assert f"deeper than {serialize.MAX_DEPTH} levels" in dump(HOSTILE["10,000 lists deep"]()).decode()


# ----------------------------------------------------------------------------------------------------- what it does not


def test_importing_it_loads_nothing_of_a_third_party() -> None:
    """Orjson is loaded by the first dump, not by the import."""
    code = (
        "import sys, importlib.util as u; s = u.spec_from_file_location('s', sys.argv[1]); m = u.module_from_spec(s); "
        "s.loader.exec_module(m); assert 'orjson' not in sys.modules; m.dump(1); assert 'orjson' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code, serialize.__file__], check=True)


@both
def test_no_iterator_is_consumed(dump: Callable[..., bytes]) -> None:
    """The user still gets every item of what was recorded, wherever in the value it stood."""

    def streams() -> list[Iterator[Any]]:
        return [
            generator(),
            iter([1, 2, 3]),
            map(int, "123"),
            iter((1, 2, 3)),
            io.StringIO("1\n2\n3\n"),
            reversed([3, 2, 1]),
        ]

    for stream in streams():
        shapes = [stream, [stream], {"a": {"b": (stream,)}}, Step(stream), Point(stream, 1), ValueError(stream)]
        for value in shapes:
            dump(value)
            dump(value, 100, lambda plain: plain)
        assert [int(item) for item in stream] == [1, 2, 3]


def test_no_file_is_read(tmp_path: pathlib.Path) -> None:
    """A file stays where it was."""
    path = tmp_path / "file"
    path.write_text("line\n" * 10)
    with path.open() as file:
        assert "TextIOWrapper" in read(dump({"file": file}))["file"]
        assert file.readline() == "line\n"
    dump(Unreadable("text"))


def test_no_coroutine_is_awaited() -> None:
    """A coroutine is named, and can still be run to its end."""

    async def answer() -> int:
        return 42

    coroutine = answer()
    assert "coroutine object" in read(dump([coroutine, Step(coroutine)]))[0]
    with pytest.raises(StopIteration) as stop:
        coroutine.send(None)
    assert stop.value.value == 42


def test_the_value_is_not_changed() -> None:
    """A redactor works on a copy: it may change what it gets, never what the user holds."""
    value: dict[str, Any] = {"a": [1, {"b": "c"}], "d": {"e": Step()}}

    def spoil(data: Any) -> object:
        data["a"][1]["b"] = "spoilt"
        data["a"].append(2)
        data["d"].clear()
        return data

    dump(value, redact=spoil)
    assert value == {"a": [1, {"b": "c"}], "d": {"e": Step()}}


@pytest.mark.parametrize("signal", [KeyboardInterrupt, SystemExit])
def test_a_request_to_stop_passes_through(signal: type[BaseException]) -> None:
    """Ctrl-C pressed while a __repr__ of the user's runs is the user's, not ours."""

    class Stopping:
        def __repr__(self) -> str:
            raise signal

    with pytest.raises(signal):
        dump({"a": [Stopping()]})
    with pytest.raises(signal):
        dump(1, redact=lambda _: repr(Stopping()))


def test_the_panic_of_a_rust_extension_is_swallowed() -> None:
    """A panic is a BaseException, yet it must not end the user's program because of a recording."""
    panic = type("PanicException", (BaseException,), {})

    class Panicking:
        def __repr__(self) -> str:
            raise panic("unreachable")

    assert read(dump(["a", Panicking()]))[1].endswith("Panicking: PanicException>")


def test_a_bytearray_can_grow_meanwhile() -> None:
    """No view is held on the user's bytearray: its own append would raise."""
    value = bytearray(b"abc")

    class Appending:
        def __repr__(self) -> str:
            value.append(100)
            return "appended"

    assert read(dump([value, Appending(), value])) == ["abc", "appended", "abcd"]


def test_a_dict_that_other_threads_change_is_stored() -> None:
    """Containers that change while they are read raise nothing."""
    shared: dict[Any, Any] = {"odd": object()}
    items: collections.deque[Any] = collections.deque([object()])
    done = threading.Event()

    def change() -> None:
        for number in itertools.count():
            shared[number % 1000] = [number]
            shared.pop((number * 7) % 1000, None)
            items.append(number)
            if len(items) > 500:
                items.popleft()
            if done.is_set():
                return

    thread = threading.Thread(target=change)
    thread.start()
    try:
        for _ in range(60):
            stored = read(dump([shared, items, set(shared)]))
            assert stored[0]["odd"] == "<object object>"
    finally:
        done.set()
        thread.join()


def test_a_dict_that_its_own_items_change_is_stored() -> None:
    """A __repr__ that changes the container it stands in does no harm."""
    value: dict[Any, Any] = {}

    class Adding:
        def __repr__(self) -> str:
            value[len(value)] = self
            return "added"

    value["a"] = Adding()
    assert read(dump(value))["a"] == "added"


def test_a_stack_that_is_nearly_full_is_enough() -> None:
    """Near the recursion limit something is stored still, and nothing is raised."""
    value = {"a": [[[Step([object()])]]], "b": 1}
    entered = 0

    def descend() -> bytes:
        nonlocal entered
        try:
            return descend()
        except RecursionError:
            entered += 1
            return dump(value)

    read(descend())
    assert entered < 5  # the first calls found no room for the frame of dump itself


# ------------------------------------------------------------------------------------------------------------- the cuts


def test_a_long_text_is_cut_at_its_end_and_says_so() -> None:
    """The beginning is kept, nearly as much as the limit allows, and the mark tells the lengths."""
    stored = read(dump("x" * 5_000_000))
    match = re.fullmatch(r"(x+)…\[cut: ([\d,]+) of 5,000,000 characters kept\]", stored)
    assert match is not None
    assert int(match[2].replace(",", "")) == len(match[1]) > FIELD_LIMIT * 0.99


def test_long_bytes_are_cut_and_say_so() -> None:
    """So are bytes, as text or as base64, and what is kept of base64 can be decoded."""
    assert re.fullmatch(r"x+…\[cut: [\d,]+ of 5,000 bytes kept\]", read(dump(b"x" * 5_000, 1_000), 1_000))
    assert re.fullmatch(
        r"(é)+…\[cut: [\d,]+ of 5,001 bytes kept\]", read(dump("é".encode() * 2500 + b".", 1_001), 1_001)
    )
    mark = r"base64:[\w/+=]+…\[cut: [\d,]+ of 6,668 base64 characters kept\]"
    assert re.fullmatch(mark, read(dump(b"\xff" * 5_000, 1_000), 1_000))


def test_a_long_list_is_cut_and_says_so() -> None:
    """A final item counts what was kept."""
    stored = read(dump(list(range(100_000)), 5_000), 5_000)
    kept = len(stored) - 1
    assert stored == [*range(kept), f"…[cut: {kept:,} of 100,000 items kept]"]
    assert kept > 700


def test_a_large_dict_is_cut_and_says_so() -> None:
    """A final key counts what was kept, and takes no key of the user's."""
    stored = read(dump({"…": 0} | {f"key {i}": i for i in range(10_000)}, 5_000), 5_000)
    *kept, (name, mark) = stored.items()
    assert mark == f"…[cut: {len(kept):,} of 10,001 items kept]"
    assert name.startswith("… (")
    assert stored["…"] == 0


def test_a_huge_value_does_not_hide_a_small_one_after_it() -> None:
    """The later siblings keep their place, so that the model stands beside a prompt that was cut."""
    stored = read(dump({"prompt": "x" * 5_000_000, "reply": {"text": "y" * 5_000_000}, "model": "gpt", "n": object()}))
    assert "[cut: " in stored["prompt"]
    assert "[cut: " in stored["reply"]["text"]
    assert (stored["model"], stored["n"]) == ("gpt", "<object object>")


def test_a_text_beyond_the_limit_is_never_encoded_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory follows the limit, not the value: 100 MB would cost 300."""
    largest = 0
    dump(1)
    encode = serialize._encode

    def watch(value: object) -> bytes:
        nonlocal largest
        raw = encode(value)
        largest = max(largest, len(raw))
        return raw

    monkeypatch.setattr(serialize, "_encode", watch)
    huge = "x" * 20_000_000
    for value in (huge, {"a": huge}, [{"a": [huge]}], {"a": huge.encode()}, Step(huge), ValueError(huge)):
        read(dump(value))
    assert largest < 2 * FIELD_LIMIT


def test_nodes_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The walk ends after so many values, whatever there is."""
    monkeypatch.setattr(serialize, "MAX_NODES", 100)
    stored = read(dump([object() for _ in range(1_000)]))
    assert stored[-1] == f"…[cut: {len(stored) - 1:,} of 1,000 items kept]"
    assert 50 <= len(stored) <= 101
    assert read(dump(Endless()))["…"].endswith("items kept, there are more]")


@pytest.mark.parametrize("clock", ["monotonic", "thread_time"])
def test_time_is_bounded(monkeypatch: pytest.MonkeyPatch, clock: str) -> None:
    """A slow __repr__ is not asked for ever: by the clock if it sleeps, by the processor's time if it works."""
    time = 0.0
    asked = 0
    monkeypatch.setattr(serialize, clock, lambda: time)

    class Slow:
        def __repr__(self) -> str:
            nonlocal time, asked
            time += 0.05
            asked += 1
            return "slow"

    stored = read(dump([Slow() for _ in range(1_000)]))
    assert stored[0] == "slow"
    assert asked < 70
    assert len(stored) < 70


def test_the_reprs_length_is_bounded() -> None:
    """An object gives a short account of itself."""
    assert len(read(dump(ReprOf("x" * 1_000_000)))) < serialize.REPR_LIMIT + 100


# --------------------------------------------------------------------------------------------- redaction, and libraries


def test_a_redactor_that_raises_stores_nothing() -> None:
    """What could not be redacted is not stored."""

    def fail(_: object) -> object:
        raise ValueError("canary")

    assert read(dump({"a": "canary"}, redact=fail)) == "[redaction failed: ValueError]"


def test_what_a_redactor_returns_is_made_json_too() -> None:
    """A redactor may return anything."""
    assert read(dump({"a": 1}, redact=lambda plain: [plain, object(), {1: math.nan}])) == [
        {"a": 1},
        "<object object>",
        {"1": "NaN"},
    ]


@pytest.mark.parametrize(("limit", "step"), [(2_000, 7), (FIELD_LIMIT, 60)])
def test_no_half_of_a_secret_is_stored_at_a_cut(limit: int, step: int) -> None:
    """A secret that the cut would halve is still redacted: it is met before the cut."""
    secret = re.compile("CANARY[0-9]{50}")

    def redact(data: Any) -> object:
        if isinstance(data, str):
            return secret.sub("[redacted]", data)
        return {key: redact(item) for key, item in data.items()} if isinstance(data, dict) else data

    seen = 2 * limit + 4 * (1 << 16)  # about as much as the redactor is shown
    for place in [*range(limit - 140, limit, step), *range(seen - 140, seen, step), seen + (1 << 16) - 30]:
        text = "a" * place + "CANARY" + "0" * 50 + "b" * 2 * limit
        assert b"CANARY" not in dump({"text": text, "n": 1}, limit, redact)


def test_many_secrets_before_the_cut_do_not_bring_the_cut_one_back() -> None:
    """Redaction shortens a text; what lay beyond the cut does not move into what is kept."""
    secret = re.compile("CANARY[0-9]{50}")
    text = ("CANARY" + "0" * 50) * 100_000
    assert b"CANARY" not in dump(text, redact=lambda data: secret.sub("", str(data)))


def test_pydantic_models() -> None:
    """A model is stored by its own dump: without excluded fields and open secrets, its generators unread."""
    pydantic = pytest.importorskip("pydantic")
    stream = generator()

    class Model(pydantic.BaseModel):  # type: ignore[misc, name-defined, unused-ignore]
        items: Any
        hidden: str = pydantic.Field("canary", exclude=True)
        key: pydantic.SecretStr = pydantic.SecretStr("canary")  # type: ignore[name-defined, unused-ignore]
        amount: decimal.Decimal = decimal.Decimal("1.10")

    Model.model_rebuild(_types_namespace={"pydantic": pydantic, "Any": Any, "decimal": decimal})
    stored = dump([Model(items=stream), Model(items=[stream])])
    assert b"canary" not in stored
    assert read(stored)[0]["amount"] == "1.10"
    assert list(stream) == [1, 2, 3]
    model = Model(items=None)
    model.items = model
    read(dump(model))


def test_pydantic_1_models() -> None:
    """The own dict() of an old model consumes generators: its fields are read instead."""
    pydantic = pytest.importorskip("pydantic.v1")
    stream = generator()
    model = pydantic.create_model(
        "Model", items=(Any, None), hidden=(str, pydantic.Field("canary", exclude=True)), n=(int, 1)
    )
    assert read(dump(model(items=stream))) == {"items": "<generator object generator>", "n": 1}
    assert list(stream) == [1, 2, 3]


def test_numpy() -> None:
    """Scalars are numbers, small arrays lists, and large ones are told by their shape."""
    np = pytest.importorskip("numpy")
    scalars = [np.float32(1.5), np.int64(2), np.bool_(True), np.str_("x"), np.float64("nan"), np.longdouble(1.5)]
    assert read(dump(scalars)) == [1.5, 2, True, "x", "NaN", "1.5"]
    assert read(dump({np.int64(1): np.arange(3)})) == {"1": [0, 1, 2]}
    assert read(dump(np.zeros((100, 200)))) == {"type": "numpy.ndarray", "shape": [100, 200], "dtype": "float64"}
    stream = generator()
    read(dump(np.array([stream, None], dtype=object)))
    assert list(stream) == [1, 2, 3]


def test_pandas() -> None:
    """A frame is told by its shape and columns, a timestamp is a time."""
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame({"a": [1], "b": [2]})
    assert read(dump(frame)) == {"type": "pandas.DataFrame", "shape": [1, 2], "columns": ["a", "b"]}
    assert read(dump([pd.Timestamp("2020-01-01"), pd.NaT])) == ["2020-01-01T00:00:00", "NaT"]


def test_attrs_classes() -> None:
    """A class made by attrs is stored by its fields."""
    attrs = pytest.importorskip("attrs")
    made = attrs.make_class("Made", {"x": attrs.field(), "y": attrs.field(default=2)})
    assert read(dump(made([object()]))) == {"x": ["<object object>"], "y": 2}
