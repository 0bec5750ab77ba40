from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentops_local import serialize
from agentops_local.serialize import FIELD_LIMIT, dump
from tests.unit.encoders import dump_by_json, read
from tests.unit.hostile import Endless, ReprOf, Step
from tests.unit.zoo import HOSTILE, plain


@given(plain, st.integers(0, 200))
def test_what_fits_is_never_cut(value: object, more: int) -> None:
    """A value is cut only if its JSON is longer than the limit, also where the walk writes it."""
    whole = dump_by_json(value)
    assert dump_by_json(value, len(whole) + more) == whole
    odd = [value, object()]
    assert dump(odd, len(dump(odd)) + more) == dump(odd)


def test_depth_is_bounded_and_marked() -> None:
    """Below 100 levels stands a mark."""
    assert f"deeper than {serialize.MAX_DEPTH} levels" in dump(HOSTILE["10,000 lists deep"]()).decode()


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
