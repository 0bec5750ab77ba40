"""Moves what is in a stage into a database, in one transaction.

Numbers mean something in one database only, so each row gets the next one of the database it comes into: all of a table
are moved on by as much as the highest that is there, and an empty database keeps them as they were. A message whose
number follows its parent's does so afterwards, too. What is known by something else than its number (a session by its
id, a long text by its content, ...) and is there already is not put there twice.
"""

from __future__ import annotations

import json
import sqlite3
from functools import partial
from pathlib import Path

from agentops_local.errors import StoreFault
from agentops_local.recovery.layout import Tree, trees
from agentops_local.recovery.mending import pieces

# In this order: what a row refers to comes first. With each, how a row of it is known (a condition on s, in the stage,
# and m), and which rows are only there to keep a number from being given again.
_KNOWN_BY: dict[str, tuple[str | None, str]] = {
    "blobs": ("m.hash = s.hash", "s.hash = x''"),
    "environments": ("m.fingerprint = s.fingerprint", "0"),
    "sessions": ("m.id = s.id", "s.id = ''"),
    "owners": (
        "m.session = (SELECT new FROM map_sessions WHERE old = s.session) "
        "AND m.pid = s.pid AND m.started = s.started AND m.boot = s.boot AND s.pid <> 0",
        "s.session NOT IN (SELECT old FROM map_sessions)",
    ),
    "agents": (
        "m.session = (SELECT new FROM map_sessions WHERE old = s.session) AND m.id = s.id",
        "s.session NOT IN (SELECT old FROM map_sessions)",
    ),
    "messages": (None, "s.parent IS NULL AND s.hash IS NULL"),
    "prices": (
        "m.provider = s.provider AND m.model = s.model AND m.from_us = s.from_us AND m.until_us IS s.until_us "
        "AND m.rates IS s.rates AND m.kind = s.kind AND m.source = s.source AND m.looked_us = s.looked_us",
        "0",
    ),
    "events": (
        "m.session = (SELECT new FROM map_sessions WHERE old = s.session) AND m.id = s.id",
        "s.session NOT IN (SELECT old FROM map_sessions)",
    ),
    "losses": (None, "0"),
    "scores": (
        "m.session = (SELECT new FROM map_sessions WHERE old = s.session) AND m.event IS s.event AND m.name = s.name "
        "AND m.author IS s.author AND (s.name <> 'note' OR (m.text IS s.text AND m.at_us = s.at_us))",
        "s.session NOT IN (SELECT old FROM map_sessions)",
    ),
    "targets": ("m.url = s.url", "0"),
    "batches": (
        None,
        "s.session NOT IN (SELECT old FROM map_sessions) OR s.target NOT IN (SELECT id FROM stage.targets)",
    ),
}
_BY_KEY = (
    "deliveries", "agent_deliveries", "uploads", "attempts", "dead_letters", "parked", "projects", "api_keys",
    "budgets",
)  # fmt: skip
_PAYLOADS = {"events": ("params", "returns", "logs", "screenshot", "details"), "messages": ("content",)}

# A request keeps the count of its events; those that are lost get numbers that name nothing.
_EVENTS = """
(SELECT json_group_array(coalesce((SELECT new FROM map_events WHERE old = p.value), -abs(p.value)))
 FROM json_each(s.events) p)
"""
# What the database has learnt of a model since is newer than what the old one knew.
_ENDED = """
coalesce(s.ended_us, (SELECT max(m.looked_us) FROM main.prices m
                      WHERE m.ended_us IS NULL AND m.provider = s.provider AND m.model = s.model AND m.id <= {top}))
"""
_REVISIONS = {
    ("sessions", "revision"): "sessions", ("agents", "revision"): "agents",
    ("deliveries", "revision_sent"): "sessions", ("agent_deliveries", "revision_sent"): "agents",
}  # fmt: skip

# A project that was the database itself still is.
_MAP_PROJECTS = """
CREATE TEMP TABLE map_projects AS
SELECT s.id AS old, coalesce(
    (SELECT m.id FROM main.projects m WHERE m.id = s.id), (SELECT m.id FROM main.projects m WHERE m.name = s.name),
    CASE s.id WHEN (SELECT value FROM stage.about WHERE key = 'generation')
        THEN (SELECT value FROM main.about WHERE key = 'generation') END, s.id) AS new
FROM stage.projects s
"""
_BEFORE = (
    # What two ledgers say of one session is not one story: the server is asked.
    """
    UPDATE main.deliveries SET found = 1, work = work + 1, next_us = 0 WHERE session IN (SELECT new FROM map_sessions)
    """,
    """
    UPDATE main.uploads SET state = 'done' WHERE state = 'pending' AND (target, event) IN (
        SELECT t.new, e.new FROM stage.uploads s
        JOIN map_targets t ON t.old = s.target JOIN map_events e ON e.old = s.event WHERE s.state = 'done')
    """,
)
# A target that the stage knows nothing of may have got all of it: what was noted of that may be lost. Each event has
# its row before the daemon looks at what is there, for it looks once.
_AFTER = (
    """
    INSERT OR IGNORE INTO main.uploads (target, event, session, kind, state)
    SELECT t.id, e.seq, e.session, CASE WHEN e.kind IN ('llms', 'tools', 'errors') THEN e.kind ELSE 'actions' END,
           CASE WHEN e.kind = 'errors' AND e.session IN (
                SELECT session FROM main.events WHERE kind = 'errors' GROUP BY session HAVING count(*) >= 1000)
                THEN 'uncertain' ELSE 'pending' END
    FROM main.targets t CROSS JOIN main.events e
    WHERE t.id NOT IN (SELECT new FROM map_targets) AND e.seq > :top AND e.session IN (SELECT new FROM map_sessions)
    """,
    """
    INSERT INTO main.deliveries (target, session, found)
    SELECT t.id, x.new, 1 FROM main.targets t CROSS JOIN map_sessions x WHERE t.id NOT IN (SELECT new FROM map_targets)
    ON CONFLICT DO UPDATE SET found = 1, work = work + 1, next_us = 0
    """,
)
_NOTES = """
INSERT OR IGNORE INTO main.about
SELECT key, value FROM stage.about WHERE key IN ('erasing', 'scrubbing', 'rewrite_due')
"""
_PAIRS = """
SELECT m.new, s.init_us, s.end_us, s.auto_ended, s.end_state, s.end_state_reason, s.tags, s.video,
       (SELECT new FROM map_environments WHERE old = s.environment), s.moment, s.key_hash, s.parent_key_hash, s.joined
FROM stage.sessions s JOIN map_sessions m ON m.old = s.seq WHERE m.new <= ?
"""
_JOIN = """
UPDATE main.sessions SET init_us = min(init_us, ?),
    end_us = coalesce(end_us, ?), auto_ended = CASE WHEN end_us IS NULL THEN ? ELSE auto_ended END,
    end_state = CASE WHEN end_us IS NULL THEN ? ELSE end_state END,
    end_state_reason = CASE WHEN end_us IS NULL THEN ? ELSE end_state_reason END,
    tags = ?, video = coalesce(video, ?), environment = coalesce(environment, ?), moment = coalesce(moment, ?),
    key_hash = coalesce(key_hash, ?), parent_key_hash = coalesce(parent_key_hash, ?), joined = min(joined, ?),
    revision = (SELECT max(revision) + 1 FROM main.sessions)
WHERE seq = ?
"""


class NotMerged(StoreFault):
    """The database would not have been what it must be; nothing was changed."""


class Merge:
    """Moves rows from a stage into a database.

    Args:
        connection: to the database, in a transaction, under the writers' lock.
        stage: the stage's file.

    Attributes:
        moved: how many rows of each table are new in the database.
        there: how many were there already.
    """

    def __init__(self, connection: sqlite3.Connection, stage: Path) -> None:
        self._connection = connection
        self._tops: dict[str, int] = {}
        self.moved: dict[str, int] = {}
        self.there: dict[str, int] = {}
        connection.execute("ATTACH DATABASE ? AS stage", (str(stage),))
        connection.execute("PRAGMA stage.mmap_size = 0")

    def run(self) -> None:
        """Moves all of it.

        Raises:
            NotMerged: something is not as it must be.
        """
        self._map()
        merged = self._connection.execute(_PAIRS, (self._tops["sessions"],)).fetchall()
        for statement in _BEFORE:
            self._connection.execute(statement)
        for name in (*_KNOWN_BY, *_BY_KEY):
            self._move(trees()[name])
        for statement in _AFTER:
            self._connection.execute(statement, {"top": self._tops["events"]})
        for row in merged:
            self._join(*row)
        self._connection.execute(_NOTES)

    def note(self, copy: str, story: object) -> None:
        """Keeps, with the rows, that they are there and where they come from: once is enough."""
        self._connection.execute("INSERT OR REPLACE INTO main.about VALUES (?, ?)", (note_of(copy), json.dumps(story)))

    def check(self) -> None:
        """Looks through the whole database before anything of it is committed.

        Raises:
            NotMerged: something is not as it must be.
        """
        for row in self._connection.execute("PRAGMA main.foreign_key_check").fetchmany(1):
            raise NotMerged(f"a row of {row[0]} would name one of {row[2]} that is not there")
        verdict = self._connection.execute("PRAGMA main.integrity_check(1)").fetchone()[0]
        if verdict != "ok":
            raise NotMerged(f"the database would not be sound: {verdict}")

    # Numbers ------------------------------------------------------------------------------------------------------

    def _map(self) -> None:
        execute = self._connection.execute
        for name, (known_by, skipped) in _KNOWN_BY.items():
            key = _key(trees()[name])
            self._tops[name] = top = execute(f"SELECT coalesce(max({key}), 0) FROM main.{name}").fetchone()[0]
            execute(f"CREATE TEMP TABLE map_{name} (old INTEGER PRIMARY KEY, new INTEGER NOT NULL)")
            if known_by is not None:
                execute(
                    f"INSERT OR IGNORE INTO map_{name} SELECT s.{key}, m.{key} FROM stage.{name} s "
                    f"JOIN main.{name} m ON {known_by} WHERE NOT ({skipped})"
                )
            execute(
                f"INSERT OR IGNORE INTO map_{name} SELECT s.{key}, s.{key} + ? FROM stage.{name} s "
                f"WHERE NOT ({skipped})",
                (top,),
            )
        execute(_MAP_PROJECTS)
        for name in ("sessions", "agents"):
            found = execute(f"SELECT coalesce(max(revision), 0) FROM main.{name}").fetchone()
            self._tops[f"{name}.revision"] = found[0]
        moved = dict(execute("SELECT old, new FROM map_blobs WHERE new <> old + ?", (self._tops["blobs"],)).fetchall())
        self._connection.create_function("renumbered", 1, partial(_renumbered, moved, self._tops["blobs"]))
        self._same_blobs = not moved and not self._tops["blobs"]

    def _move(self, tree: Tree) -> None:
        """Inserts the rows of a table, and holds the count to what is in the stage."""
        name, key = tree.name, _key(tree) if tree.name in _KNOWN_BY else None
        given = {column: self._expression(tree, column) for column in tree.columns}
        references = _references(self._connection, name)
        for column, table in references.items():
            given[column] = f"(SELECT new FROM map_{table} WHERE old = s.{column})"
        demanded = [
            f"s.{column} IN (SELECT old FROM map_{table})"
            for column, table in references.items()
            if name not in _KNOWN_BY and not tree.allowed[tree.columns.index(column)] & 1
        ]
        source = f"stage.{name} s"
        if key is not None:
            given[key] = "own.new"
            source += f" JOIN map_{name} own ON own.old = s.{key}"
            demanded.append(f"own.new > {self._tops[name]}")
        sql = (
            f"INSERT {'' if key else 'OR IGNORE '}INTO main.{name} ({', '.join(given)}) "
            f"SELECT {', '.join(given.values())} FROM {source} WHERE {' AND '.join(demanded) or '1'}"
            f"{' ORDER BY own.new' if key else ''}"
        )
        self.moved[name] = self._connection.execute(sql).rowcount
        if key is not None:
            count, there = self._connection.execute(
                f"SELECT count(*), count(*) FILTER (WHERE new <= ?) FROM map_{name}",
                (self._tops[name],),
            ).fetchone()
            self.there[name] = there
            if count != self.moved[name] + there:
                raise NotMerged(f"{count} rows of {name} were to be stored, and {self.moved[name] + there} are")

    def _expression(self, tree: Tree, column: str) -> str:
        name = tree.name
        if (name, column) in _REVISIONS:
            more = self._tops[f"{_REVISIONS[name, column]}.revision"]
            return f"CASE WHEN s.{column} > 0 THEN s.{column} + {more} ELSE s.{column} END"
        if column in _PAYLOADS.get(name, ()) and not self._same_blobs:
            return f"renumbered(s.{column})"
        if (name, column) == ("batches", "events"):
            return _EVENTS
        if (name, column) == ("prices", "ended_us"):
            return _ENDED.format(top=self._tops["prices"])
        if name == "targets" and column.startswith("taken_"):
            return "0"  # the outbox passes over all once more, and finds noted what is noted
        if (name, column) in (("projects", "id"), ("api_keys", "project")):
            return f"(SELECT new FROM map_projects WHERE old = s.{column})"
        return f"s.{column}"

    # Sessions that are in both ------------------------------------------------------------------------------------

    def _join(self, number: int, init_us: int, *row: object) -> None:
        """What the old database knew of a session that goes on in the new one, where that knows nothing of it."""
        (text,) = self._connection.execute("SELECT tags FROM main.sessions WHERE seq = ?", (number,)).fetchone()
        tags = json.dumps(list(dict.fromkeys([*json.loads(str(row[4])), *json.loads(text)])))
        self._connection.execute(_JOIN, (init_us, *row[:4], tags, *row[5:], number))


def note_of(copy: str) -> str:
    """Under what it is kept that a copy has been salvaged."""
    return f"salvaged {copy}"


def _key(tree: Tree) -> str:
    return tree.columns[tree.number or 0]


def _references(connection: sqlite3.Connection, table: str) -> dict[str, str]:
    """The columns that name a row by its number, and the tables of those rows."""
    rows = connection.execute(f"PRAGMA main.foreign_key_list({table})").fetchall()
    return {row[3]: row[2] for row in rows if row[2] in _KNOWN_BY}


def _renumbered(moved: dict[int, int], top: int, payload: str | bytes | float | None) -> str | bytes | float | None:
    """A payload with the numbers that its long texts have here."""
    if not isinstance(payload, bytes):
        return payload
    new = [piece if isinstance(piece, str) else moved.get(piece, piece + top) for piece in pieces(payload)]
    return json.dumps(new).encode()
