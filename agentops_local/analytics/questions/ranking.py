"""What costs what, and which sessions have the most of something."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from agentops_local.analytics.filters import Filter
from agentops_local.analytics.groups import Counting, Group, Groups
from agentops_local.analytics.owners import judge, owners_of
from agentops_local.analytics.project import indexed
from agentops_local.analytics.reading import iso
from agentops_local.analytics.sessions import state_in_a_word, tag_list
from agentops_local.errors import WrongUse, shown

BY = ("model", "agent", "tag", "day", "session", "host")
MEASURES = ("cost", "tokens", "events", "errors", "duration")

_ONE = "SELECT id, init_us, end_us, end_state, tags FROM sessions WHERE seq = ? AND id <> ''"
_LASTED = """
SELECT s.seq,
       coalesce(s.end_us, (SELECT max(c.last_us) FROM idx.cells c WHERE c.session = s.seq), s.init_us) - s.init_us
FROM sessions s WHERE s.id <> ''
"""


@dataclass(frozen=True)
class Costs:
    """What LLM calls cost.

    Attributes:
        by: what they are counted by, one of `BY`.
        groups: by name, the dearest first; by day in their order. By tag, a call counts for each tag of its session.
        total: over all of them, each once.
    """

    by: str
    groups: dict[str, Group]
    total: Group

    def to_json(self) -> dict[str, object]:
        """Everything, with costs in dollars."""
        rows = [{self.by: name or None, **_costs(group)} for name, group in self.groups.items()]
        return {"by": self.by, "groups": rows, "total": _costs(self.total)}


@dataclass(frozen=True)
class Ranked:
    """A session among those with the most of something.

    Attributes:
        group: its events.
        duration_s: from its beginning to its end or, where nobody ended it, to the beginning of its last event.
    """

    id: str
    init_us: int
    state: str
    tags: list[str]
    group: Group
    duration_s: float

    def to_json(self) -> dict[str, object]:
        """Everything, with its beginning in ISO 8601, seconds and dollars."""
        return {
            "session_id": self.id, "init_timestamp": iso(self.init_us), "state": self.state, "tags": self.tags,
            **self.group.to_json(), "duration_s": self.duration_s,
        }  # fmt: skip


def cost(by: str = "model", *, where: Filter | None = None, db: Path | str | None = None, utc: bool = False) -> Costs:
    """What LLM calls cost, by one of `BY`.

    Args:
        where: which events; see `filters.parse`.
        db: the database; None for that of the project around the working directory.
        utc: whether days are those of UTC instead of local ones.

    Raises:
        WrongUse: `by` is none of them.
        DatabaseUnusable: there is no database.
    """
    if by not in BY:
        raise WrongUse(f"by must be one of {', '.join(BY)}, not {shown(by)}")
    with indexed(db) as connection:
        counting = Counting(connection, where or Filter())
        found = _counted(connection, counting, by, utc)
        total = Group()
        for (kind, _), group in counting.kinds_and_names(spread=False).items():
            if kind == "llms":
                total.join(group)
    order: Callable[[tuple[str, Group]], object] = lambda item: (-item[1].cost_pusd, -item[1].events, item[0])  # noqa: E731
    if by == "day":
        order = lambda item: item[0]  # noqa: E731 - as above
    found = {name: group for name, group in found.items() if group.calls}
    return Costs(by, dict(sorted(found.items(), key=order)), total)  # type: ignore[arg-type]  # either can be compared


def top(
    by: str = "cost", limit: int = 10, *, where: Filter | None = None, db: Path | str | None = None
) -> list[Ranked]:
    """The sessions with the most of something, that with the most first.

    Args:
        by: one of `MEASURES`; tokens are those of prompts and completions.
        limit: how many at most.
        where, db: as for `cost`; only the events that are meant count, but for the duration.

    Raises:
        WrongUse: `by` is none of them.
        DatabaseUnusable: there is no database.
    """
    if by not in MEASURES:
        raise WrongUse(f"by must be one of {', '.join(MEASURES)}, not {shown(by)}")
    with indexed(db) as connection:
        return most(connection, Counting(connection, where or Filter()).sessions(), by, limit)


def most(connection: sqlite3.Connection, groups: dict[int, Group], by: str, limit: int) -> list[Ranked]:
    """The sessions with the most of something, of those that are counted, by their `seq`; as `top`."""
    lasted = _durations(connection) if by == "duration" else {}
    measure: dict[str, Callable[[int, Group], int]] = {
        "cost": lambda _, group: group.cost_pusd,
        "tokens": lambda _, group: group.tokens["prompt_tokens"] + group.tokens["completion_tokens"],
        "events": lambda _, group: group.events,
        "errors": lambda _, group: group.errors,
        "duration": lambda session, _: lasted.get(session, 0),
    }
    of = measure[by]
    order = sorted(groups.items(), key=lambda item: (-of(*item), item[0]))
    found = (_ranked(connection, session, group) for session, group in order)
    return list(islice((one for one in found if one is not None), limit))


def _counted(connection: sqlite3.Connection, counting: Counting, by: str, utc: bool) -> Groups:
    if by == "model":
        found: Groups = {}
        for (kind, name), group in counting.kinds_and_names(spread=False).items():
            if kind == "llms":
                found.setdefault(name, Group()).join(group)
        return found
    if by == "session":
        ids = {row[0]: row[1] for row in connection.execute("SELECT seq, id FROM sessions").fetchall()}
        return {ids[seq]: group for seq, group in counting.sessions().items() if seq in ids}
    if by == "day":
        return counting.days(utc)
    return {"agent": counting.agents, "tag": counting.tags, "host": counting.hosts}[by]()


def _durations(connection: sqlite3.Connection) -> dict[int, int]:
    return {row[0]: row[1] for row in connection.execute(_LASTED).fetchall()}


def _ranked(connection: sqlite3.Connection, session: int, group: Group) -> Ranked | None:
    row = connection.execute(_ONE, (session,)).fetchone()
    if row is None:
        return None
    status = judge(row["end_us"], [] if row["end_us"] is not None else owners_of(connection, session))
    (_, lasted) = connection.execute(f"{_LASTED} AND s.seq = ?", (session,)).fetchone()
    state = state_in_a_word(row["end_state"], status)
    return Ranked(row["id"], row["init_us"], state, tag_list(row["tags"]), group, lasted / 1e6)


def _costs(group: Group) -> dict[str, object]:
    return {"calls": group.calls, **group.tokens, "cost": float(group.cost), "unpriced": group.unpriced}
