"""The one border where JSON is made: `dump` turns any object into strict JSON and never fails.

Plain data leaves through orjson in a microsecond; all else takes a guarded walk that makes plain data of it. Objects
are read, never used up: no iterator is advanced, no file read, no coroutine awaited. What was cut says so in its place:

    "the beginning…[cut: 900 of 5,000 characters kept]"     also: bytes, base64 characters
    [1, 2, "…[cut: 2 of 1,000,000 items kept]"]             or: 2 items kept, there are more
    {"a": 1, "…": "…[cut: 1 of 7 items kept]"}
    "[cut: deeper than 100 levels]", "[cut]"                the second: no time or no room for more

What JSON cannot hold becomes text: "NaN", "Infinity", an int beyond 64 bits (in hexadecimal if huge), "base64:…" for
bytes that are no text, "<cycle>", "<generator object steps>", "<Thing: ValueError>" where reading it raised. NUL and
lone surrogates, which databases refuse, become U+FFFD. A key that is no text becomes its JSON text, numbered if taken.
"""

from __future__ import annotations

import binascii
import codecs
import json
import re
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set, ValuesView
from contextlib import suppress
from datetime import date, datetime
from enum import Enum
from functools import partial
from itertools import islice
from time import monotonic, thread_time
from typing import Any
from uuid import UUID

from agentops_local.forks import import_whole

FIELD_LIMIT = 1 << 20  # bytes of JSON: params, returns, logs and their like
MEDIA_LIMIT = 16 << 20  # bytes of JSON: chat messages and screenshots, which hold images as base64
MAX_DEPTH = 100  # levels in the walk; plain data may have the 254 that orjson takes
MAX_NODES = 50_000  # values in the walk
CPU_SECONDS = 0.03  # for one of its two passes, of processor time: a busy machine must not cut what is small
WALL_SECONDS = 0.5  # after which no code of the user's is called any more: a __repr__ may sleep
REPR_LIMIT = 2_000  # characters of a repr
SMALL_ARRAY = 1_000  # elements of an array that is kept whole; a larger one is told by its shape
_MARK = 96  # bytes an open container keeps back for the mark of its cut
_FLOOR = 512  # bytes that must be left before another item is begun
_PROMISE = 1024  # bytes each later sibling is promised: a huge first value must not hide a small last one
_SPARE = 1 << 16  # characters beyond a cut that the redactor sees, so that it meets each secret whole
_PLAIN = frozenset({type(None), bool, int, UUID, datetime, date})
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+| id='\d+'")
_CUT_TEXT = re.compile(r"…\[cut: [^…]*\Z", re.IGNORECASE)


def dump(value: object, limit: int = FIELD_LIMIT, redact: Callable[[object], object] | None = None) -> bytes:
    """Strict JSON of `value` in UTF-8, at most `limit` bytes (not under 2). Raises no Exception. `redact` (none by
    default) is given plain data and returns what may be stored."""
    try:
        if redact is not None:
            return _dump_redacted(value, limit, redact)
        return _dump_plain(value, limit) or _dump_walked(value, limit)
    except (Exception, _Full):  # noqa: BLE001 - no memory, no stack, or no room
        return b'"[cut]"' if limit >= 7 else b'""'


def _dump_plain(value: object, limit: int) -> bytes | None:
    """`dump` by orjson alone; None where that does not do."""
    try:
        if _is_plain(value, limit):
            out = _encode(value)
            if len(out) <= limit and not (92 in out and out.rfind(b"\\u0000") >= 0):  # 92, a backslash: quick to find
                return out
    except Exception:  # noqa: BLE001, S110 - a surrogate, a key that is no text, another thread at work
        pass
    return None


def _load_encoder(value: object) -> bytes:
    """Stand in for the encoder until its first use: importing us must load nothing of a third party."""
    global _encode, _fragment, _is_plain  # noqa: PLW0603 - bound once, so that a call costs no question about it
    try:
        _encode, _fragment = (orjson := import_whole("orjson")).dumps, orjson.Fragment
    except AttributeError:  # half a module: a signal handler has interrupted this very import, and records
        return _dumps(_Walk(sys.maxsize).plain(value)).encode()
    except (ImportError, OSError):
        _encode = lambda plain: _dumps(plain).encode()  # noqa: E731
        _is_plain = lambda value, limit: False  # noqa: ARG005, E731 - it would make equal keys of 1 and "1"
        value = _Walk(sys.maxsize).plain(value)
    return _encode(value)


_dumps = partial(json.dumps, ensure_ascii=False, separators=(",", ":"))
_encode: Callable[[Any], bytes] = _load_encoder
_fragment: Any = None  # wraps JSON that is made already


def _is_plain(value: Any, limit: int) -> bool:
    """Whether orjson may have it. Not NaN, which it writes as null; not references that multiply, which it follows
    without end; not 100 MB, which it encodes before we can refuse."""
    size = 0  # a lower bound of the bytes
    alarm = 1024
    todo = [value]
    for node in todo:
        if type(node) is dict:
            size += 3 * len(node)
            node = node.values()  # noqa: PLW2901 - this loop is our hottest
        elif type(node) is not list and type(node) is not tuple:
            return type(node) in _PLAIN or (type(node) is str and len(node) <= limit)
        size += 2 * len(node)
        if size > limit:
            return False
        # Too many containers to look at in time; or many, but few different ones: a cycle, or sharing that multiplies.
        if alarm > 1 << 16 or (len(todo) > alarm and len(set(map(id, todo))) < (alarm := 2 * alarm) / 4):
            return False
        for item in node:
            if type(item) is str:
                size += len(item)
            elif type(item) not in _PLAIN and not (type(item) is float and item - item == 0.0):
                todo.append(item)
    return size <= limit


def _dump_walked(value: object, limit: int, trim: int = 0) -> bytes:
    """`dump` for what orjson may not have."""
    for data, _ in _passes(value, limit, trim=trim):
        if len(out := _encode(data)) <= limit:
            return out
    raise _Full


def _dump_redacted(value: object, limit: int, redact: Callable[[object], object]) -> bytes:
    """Walk, redact, encode. A text that was cut is cut again, before where half a secret may stand."""
    data, is_cut = next(_passes(value, 2 * limit + 4 * _SPARE, spare=_SPARE))
    safe = _try("[redaction failed: {}]", redact, data)
    return _dump_walked(safe, limit, trim=_SPARE) if is_cut else dump(safe, limit)


def _passes(value: object, room: int, spare: int = 0, trim: int = 0) -> Iterator[tuple[object, bool]]:
    """Plain data, and whether a text in it was cut: first whole, unless that is too large; then made to fit."""
    for sparing in (False, True):
        walk = _Walk(room, sparing, spare, trim)
        try:
            yield walk.plain(value), walk.cut_text
        except _Full:
            continue


class _Full(BaseException):
    """The value does not fit as a whole."""


class _Walk:
    """One pass over a value that makes plain data of it.
    `room`: bytes left. A pass that is not `sparing` counts what a value takes at least, and raises _Full beyond that:
    what fits is never cut. A sparing pass counts exactly, and cuts. `spare`: how much a cut text keeps beyond its due,
    for the redactor; `trim`: how much to take off such a text again."""

    def __init__(self, room: int, sparing: bool = False, spare: int = 0, trim: int = 0) -> None:
        self.room, self.sparing, self.spare, self.trim = room, sparing, spare, trim
        self.nodes, self.next_look = MAX_NODES, MAX_NODES - 64  # the next look at the clocks
        self.cpu_end, self.wall_end = thread_time() + CPU_SECONDS, monotonic() + WALL_SECONDS
        self.inside: set[int] = set()  # ids of the objects we are inside of
        self.cut_text, self.embeds = False, not (sparing or spare or trim)

    def plain(self, value: Any, depth: int = 0) -> object:
        """Plain data of any value; where reading it raises, a mark."""
        self.nodes -= 1
        kind = type(value)  # never value.__class__, which may lie
        try:
            if kind in _LEAVES:
                return _READERS[kind](self, value, depth)
            if id(value) in self.inside or depth > MAX_DEPTH:
                return self.text("<cycle>" if id(value) in self.inside else f"[cut: deeper than {MAX_DEPTH} levels]")
            if self.embeds and 1 <= depth <= 2 and kind in _CONTAINERS and (out := _dump_plain(value, self.room)):
                self.spend(len(out))  # one odd object among many plain ones must not make them all slow
                return _fragment(out)
            self.inside.add(id(value))
            try:
                return (_READERS.get(kind) or _reader(kind))(self, value, depth)
            finally:
                self.inside.discard(id(value))
        except BaseException as exc:
            if not isinstance(exc, Exception) and type(exc).__name__ != "PanicException":  # of a Rust extension
                raise
            return self.text(f"<{_name(kind)}: {_name(type(exc))}>")

    def spend(self, size: int) -> None:
        self.room -= size
        if self.room < 0 and not self.sparing:
            raise _Full

    def affords(self, foreign: bool = False) -> bool:
        """Whether another item may be begun; `foreign`: it runs code of the user's."""
        if self.nodes <= self.next_look:  # every 64th: what is small is never cut because a collection of garbage ran
            self.next_look, self.nodes = self.nodes - 64, self.nodes if thread_time() < self.cpu_end else 0
        if foreign and monotonic() > self.wall_end:
            self.nodes = 0
        return self.nodes > 0 and (self.room >= _FLOOR or not self.sparing)

    def leaf(self, value: object, _depth: int = 0) -> object:
        self.spend(len(_encode(value)) + 1 if self.sparing else 1)
        return value

    def number(self, value: Any, _depth: int) -> object:
        if int in type(value).__mro__:
            number = int.__pos__(value)  # of a subclass, the number in it
            if -(1 << 63) <= number < 1 << 64:
                return self.leaf(number)
            # An environment may forbid more than 640 decimal digits. Hexadecimal is quick and never forbidden.
            return self.text(str(number) if number.bit_length() <= 2100 else hex(number))
        real = float.__pos__(value)
        text = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}.get(repr(real))
        return self.text(text) if text else self.leaf(real)

    def text(self, value: str, _depth: int = 0, cap: int = sys.maxsize) -> str:
        """A text that can be stored, of at most `cap` characters."""
        total = end = str.__len__(value)  # a subclass may lie about its length
        if self.trim and (mark := _CUT_TEXT.search(str.__getitem__(value, slice(-200, None)))):
            end, total = max(0, total - len(mark[0]) - self.trim), -1
        elif min(total, cap) > self.room and not self.sparing:
            raise _Full
        end = min(end, min(self.room, cap) + self.spare)
        text = str.__getitem__(value, slice(0, end))
        text = text if text.isascii() and "\0" not in text else _UNSTORABLE.sub("\ufffd", text)
        return self.fit(text, total, "characters", end != total)

    def fit(self, text: str, total: int, unit: str, is_cut: bool) -> str:
        """`text` as it is, or shortened to the room and marked."""
        size = len(_encode(text)) + 1 if self.sparing and not is_cut else len(text)
        is_cut = is_cut or (self.sparing and size > self.room)
        keep = min(len(text), max(0, self.room - 80))
        self.cut_text = self.cut_text or is_cut
        while is_cut:
            marked = text[:keep] + _mark(keep, total, unit)
            size = len(_encode(marked)) + 1
            if size <= self.room or keep == 0:
                text, is_cut = marked, False
            keep = max(0, min(keep - 1, keep * (self.room - 80) // size))  # a guess from below, soon a good one
        self.spend(size)
        return text

    def raw(self, value: Any, _depth: int) -> str:
        """Bytes as the text they are, or as base64. Never a view: under it the user's own append raises BufferError."""
        base: Any = bytes if bytes in type(value).__mro__ else bytearray
        total = base.__len__(value)
        if total > self.room and not self.sparing:
            raise _Full
        head = bytes(base.__getitem__(value, slice(0, self.room + self.spare)))
        is_cut = len(head) < total
        try:
            text = codecs.utf_8_decode(head, "strict", not is_cut)[0]  # without half a character at the cut
            if not _CONTROL.search(text):
                return self.fit(text, total, "bytes", is_cut)
        except UnicodeDecodeError:
            pass
        text = binascii.b2a_base64(head[: len(head) // 3 * 3] if is_cut else head, newline=False).decode()
        return self.fit("base64:" + text, (total + 2) // 3 * 4, "base64 characters", is_cut)

    def repr(self, value: object, _depth: int) -> str:
        text = repr(value) if self.affords(foreign=True) else "[cut]"
        return self.text(_ADDRESS.sub("", text) if str.__len__(text) < _SPARE else text, cap=REPR_LIMIT)

    def builtin(self, value: Any, depth: int) -> object:
        """A builtin container, by its own methods: those of a subclass may lie, or never end."""
        kind = type(value)
        base: Any = kind if kind in _CONTAINERS else next(b for b in kind.__mro__ if b in _CONTAINERS)
        read = dict.items if base is dict else base.__iter__
        most = max(self.nodes, 0)
        try:
            items = list(islice(read(value), most))
        except RuntimeError:  # another thread changed it: once more
            items = list(islice(read(value), most))
        if base is tuple and len(names := getattr(kind, "_fields", ())) == len(items) > 0:
            return self.container(list(zip(names, items, strict=True)), len(items), depth, keyed=True)
        return self.container(items, base.__len__(value), depth, keyed=base is dict)

    def custom(self, value: Any, depth: int) -> object:
        keyed = issubclass(type(value), Mapping)
        return self.container(((key, value[key]) for key in value) if keyed else iter(value), -1, depth, keyed)

    def container(self, items: Iterable[Any], total: int, depth: int, keyed: bool) -> object:
        """A list of `items`, or a dict of pairs if `keyed`; `total`: how many there are, -1 if unknown."""
        for_mark = _MARK if self.sparing else 0
        self.spend(2 + for_mark)
        out: dict[Any, object] = {}
        try:
            for item in items:
                if not self.affords():
                    break
                held = min(self.room // 2, _PROMISE * max(0, total - len(out) - 1)) if self.sparing else 0
                self.room -= held
                name = self.key(item[0], depth, out) if keyed else len(out)
                out[name] = self.plain(item[1] if keyed else item, depth + 1)
                self.room += held
            else:
                total = max(total, len(out))
        except Exception:  # noqa: BLE001, S110 - the user's iteration raised; what came before is worth having
            pass
        self.room += for_mark
        if len(out) != total:
            out[self.key("…", depth, out)] = _mark(len(out), total, "items")
            self.spend(min(for_mark, _MARK - 16))  # the key has taken the rest
        return out if keyed else list(out.values())

    def key(self, key: Any, depth: int, taken: Mapping[str, object]) -> str:
        """The text of a key, unlike all that are taken."""
        if type(key) is not str:
            room = self.room
            plain = self.plain(key, depth + 1)
            key = plain if type(plain) is str else _encode(plain).decode()
            self.room = room  # what counts is the text below
        held = self.room // 2 if self.sparing else 0  # for the value
        self.room -= held
        text = key = self.text(key)
        number = len(taken)
        while text in taken:
            text = f"{key} ({(number := number + 1)})"
        self.room += held
        self.spend(len(text) - len(key) + 1)
        return text


def _mark(kept: int, total: int, unit: str) -> str:
    of = "" if total < 0 else f"of {total:,} "
    return f"…[cut: {kept:,} {of}{unit} kept{'' if of else ', there are more'}]"


def _name(kind: type) -> str:
    return str(type.__dict__["__qualname__"].__get__(kind))[:100]  # whatever its metaclass says


def _try(mark: str, read: Callable[..., object], *args: object) -> object:
    """A part of an object; a mark where reading it raises, for the other parts are still worth having."""
    try:
        return read(*args)
    except Exception as exc:  # noqa: BLE001 - the user's code
        return mark.format(_name(type(exc)))


def _model(model: Any) -> object:
    with suppress(TypeError):  # a model_dump of the user's own may know no warnings
        return model.model_dump(warnings=False)
    return model.model_dump()


def _array(array: Any) -> object:
    """A small numpy array whole; any other array, tensor or frame by its shape."""
    kind = type(array)
    if kind.__module__ == "numpy" and array.size <= SMALL_ARRAY:
        return array.tolist()
    columns = [str(name) for name in islice(getattr(array, "columns", ()), 100)]
    of = {"columns": columns} if columns else {"dtype": str(array.dtype)}
    return {"type": f"{kind.__module__.partition('.')[0]}.{_name(kind)}", "shape": list(array.shape), **of}


def _as(convert: Callable[[Any], object]) -> Callable[[_Walk, Any, int], object]:
    return lambda walk, value, depth: walk.plain(convert(value) if walk.affords(foreign=True) else "[cut]", depth + 1)


def _with(names: Callable[[Any], Iterable[str]]) -> Callable[[_Walk, Any, int], object]:
    return _as(lambda value: {name: _try("<{}>", getattr, value, name) for name in names(type(value))})


_iso = _as(lambda moment: moment.isoformat())
_LEAVES, _CONTAINERS = frozenset({str, type(None), bool, int, float}), (dict, list, tuple, set, frozenset, deque)
_READERS: dict[type, Any] = dict.fromkeys(_CONTAINERS, _Walk.builtin) | {
    str: _Walk.text, type(None): _Walk.leaf, bool: _Walk.leaf, int: _Walk.number, float: _Walk.number,
    bytes: _Walk.raw, bytearray: _Walk.raw, type: _Walk.repr, range: _Walk.repr, UUID: _as(str), complex: _as(str),
    datetime: _iso, date: _iso, Enum: _as(lambda member: member.value),
    memoryview: _as(lambda view: view.tobytes() if view.nbytes <= 4 * MEDIA_LIMIT else repr(view)),
    BaseException: _as(lambda exc: {"type": _name(type(exc)), "message": _try("<{}>", str, exc)}),
}  # fmt: skip
# By name, for what may never have been imported.
_READERS_BY_NAME: dict[str, Any] = {
    "datetime.time": _iso, "datetime.timedelta": _as(str), "decimal.Decimal": _as(str), "fractions.Fraction": _as(str),
    "collections.UserString": _as(str), "numpy.longdouble": _as(str), "numpy.clongdouble": _as(str),
    "numpy.generic": _as(lambda scalar: scalar.item()), "numpy.ndarray": _as(_array),
}  # fmt: skip
# By an attribute of the class (a mock has every attribute one asks for); the first that is there counts. The own dump
# of a pydantic model honours exclude=True and leaves generators alone; that of version 1 consumes them.
_READERS_BY_ATTRIBUTE: dict[str, Any] = {
    "__next__": _Walk.repr, "__anext__": _Walk.repr, "__await__": _Walk.repr,  # a repr uses nothing up
    "__fspath__": _as(lambda path: path.__fspath__()), "model_dump": _as(_model),
    "__fields__": _with(lambda kind: [name for name, f in kind.__fields__.items() if not f.field_info.exclude]),
    "__dataclass_fields__": _with(lambda kind: [f.name for f in sys.modules["dataclasses"].fields(kind)]),
    "__attrs_attrs__": _with(lambda kind: [f.name for f in kind.__attrs_attrs__]),
    "__struct_fields__": _with(lambda kind: kind.__struct_fields__), "dtype": _as(_array), "dtypes": _as(_array),
}  # fmt: skip


def _reader(kind: type) -> Any:
    """How to read a type that is not in the table: as its nearest base, or by what it can do."""
    bases = kind.__mro__[:-1]
    for base in bases:
        if known := _READERS.get(base) or _READERS_BY_NAME.get(f"{base.__module__}.{base.__qualname__}"):
            return known
    for name, reader in _READERS_BY_ATTRIBUTE.items():
        if any(name in vars(base) for base in bases):
            return reader
    return _Walk.custom if issubclass(kind, (Mapping, Sequence, Set, ValuesView)) else _Walk.repr
