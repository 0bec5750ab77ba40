"""JSON values out of a file, one after the other: of JSON Lines a line at a time, of a list an item at a time, so that
a large file is never in memory. What cannot be read is told by its place, and where possible passed over.

What JSON cannot hold, or a database does not take, becomes text as in the recorder: NaN and Infinity by their names,
integers beyond 64 bits by their digits, NUL and lone surrogates as U+FFFD.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterator
from typing import Any, BinaryIO, NamedTuple, TypeAlias

import orjson

from agentops_local.digits import integer, number

_CHUNK = 1 << 20  # bytes
_FIRST = 1 << 20  # bytes of a first line after which a list is taken for one
_BLANK = " \t\r\n\ufeff"
_SUSPECT = re.compile(rb"\\u(?:0000|[dD][89a-fA-F])")
_ALIKE = bytes(48 if byte in b"0123456789" else 32 for byte in range(256))
_LONG_NUMBER = b"0" * 19
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


class Item(NamedTuple):
    """A value, and where it stands: 'line 7', '$[6]'."""

    place: str
    value: Any


class Bad(NamedTuple):
    """What could not be read or taken in, and why."""

    place: str
    reason: str


Found: TypeAlias = "Item | Bad"


def values(stream: BinaryIO) -> Iterator[Found]:
    """The values of a file: the items of a list, the objects of JSON Lines, or the one value that it is."""
    try:
        first = _first_line(stream)
        if _stripped(first)[:1] == b"[" and not _is_whole_line(first):
            yield from _items(stream, first)
        elif _is_whole(first):
            yield from _lines(stream, first)
        elif _stripped(first):
            yield from _documents(stream, first)
    except EOFError as error:  # of a compressed file
        yield Bad("the end", f"the file is cut short ({error})")
    except (OSError, ValueError) as error:  # what is no gzip, no UTF-8
        yield Bad("the file", f"it cannot be read ({error})")


def parse(raw: bytes) -> Any:
    """A JSON value.

    Raises:
        ValueError: it is none.
    """
    if _SUSPECT.search(raw) is None and _LONG_NUMBER not in raw.translate(_ALIKE):
        try:
            return orjson.loads(raw)
        except orjson.JSONDecodeError:
            pass  # perhaps a bare NaN
    try:
        return cleaned(_DECODER.decode(raw.decode("utf-8-sig")))
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def cleaned(value: Any) -> Any:
    """A value whose texts a database takes."""
    if isinstance(value, str):
        return _UNSTORABLE.sub("\N{REPLACEMENT CHARACTER}", value)
    if isinstance(value, list):
        return [cleaned(item) for item in value]
    if isinstance(value, dict):
        return {cleaned(key): cleaned(item) for key, item in value.items()}
    return value


_DECODER = json.JSONDecoder(parse_constant=str, parse_int=integer, parse_float=number)


# Lines ----------------------------------------------------------------------------------------------------------------


def _first_line(stream: BinaryIO) -> bytes:
    """The file up to the end of its first line that holds anything; of a list only its beginning, for all of it may
    stand on one line."""
    begin = b""
    while line := stream.readline(_FIRST):
        begin += line
        if _stripped(begin):
            break
    if line and not line.endswith(b"\n") and _stripped(begin)[:1] != b"[":
        begin += stream.readline()
    return begin


def _stripped(begin: bytes) -> bytes:
    return begin.removeprefix(codecs.BOM_UTF8).strip()


def _is_whole(line: bytes) -> bool:
    try:
        parse(line.strip())
    except ValueError:
        return False
    return True


def _is_whole_line(line: bytes) -> bool:
    """Whether a line that begins a list is one of JSON Lines: a run that is a list of messages. A file of one line is
    the list itself, and a list of runs is no run."""
    try:
        value = parse(line.strip())
    except ValueError:
        return False
    return isinstance(value, list) and bool(value) and isinstance(value[0], dict) and "role" in value[0]


def _lines(stream: BinaryIO, first: bytes) -> Iterator[Found]:
    number = first.count(b"\n", 0, len(first) - 1) + 1
    line = first.rsplit(b"\n", 2)[-2] if first.endswith(b"\n") else first.rsplit(b"\n", 1)[-1]
    while line:
        if line.strip():
            place = f"line {number}"
            try:
                yield Item(place, parse(line.strip()))
            except ValueError as error:
                yield Bad(place, f"it is not JSON ({error})")
        line = stream.readline()
        number += 1


# A list, or values that go over several lines -------------------------------------------------------------------------


class _Text:
    """A file as text, of which only what is being read is in memory."""

    def __init__(self, stream: BinaryIO, begin: bytes) -> None:
        self._stream = stream
        self._decoder = codecs.getincrementaldecoder("utf-8-sig")()
        self.text = self._decoder.decode(begin)
        self.at = 0
        self.is_over = False

    def more(self, size: int = _CHUNK) -> None:
        """Reads on."""
        raw = self._stream.read(size)
        self.text = self.text[self.at :] + self._decoder.decode(raw, final=not raw)
        self.at = 0
        self.is_over = not raw

    def peek(self) -> str:
        """The next character that is not blank; '' at the end."""
        while True:
            while self.at < len(self.text):
                if self.text[self.at] not in _BLANK:
                    return self.text[self.at]
                self.at += 1
            if self.is_over:
                return ""
            self.more()

    def value(self) -> Any:
        """The next value.

        Raises:
            ValueError: there is none. What is a part of one is read on until it is whole; where the fault stays in its
                place however much is read, it is one.
        """
        fault, size = -1, _CHUNK
        while True:
            try:
                value, self.at = _DECODER.raw_decode(self.text, self.at)
                return cleaned(value)
            except json.JSONDecodeError as error:
                inside = error.pos - self.at
                if self.is_over or (inside == fault and not error.msg.startswith("Unterminated")):
                    raise
                fault = inside
            except RecursionError:
                raise ValueError("it is nested too deeply") from None
            self.more(size)
            size *= 2


def _items(stream: BinaryIO, begin: bytes) -> Iterator[Found]:
    text = _Text(stream, begin)
    text.peek()
    text.at += 1
    number = 0
    while (here := text.peek()) != "]":
        place = f"$[{number}]"
        try:
            if not here:
                raise ValueError("the list has no end")
            yield Item(place, text.value())
            if text.peek() == ",":
                text.at += 1
            elif text.peek() != "]":
                raise ValueError("after it there is neither a comma nor the end of the list")
        except ValueError as error:
            yield Bad(place, f"it is not JSON, and what follows cannot be told apart ({error})")
            return
        number += 1


def _documents(stream: BinaryIO, begin: bytes) -> Iterator[Found]:
    """Values that go over several lines, one after the other: mostly there is just one."""
    text = _Text(stream, begin)
    number = 1
    while text.peek():
        place = "$" if number == 1 else f"value {number}"
        try:
            value = text.value()
        except ValueError as error:
            yield Bad(place, f"it is not JSON ({error})")
            return
        yield Item(place, value)
        number += 1
