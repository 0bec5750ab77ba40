"""Projects and API keys of a collector: two tables in the database that it serves (see schema.sql).

A key is a random UUID, for the classic client takes nothing else. It is shown once; what stays is its hash, so whoever
reads the database has no key. A plain hash will do: 122 random bits cannot be guessed.
"""

from __future__ import annotations

import hashlib
import sqlite3
from dataclasses import dataclass
from uuid import UUID, uuid4

from agentops_local import clock
from agentops_local.errors import AgentOpsLocalError, WrongUse
from agentops_local.server.sqlite_writer import SqliteWriter

PREFIX = 8  # hexadecimal digits of a key that are kept
TAG = 8  # bytes of its hash that name it in tokens

_DIGITS = frozenset("0123456789abcdef")

_KEYS = """
SELECT k.prefix, p.name, p.id, k.created_us, k.revoked_us
FROM api_keys k JOIN projects p ON p.id = k.project ORDER BY k.created_us, k.prefix
"""
_ACCESS = """
SELECT EXISTS (SELECT 1 FROM api_keys) AS required,
       (SELECT project FROM api_keys WHERE hash = ? AND revoked_us IS NULL) AS project,
       (SELECT value FROM about WHERE key = 'generation') AS generation
"""
_OPENED = """
SELECT k.prefix, p.name, p.id, p.id = (SELECT value FROM about WHERE key = 'generation') AS local, k.created_us,
       k.revoked_us
FROM api_keys k JOIN projects p ON p.id = k.project WHERE substr(k.hash, 1, ?) = ? AND k.revoked_us IS NULL
"""
_OTHERS = "SELECT id FROM projects WHERE id <> (SELECT value FROM about WHERE key = 'generation') ORDER BY created_us"


class NoSuchKey(AgentOpsLocalError):
    """There is no such key."""


@dataclass(frozen=True)
class KeyRow:
    """A key as it is listed.

    Attributes:
        prefix: its first 8 hexadecimal digits.
        project: the name of its project.
        project_id: its id, a UUID.
        local: whether the project is the database itself.
        created_us, revoked_us: when; `revoked_us` is None while it may be used.
    """

    prefix: str
    project: str
    project_id: str
    local: bool
    created_us: int
    revoked_us: int | None


def parse_key(text: str) -> UUID | None:
    """A key in any spelling of a UUID; None if it is none."""
    try:
        return UUID(text.strip()) if len(text) < 64 else None
    except ValueError:
        return None


def key_hash(key: UUID) -> bytes:
    """What a key is known by."""
    return hashlib.sha256(key.hex.encode()).digest()


def tag_of(hashed: bytes) -> str:
    """What names a key in the tokens that were issued for it."""
    return hashed[:TAG].hex()


def add_key(database: SqliteWriter, name: str, local: bool = False) -> UUID:
    """A new key for a project, which is made if there is none of that name.

    Args:
        name: of the project.
        local: whether it is the database itself.

    Returns:
        The key, which is nowhere else.

    Raises:
        WrongUse: the name is empty, or the project is another than `local` says.
        StoreUnavailable: the database cannot be written.
    """
    name = name.strip()
    if not name or not name.isprintable():
        raise WrongUse(f"{name!r} is no name for a project")
    key = uuid4()
    generation = database.generation()

    def add(connection: sqlite3.Connection, _epoch: int) -> None:
        project = _project(connection, name, generation if local else None)
        row = (key_hash(key), key.hex[:PREFIX], project, clock.now_us())
        connection.execute(
            "INSERT OR IGNORE INTO api_keys (hash, prefix, project, created_us) VALUES (?, ?, ?, ?)", row
        )

    database.write(add)
    return key


def _project(connection: sqlite3.Connection, name: str, generation: str | None) -> str:
    """The id of a project, made if need be; `generation`: it is to be the database itself."""
    found = connection.execute("SELECT id FROM projects WHERE name = ?", (name,)).fetchone()
    if found is not None:
        if generation is not None and found[0] != generation:
            raise WrongUse(f"the project {name!r} has a database of its own: choose another name for the local one")
        return str(found[0])
    if generation is not None:
        other = connection.execute("SELECT name FROM projects WHERE id = ?", (generation,)).fetchone()
        if other is not None:
            raise WrongUse(f"the local database is the project {other[0]!r} already: add the key to that")
    project = generation or str(clock.new_id())
    connection.execute("INSERT INTO projects (id, name, created_us) VALUES (?, ?, ?)", (project, name, clock.now_us()))
    return project


def list_keys(database: SqliteWriter) -> list[KeyRow]:
    """All keys, the oldest first.

    Raises:
        StoreUnavailable: the database cannot be read.
    """
    generation = database.generation()
    with database.reading() as connection:
        found = connection.execute(_KEYS).fetchall()
    return [
        KeyRow(row["prefix"], row["name"], row["id"], row["id"] == generation, row["created_us"], row["revoked_us"])
        for row in found
    ]


def revoke_key(database: SqliteWriter, text: str) -> list[str]:
    """Revokes a key, for good.

    Args:
        text: the key, or the beginning of it.

    Returns:
        The prefixes of the keys revoked now; empty if it was revoked already.

    Raises:
        NoSuchKey: there is none.
        WrongUse: several begin so.
    """
    key = parse_key(text)
    digits = text.strip().lower().replace("-", "")[:PREFIX]
    if not set(digits) <= _DIGITS:  # SQLite refuses some of what a command line can hold
        digits = ""

    def revoke(connection: sqlite3.Connection, _epoch: int) -> list[str]:
        if key is not None:
            found = connection.execute(
                "SELECT hash, prefix, revoked_us FROM api_keys WHERE hash = ?", (key_hash(key),)
            ).fetchall()
        else:
            found = connection.execute(
                "SELECT hash, prefix, revoked_us FROM api_keys WHERE substr(prefix, 1, ?) = ?", (len(digits), digits)
            ).fetchall()
        if not found or not digits:
            raise NoSuchKey("there is no such key: `agentops-local keys list` lists them")
        if len(found) > 1:
            raise WrongUse(f"several keys begin so ({', '.join(row[1] for row in found)}): give the whole key")
        if found[0][2] is not None:
            return []
        connection.execute("UPDATE api_keys SET revoked_us = ? WHERE hash = ?", (clock.now_us(), found[0][0]))
        return [found[0][1]]

    return database.write(revoke)


def look_up(connection: sqlite3.Connection, hashed: bytes | None) -> tuple[bool, str | None, str]:
    """Whether keys are required, the id of the project of this one (None if it opens none), the id of the database."""
    row = connection.execute(_ACCESS, (hashed,)).fetchone()
    return bool(row["required"]), row["project"], str(row["generation"])


def project_ids(connection: sqlite3.Connection) -> list[str]:
    """The projects that have a database of their own."""
    return [str(row[0]) for row in connection.execute(_OTHERS).fetchall()]


def opened_by(connection: sqlite3.Connection, tag: str) -> KeyRow | None:
    """The key that is named so, and its project; None if it may not be used."""
    row = connection.execute(_OPENED, (TAG, bytes.fromhex(tag))).fetchone()
    if row is None:
        return None
    return KeyRow(row["prefix"], row["name"], row["id"], bool(row["local"]), row["created_us"], row["revoked_us"])


def is_revoked(connection: sqlite3.Connection, tag: str) -> bool:
    """Whether the key that is named so may no longer be used."""
    row = connection.execute(
        "SELECT revoked_us IS NOT NULL FROM api_keys WHERE substr(hash, 1, ?) = ?", (TAG, bytes.fromhex(tag))
    ).fetchone()
    return row is None or bool(row[0])
