"""Sessions as tables: columns with types, rows of plain values. CSV and Parquet write them.

The table of events has of a prompt its last message: whole, a conversation of n turns would stand there n times, and
the table `llms` is the one to ask for that.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from operator import itemgetter
from typing import NamedTuple

from agentops_local.analytics.sessions import NoSuchSession, summary
from agentops_local.exporting import v2
from agentops_local.exporting.choice import Choice, Progress
from agentops_local.exporting.source import SessionHead, Source
from agentops_local.exporting.texts import loaded, plain, uuid_text

Cells = tuple[object, ...]


class Column(NamedTuple):
    """A column.

    Attributes:
        kind: text, number (whole), real, or time (microseconds since 1970 UTC).
        content: whether it holds what the program said, heard or handed over.
    """

    name: str
    kind: str = "text"
    content: bool = False


def _columns(text: str) -> tuple[Column, ...]:
    """Columns from words: `name`, `name:kind`, with a * where it is content."""
    found = []
    for word in text.split():
        name, _, kind = word.rstrip("*").partition(":")
        found.append(Column(name, kind or "text", word.endswith("*")))
    return tuple(found)


_BEGIN = "session_id seq:number id parent_id agent_id agent_name"
_SPAN = "init_timestamp:time end_timestamp:time duration_s:real"
_CALL = (
    "provider model prompt_tokens:number completion_tokens:number cache_read_tokens:number cache_write_tokens:number "
    "reasoning_tokens:number cost:real cost_source"
)
COLUMNS = {
    "events": _columns(
        f"{_BEGIN} kind name {_SPAN} {_CALL} last_message* completion* params* returns* logs* code details* "
        "trigger_event_id"
    ),
    "llms": _columns(f"{_BEGIN} {_SPAN} thread_id {_CALL} price_source prompt* completion* params* returns* extra*"),
    "tools": _columns(f"{_BEGIN} name {_SPAN} params* returns* logs* extra*"),
    "actions": _columns(f"{_BEGIN} kind action_type {_SPAN} params* returns* logs* screenshot* extra*"),
    "errors": _columns(
        f"{_BEGIN} timestamp:time error_type code details* logs* trigger_event_id trigger_event_type params* extra*"
    ),
    "sessions": _columns(
        "session_id init_timestamp:time end_timestamp:time duration_s:real end_state end_state_reason* status tags "
        "events:number llms:number tools:number actions:number apis:number errors:number prompt_tokens:number "
        "completion_tokens:number cost:real unpriced:number host* video*"
    ),
}


def columns(choice: Choice) -> tuple[Column, ...]:
    """The columns of the table that is chosen."""
    return tuple(column for column in COLUMNS[choice.table] if choice.content or not column.content)


def rows(source: Source, sessions: Iterator[SessionHead], choice: Choice, progress: Progress) -> Iterator[Cells]:
    """Its rows: session by session, in the order of commits."""
    wanted = columns(choice)
    ahead = source.messages.ahead if choice.content and choice.table in ("events", "llms") else None
    cells: Callable[[Source, SessionHead, sqlite3.Row], Cells] | None = None
    for head in sessions:
        if choice.table == "sessions":
            yield from _session(source, head, wanted)
            continue
        of_table = choice.table != "events"
        for event in source.by_kind(head, v2.group, ahead)(choice.table) if of_table else source.events(head, ahead):
            cells = cells or _reader(wanted)
            yield cells(source, head, event)
            progress.event()


def _session(source: Source, head: SessionHead, wanted: tuple[Column, ...]) -> Iterator[Cells]:
    try:
        found = summary(source.connection, head.id)
    except NoSuchSession:  # erased in between
        return
    hosts = dict.fromkeys(str(owner["host"]) for owner in head.owners if owner["host"] is not None)
    values: dict[str, object] = {
        **found.to_json(), "init_timestamp": found.init_us, "end_timestamp": found.end_us,
        "tags": head.row["tags"], "host": ", ".join(hosts) or None, "video": head.row["video"],
    }  # fmt: skip
    yield tuple([values[column.name] for column in wanted])


def _reader(wanted: tuple[Column, ...]) -> Callable[[Source, SessionHead, sqlite3.Row], Cells]:
    """What makes the cells of an event: those that stand in its row are taken out of it all at once."""
    stand = [column.name if column.name not in _READ else "seq" for column in wanted]
    taken = itemgetter(*stand)
    made = [(place, _READ[column.name]) for place, column in enumerate(wanted) if column.name in _READ]
    payloads = [place for place, column in enumerate(wanted) if column.content and column.name not in _READ]

    def cells(source: Source, head: SessionHead, event: sqlite3.Row) -> Cells:
        values = list(taken(event))
        for place, read in made:
            values[place] = read(source, head, event)
        for place in payloads:
            if values[place] is not None:
                values[place] = plain(source.texts.raw(values[place]))
        return tuple(values)

    return cells


def typed(value: object, kind: str) -> object:
    """A value of the kind; another program may have put anything there."""
    if value is None:
        return None
    if kind == "text":
        return value if isinstance(value, str) else str(value)
    if kind == "real":
        return float(value) if isinstance(value, (int, float)) else None
    return value if isinstance(value, int) else None


def _duration(_source: Source, _head: SessionHead, event: sqlite3.Row) -> object:
    return None if event["end_us"] is None else (event["end_us"] - event["init_us"]) / 1e6


def _cost(_source: Source, _head: SessionHead, event: sqlite3.Row) -> object:
    return None if event["cost_pusd"] is None else event["cost_pusd"] / 1e12


def _price_source(source: Source, _head: SessionHead, event: sqlite3.Row) -> object:
    price = source.price(event["price"]) if event["price"] is not None else None
    return None if price is None else price["source"]


def _prompt(source: Source, _head: SessionHead, event: sqlite3.Row) -> object:
    if event["prompt_form"] is None:
        return None
    if event["prompt_form"] == 0:
        return f"[{source.messages.prompt(event['prompt']).text}]"
    return _last_message(source, _head, event)


def _last_message(source: Source, _head: SessionHead, event: sqlite3.Row) -> object:
    node = source.messages.node(event["prompt"])
    return None if node is None else plain(node.text)


def _completion(source: Source, _head: SessionHead, event: sqlite3.Row) -> object:
    node = source.messages.node(event["completion"])
    if node is None or event["completion_form"] != 2:
        return None if node is None else plain(node.text)
    said = loaded(node.text)
    return said.get("content") if isinstance(said, dict) else None


_READ: dict[str, Callable[[Source, SessionHead, sqlite3.Row], object]] = {
    "session_id": lambda _source, head, _event: head.id,
    "id": lambda _source, _head, event: uuid_text(event["id"]),
    "parent_id": lambda _source, _head, event: uuid_text(event["parent"]),
    "agent_id": lambda _source, head, event: head.agent(event["agent"])[0],
    "agent_name": lambda _source, head, event: head.agent(event["agent"])[1],
    "init_timestamp": lambda _source, _head, event: event["init_us"],
    "timestamp": lambda _source, _head, event: event["init_us"],
    "end_timestamp": lambda _source, _head, event: event["end_us"],
    "duration_s": _duration,
    "cost": _cost,
    "price_source": _price_source,
    "prompt": _prompt,
    "last_message": _last_message,
    "completion": _completion,
    "action_type": lambda _source, _head, event: event["name"],
    "error_type": lambda _source, _head, event: event["name"],
    "trigger_event_id": lambda _source, _head, event: uuid_text(event["trigger_id"]),
    "trigger_event_type": lambda _source, _head, event: event["trigger_kind"],
}
