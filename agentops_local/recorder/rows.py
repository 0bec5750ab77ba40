"""An event as the values of its columns."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Callable
from decimal import Decimal
from uuid import UUID

from agentops_local import clock
from agentops_local.enums import EventType
from agentops_local.event import ErrorEvent, Event, LLMEvent
from agentops_local.log import logger
from agentops_local.recorder.payload import Encoded, Recipe, cut
from agentops_local.serialize import MEDIA_LIMIT, dump

Value = None | str | int | bytes | Recipe
Redact = Callable[[object], object] | None

_LLM, _ERROR = EventType.LLM.value, EventType.ERROR.value  # an enum's value is looked up in 0.2 µs
# So that sums over millions of events stay within SQLite's 64 bits; nothing real is larger.
_MOST_TOKENS = 10**12
_MOST_PUSD = 10**17  # 100,000 US dollars for one event
_PUSD = Decimal(10) ** 12

# What every statement begins with; the first three are filled in when the rows that they name are known.
HEAD = ("session", "owner", "agent", "id", "parent", "kind", "init_us", "end_us", "name", "params", "returns", "logs")
COMMON = HEAD
LLM = (
    *HEAD, "provider", "model", "prompt_form", "completion_form", "prompt_tokens", "completion_tokens",
    "cache_read_tokens", "cache_write_tokens", "reasoning_tokens", "cost_pusd", "cost_source", "price", "thread_id",
    "prompt", "completion",
)  # fmt: skip
ACTION = (*HEAD, "screenshot")
ERROR = (*HEAD, "code", "details", "trigger_id", "trigger_kind")


def insert(columns: tuple[str, ...]) -> str:
    """The statement that stores an event; an id the session has already is left as it is, so a retry is harmless."""
    marks = ", ".join("?" * len(columns))
    return f"INSERT OR IGNORE INTO events ({', '.join(columns)}) VALUES ({marks})"  # noqa: S608 - our own names


INSERT_COMMON, INSERT_LLM, INSERT_ACTION, INSERT_ERROR = map(insert, (COMMON, LLM, ACTION, ERROR))


def payload(value: object, redact: Redact) -> str | Recipe | None:
    """A value as a payload; None stays NULL."""
    if value is None:
        return None
    return cut(value.raw if type(value) is Encoded else dump(value, redact=redact))


def text(value: object, redact: Redact) -> str | None:
    """A value for a column of plain text: as it is if it is text, else its JSON."""
    if value is None:
        return None
    if type(value) is str and redact is None and value.isascii() and "\0" not in value and len(value) < 4096:
        return value
    raw = dump(value, redact=redact)
    if raw[:1] == b'"':
        return str(json.loads(raw))
    return raw.decode()


def words(value: object) -> str:
    """The text of a value, whatever it is: its own, or its JSON where it has none to give."""
    try:
        value = str(value)
    except Exception:  # noqa: BLE001, S110 - what a user's __str__ raises must not cost the event
        pass
    return text(value, None) or ""


def count(value: object) -> int | None:
    """A number of tokens; None if it is none."""
    if value is None:
        return None
    if type(value) is int and 0 <= value <= _MOST_TOKENS:
        return value
    try:
        number = int(value) if isinstance(value, float) else int(words(value))
    except (ValueError, OverflowError):
        number = -1
    if 0 <= number <= _MOST_TOKENS:
        return number
    logger.warning("agentops_local: %s is no number of tokens; it is left out", _shown(value))
    return None


def money(value: object) -> int | None:
    """An amount in US dollars as an integer of 1e-12 dollars, rounded half to even; None if it is none.

    Accepts int, float (by its shortest text, so 0.1 is a tenth), Decimal and text.
    """
    if value is None:
        return None
    try:
        amount = value if isinstance(value, Decimal) else Decimal(words(value))
        scaled = int((amount * _PUSD).to_integral_value())
    except (ArithmeticError, ValueError):
        scaled = _MOST_PUSD + 1
    if abs(scaled) <= _MOST_PUSD:
        return scaled
    logger.warning("agentops_local: %s is no cost in US dollars; the call counts as unpriced", _shown(value))
    return None


def _shown(value: object) -> str:
    """A value in a warning: short, and never a failure of its own."""
    return dump(value, 200).decode()


def uuid_bytes(value: object) -> bytes | None:
    """The 16 bytes of a UUID, given as such or as text; None if it is none."""
    if type(value) is UUID:
        return value.bytes
    try:
        return UUID(words(value)).bytes
    except ValueError:
        return None


def microseconds(stamp: object, otherwise: int | None) -> int | None:
    """A time of an event; `otherwise` if it is none, with a warning."""
    if stamp is None:
        return otherwise
    us = clock.parse_us(stamp)
    if us is None:
        logger.warning("agentops_local: %s is no time (use ISO 8601, as 2026-01-31T12:00:00+00:00)", _shown(stamp))
    return otherwise if us is None else us


def common_row(event: Event, parent: bytes | None, redact: Redact) -> list[Value]:
    """The values of the columns `HEAD`."""
    if isinstance(event, LLMEvent):
        kind = _LLM
    elif isinstance(event, ErrorEvent):
        kind = _ERROR
    else:
        kind = event.event_type.value if isinstance(event.event_type, EventType) else words(event.event_type)
    end = microseconds(event.end_timestamp, None)
    begin = microseconds(event.init_timestamp, None)
    return [
        0, 0, None,
        uuid_bytes(event.id) or clock.new_id_bytes(),
        parent,
        kind,
        (end or clock.now_us()) if begin is None else begin,
        end,
        None,
        payload(event.params, redact),
        payload(event.returns, redact),
        payload(getattr(event, "logs", None), redact),
    ]  # fmt: skip


def screenshot(value: object, redact: Redact) -> str | Recipe | None:
    """A screenshot: text (URL, base64), or bytes taken for a PNG and turned into base64."""
    if isinstance(value, (bytes, bytearray)):
        value = "data:image/png;base64," + b64encode(value).decode()
    return None if value is None else cut(dump(value, MEDIA_LIMIT, redact))
