"""What the server gives back, compared with what it was sent.

An export holds the same values in another dress: times without the trailing zeros of their fraction, objects as JSON
text or text as objects, costs as numbers, prompts in an envelope. So values are compared, never texts: the first
uploader that compared times as text stored errors twice.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta, timezone
from decimal import Decimal, InvalidOperation
from hashlib import blake2b
from typing import Any, NamedTuple
from uuid import UUID

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
# Not datetime.fromisoformat: that of Python 3.10 knows neither Z nor a fraction of two digits.
_TIME = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[Tt ](\d\d):(\d\d):(\d\d)(?:[.,](\d+))? ?(?:([+-])(\d\d)(?::?(\d\d)(?::?(\d\d))?)?|[Zz])?"
)

Body = Mapping[str, Any]


class ErrorKey(NamedTuple):
    """What tells an error from every other of its session; the server keeps no id of it. The recorder sees to it that
    no two errors of a session have the same time.

    Attributes:
        at: microseconds since the epoch; of a time that cannot be read, its text.
        details, logs: BLAKE2b, 16 bytes in hexadecimal, of the text; None where there is none.
    """

    at: int | str | None
    trigger_id: str | None
    trigger_type: str | None
    error_type: str | None
    code: str | None
    details: str | None
    logs: str | None


def error_key(body: Body) -> ErrorKey:
    """The key of an error that was made by `wire.events`. It changes with the policy: an error that may have been sent
    under another one is found by the key it had then."""
    at = instant(body.get("timestamp"))
    return ErrorKey(
        at if at is not None else _plain(body.get("timestamp")),
        _plain_uuid(body.get("trigger_event_id")),
        _plain(body.get("trigger_event_type")),
        _plain(body.get("error_type")),
        _plain(body.get("code")),
        _hash(body.get("details")),
        _hash(body.get("logs")),
    )


def error_key_of_row(row: Body) -> ErrorKey:
    """The key of an error in the list `errors` of an export: equal to that of the body if and only if it is the same
    error, however the server writes its time."""
    return error_key(row)  # the export calls its columns as the request does


def drift(kind: str, body: Body, row: Body) -> list[str]:
    """In which fields an exported row differs from the body it was made of.

    What the server fills in is no drift: token counts that were sent as 0, a cost or an agent that was sent as null.

    Args:
        kind: 'llms', 'tools', 'actions' or 'errors'.
        body: as `wire.events` made it.
        row: from the list `kind` of the export.

    Returns:
        The names of the fields, in the order of the table; none for a row that is what was sent.
    """
    return [name for name, same in _FIELDS[kind].items() if not same(body.get(name), row.get(name))]


def session_drift(body: Body, row: Body) -> list[str]:
    """In which fields the session of an export differs from what `wire.session_body` made, as `drift` does."""
    got = {**row, "session_id": row.get("session_id", row.get("id"))}
    return [name for name, same in _SESSION.items() if not same(body.get(name), got.get(name))]


def instant(stamp: object) -> int | None:
    """Microseconds since the epoch of a time as PostgreSQL or we write it; without a zone it is UTC. Digits beyond the
    sixth of the fraction are dropped. None for what is no time."""
    found = _TIME.fullmatch(stamp.strip()) if isinstance(stamp, str) else None
    if found is None:
        return None
    *whole, fraction, sign, hours, minutes, seconds = found.groups()
    try:
        at = datetime(*map(int, whole), tzinfo=timezone.utc)  # type: ignore[misc, arg-type]  # six numbers
    except ValueError:
        return None
    zone = timedelta(hours=int(hours or 0), minutes=int(minutes or 0), seconds=int(seconds or 0))
    since = (at - _EPOCH) + (zone if sign == "-" else -zone)
    return since // timedelta(microseconds=1) + int(((fraction or "") + "000000")[:6])


# Sameness ----------------------------------------------------------------------------------------------------------


def _same_text(sent: object, got: object) -> bool:
    return _plain(sent) == _plain(got)


def _same_uuid(sent: object, got: object) -> bool:
    return _plain_uuid(sent) == _plain_uuid(got)


def _same_agent(sent: object, got: object) -> bool:
    return sent is None or _same_uuid(sent, got)


def _same_time(sent: object, got: object) -> bool:
    first, second = instant(sent), instant(got)
    return first == second and (first is not None or _plain(sent) == _plain(got))


def _same_count(sent: object, got: object) -> bool:
    return not sent or sent == got


def _same_cost(sent: object, got: object) -> bool:
    if sent is None:
        return True
    try:
        # By the float as well: a server that answers in JSON numbers has no more than its 17 digits.
        return Decimal(str(sent)) == Decimal(str(got)) or float(str(sent)) == float(str(got))
    except (InvalidOperation, ValueError):
        return False


def _same_value(sent: object, got: object) -> bool:
    """The same value, where one of the two may be its JSON text."""
    return _equal(sent, got) or _equal(_read(sent), _read(got))


def _same_chat(sent: object, got: object) -> bool:
    """A prompt or a completion, which is exported in an envelope that says whether it is text; null comes as text."""
    if isinstance(got, dict) and "role" not in got:
        kept = {"string": "string", "chatml": "messages"}.get(str(got.get("type")))
        got = got.get(kept) if kept in got else got
    return _same_value(sent, got)


def _same_tags(sent: object, got: object) -> bool:
    return _equal(_read(sent) or [], _read(got) or [])


def _equal(sent: object, got: object) -> bool:
    """Equality as JSON has it: 1 is 1.0, and not true. A number may have passed through 64 bits."""
    if isinstance(sent, bool) or isinstance(got, bool):
        return sent is got
    if isinstance(sent, int | float) and isinstance(got, int | float):
        try:
            return sent == got or float(sent) == float(got)
        except OverflowError:
            return False
    if isinstance(sent, dict) and isinstance(got, dict):
        return sent.keys() == got.keys() and all(_equal(item, got[key]) for key, item in sent.items())
    if isinstance(sent, list) and isinstance(got, list):
        return len(sent) == len(got) and all(map(_equal, sent, got))
    return sent == got


def _read(value: object) -> object:
    try:
        return json.loads(value) if isinstance(value, str) else value
    except (ValueError, RecursionError):
        return value


def _plain(value: object) -> str | None:
    """A text, or the JSON text of what is none."""
    return value if value is None or isinstance(value, str) else json.dumps(value, sort_keys=True)


def _plain_uuid(value: object) -> str | None:
    try:
        return None if value is None else str(UUID(str(value)))
    except ValueError:
        return _plain(value)


def _hash(value: object) -> str | None:
    text = _plain(value)
    return None if text is None else blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


_Same = Callable[[object, object], bool]
_COMMON: dict[str, _Same] = {
    "id": _same_uuid,
    "agent_id": _same_agent,
    "init_timestamp": _same_time,
    "end_timestamp": _same_time,
}
_FIELDS: dict[str, dict[str, _Same]] = {
    "llms": {
        **_COMMON,
        "thread_id": _same_uuid,
        "prompt": _same_chat,
        "completion": _same_chat,
        "model": _same_text,
        "prompt_tokens": _same_count,
        "completion_tokens": _same_count,
        "cost": _same_cost,
        "params": _same_value,
        "returns": _same_value,
    },
    "tools": {**_COMMON, "name": _same_text, "logs": _same_value, "params": _same_value, "returns": _same_value},
    "actions": {
        **_COMMON,
        "action_type": _same_text,
        "logs": _same_value,
        "screenshot": _same_text,
        "params": _same_value,
        "returns": _same_value,
    },
    "errors": {
        "timestamp": _same_time,
        "trigger_event_id": _same_uuid,
        "trigger_event_type": _same_text,
        "error_type": _same_text,
        "code": _same_text,
        "details": _same_text,
        "logs": _same_text,
    },
}
_SESSION: dict[str, _Same] = {
    "session_id": _same_uuid,
    "init_timestamp": _same_time,
    "end_timestamp": _same_time,
    "tags": _same_tags,
    "end_state": _same_text,
    "end_state_reason": _same_text,
    "video": _same_text,
    "host_env": _same_value,
}
