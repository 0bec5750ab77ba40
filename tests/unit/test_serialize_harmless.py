from __future__ import annotations

import collections
import io
import itertools
import pathlib
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from agentops_local import serialize
from agentops_local.serialize import dump
from tests.unit.encoders import both, read
from tests.unit.hostile import Point, Step, Unreadable, generator


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
