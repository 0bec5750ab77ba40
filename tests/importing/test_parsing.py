"""JSON values out of files of all forms."""

from __future__ import annotations

import io
import json
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from agentops_local.errors import WrongUse
from agentops_local.importing import Refused, parsing, take_in
from agentops_local.importing.parsing import Bad, Item, values
from tests.importing.looking import query

VALUES = [{"a": [1, "x\ny", {"b": None}]}, {"long": "y" * 5000}, {"n": 1.5}]
FORMS = {
    "lines": "".join(json.dumps(one) + "\n" for one in VALUES),
    "lines without an end, with gaps": "\n\n" + "\r\n\n".join(map(json.dumps, VALUES)),
    "a list": json.dumps(VALUES),
    "an indented list": "\ufeff \n" + json.dumps(VALUES, indent=2) + "\n",
    "documents": "\n".join(json.dumps(one, indent=1) for one in VALUES),
}


def read(raw: str | bytes) -> list[Any]:
    """What is found in a file."""
    return list(values(io.BytesIO(raw.encode() if isinstance(raw, str) else raw)))


@pytest.mark.parametrize("chunk", [1, 7, 1 << 20])
@pytest.mark.parametrize("form", FORMS)
def test_every_form(form: str, chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same values come out of JSON Lines, a list and a file of documents, in however small pieces it is read."""
    monkeypatch.setattr(parsing, "_CHUNK", chunk)
    assert [one.value for one in read(FORMS[form])] == VALUES


def test_places(monkeypatch: pytest.MonkeyPatch) -> None:
    """A value is known by its line, or its place in the list; what is wrong in a line costs that line alone, and in a
    list what comes after it."""
    assert [one.place for one in read(FORMS["lines without an end, with gaps"])] == ["line 3", "line 5", "line 7"]
    assert [one.place for one in read(FORMS["a list"])] == ["$[0]", "$[1]", "$[2]"]
    assert [(type(one), one.place) for one in read('{}\n{"a":\n{}\n')] == [
        (Item, "line 1"), (Bad, "line 2"), (Item, "line 3"),
    ]  # fmt: skip
    assert [(type(one), one.place) for one in read("[{}, {1}, {}]")] == [(Item, "$[0]"), (Bad, "$[1]")]
    assert [(type(one), one.place) for one in read("[{}, {}")] == [(Item, "$[0]"), (Item, "$[1]"), (Bad, "$[1]")]


def test_what_json_cannot_hold() -> None:
    """NaN, infinities and integers beyond 64 bits become text, NUL and lone surrogates U+FFFD; all else stays."""
    digits = "123456789012345678901234"
    line = f'{{"a": [NaN, -Infinity, {digits}, 1e999, "\\u0000\\ud83d", "\\ud83d\\ude00", {2**64 - 1}]}}'
    expected = {"a": ["NaN", "-Infinity", digits, "Infinity", "\ufffd\ufffd", "\U0001f600", 2**64 - 1]}
    for text in (line, f"[{line}]", line.replace("{", "{\n")):
        assert [one.value for one in read(text)] == [expected]


def test_memory_stays_flat(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a file of a thousand runs no more than a few are in memory at once, whatever form it has."""
    monkeypatch.setattr(parsing, "_CHUNK", 1 << 16)
    monkeypatch.setattr(parsing, "_FIRST", 1 << 16)
    run = {"messages": [{"role": "user", "content": "z" * 20_000}]}

    class Endless(io.RawIOBase):
        def __init__(self, begin: bytes, between: bytes) -> None:
            self._left, self._piece = 1000, between + json.dumps(run).encode()
            self._kept = begin + json.dumps(run).encode()

        def readable(self) -> bool:
            return True

        def readinto(self, buffer: Any) -> int:
            while len(self._kept) < len(buffer) and self._left:
                self._left -= 1
                self._kept += self._piece
            count = min(len(buffer), len(self._kept))
            buffer[:count], self._kept = self._kept[:count], self._kept[count:]
            return count

    for begin, between in ((b"", b"\n"), (b"[", b",\n"), (b"[", b",")):
        stream = io.BufferedReader(Endless(begin, between))
        tracemalloc.start()
        try:
            found = sum(isinstance(one, Item) for one in values(stream))
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert found == 1001
        assert peak < 5 << 20  # of 20 MB


@pytest.mark.parametrize("text", ["", "\n\n", "no json", '{"unknown": 1}', "[1, 2]", "<html>", "\x1f\x8bno gzip"])
def test_what_is_no_such_file(tmp_path: Path, text: str) -> None:
    """What holds nothing that is known brings nothing, and says why unless it is empty."""
    file = tmp_path / "file"
    file.write_bytes(text.encode("latin-1"))
    done = take_in(tmp_path / "db", [file])
    assert (done.events, done.sessions) == (0, 0)
    assert bool(done.skipped) is bool(text.strip())
    if text.strip():
        with pytest.raises(Refused, match=str(file)):
            take_in(tmp_path / "db", [file], strict=True)


def test_several_files(tmp_path: Path) -> None:
    """Files of different forms, and a database, are taken in together; each is looked at by itself."""
    run = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]
    (tmp_path / "one.jsonl").write_text(json.dumps({"messages": run}) + "\n")
    (tmp_path / "two.json").write_text(json.dumps([{"traj": run, "task_id": 1}]))
    take_in(tmp_path / "a.db", [tmp_path / "one.jsonl"])
    done = take_in(tmp_path / "b.db", [tmp_path / "a.db", tmp_path / "one.jsonl", tmp_path / "two.json"])
    assert (done.files, done.new_sessions, done.events, done.there) == (3, 2, 2, 1)
    with pytest.raises(WrongUse, match="csv"):
        take_in(tmp_path / "b.db", [], form="csv")
    assert query(tmp_path / "b.db", "SELECT count(*) FROM llms") == [(2,)]
