"""Makes a row that was read from a damaged file one that can stand in a database.

Nothing is made up. What is cut off says so in its place; what is no JSON any more is kept as a text, for one malformed
payload would make every query over its view fail. A content that does not match its hash is given its own: else the
program that records the original again would be given the altered one for it.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from hashlib import blake2b
from typing import cast

import orjson

from agentops_local.recovery.layout import Tree, trees
from agentops_local.recovery.record import ANY, BLOB, NULL, TEXT, Altered, Cut, Value

Row = list[Value]

_STATES = ("Success", "Fail", "Indeterminate")
_JSON_TEXTS = {"sessions": ("moment",), "environments": ("host_env",), "events": ("extra",)}


_HIGHEST = 1 << 48  # no number of ours is larger; what would follow one that is could not be numbered any more
# Columns that name a row by its number.
_REFERENCES = {
    "session", "owner", "agent", "prompt", "completion", "parent", "environment", "target", "event", "batch", "price",
}  # fmt: skip


class Lost(Exception):
    """What a row must have is gone."""


class Mender:
    """Mends the rows of one tree.

    Attributes:
        cut: how many rows a part was cut off from.
        altered: how many others show that they are not what was written.
    """

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self._own: Callable[[Row], Row] = _OWN.get(tree.name, lambda row: row)
        self._payloads = [
            place
            for place, allowed in enumerate(tree.allowed)
            if allowed == ANY and tree.name in ("events", "messages")
        ]
        self._numbers = [
            place
            for place, (name, allowed) in enumerate(zip(tree.columns, tree.allowed, strict=True))
            if place == tree.number or (name in _REFERENCES and not allowed & (BLOB | TEXT))
        ]
        self._texts = [tree.columns.index(name) for name in _JSON_TEXTS.get(tree.name, ())]
        self.cut = self.altered = 0

    def mend(self, row: Row) -> Row | None:
        """The row as it can stand in a database; None if it cannot."""
        given = list(row)
        is_cut = any(type(value) is Cut for value in row)
        try:
            for place, value in enumerate(row):
                if type(value) is Cut:
                    row[place] = self._without(place, value)
                elif type(value) is Altered:
                    row[place] = str(value)
            for place in self._numbers:
                number = row[place]
                if number is not None and not (type(number) is int and 0 < number < _HIGHEST):
                    row[place] = self._without(place, Cut(b"", 0))
            for place in self._payloads:
                row[place] = _payload(row[place])
            for place in self._texts:
                row[place] = _json_text(row[place])
            row = self._own(row)
        except Lost:
            return None
        if is_cut:
            self.cut += 1
        else:
            self.altered += row != given or Altered in map(type, given)
        return row

    def _without(self, place: int, value: Cut) -> Value:
        if place in self._payloads or (self._tree.name, self._tree.columns[place]) == ("blobs", "text"):
            return json.dumps(f"{value.begin.decode('utf-8', 'ignore')}{gap(value.size - len(value.begin))}")
        if self._tree.allowed[place] & NULL and place != self._tree.number:
            return None
        raise Lost


def gap(size: int) -> str:
    """What stands where bytes are missing."""
    return f"[agentops-local: {size:,} bytes lost with the damaged database]"


def digest(text: str) -> bytes:
    """What a message or a long text is found by."""
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()


def is_json(text: str | bytes) -> bool:
    """Whether a text is JSON."""
    try:
        orjson.loads(text)
    except ValueError:
        try:  # orjson refuses what is nested deeper than it likes
            json.loads(text, parse_constant=_refuse)
        except (ValueError, RecursionError):
            return False
    return True


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")


def pieces(recipe: bytes) -> list[str | int]:
    """The pieces of a recipe.

    Raises:
        ValueError: it is none.
    """
    found = json.loads(recipe)
    if not isinstance(found, list) or not all(type(piece) in (str, int) for piece in found):
        raise ValueError("it is no recipe")
    return found


def _payload(value: Value) -> Value:
    if type(value) is str:
        return value if is_json(value) else json.dumps(value)
    if type(value) is bytes:
        try:
            whole = "".join(piece if isinstance(piece, str) else '""' for piece in pieces(value))
        except ValueError:
            return json.dumps(value.decode("utf-8", "replace"))
        return value if is_json(whole) else json.dumps(value.decode("utf-8", "replace"))
    return value


def _json_text(value: Value) -> Value:
    return value if not isinstance(value, str) or is_json(value) else None


def _session(row: Row) -> Row:
    names = trees()["sessions"].columns
    state, tags = names.index("end_state"), names.index("tags")
    if row[state] not in _STATES:
        row[state] = "Indeterminate"
    text = row[tags]
    if not isinstance(text, str) or not is_json(text) or not isinstance(json.loads(text), list):
        row[tags] = "[]"
    return row


def _message(row: Row) -> Row:
    number, parent, hash_, content = row
    if content is None:
        content = json.dumps(gap(0))
    if isinstance(parent, int):
        if hash_ is None:
            parent = cast("int", number) - 1  # so it is by the law of the table; anything else would be another prompt
        elif parent >= cast("int", number):  # a parent comes first: else a prompt would have no end
            parent = None
    if isinstance(hash_, bytes) and isinstance(content, str):
        hash_ = digest(content)
    return [number, parent, hash_, content]


def _blob(row: Row) -> Row:
    number, hash_, text = row
    text = cast("str", text)
    if hash_ == b"":
        return row
    if not (text.startswith('"') and is_json(text)):
        text = json.dumps(text)
    return [number, digest(text), text]


def _environment(row: Row) -> Row:
    if row[2] is None:
        raise Lost
    return row


def _price(row: Row) -> Row:
    rates = row[trees()["prices"].columns.index("rates")]
    if rates is not None and not (isinstance(rates, str) and is_json(rates)):
        raise Lost  # without them it would say that there is no price
    return row


def _batch(row: Row) -> Row:
    names = trees()["batches"].columns
    for name in ("events", "keys"):
        text = row[names.index(name)]
        if text is not None and not (isinstance(text, str) and is_json(text) and isinstance(json.loads(text), list)):
            if name == "events":
                raise Lost
            row[names.index(name)] = None
    return row


_OWN: dict[str, Callable[[Row], Row]] = {
    "sessions": _session, "messages": _message, "blobs": _blob, "environments": _environment, "batches": _batch,
    "prices": _price,
}  # fmt: skip
