"""What travels: rows of the database as bodies of the AgentOps REST API, version 2, and the way back.

The server converts a whole batch before it stores any of it, so one value of a wrong type costs the batch (500), and
one that its store refuses costs the table's part of it (400). What is made here is of the types that it takes, whatever
the program had recorded:

| kind | text, or JSON text of what is none | text or object, else JSON text |
|---|---|---|
| llms | completion and prompt that are no chat messages | params, returns |
| tools | name (never null), logs | params, returns |
| actions, and every kind without a table of its own | action_type, logs, params, returns | |
| errors | error_type, code, details, logs | |

A body is the same whenever it is made, of the same rows and under the same policy. That is why this module encodes by
itself and not with `agentops_local.serialize`, which cuts by the clock: after a lost answer an error is recognised by
what was sent.

The way back, what the server exports compared with what it was sent, is `agentops_sync.comparison`.
"""

from __future__ import annotations

import json
import math
import re
import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any, Union, cast
from uuid import UUID

from agentops_local.analytics.totals import dollars
from agentops_local.errors import AgentOpsLocalError, WrongUse
from agentops_sync.comparison import drift, error_key, error_key_of_row, session_drift

if TYPE_CHECKING:
    from agentops_sync.policy import Policy

__all__ = [
    "JSON", "KINDS", "Ended", "SessionGone", "Wire", "agent_body", "bodies", "drift", "encode", "error_key",
    "error_key_of_row", "events", "kind_of", "rows", "session_body", "session_drift",
]  # fmt: skip

JSON = Union[None, bool, int, float, str, list["JSON"], dict[str, "JSON"]]  # noqa: UP007 - it names itself
AgentIds = Mapping[int, str] | Callable[[int], str]

KINDS = ("llms", "tools", "actions", "errors")
END_STATES = ("Success", "Fail", "Indeterminate")
MOST_TOKENS = 2**31 - 1  # the server's columns are of 32 bits

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_LATEST_US = (datetime.max.replace(tzinfo=timezone.utc) - _EPOCH) // timedelta(microseconds=1)
_EARLIEST_US = (datetime.min.replace(tzinfo=timezone.utc) - _EPOCH) // timedelta(microseconds=1)
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")

# By row number: the list of numbers is the outer loop. A prompt that is a list (form 0) is put together by the view; a
# prompt or completion that is one value stands in one message as JSON, which tells the text "1" from the number 1. An
# event without an agent gets the first of its session: the server would make up one for it.
EVENTS = """
SELECT p.*,
       CASE p.prompt_form WHEN 0 THEN (SELECT l.prompt FROM llms l WHERE l.seq = p.seq)
                          WHEN 1 THEN (SELECT t.text FROM message_texts t WHERE t.id = p.prompt) END AS prompt_json,
       (SELECT t.text FROM message_texts t WHERE t.id = p.completion) AS completion_json,
       (SELECT coalesce(e.agent, (SELECT min(a.seq) FROM agents a WHERE a.session = e.session))
        FROM events e WHERE e.seq = p.seq) AS agent
FROM payloads p WHERE p.seq IN (SELECT value FROM json_each(?)) ORDER BY p.seq
"""
# The host environment is the lasting part with the values of the moment merged over it.
SESSION = """
SELECT s.id, s.init_us, s.end_us, s.end_state, s.end_state_reason, s.tags, s.video,
       json_patch(v.host_env, coalesce(s.moment, '{}')) AS host_env
FROM sessions s LEFT JOIN environments v ON v.id = s.environment WHERE s.seq = ? AND s.id <> ''
"""


class SessionGone(AgentOpsLocalError):
    """The session is no longer in the database: `agentops-local rm` or `prune` has taken it."""


@dataclass(frozen=True, slots=True)
class Wire:
    """An event as it travels.

    Attributes:
        seq: its row, which is its place in the order of commits.
        id: its id, UUID text; the server drops that of an error.
        body: what goes into the list `events` of `create_events`.
        raw: `encode(body)`. It is made once: encoding takes longer than everything else that is done to an event here.
    """

    seq: int
    id: str
    body: dict[str, JSON]
    raw: bytes

    @property
    def size(self) -> int:
        """Its bytes."""
        return len(self.raw)


@dataclass(frozen=True, slots=True)
class Ended:
    """How a session ended, where its row does not say so: its process died, or the end is to be told later.

    Attributes:
        end_us: when, in microseconds since the epoch; None: it has not ended.
        state: 'Success', 'Fail' or 'Indeterminate'.
        reason: why, or None.
    """

    end_us: int | None
    state: str = "Indeterminate"
    reason: str | None = None


# Bodies ------------------------------------------------------------------------------------------------------------


def kind_of(kind: str) -> str:
    """The server's table for an event of this kind: 'llms', 'tools', 'errors'; 'actions' for every other."""
    return kind if kind in KINDS else "actions"


def encode(body: object) -> bytes:
    """Strict JSON in UTF-8, as it is sent; of a body that was made here."""
    return json.dumps(body, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


def events(
    connection: sqlite3.Connection, kind: str, seqs: Sequence[int], agent_ids: AgentIds, policy: Policy
) -> list[Wire]:
    """The bodies of events for `create_events`, in the order of their commits. Rows that are gone are left out.

    Args:
        connection: for reading, as `agentops_local.analytics.reading.open_reader` gives it.
        kind: the server's table, as `kind_of` says it; events for another are left out.
        seqs: the rows, in any order.
        agent_ids: the id that travels for a row of `agents`. An agent it does not know is a KeyError: left out, the
            server would make one up.
        policy: what may travel.

    Raises:
        WrongUse: if nothing may.
    """
    return bodies(rows(connection, seqs), kind, agent_ids, policy)


def rows(connection: sqlite3.Connection, seqs: Sequence[int]) -> list[sqlite3.Row]:
    """What `bodies` makes events of. Apart from it, so that nobody waits for the connection while they are encoded."""
    cursor = connection.cursor()
    cursor.row_factory = sqlite3.Row
    return cursor.execute(EVENTS, (json.dumps(list(seqs)),)).fetchall()


def bodies(found: Iterable[sqlite3.Row], kind: str, agent_ids: AgentIds, policy: Policy) -> list[Wire]:
    """The bodies of rows, as `events` gives them."""
    _may_travel(policy)
    return [_event(row, agent_ids, policy) for row in found if kind_of(row["kind"]) == kind]


def session_body(
    connection: sqlite3.Connection, session_seq: int, *, ended: Ended | None, policy: Policy
) -> dict[str, JSON]:
    """The value of `session` for `create_session` and `update_session`: every column, for the server empties those that
    are missing.

    Args:
        session_seq: the row in `sessions`.
        ended: instead of what the row says of the end; None: what the row says.

    Raises:
        SessionGone: if there is no such row any more.
        WrongUse: if nothing may travel.
    """
    _may_travel(policy)
    cursor = connection.cursor()
    cursor.row_factory = sqlite3.Row
    row = cursor.execute(SESSION, (session_seq,)).fetchone()
    if row is None:
        raise SessionGone(f"session {session_seq} has been removed from the database: there is nothing to upload")
    end = Ended(row["end_us"], row["end_state"], row["end_state_reason"]) if ended is None else ended
    tags = _value(row["tags"])
    host_env = policy.payload(_value(row["host_env"]))
    return _guarded(
        {
            "session_id": row["id"],
            "init_timestamp": _iso(row["init_us"]),
            "end_timestamp": None if end.end_us is None else _iso(end.end_us),
            "tags": [_text(policy.label(tag)) for tag in tags] if isinstance(tags, list) else [],
            "end_state": end.state if end.state in END_STATES else "Indeterminate",
            "end_state_reason": _text(policy.payload(end.reason)),
            "video": _url(policy.payload(row["video"])),
            "host_env": host_env if isinstance(host_env, dict) else None,
        }
    )


def agent_body(id: str, name: str, policy: Policy | None = None) -> dict[str, JSON]:
    """The body of `create_agent`.

    Args:
        id: as it travels: unique among all sessions of the server, for an agent moves to the session that says its id.
    """
    return _guarded({"id": id, "name": _text(policy.label(name) if policy else name) or ""})


def _may_travel(policy: Policy) -> None:
    if not policy.uploads:
        raise WrongUse("the upload policy of this session is 'never': nothing of it is made ready to travel")


def _event(row: sqlite3.Row, agent_ids: AgentIds, policy: Policy) -> Wire:
    begin = row["init_us"]
    agent: int | None = row["agent"]
    agent_id = None if agent is None else agent_ids(agent) if callable(agent_ids) else agent_ids[agent]
    body = {
        "id": row["id"],
        "event_type": row["kind"],
        "init_timestamp": _iso(begin),
        "end_timestamp": _iso(begin if row["end_us"] is None else row["end_us"]),
        "agent_id": agent_id,
        **_OWN[kind_of(row["kind"])](row, policy),
    }
    return Wire(row["seq"], row["id"], *_encoded(body))


def _llm(row: sqlite3.Row, policy: Policy) -> dict[str, object]:
    completion = _value(row["completion_json"])
    if row["completion_form"] == 2 and isinstance(completion, dict):
        completion = completion.get("content")
    prompt = policy.payload(_value(row["prompt_json"]))
    completion = policy.payload(completion)
    return {
        "prompt": prompt if _is_chat(prompt) else _text(prompt),
        "completion": completion if _is_message(completion) else _text(completion),
        "model": _text(policy.label(row["model"])),
        "prompt_tokens": _tokens(row["prompt_tokens"]),
        "completion_tokens": _tokens(row["completion_tokens"]),
        "cost": None if row["cost_pusd"] is None else f"{dollars(row['cost_pusd']).normalize():f}",
        "params": _text_or_object(policy.payload(_value(row["params"]))),
        "returns": _text_or_object(policy.payload(_value(row["returns"]))),
        "thread_id": _uuid(row["thread_id"]),
    }


def _tool(row: sqlite3.Row, policy: Policy) -> dict[str, object]:
    return {
        "name": _text(policy.label(row["name"])) or "",
        "params": _text_or_object(policy.payload(_value(row["params"]))),
        "returns": _text_or_object(policy.payload(_value(row["returns"]))),
        "logs": _text(policy.payload(_value(row["logs"]))),
    }


def _action(row: sqlite3.Row, policy: Policy) -> dict[str, object]:
    return {
        "action_type": _text(policy.label(row["name"])),
        "params": _text(policy.payload(_value(row["params"]))),
        "returns": _text(policy.payload(_value(row["returns"]))),
        "logs": _text(policy.payload(_value(row["logs"]))),
        "screenshot": _url(policy.payload(_value(row["screenshot"]))),
    }


def _error(row: sqlite3.Row, policy: Policy) -> dict[str, object]:
    trigger_kind = row["trigger_kind"]
    return {
        "timestamp": _iso(row["init_us"]),
        "trigger_event_id": _uuid(row["trigger_id"]),
        "trigger_event_type": trigger_kind if trigger_kind in ("actions", "llms", "tools") else None,
        "error_type": _text(policy.label(row["name"])),
        "code": _text(policy.label(row["code"])),
        "details": _text(policy.payload(_value(row["details"]))),
        "logs": _text(policy.payload(_value(row["logs"]))),
    }


_OWN: dict[str, Callable[[sqlite3.Row, Any], dict[str, object]]] = {
    "llms": _llm,
    "tools": _tool,
    "actions": _action,
    "errors": _error,
}


# Values ------------------------------------------------------------------------------------------------------------


def _value(text: str | None) -> Any:
    """The value of a payload; the text itself if it is no JSON."""
    if text is None:
        return None
    try:
        return json.loads(text, parse_constant=str, parse_float=_finite)
    except (ValueError, RecursionError):
        return text


def _finite(digits: str) -> float | str:
    number = float(digits)
    return number if math.isfinite(number) else digits  # 1e999


def _text(value: object) -> str | None:
    """A value where the server takes text only."""
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _text_or_object(value: object) -> object:
    """A value where it takes an object as well; a list, a number or a truth value would cost the batch."""
    return value if isinstance(value, dict) else _text(value)


def _is_message(value: object) -> bool:
    return isinstance(value, dict) and isinstance(value.get("role"), str)


def _is_chat(value: object) -> bool:
    return isinstance(value, list) and value != [] and all(map(_is_message, value))


def _tokens(count: object) -> int:
    """A number of tokens. For 0 the server counts by itself: there is no way to say that there were none."""
    return min(max(count, 0), MOST_TOKENS) if isinstance(count, int) else 0


def _url(value: object) -> str | None:
    """A link; anything else the server would take for an image and decode."""
    return value if isinstance(value, str) and value.startswith(("http://", "https://")) else None


def _uuid(value: object) -> str | None:
    try:
        return str(UUID(str(value)))
    except ValueError:
        return None


def _iso(us: int) -> str:
    """ISO 8601 with a year of four digits, always: `strftime` writes year 1 as "1", which is no time to the server."""
    inside = min(max(us, _EARLIEST_US), _LATEST_US)
    return (_EPOCH + timedelta(microseconds=inside)).isoformat(timespec="microseconds")


def _guarded(body: dict[str, object]) -> dict[str, JSON]:
    """The one guard of the wire: no NUL and no lone surrogate leaves, in a key or a text. The recorder has replaced
    them, but other programs may write into the database, and a single one makes the server's store refuse a batch."""
    return _encoded(body)[0]


def _encoded(body: dict[str, object]) -> tuple[dict[str, JSON], bytes]:
    """A body past the guard, and its encoding."""
    try:
        raw = encode(body)
        if b"\\u0000" not in raw:
            return cast("dict[str, JSON]", body), raw
    except ValueError:  # a surrogate, or a number that is none
        pass
    clean = cast("dict[str, JSON]", _cleaned(body))
    return clean, encode(clean)


def _cleaned(value: object) -> object:
    if isinstance(value, str):
        return _UNSTORABLE.sub("\ufffd", value)
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, list):
        return [_cleaned(item) for item in value]
    if isinstance(value, dict):
        clean: dict[str, object] = {}
        for key, item in value.items():
            name = text = _UNSTORABLE.sub("\ufffd", str(key))
            number = len(clean)
            while name in clean:  # two keys that differed in what is replaced
                name = f"{text} ({(number := number + 1)})"
            clean[name] = _cleaned(item)
        return clean
    return value
