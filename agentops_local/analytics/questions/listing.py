"""The list of sessions: sorted over all of them, narrowed down by what they have, a page at a time, with the numbers of
those that one more choice would leave.

A page goes on after a row, known by what it is sorted by and its id, and not after so many rows: what is recorded
meanwhile neither shows a session twice nor hides one.
"""

from __future__ import annotations

import json
import math
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from agentops_local.analytics import ratings
from agentops_local.analytics.filters import Filter
from agentops_local.analytics.groups import Group, group_of
from agentops_local.analytics.index.sums import SUMS
from agentops_local.analytics.project import indexed
from agentops_local.analytics.questions.membership import Membership
from agentops_local.analytics.reading import iso
from agentops_local.analytics.sessions import tag_list
from agentops_local.errors import WrongUse, shown

_AGENTS = "(SELECT group_concat(name, ', ') FROM (SELECT name FROM agents WHERE session = s.seq ORDER BY seq))"
_LASTED = "coalesce(s.end_us, (SELECT max(c.last_us) FROM idx.cells c WHERE c.session = s.seq), s.init_us) - s.init_us"
# How many events of a kind each session has, for the order of all of them.
OF_KIND = """
LEFT JOIN (SELECT session, sum(events) AS events FROM idx.cells
           WHERE what IN (SELECT id FROM idx.names WHERE kind = '{}') GROUP BY session) k ON k.session = s.seq
"""
# What a session is sorted by. Sums that did not fit into 64 bits are text in the index.
SORTS = {
    "id": "s.id",
    "state": "state_of(s.seq)",
    "started": "s.init_us",
    "duration": _LASTED,
    "cost": "coalesce(CAST(m.cost_pusd AS NUMERIC), 0)",
    "tokens": "coalesce(CAST(m.prompt_tokens AS NUMERIC) + CAST(m.completion_tokens AS NUMERIC), 0)",
    "events": "coalesce(m.events, 0)",
    "llms": "coalesce(m.calls, 0)",
    "tools": "coalesce(k.events, 0)",
    "actions": "coalesce(k.events, 0)",
    "errors": "coalesce(m.errors, 0)",
    "tags": "s.tags",
    "agents": f"coalesce({_AGENTS}, '')",
}
SCORE = "score:"  # and the name of a score: by its average, those without it below all others
_SCORED = """
coalesce((SELECT avg(x.number) FROM scores x WHERE x.session = s.seq AND x.name = :score), -1e308)
"""
_KINDS = ("tools", "actions")
_TEXTS = ("id", "state", "tags", "agents")

ROWS = f"""
SELECT * FROM (
    SELECT s.seq, s.id, s.init_us, s.end_us, s.end_state_reason, s.tags, {{value}} AS value,
           {", ".join(f"coalesce(m.{name}, 0) AS {name}" for name in SUMS)}
    FROM sessions s LEFT JOIN idx.sums m ON m.dimension = 'session' AND m.key = s.seq {{joined}}
    WHERE s.id <> '' AND (:picked IS NULL OR s.seq IN (SELECT value FROM json_each(:picked))))
{{beyond}} ORDER BY value {{order}}, id {{order}} LIMIT :limit
"""  # noqa: S608 - our own text
MORE = f"""
SELECT s.seq, {_LASTED} AS lasted, coalesce({_AGENTS}, '') AS agents FROM sessions s
WHERE s.seq IN (SELECT value FROM json_each(?))
"""  # noqa: S608 - our own text
KINDS = """
SELECT c.session, n.kind, sum(c.events) AS events FROM idx.cells c JOIN idx.names n ON n.id = c.what
WHERE c.session IN (SELECT value FROM json_each(?)) GROUP BY c.session, n.kind
"""
NAMES = "SELECT session, name FROM agents WHERE session IN (SELECT value FROM json_each(?)) ORDER BY seq"
DEAREST = """
SELECT max(CAST(m.cost_pusd AS NUMERIC)) FROM idx.sums m
WHERE m.dimension = 'session' AND (:picked IS NULL OR m.key IN (SELECT value FROM json_each(:picked)))
"""


@dataclass(frozen=True)
class Listed:
    """A session of the list, with all its events, whatever the list is narrowed down by.

    Attributes:
        group: its events. kinds: how many of each kind.
        duration_s: from its beginning to its end or, where nobody ended it, to the beginning of its last event.
        scores: the average of each name, over thumbs (1 and 0) and numbers of it and its events.
        place: where a page goes on after it, or before it.
    """

    id: str
    init_us: int
    end_us: int | None
    state: str
    reason: str | None
    tags: list[str]
    agents: list[str]
    group: Group
    kinds: dict[str, int]
    duration_s: float
    scores: dict[str, float]
    place: str

    def to_json(self) -> dict[str, object]:
        """Everything, with times in ISO 8601, seconds and dollars."""
        kinds = {kind: self.kinds.get(kind, 0) for kind in ("llms", "tools", "actions", "apis", "errors")}
        return {
            "session_id": self.id, "init_timestamp": iso(self.init_us), "end_timestamp": iso(self.end_us),
            "state": self.state, "end_state_reason": self.reason, "tags": self.tags, "agents": self.agents,
            **self.group.to_json(), **kinds, "duration_s": self.duration_s, "scores": self.scores,
        }  # fmt: skip


@dataclass(frozen=True)
class Listing:
    """A page of the list.

    Attributes:
        rows: in their order.
        total: how many sessions the list has on all its pages.
        dearest_usd: the largest cost of any of them, US dollars.
        facets: how many sessions the list would have with each "state", "tag", "model", "agent" and "host", the other
            choices as they are; the most frequent first.
        after, before: where the next page goes on, and the one before ends; None where there is none.
    """

    rows: list[Listed]
    total: int
    dearest_usd: float
    facets: dict[str, dict[str, int]]
    after: str | None
    before: str | None

    def to_json(self) -> dict[str, object]:
        """Everything, for programs."""
        return {
            "sessions": [row.to_json() for row in self.rows], "total": self.total, "dearest": self.dearest_usd,
            "facets": self.facets, "after": self.after, "before": self.before,
        }  # fmt: skip


def listing(
    sort: str = "-started",
    limit: int = 50,
    *,
    where: Filter | None = None,
    text: str | None = None,
    after: str | None = None,
    before: str | None = None,
    db: Path | str | None = None,
) -> Listing:
    """A page of the list of sessions.

    Args:
        sort: one of `SORTS`, or "score:" with the name of a score; with "-" before it, the largest first.
        limit: how many at most.
        where: which sessions: those that began in this time, have these tags and are in this state, and have any event
            of this agent, model or host.
        text: only those that have it in their id, a tag or the reason of their end.
        after, before: the page that follows this place, or ends before it.
        db: the database; None for that of the project around the working directory.

    Raises:
        WrongUse: there is no such column or place.
        DatabaseUnusable: there is no database.
    """
    column, downwards = sort.removeprefix("-"), sort.startswith("-")
    if column not in SORTS and not column.startswith(SCORE):
        raise WrongUse(f"sort must be one of {', '.join(SORTS)}, score:NAME, with - before it for the largest first, "
                       f"not {shown(sort)}")  # fmt: skip
    with indexed(db) as connection:
        members = Membership(connection, where or Filter(), text)
        connection.create_function("state_of", 1, members.state)
        page = _Page(connection, column, downwards, members.picked_json())
        backwards = after is None and before is not None
        place = before if backwards else after
        rows = page.read(limit + 1, None if place is None else _place(column, place), backwards)
        is_full = len(rows) > limit
        rows = rows[:limit]
        if backwards:
            rows.reverse()
        found = list(_listed(connection, members, rows))
        ahead = bool(found) and is_full if not backwards else page.goes_on(column, found, False)
        behind = bool(found) and is_full if backwards else place is not None and page.goes_on(column, found, True)
        (dearest,) = connection.execute(DEAREST, {"picked": members.picked_json()}).fetchone()
        return Listing(
            found, members.count(), float(dearest or 0) / 1e12, members.facets(),
            found[-1].place if ahead else None, found[0].place if behind else None,
        )  # fmt: skip


class _Page:
    """The list in its order, of which rows are read from a place on."""

    def __init__(self, connection: sqlite3.Connection, column: str, downwards: bool, picked: str | None) -> None:
        self._connection = connection
        self._value = SORTS.get(column, _SCORED)
        self._score = column.removeprefix(SCORE)
        self._joined = OF_KIND.format(column) if column in _KINDS else ""
        self._downwards = downwards
        self._picked = picked

    def read(self, limit: int, place: tuple[object, str] | None, backwards: bool) -> list[sqlite3.Row]:
        """Rows after a place, or, backwards, before it; from the next one away from it."""
        down = self._downwards != backwards
        beyond = "" if place is None else f"WHERE (value, id) {'<' if down else '>'} (:value, :id)"
        sql = ROWS.format(value=self._value, joined=self._joined, beyond=beyond, order="DESC" if down else "ASC")
        value, id_ = place or (None, None)
        values = {"picked": self._picked, "limit": limit, "value": value, "id": id_, "score": self._score}
        return self._connection.execute(sql, values).fetchall()

    def goes_on(self, column: str, found: Sequence[Listed], backwards: bool) -> bool:
        """Whether there is any row beyond those that were found."""
        if not found:
            return False
        return bool(self.read(1, _place(column, found[0 if backwards else -1].place), backwards))


def _place(column: str, text: str) -> tuple[object, str]:
    """What stands in `after`: a value and an id."""
    value, comma, id_ = text.rpartition(",")
    if comma and column in _TEXTS:
        return value, id_
    try:
        number = int(value)
        if abs(number) < 1 << 63:
            return number, id_
    except ValueError:
        pass
    try:
        if math.isfinite(float(value)):
            return float(value), id_
    except ValueError:
        pass
    raise WrongUse(f"a page goes on after what the one before ended with, not after {shown(text)}")


def _listed(connection: sqlite3.Connection, members: Membership, rows: Sequence[sqlite3.Row]) -> Iterator[Listed]:
    """The rows with what is only asked of those that are shown."""
    asked = (json.dumps([row["seq"] for row in rows]),)
    lasted = {row["seq"]: row["lasted"] for row in connection.execute(MORE, asked).fetchall()}
    kinds: dict[int, dict[str, int]] = {}
    for session, kind, events in connection.execute(KINDS, asked).fetchall():
        kinds.setdefault(session, {})[kind] = events
    agents: dict[int, list[str]] = {}
    for session, name in connection.execute(NAMES, asked).fetchall():
        agents.setdefault(session, []).append(name)
    for row in rows:
        seq = row["seq"]
        yield Listed(
            row["id"], row["init_us"], row["end_us"], members.state(seq), row["end_state_reason"],
            tag_list(row["tags"]), agents.get(seq, []), group_of(row), kinds.get(seq, {}), lasted[seq] / 1e6,
            ratings.averages(connection, seq), f"{row['value']},{row['id']}",
        )  # fmt: skip
