"""The sessions of a database: found by the beginning of their id, listed newest first, summed up.

A session is summed up over its own events alone, so a list costs what is listed and not what is stored.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import NamedTuple

from agentops_local.analytics import ratings
from agentops_local.analytics.owners import Status, judge, owners_of
from agentops_local.analytics.reading import added, exact_sum, iso
from agentops_local.analytics.totals import dollars
from agentops_local.errors import AgentOpsLocalError, WrongUse

KINDS = ("llms", "tools", "actions", "apis", "errors")
STATES = ("success", "fail", "indeterminate", "running", "died", "unknown")
LAST = "last"
MOST_CANDIDATES = 10

_SHORTEST = 8  # characters of an id that are shown at least
_PAGE = 100
_COLUMNS = "seq, id, init_us, end_us, auto_ended, end_state, end_state_reason, tags"

# The tags that are asked for come as a JSON array; each of them must be among the session's.
_PAGED = f"""
SELECT {_COLUMNS} FROM sessions s
WHERE id <> '' AND seq < :before
  AND NOT EXISTS (SELECT 1 FROM json_each(:tags) asked
                  WHERE asked.value NOT IN (SELECT has.value FROM json_each(s.tags) has))
{{scores}}ORDER BY seq DESC LIMIT :size
"""  # noqa: S608 - our own text
PAGE = _PAGED.format(scores="")
SCORED_PAGE = _PAGED.format(scores=ratings.PICKED.lstrip("\n"))
ONE = f"SELECT {_COLUMNS} FROM sessions WHERE id = ? AND id <> ''"  # noqa: S608 - our own text
COUNTS = f"""
SELECT count(*) AS events, {", ".join(f"count(CASE kind WHEN '{kind}' THEN 1 END) AS {kind}" for kind in KINDS)},
       {exact_sum("prompt_tokens")}, {exact_sum("completion_tokens")}, {exact_sum("cost_pusd")},
       count(CASE WHEN kind = 'llms' AND cost_pusd IS NULL THEN 1 END) AS unpriced,
       max(seq) AS last_seq, max(coalesce(end_us, init_us)) AS last_us
FROM events WHERE session = ?
"""  # noqa: S608 - our own text
_EVENT = "SELECT kind, name, model, init_us, end_us FROM events WHERE seq = ?"
_NEWEST = "SELECT id FROM sessions WHERE id <> '' ORDER BY seq DESC LIMIT 1"
_BEGINNING = "SELECT id FROM sessions WHERE id >= :beginning AND id < :beginning || 'g' ORDER BY id LIMIT :most"
_NEIGHBOURS = """
SELECT id FROM (SELECT id FROM sessions WHERE id < :id AND id <> '' ORDER BY id DESC LIMIT 1)
UNION ALL SELECT id FROM (SELECT id FROM sessions WHERE id > :id ORDER BY id LIMIT 1)
"""


class Ambiguous(WrongUse):
    """The beginning of an id fits several sessions."""


class NoSuchSession(AgentOpsLocalError):
    """There is no such session."""


class LastEvent(NamedTuple):
    """The event of a session that was committed last."""

    kind: str
    name: str | None
    at_us: int


@dataclass(frozen=True)
class Counts:
    """What a session's events amount to.

    Attributes:
        events: all of them, those of other kinds than the five included.
        cost: US dollars over the priced calls, exactly.
        unpriced: LLM calls without a price.
        last_seq, last_us: the last event committed, and the latest time of any; None without events.
    """

    events: int
    kinds: dict[str, int]
    prompt_tokens: int
    completion_tokens: int
    cost: Decimal
    unpriced: int
    last_seq: int | None
    last_us: int | None


@dataclass(frozen=True)
class Summary:
    """A session and what it amounts to.

    Attributes:
        seq: its row.
        auto_ended: whether it ended with its last process, not by a word of the program.
        last_seen_us: when anything was last heard of it.
        scores: the average of each name, over thumbs (1 and 0) and numbers of it and its events.
    """

    seq: int
    id: str
    init_us: int
    end_us: int | None
    auto_ended: bool
    end_state: str
    end_state_reason: str | None
    tags: list[str]
    counts: Counts
    status: Status
    last_seen_us: int
    last_event: LastEvent | None
    scores: dict[str, float]

    @property
    def state(self) -> str:
        """Its state in one word: an end state, or the status of a session that nobody ended."""
        return state_in_a_word(self.end_state, self.status)

    @property
    def duration_s(self) -> float:
        """Seconds to its end or, where nobody ended it, to the end of its events."""
        end = self.end_us if self.end_us is not None else self.counts.last_us
        return ((self.init_us if end is None else end) - self.init_us) / 1e6

    def to_json(self) -> dict[str, object]:
        """Everything, with times in ISO 8601 and the cost in dollars."""
        counts, last = self.counts, self.last_event
        return {
            "session_id": self.id,
            "init_timestamp": iso(self.init_us),
            "end_timestamp": iso(self.end_us),
            "end_state": self.end_state,
            "end_state_reason": self.end_state_reason,
            "status": self.status.value,
            "last_seen": iso(self.last_seen_us),
            "last_event": last and {"kind": last.kind, "name": last.name, "timestamp": iso(last.at_us)},
            "tags": self.tags,
            "events": counts.events,
            **counts.kinds,
            "prompt_tokens": counts.prompt_tokens,
            "completion_tokens": counts.completion_tokens,
            "cost": float(counts.cost),
            "unpriced": counts.unpriced,
            "duration_s": self.duration_s,
            "scores": self.scores,
        }


def list_sessions(
    connection: sqlite3.Connection, limit: int = 0, tags: Sequence[str] = (), state: str | None = None,
    scores: Sequence[ratings.Picked] = (),
) -> list[Summary]:  # fmt: skip
    """Sessions, newest first.

    Args:
        limit: how many at most; 0 for all.
        tags: only those that have all of these tags.
        state: only those in this one of `STATES`; "indeterminate" takes in the died and the unknown.
        scores: only those that have such scores, each of these.
    """
    found: list[Summary] = []
    for row in _rows(connection, tags, scores, min(limit or _PAGE, _PAGE)):
        status = judge(row["end_us"], [] if row["end_us"] is not None else owners_of(connection, row["seq"]))
        if state is None or is_in(state, row["end_state"], status):
            found.append(_summary(connection, row, status))
            if len(found) == limit:
                break
    return found


def summary(connection: sqlite3.Connection, session_id: str) -> Summary:
    """One session, by its whole id.

    Raises:
        NoSuchSession: if it is not there.
    """
    row = connection.execute(ONE, (session_id,)).fetchone()
    if row is None:
        raise NoSuchSession(f"there is no session {session_id}")
    return _summary(connection, row, judge(row["end_us"], owners_of(connection, row["seq"])))


def find_session(connection: sqlite3.Connection, text: str) -> str | None:
    """The id of the session that is meant: by a whole id, a beginning that fits no other, or `last`. None if there is
    no such session.

    Raises:
        Ambiguous: if several begin so; the message lists them.
    """
    if text == LAST:
        row = connection.execute(_NEWEST).fetchone()
        return None if row is None else str(row["id"])
    beginning = as_id(text)
    if not beginning:
        return None
    wanted = {"beginning": beginning, "most": MOST_CANDIDATES + 1}
    found = [str(row["id"]) for row in connection.execute(_BEGINNING, wanted).fetchall()]
    if len(found) > 1:
        shown = "\n".join(f"  {candidate}" for candidate in found[:MOST_CANDIDATES])
        more = "\n  and more" if len(found) > MOST_CANDIDATES else ""
        raise Ambiguous(f"{text!r} is the beginning of several sessions, give more of it:\n{shown}{more}")
    return found[0] if found else None


def pick_session(connection: sqlite3.Connection, text: str) -> str:
    """As `find_session`.

    Raises:
        NoSuchSession: if there is none.
        Ambiguous: if several are meant.
    """
    found = find_session(connection, text)
    if found is None:
        raise NoSuchSession(f"there is no session {text!r}: `agentops-local sessions` lists them")
    return found


def shown_length(connection: sqlite3.Connection, ids: Sequence[str]) -> int:
    """How much of these ids must be shown so that each is told from every other session's."""
    length = _SHORTEST
    for known in ids:
        for row in connection.execute(_NEIGHBOURS, {"id": known}).fetchall():
            length = max(length, _common(known, row["id"]) + 1)
    return length


def tag_list(text: str) -> list[str]:
    """The tags of a row."""
    try:
        tags = json.loads(text)
    except ValueError:
        return []
    return [str(tag) for tag in tags] if isinstance(tags, list) else []


def _rows(
    connection: sqlite3.Connection, tags: Sequence[str], scores: Sequence[ratings.Picked], size: int
) -> Iterator[sqlite3.Row]:
    values = {"tags": json.dumps(list(tags)), "scores": json.dumps([one.to_json() for one in scores]), "size": size}
    before = 1 << 62
    while True:
        page = connection.execute(SCORED_PAGE if scores else PAGE, {**values, "before": before}).fetchall()
        yield from page
        if len(page) < size:
            return
        before = page[-1]["seq"]


def state_in_a_word(end_state: str, status: Status) -> str:
    """An end state, or the status of a session that nobody ended."""
    return end_state if status is Status.ENDED else status.value


def is_in(state: str, end_state: str, status: Status) -> bool:
    """Whether a session with this end state and status is in this one of `STATES`."""
    if state in ("running", "died", "unknown"):
        return status.value == state
    if state == "indeterminate":
        return status is not Status.RUNNING and end_state.lower() == state
    return status is Status.ENDED and end_state.lower() == state


def _summary(connection: sqlite3.Connection, row: sqlite3.Row, status: Status) -> Summary:
    sums = connection.execute(COUNTS, (row["seq"],)).fetchone()
    counts = Counts(
        events=sums["events"],
        kinds={kind: sums[kind] for kind in KINDS},
        prompt_tokens=added(sums, "prompt_tokens"),
        completion_tokens=added(sums, "completion_tokens"),
        cost=dollars(added(sums, "cost_pusd")),
        unpriced=sums["unpriced"],
        last_seq=sums["last_seq"],
        last_us=sums["last_us"],
    )
    last = _last_event(connection, counts.last_seq)
    seen = [row["init_us"], row["end_us"], last and last.at_us]
    if status is not Status.ENDED:
        for owner in owners_of(connection, row["seq"]):
            seen += [owner.start_us, owner.end_us]
    return Summary(
        row["seq"], row["id"], row["init_us"], row["end_us"], bool(row["auto_ended"]), row["end_state"],
        row["end_state_reason"], tag_list(row["tags"]), counts, status, max(us for us in seen if us is not None), last,
        ratings.averages(connection, row["seq"]),
    )  # fmt: skip


def _last_event(connection: sqlite3.Connection, seq: int | None) -> LastEvent | None:
    if seq is None:
        return None
    row = connection.execute(_EVENT, (seq,)).fetchone()
    at = row["init_us"] if row["end_us"] is None else row["end_us"]
    return LastEvent(row["kind"], row["name"] or row["model"], at)


def as_id(text: str) -> str:
    """What a person may have typed, as the beginning of an id; "" if it can be none."""
    plain = text.strip().lower()
    if "-" not in plain and len(plain) > 8:
        parts = (plain[:8], plain[8:12], plain[12:16], plain[16:20], plain[20:])
        plain = "-".join(filter(None, parts))
    return plain if set(plain) <= set("0123456789abcdef-") else ""


def _common(one: str, other: str) -> int:
    for index, (a, b) in enumerate(zip(one, other, strict=False)):
        if a != b:
            return index
    return min(len(one), len(other))
