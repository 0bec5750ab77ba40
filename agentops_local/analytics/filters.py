"""What a question is asked of: the events of some time, agent, model or host, in the sessions with a tag or state."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

from agentops_local.analytics.owners import judge, owners_of
from agentops_local.analytics.ratings import PICKED, Picked, picked
from agentops_local.analytics.sessions import STATES, is_in
from agentops_local.clock import now_us, parse_us
from agentops_local.errors import WrongUse, shown

_PIECE = 500  # sessions a read
_AGO = re.compile(r"(\d+)\s*(m|h|d|w)")
_UNITS = {"m": 60, "h": 3600, "d": 86_400, "w": 7 * 86_400}

_SESSIONS = f"""
SELECT s.seq, s.end_us, s.end_state FROM sessions s
WHERE s.id <> '' AND s.seq > :after
  AND s.init_us >= coalesce(:since_us, s.init_us) AND s.init_us < coalesce(:until_us, s.init_us + 1)
  AND NOT EXISTS (SELECT 1 FROM json_each(:tags) asked
                  WHERE asked.value NOT IN (SELECT has.value FROM json_each(s.tags) has))
  AND (:host IS NULL OR EXISTS (SELECT 1 FROM owners o WHERE o.session = s.seq AND o.host = :host))
  AND (:agent IS NULL OR EXISTS (SELECT 1 FROM agents a WHERE a.session = s.seq AND a.name = :agent))
  AND (:model IS NULL OR EXISTS (SELECT 1 FROM events e WHERE e.session = s.seq AND e.model = :model))
{{scores}}ORDER BY s.seq LIMIT {_PIECE}
"""  # noqa: S608 - our own text
SESSIONS = _SESSIONS.format(scores="")
SCORED_SESSIONS = _SESSIONS.format(scores=PICKED.lstrip("\n"))


@dataclass(frozen=True)
class Filter:
    """Which events are meant; each attribute narrows it down, None and () do not.

    Attributes:
        since_us, until_us: events that began at this time or later, and before this one; microseconds since 1970 UTC.
        tags: of sessions that have all of these.
        agent, model, host: of the agent with this name, the LLM calls of this model, the processes of this host.
        state: of sessions in this one of `STATES`; "indeterminate" takes in the died and the unknown.
        scores: of sessions that have, for each of these, such a score, be it of one of their events.
    """

    since_us: int | None = None
    until_us: int | None = None
    tags: tuple[str, ...] = ()
    agent: str | None = None
    model: str | None = None
    state: str | None = None
    host: str | None = None
    scores: tuple[Picked, ...] = ()

    @property
    def picks_sessions(self) -> bool:
        """Whether anything is asked of the sessions themselves."""
        return self.of_sessions != Filter()

    @property
    def of_sessions(self) -> Filter:
        """What is asked of the sessions themselves."""
        return Filter(tags=self.tags, state=self.state, scores=self.scores)


def parse(
    since: str | None = None,
    until: str | None = None,
    tags: str | Sequence[str] = (),
    agent: str | None = None,
    model: str | None = None,
    state: str | None = None,
    host: str | None = None,
    utc: bool = False,
    scores: str | Sequence[str] = (),
) -> Filter:
    """A filter, as people write it.

    Args:
        since, until: a time ago ("90m", "12h", "7d", "2w"), "today", "yesterday", a day ("2026-01-31", its beginning)
            or a time in ISO 8601.
        tags: one, or several of which a session must have all.
        utc: whether days, and times without a zone, are those of UTC instead of local time.
        scores: one, or several of which a session must have all: "helpful>=0.5", "thumb=up", "verdict!=good", or a
            name alone, for any value.

    Raises:
        WrongUse: one of them cannot be understood; the message names it.
    """
    if state is not None and state.lower() not in STATES:
        raise WrongUse(f"state must be one of {', '.join(STATES)}, not {shown(state)}")
    return Filter(
        since_us=None if since is None else moment("since", since, utc),
        until_us=None if until is None else moment("until", until, utc),
        tags=(tags,) if isinstance(tags, str) else tuple(tags),
        agent=agent,
        model=model,
        state=None if state is None else state.lower(),
        host=host,
        scores=tuple(map(picked, (scores,) if isinstance(scores, str) else scores)),
    )


def moment(name: str, text: str, utc: bool = False, now: int | None = None) -> int:
    """A time as people write it, in microseconds; see `parse`.

    Args:
        now: the time from which is reckoned; the wall clock if not given.

    Raises:
        WrongUse: it cannot be understood.
    """
    now = now_us() if now is None else now
    plain = text.strip()
    if ago := _AGO.fullmatch(plain):
        return now - int(ago[1]) * _UNITS[ago[2]] * 1_000_000
    zone = timezone.utc if utc else None  # None: that of this machine, with the offset of the moment in question
    if plain in ("today", "yesterday"):
        today = datetime.fromtimestamp(now / 1e6, tz=zone).date() - timedelta(days=plain == "yesterday")
        plain = today.isoformat()
    try:
        found = datetime.fromisoformat(plain[:-1] + "+00:00" if plain[-1:] in ("Z", "z") else plain)
    except ValueError:
        raise WrongUse(
            f'{name} must be a time ago such as "7d" (m, h, d, w), "today", "yesterday", a day such as "2026-01-31" or '
            f"a time in ISO 8601, not {shown(text)}"
        ) from None
    if found.tzinfo is None:
        found = found.replace(tzinfo=zone) if zone is not None else found.astimezone()
    found_us = parse_us(found)
    if found_us is None:
        raise WrongUse(f"{name} is a time that no clock shows: {shown(text)}")
    return found_us


def sessions(connection: sqlite3.Connection, where: Filter) -> Iterator[int]:
    """The `seq` of each session that fits, in order; of time, agent, model and host one that has any such event fits,
    and the time is that at which it began.

    In short reads, so sessions that come meanwhile are among them.
    """
    values = {
        "tags": json.dumps(list(where.tags)), "host": where.host, "agent": where.agent, "model": where.model,
        "since_us": where.since_us, "until_us": where.until_us,
    }  # fmt: skip
    sql = SESSIONS
    if where.scores:
        sql, values["scores"] = SCORED_SESSIONS, json.dumps([one.to_json() for one in where.scores])
    after = 0
    while True:
        rows = connection.execute(sql, {**values, "after": after}).fetchall()
        for seq, end_us, end_state in rows:
            if where.state is None:
                yield seq
                continue
            status = judge(end_us, [] if end_us is not None else owners_of(connection, seq))
            if is_in(where.state, end_state, status):
                yield seq
        if len(rows) < _PIECE:
            return
        after = rows[-1][0]
