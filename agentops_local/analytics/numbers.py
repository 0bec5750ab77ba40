"""Numbers that never mean two things.

Row numbers and revisions are given as the highest so far plus one. Were the row with the highest deleted, the next
would get its number again: a process that still holds it would write into another session, or continue another
conversation; a reader that remembers how far it has read would take the new for the old.

So whoever deletes such a row puts an empty one at the next number in its place. Never an emptied row at the very same
number: a process that still holds that number must find nothing there, so that its write fails, and it learns its
ground anew. The empty rows are one session, whose id is '', with an owner, an agent and an event; one message without
parent and hash; one blob with an empty hash. The views pass over them.
"""

from __future__ import annotations

import sqlite3
from typing import NamedTuple

_TOPS = """
SELECT coalesce((SELECT max(seq) FROM sessions), 0), coalesce((SELECT max(revision) FROM sessions), 0),
       coalesce((SELECT max(seq) FROM owners), 0),
       coalesce((SELECT max(seq) FROM agents), 0), coalesce((SELECT max(revision) FROM agents), 0),
       coalesce((SELECT max(seq) FROM events), 0),
       coalesce((SELECT max(id) FROM messages), 0), coalesce((SELECT max(id) FROM blobs), 0)
"""
_EMPTY = "(SELECT seq FROM sessions WHERE id = '')"
_CLEAR = (
    f"DELETE FROM events WHERE session = {_EMPTY}",  # noqa: S608 - our own text
    f"DELETE FROM owners WHERE session = {_EMPTY}",  # noqa: S608
    f"DELETE FROM agents WHERE session = {_EMPTY}",  # noqa: S608
    "DELETE FROM sessions WHERE id = ''",
)
_SESSION = "INSERT INTO sessions (seq, id, revision, init_us, end_us) VALUES (?, '', ?, 0, 0)"
_OWNER = "INSERT INTO owners (seq, session, pid, started, boot, start_us, end_us) VALUES (?, ?, 0, '', '', 0, 0)"
_AGENT = "INSERT INTO agents (seq, session, id, name, revision) VALUES (?, ?, '', '', ?)"
_EVENT = "INSERT INTO events (seq, session, id, kind, owner, init_us) VALUES (?, ?, zeroblob(16), '', ?, 0)"
_MESSAGE = "INSERT INTO messages (id, content) VALUES (?, 'null')"
_CLEAR_BLOB = "DELETE FROM blobs WHERE hash = x''"
_BLOB = "INSERT INTO blobs (id, hash, text) VALUES (?, x'', '\"\"')"


class Tops(NamedTuple):
    """The highest numbers given so far."""

    session: int
    session_revision: int
    owner: int
    agent: int
    agent_revision: int
    event: int
    message: int
    blob: int


def tops(connection: sqlite3.Connection) -> Tops:
    """The highest numbers now. Taken before a transaction deletes, given to `keep` after."""
    return Tops(*connection.execute(_TOPS).fetchone())


def keep(connection: sqlite3.Connection, before: Tops) -> None:
    """Sees to it that no number up to `before` is given again. In the transaction that deleted."""
    now = tops(connection)
    if any(n < b for n, b in zip(now[:6], before[:6], strict=True)):
        _renew(connection, before)
    if now.message < before.message:
        # An older empty message is no longer the last one; the sweep takes it like any other that nothing names.
        connection.execute(_MESSAGE, (before.message + 1,))
    if now.blob < before.blob:
        connection.execute(_CLEAR_BLOB)
        connection.execute(_BLOB, (before.blob + 1,))


def _renew(connection: sqlite3.Connection, before: Tops) -> None:
    for statement in _CLEAR:
        connection.execute(statement)
    session, owner = before.session + 1, before.owner + 1
    connection.execute(_SESSION, (session, before.session_revision + 1))
    connection.execute(_OWNER, (owner, session))
    connection.execute(_AGENT, (before.agent + 1, session, before.agent_revision + 1))
    connection.execute(_EVENT, (before.event + 1, session, owner))
