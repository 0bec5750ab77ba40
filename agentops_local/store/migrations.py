"""Changes of the schema since version 1, by sqlite-utils' migration system.

Version 1 is schema.sql as first released. A later version adds one function here, named after what it does, and raises
`schema.VERSION`; `tests/store/test_migrations.py` proves that schema.sql equals version 1 with all migrations applied.
sqlite-utils takes 80 ms to import, so this module is loaded only when a file is older than the program.
"""

from __future__ import annotations

import sqlite3
import time
from contextlib import suppress
from pathlib import Path

from sqlite_utils import Database
from sqlite_utils.migrations import Migrations

from agentops_local.log import logger
from agentops_local.store.backup import back_up
from agentops_local.store.schema import VERSION

MIGRATIONS = Migrations("agentops_local")


def migrate(connection: sqlite3.Connection, path: Path, migrations: Migrations = MIGRATIONS, to: int = VERSION) -> Path:
    """Brings an older database up to version `to`, in one transaction, after a backup.

    The caller holds the writers' lock.

    Args:
        connection: an open connection with `isolation_level=None`.
        path: the database file; the backup is put beside it.
        migrations: the changes to apply.
        to: the version that they lead to.

    Returns:
        The backup's path.
    """
    old = int(connection.execute("PRAGMA user_version").fetchone()[0])
    saved = back_up(connection, path.with_name(f"{path.name}.v{old}-{time.strftime('%Y%m%dT%H%M%S')}.backup"))
    # IMMEDIATE first: sqlite-utils would begin a deferred transaction, whose upgrade fails beside another writer.
    # Its own blocks are savepoints inside this one, so all migrations are applied or none is.
    try:
        connection.execute("BEGIN IMMEDIATE")
        migrations.apply(Database(connection, execute_plugins=False))
        connection.execute(f"PRAGMA user_version = {to:d}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        with suppress(sqlite3.Error, OSError):
            if connection.execute("PRAGMA user_version").fetchone()[0] == old:
                saved.unlink()  # the database is what it was; a backup an attempt would fill the disk
        raise
    logger.info("agentops_local: %s brought from version %d to %d; the old one is kept in %s", path, old, to, saved)
    return saved
