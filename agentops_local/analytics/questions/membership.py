"""Which sessions have what: a state, tags, models, agents, hosts. By it a list is narrowed down, and told how many
sessions each further choice would leave."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator

from agentops_local.analytics import filters
from agentops_local.analytics.filters import Filter
from agentops_local.analytics.owners import judge, owners_of
from agentops_local.analytics.sessions import STATES, is_in, state_in_a_word, tag_list

_MOST = 100  # names of a kind that are told
FACETS = ("state", "tag", "model", "agent", "host")

SESSIONS = """
SELECT seq, id, end_us, end_state, end_state_reason, tags FROM sessions
WHERE id <> '' AND init_us >= coalesce(:since, init_us) AND init_us < coalesce(:until, init_us + 1)
"""
MODELS = """
SELECT what, json_group_array(session) FROM idx.cells WHERE what IN (SELECT id FROM idx.names WHERE kind = 'llms')
GROUP BY what
"""
_NAMES = "SELECT id, name FROM idx.names WHERE kind = 'llms'"
AGENTS = "SELECT name, json_group_array(session) FROM agents GROUP BY name"
HOSTS = "SELECT host, json_group_array(session) FROM owners WHERE host IS NOT NULL GROUP BY host"

Sets = dict[str, set[int]]


class Membership:
    """The sessions that a filter and a text leave.

    Args:
        connection: with the index, in one transaction.
        where: as of `listing`.
        text: in their id, a tag or the reason of their end.
    """

    def __init__(self, connection: sqlite3.Connection, where: Filter, text: str | None) -> None:
        self._states: dict[int, str] = {}
        self._sets: dict[str, Sets] = {"state": {}, "tag": {}}
        self._begun: set[int] = set()
        values = {"since": where.since_us, "until": where.until_us}
        folded = (text or "").strip().casefold()
        tags: dict[str, list[str]] = {}
        for row in connection.execute(SESSIONS, values).fetchall():
            its = tags.get(row["tags"])
            if its is None:
                its = tags[row["tags"]] = tag_list(row["tags"])
            self._judge(connection, row)
            for tag in its:
                self._sets["tag"].setdefault(tag, set()).add(row["seq"])
            if not folded or _holds(folded, (row["id"], row["end_state_reason"] or "", *its)):
                self._begun.add(row["seq"])
        names = {row[0]: row[1] for row in connection.execute(_NAMES).fetchall()}
        self._sets["model"] = {}
        for what, sessions in connection.execute(MODELS).fetchall():
            self._sets["model"].setdefault(names[what], set()).update(json.loads(sessions))
        for kind, sql in (("agent", AGENTS), ("host", HOSTS)):
            self._sets[kind] = {row[0]: set(json.loads(row[1])) for row in connection.execute(sql).fetchall()}
        self._chosen = self._choices(where)
        if where.scores:
            self._begun &= set(filters.sessions(connection, Filter(scores=where.scores)))
        self._is_narrowed = bool(folded) or where != Filter()
        self._picked = self._left("")

    def state(self, session: int) -> str:
        """The state of a session in one word."""
        return self._states.get(session, "")

    def count(self) -> int:
        """How many sessions are left."""
        return len(self._picked)

    def picked_json(self) -> str | None:
        """Their numbers as a JSON array; None where they are all there are."""
        return json.dumps(list(self._picked)) if self._is_narrowed else None

    def facets(self) -> dict[str, dict[str, int]]:
        """How many sessions would be left with each choice in place of that of its kind; of tags, beside those that are
        chosen. The hundred most frequent; those of no session only where they are chosen."""
        return {facet: dict(self._facet(facet)) for facet in FACETS}

    def _facet(self, facet: str) -> Iterator[tuple[str, int]]:
        left = self._picked if facet == "tag" else self._left(facet)
        chosen = {name for kind, name in self._chosen if kind == facet}
        counts = {name: len(members & left) for name, members in self._sets[facet].items()}
        counts.update({name: 0 for name in chosen if name not in counts})
        ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
        for place, (name, count) in enumerate(ranked):
            if name in chosen or (count and place < _MOST):
                yield name, count

    def _left(self, without: str) -> set[int]:
        left = self._begun
        for (kind, _), members in self._chosen.items():
            if kind != without:
                left = left & members
        return left

    def _choices(self, where: Filter) -> dict[tuple[str, str], set[int]]:
        asked = [("tag", tag) for tag in where.tags]
        for kind in ("state", "model", "agent", "host"):
            value = getattr(where, kind)
            if value is not None:
                asked.append((kind, value))
        return {(kind, name): self._sets[kind].get(name, set()) for kind, name in asked}

    def _judge(self, connection: sqlite3.Connection, row: sqlite3.Row) -> None:
        session, end_state = row["seq"], row["end_state"]
        if row["end_us"] is not None:
            self._states[session] = end_state
            self._sets["state"].setdefault(end_state.lower(), set()).add(session)
            return
        status = judge(None, owners_of(connection, session))
        self._states[session] = state_in_a_word(end_state, status)
        for state in STATES:
            if is_in(state, end_state, status):
                self._sets["state"].setdefault(state, set()).add(session)


def _holds(folded: str, texts: Iterable[str]) -> bool:
    return any(folded in text.casefold() for text in texts)
