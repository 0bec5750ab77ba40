"""The questions as one would ask them in SQL, straight from the tables: without an index, sums or words kept elsewhere.

They are the measure for what the index is worth, and the proof of its numbers: both must say the same. Amounts are in
1e-12 dollars, times in microseconds.
"""

from __future__ import annotations

import sqlite3
from typing import Any

from agentops_local.analytics.index.fingerprint import fingerprint

Numbers = dict[Any, Any]

_TOKENS = ("prompt_tokens", "completion_tokens", "cache_read_tokens", "cache_write_tokens", "reasoning_tokens")
_SUMS = f"""
count(*), {", ".join(f"coalesce(sum(e.{name}), 0)" for name in _TOKENS)}, coalesce(sum(e.cost_pusd), 0),
count(CASE WHEN e.kind = 'llms' AND e.cost_pusd IS NULL THEN 1 END)
"""
# Nearest rank: of 10 durations the 5th and the 10th.
_TIMES = """
WITH timed AS (
    SELECT {by} AS what, end_us - init_us AS us,
           row_number() OVER (PARTITION BY {by} ORDER BY end_us - init_us) AS rank,
           count(*) OVER (PARTITION BY {by}) AS times
    FROM events WHERE {where} AND end_us >= init_us)
SELECT what, max(CASE WHEN rank = (50 * times + 99) / 100 THEN us END),
       max(CASE WHEN rank = (95 * times + 99) / 100 THEN us END)
FROM timed GROUP BY what
"""
_FAILED = """
SELECT failed.name, count(*)
FROM events error JOIN events failed ON failed.session = error.session AND failed.id = error.trigger_id
WHERE error.kind = 'errors' AND error.trigger_kind = 'tools' AND {where} GROUP BY failed.name
"""
# What a call belongs to, and the table that says so.
_GROUPS = {
    "model": ("e.model", ""),
    "agent": ("a.name", "JOIN agents a ON a.seq = e.agent"),
    "session": ("s.id", "JOIN sessions s ON s.seq = e.session"),
    "tag": ("coalesce(t.value, '')", "JOIN sessions s ON s.seq = e.session LEFT JOIN json_each(s.tags) t"),
    "day": ("date(e.init_us / 1000000, 'unixepoch')", ""),
}

_MEASURES = {
    "cost": "coalesce(sum(e.cost_pusd), 0)",
    "tokens": "coalesce(sum(e.prompt_tokens), 0) + coalesce(sum(e.completion_tokens), 0)",
    "errors": "count(CASE e.kind WHEN 'errors' THEN 1 END)",
}


class ByHand:
    """The questions, to one database.

    Args:
        connection: to a database of ours.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection = connection
        connection.create_function("alike", 3, _alike, deterministic=True)

    def _rows(self, sql: str, *values: object) -> list[Any]:
        return self.connection.execute(sql, values).fetchall()

    def stats(self, session_id: str | None = None) -> Numbers:
        """What a session amounts to, or all of them."""
        where, values = "1", ()
        if session_id is not None:
            number = self._rows("SELECT seq FROM sessions WHERE id = ?", session_id)[0][0]
            where = f"session = {number:d}"
        found: Numbers = {"all": tuple(self._rows(f"SELECT {_SUMS} FROM events e WHERE {where}", *values)[0])}
        for name, by, which in (
            ("kinds", "kind", where),
            ("models", "model", f"kind = 'llms' AND {where}"),
            ("tools", "name", f"kind = 'tools' AND {where}"),
        ):
            times = {what: times for what, *times in self._rows(_TIMES.format(by=by, where=which))}
            sums = self._rows(f"SELECT {by}, {_SUMS} FROM events e WHERE {which} GROUP BY {by}")
            found[name] = {what: (*amounts, *times.get(what, (None, None))) for what, *amounts in sums}
        found["errors"] = dict(
            self._rows(f"SELECT name, count(*) FROM events WHERE kind = 'errors' AND {where} GROUP BY name")
        )
        found["failed"] = dict(self._rows(_FAILED.format(where=f"error.{where}" if session_id else "1")))
        return found

    def cost(self, by: str, since_us: int = 0) -> Numbers:
        """What the LLM calls cost, by what they belong to."""
        what, joined = _GROUPS[by]
        rows = self._rows(
            f"SELECT {what}, {_SUMS} FROM events e {joined} WHERE e.kind = 'llms' AND e.init_us >= ? GROUP BY 1",
            since_us,
        )
        return {name: tuple(sums) for name, *sums in rows}

    def top(self, by: str, limit: int) -> list[str]:
        """The sessions with the most of something, that with the most first."""
        rows = self._rows(
            f"SELECT s.id FROM sessions s JOIN (SELECT e.session, {_MEASURES[by]} AS measure FROM events e "
            "GROUP BY e.session) m ON m.session = s.seq ORDER BY m.measure DESC, s.seq LIMIT ?",
            limit,
        )
        return [row[0] for row in rows]

    def errors(self) -> Numbers:
        """Errors that are alike: how often, in how many sessions, the first and the last time."""
        rows = self._rows(
            "SELECT alike(name, code, json_extract(details, '$')), count(*), count(DISTINCT session), min(init_us), "
            "max(init_us) FROM events WHERE kind = 'errors' GROUP BY 1"
        )
        return {alike: tuple(sums) for alike, *sums in rows}

    def slow(self, limit: int, session_id: str | None = None) -> tuple[Numbers, list[int]]:
        """How long everything took together, by kind and name, and how long the longest took each."""
        where, values = "kind <> 'errors'", []
        if session_id is not None:
            where += " AND session = (SELECT seq FROM sessions WHERE id = ?)"
            values = [session_id]
        took = self._rows(
            "SELECT kind, coalesce(CASE kind WHEN 'llms' THEN model ELSE name END, ''), count(*), "
            f"sum(end_us - init_us) FROM events WHERE {where} GROUP BY 1, 2",
            *values,
        )
        longest = self._rows(
            f"SELECT end_us - init_us FROM events WHERE {where} ORDER BY 1 DESC LIMIT ?", *values, limit
        )
        return {(kind, name): tuple(sums) for kind, name, *sums in took}, [row[0] for row in longest]

    def query(self, sql: str) -> list[Any]:
        """Just so."""
        return self._rows(sql)

    def active(self) -> set[str]:
        """Sessions that nobody has ended."""
        return {row[0] for row in self._rows("SELECT id FROM sessions WHERE end_us IS NULL AND id <> ''")}

    def search(self, words: str, limit: int) -> tuple[list[int], list[str]]:
        """The last messages in which the words occur, and the last events beside their messages."""
        like = f"%{words}%"
        messages = self._rows("SELECT id FROM message_texts WHERE text LIKE ? ORDER BY id DESC LIMIT ?", like, limit)
        events = self._rows(
            "SELECT id FROM payloads WHERE name LIKE ?1 OR code LIKE ?1 OR params LIKE ?1 OR returns LIKE ?1 "
            "OR logs LIKE ?1 OR details LIKE ?1 ORDER BY seq DESC LIMIT ?2",
            like, limit,
        )  # fmt: skip
        return [row[0] for row in messages], [row[0] for row in events]


def _alike(error_type: str | None, code: str | None, words: str | None) -> bytes:
    return fingerprint(error_type, code, words).hash
