from __future__ import annotations

import collections
import datetime as dt
import decimal
import fractions
import math
import pathlib
import threading
import unittest.mock
import uuid
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentops_local.serialize import FIELD_LIMIT, dump
from tests.unit.encoders import both, dump_by_json, read
from tests.unit.hostile import (
    LONE,
    Access,
    BadError,
    Breaking,
    BrokenModel,
    Color,
    Level,
    LyingDict,
    LyingFloat,
    LyingInt,
    LyingList,
    LyingStr,
    OwnModel,
    Point,
    Raising,
    Slotted,
    Step,
    Struct,
    Tensor,
    cyclic_dict,
    cyclic_list,
    generator,
)
from tests.unit.zoo import HOSTILE, keys, mixture, odd, plain, tame


@both
@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("limit", [FIELD_LIMIT, 700, 2])
def test_any_value_becomes_strict_json_within_the_limit(dump: Callable[..., bytes], name: str, limit: int) -> None:
    """Whatever the value: no exception, strict JSON that SQLite reads, and not a byte over the limit."""
    value = HOSTILE[name]()
    read(dump(value, limit), limit)
    read(dump([value, {"k": value}], limit), limit)
    read(dump(value, limit, lambda plain: plain), limit)


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


@given(mixture(tame))
def test_both_encoders_agree(value: object) -> None:
    """Without orjson the same data is stored."""
    assert read(dump(value)) == read(dump_by_json(value))


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
