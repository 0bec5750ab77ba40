"""What stands in for rows that are lost and that other rows refer to. Each says what it is.

- A session keeps its id where the index still tells it. It counts as joined, so that no uploader tells a server what
  is not known here.
- A process has the pid 0, as one that is elsewhere; what an unknown agent did was done by none.
- What a call cost stays as it is where the price is lost by which that was found.
- Messages at the beginning of a prompt, and long texts, are a sentence in their place.
- What the ledger of uploads no longer tells is looked up on the server before anything is sent: `found` says so. Only
  of errors beyond what a server shows it cannot be told, and they are left for a person to decide.
"""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from collections.abc import Iterator
from uuid import UUID

from agentops_local import clock
from agentops_local.recovery.mending import digest

_RECIPES = ("params", "returns", "logs", "screenshot", "details")

_LOST_SESSIONS = """
SELECT n, (SELECT id FROM known_sessions WHERE seq = n) FROM (
    SELECT session AS n FROM events UNION SELECT session FROM owners UNION SELECT session FROM agents
    UNION SELECT session FROM scores)
WHERE n NOT IN (SELECT seq FROM sessions)
"""
_SESSION = """
INSERT INTO sessions (seq, id, revision, init_us, end_state_reason, joined)
SELECT :seq, :id, (SELECT coalesce(max(revision), 0) + 1 FROM sessions),
       coalesce((SELECT min(init_us) FROM events WHERE session = :seq),
                (SELECT min(start_us) FROM owners WHERE session = :seq), 0), :reason, 1
"""
_OWNERS = """
INSERT INTO owners (seq, session, pid, started, boot, start_us, end_us)
SELECT owner, min(session), 0, '', '', min(init_us), max(coalesce(end_us, init_us)) FROM events
WHERE owner NOT IN (SELECT seq FROM owners) GROUP BY owner
"""
_AGENTS = "UPDATE events SET agent = NULL WHERE agent IS NOT NULL AND agent NOT IN (SELECT seq FROM agents)"
_PRICES = "UPDATE events SET price = NULL WHERE price IS NOT NULL AND price NOT IN (SELECT id FROM prices)"
_ENVIRONMENTS = """
UPDATE sessions SET environment = NULL
WHERE environment IS NOT NULL AND environment NOT IN (SELECT id FROM environments)
"""
_LOST_MESSAGES = """
CREATE TABLE lost_messages AS
SELECT n FROM (SELECT parent AS n FROM messages UNION SELECT prompt FROM events UNION SELECT completion FROM events)
WHERE n IS NOT NULL AND n NOT IN (SELECT id FROM messages)
"""
_MESSAGES = "INSERT INTO messages (id, hash, content) SELECT n, ?, ? FROM lost_messages"
_LOST_BLOBS = "CREATE TABLE lost_blobs (id INTEGER PRIMARY KEY)"
_FIND_BLOBS = """
INSERT OR IGNORE INTO lost_blobs
SELECT p.value FROM {table} t JOIN json_each(CAST(t.{column} AS TEXT)) p
WHERE typeof(t.{column}) = 'blob' AND p.type = 'integer' AND p.value NOT IN (SELECT id FROM blobs)
"""
_BLOB = "INSERT OR IGNORE INTO blobs (id, hash, text) VALUES (?, ?, ?)"
_PROJECTS = """
INSERT OR IGNORE INTO projects (id, name, created_us)
SELECT DISTINCT project, 'lost ' || project, ? FROM api_keys WHERE project NOT IN (SELECT id FROM projects)
"""

# The ledger. What a target has taken note of has a row in `uploads`, whatever its state: one without was lost.
_LEDGER = (
    """
    INSERT OR IGNORE INTO targets (id, url, taken_seq)
    SELECT id, url, coalesce((SELECT max(seq) FROM events), 0) FROM known_targets
    """,
    "UPDATE uploads SET batch = NULL WHERE batch IS NOT NULL AND batch NOT IN (SELECT id FROM batches)",
    # In flight with a request of which nothing is known: to be sent, once the server has been looked at.
    "UPDATE uploads SET state = 'pending' WHERE state = 'flying' AND batch IS NULL",
    """
    CREATE TABLE doubtful AS
    SELECT target, session FROM uploads WHERE state = 'pending'
    UNION SELECT t.id, e.session FROM targets t JOIN events e ON e.seq <= t.taken_seq
          WHERE NOT EXISTS (SELECT 1 FROM uploads u WHERE u.target = t.id AND u.event = e.seq)
    """,
    # A request that the server has accepted, or that is in flight, names its events.
    """
    INSERT OR IGNORE INTO uploads (target, event, session, kind, state, batch)
    SELECT b.target, e.seq, e.session, b.kind, CASE b.state WHEN 'ok' THEN 'done' ELSE 'flying' END, b.id
    FROM batches b JOIN json_each(b.events) p JOIN events e ON e.seq = p.value
    WHERE b.state IN ('ok', 'sent') ORDER BY b.state = 'ok' DESC, b.id DESC
    """,
    # A server shows 1000 rows of a kind at most.
    """
    INSERT OR IGNORE INTO uploads (target, event, session, kind, state)
    SELECT t.id, e.seq, e.session, CASE WHEN e.kind IN ('llms', 'tools', 'errors') THEN e.kind ELSE 'actions' END,
           CASE WHEN e.kind = 'errors' AND e.session IN (
                SELECT session FROM events WHERE kind = 'errors' GROUP BY session HAVING count(*) >= 1000)
                THEN 'uncertain' ELSE 'pending' END
    FROM targets t JOIN events e ON e.seq <= t.taken_seq JOIN sessions s ON s.seq = e.session WHERE s.id <> ''
    """,
    """
    INSERT INTO deliveries (target, session, found) SELECT target, session, 1 FROM doubtful
    WHERE session IN (SELECT seq FROM sessions WHERE id <> '')
    ON CONFLICT DO UPDATE SET found = 1, work = work + 1, next_us = 0
    """,
)


def complete(connection: sqlite3.Connection, copy: str) -> Counter[str]:
    """Puts stand-ins for what is lost into a stage; returns how many, by table.

    Args:
        connection: to the stage.
        copy: the name of the damaged file, for those who will wonder.
    """
    execute = connection.execute
    made: Counter[str] = Counter()
    made["sessions"] = _sessions(connection, f"its row was lost with the damaged database {copy}")
    made["owners"] = execute(_OWNERS).rowcount
    made["agents"] = execute(_AGENTS).rowcount
    made["prices"] = execute(_PRICES).rowcount
    made["environments"] = execute(_ENVIRONMENTS).rowcount
    made["messages"] = _messages(connection, copy)
    made["blobs"] = _blobs(connection, copy)
    made["projects"] = execute(_PROJECTS, (clock.now_us(),)).rowcount
    for statement in _LEDGER:
        execute(statement)
    return +made


def _sessions(connection: sqlite3.Connection, reason: str) -> int:
    lost = connection.execute(_LOST_SESSIONS).fetchall()
    taken = {row[0] for row in connection.execute("SELECT id FROM sessions").fetchall()} if lost else set()
    for number, known in lost:
        name = known if _is_id(known) and known not in taken else str(clock.new_id())
        taken.add(name)
        connection.execute(_SESSION, {"seq": number, "id": name, "reason": reason})
    return len(lost)


def _is_id(text: str | None) -> bool:
    try:
        return text == "" or (text is not None and str(UUID(text)) == text.lower())
    except ValueError:
        return False


def _messages(connection: sqlite3.Connection, copy: str) -> int:
    text = f"[agentops-local: here a message, or several, were lost with the damaged database {copy}]"
    content = json.dumps({"role": "system", "content": text})
    connection.execute(_LOST_MESSAGES)
    return connection.execute(_MESSAGES, (digest(content), content)).rowcount


def _blobs(connection: sqlite3.Connection, copy: str) -> int:
    connection.execute(_LOST_BLOBS)
    for table, column in (("messages", "content"), *(("events", name) for name in _RECIPES)):
        connection.execute(_FIND_BLOBS.format(table=table, column=column))

    def rows() -> Iterator[tuple[int, bytes, str]]:
        for (number,) in connection.execute("SELECT id FROM lost_blobs"):
            text = json.dumps(f"[agentops-local: long text {number} was lost with the damaged database {copy}]")
            yield number, digest(text), text

    return connection.executemany(_BLOB, rows()).rowcount
