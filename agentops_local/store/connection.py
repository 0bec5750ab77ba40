"""Opening the database file: as it must be opened, created if it is new, refused if it is not ours.

Everything here runs while the caller holds the writers' lock, except `connect_readonly`.
"""

from __future__ import annotations

import os
import sqlite3
import sys
import time
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path

from agentops_local import clock
from agentops_local.errors import DatabaseTooNew, DatabaseUnusable, ForeignDatabase
from agentops_local.log import logger
from agentops_local.store.location import prepare_folder
from agentops_local.store.schema import APPLICATION_ID, COLUMNS, VERSION, VIEWS, schema_text, statements

BUSY_TIMEOUT = 10.0  # seconds; only programs that do not know the writers' lock (a shell, a viewer) are waited for
_UNQUOTED = frozenset(b"/:-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")  # in a URI
_UNREAD = ("failed to get page", "unable to get the page")  # what quick_check says of one that the disk did not give
_QUICK_CHECK = 0.025  # seconds that opening may spend on looking for damage


Begun = Callable[[sqlite3.Connection], object]


def connect(path: Path, wal: bool = True, begun: Begun = lambda _: None) -> sqlite3.Connection:
    """A connection for writing, in autocommit mode, usable from every thread (the store serialises them).

    Args:
        path: the database file.
        wal: False for a rollback journal.
        begun: told the connection before it is used. A fork in a signal handler must be able to close it, or the child
            takes the locks of its parent for its own.
    """
    connection = sqlite3.connect(
        path, timeout=BUSY_TIMEOUT, isolation_level=None, check_same_thread=False, cached_statements=64
    )
    begun(connection)
    # No automatic checkpoint: it is the whole p99 of a commit, and the store checkpoints under its own lock. No mmap:
    # with it SQLite before 3.51.3 lost acknowledged commits in a race of two checkpoints and a writer.
    connection.execute("PRAGMA wal_autocheckpoint = 0")
    connection.execute("PRAGMA mmap_size = 0")
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA secure_delete = FAST")  # overwrites what is deleted where that costs no extra page
    connection.execute(f"PRAGMA synchronous = {_everyday(wal)}")
    if sys.platform == "darwin":
        # There fsync leaves the data in the cache of the drive, and a power cut takes it; F_FULLFSYNC empties that
        # (https://sqlite.org/pragma.html#pragma_fullfsync). With synchronous=NORMAL only checkpoints pay for it.
        connection.execute("PRAGMA fullfsync = ON")
        connection.execute("PRAGMA checkpoint_fullfsync = ON")
    return connection


def connect_readonly(path: Path, any_thread: bool = False) -> sqlite3.Connection:
    """A connection for reading, as the command line uses it: it cannot write, checkpoint or create.

    Args:
        any_thread: whether other threads may use it as well, one at a time.

    Raises:
        DatabaseUnusable: if there is no such file, or it is not a database of ours.
    """
    try:
        if not path.is_file():
            raise DatabaseUnusable(f"there is no database at {path}: record something first, or name one with --db")
        if path.stat().st_size == 0:  # SQLite would remove the WAL of an emptied file, also where it may only read
            raise DatabaseUnusable(f"{path} holds no tables yet: record something first")
        _glance(path.resolve())
        connection = sqlite3.connect(file_uri(path.resolve(), "ro"), uri=True, timeout=BUSY_TIMEOUT,
                                     isolation_level=None, check_same_thread=not any_thread)  # fmt: skip
    except (OSError, sqlite3.Error) as error:
        raise DatabaseUnusable(f"{path} cannot be opened ({error}): is it yours to read?") from error
    try:
        connection.execute("PRAGMA mmap_size = 0")
        if _look(connection, path) == 0:
            raise DatabaseUnusable(f"{path} holds no tables yet: record something first")
        # Reads the schema. Of a damaged one the error may quote bytes that are no text, which no reader looks out for;
        # other errors come again where it is used.
        with suppress(sqlite3.DatabaseError):
            connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
        connection.close()
        cause = _illegible(error) if isinstance(error, UnicodeDecodeError) else error
        advice = "`agentops-local doctor` tells more"
        if "unable to open" in str(cause):  # the file itself was opened above
            advice = "in WAL mode that takes a folder that can be written; copy the database to one"
        raise DatabaseUnusable(f"{path} cannot be read ({cause}): {advice}") from cause
    except DatabaseUnusable:
        connection.close()
        raise
    return connection


def open_or_create(path: Path, wal: bool, begun: Begun = lambda _: None) -> sqlite3.Connection:
    """Opens the database for writing and makes sure that it can be relied on: created if there is none, brought up to
    this version if it is older, looked through for damage.

    Args:
        path: the database file, symbolic links resolved.
        wal: False on a filesystem where WAL is unsafe; then a rollback journal is used.
        begun: as for `connect`.

    Raises:
        DatabaseTooNew, ForeignDatabase: the file is left untouched.
        sqlite3.DatabaseError: the file is damaged.
        OSError: the folder cannot be used.
    """
    prepare_folder(path)
    try:
        return _open(path, wal, begun)
    except UnicodeDecodeError as error:
        raise _illegible(error) from error


def _open(path: Path, wal: bool, begun: Begun) -> sqlite3.Connection:
    version = 0
    if os.stat(path).st_size > 0:
        _glance(path, begun)
        version = _probe(path, begun)
    connection = connect(path, wal, begun)
    try:
        if version == 0:
            _create(connection, path, wal)
        elif version < VERSION:
            from agentops_local.store.migrations import migrate

            migrate(connection, path)
        _set_journal(connection, wal)
        _look_for_damage(connection)
        _keep_generation(connection, path)
    except BaseException:
        connection.close()
        raise
    return connection


def play_back(path: Path) -> None:
    """Undoes what a writer with a rollback journal had begun when it came to a sudden end: nobody who can only read can
    read the database before. The caller holds the writers' lock, so no writer is in the midst of it.

    Raises:
        DatabaseTooNew, ForeignDatabase, sqlite3.DatabaseError: as for `open_or_create`.
    """
    if os.path.exists(f"{path}-journal"):
        _probe(path, lambda _: None)


def close_as_it_is(connection: sqlite3.Connection, path: Path) -> None:
    """Closes a connection without the checkpoint that the last one to a database makes, and without removing its WAL.

    SQLite does neither while somebody else uses the file, so for this moment we are somebody else: a connection that
    can only read, and therefore makes no checkpoint when it is closed in turn.
    """
    with closing(sqlite3.connect(file_uri(path, "ro"), uri=True, timeout=0, isolation_level=None)) as other:
        with suppress(sqlite3.Error):  # it may read nonsense; what counts is the lock that reading takes
            other.execute("PRAGMA schema_version").fetchone()
        connection.close()


def _illegible(error: UnicodeDecodeError) -> sqlite3.DatabaseError:
    """A schema that is damaged. SQLite quotes what it cannot read of it, and Python's sqlite3 cannot read the quote."""
    return sqlite3.DatabaseError(f"database disk image is malformed: its schema cannot be read ({error.reason})")


def generation(connection: sqlite3.Connection) -> str:
    """The id that was given to the file when it was made."""
    found = connection.execute("SELECT value FROM about WHERE key = 'generation'").fetchone()
    if found is None:
        raise sqlite3.DatabaseError("database disk image is malformed: it has no generation")
    return str(found[0])


def _everyday(wal: bool) -> str:
    """The setting of `synchronous` for commits of which nothing more is asked. With a rollback journal FULL is not
    enough: where a power cut takes back the removal of the journal, the last commit would be undone with it."""
    return "NORMAL" if wal else "EXTRA"


def _glance(path: Path, begun: Begun = lambda _: None) -> None:
    """Refuses a file that is not ours to use without leaving a trace. To look at a database in WAL mode that nobody has
    open makes its WAL and the index of that, and who can only read leaves them there.

    Immutable, a file is read without a lock. What somebody writes meanwhile may look like nonsense, so nothing but a
    mark that is not ours counts, and the proper look comes after this one.
    """
    if os.path.exists(f"{path}-wal") or os.path.exists(f"{path}-journal"):
        return
    uri = f"{file_uri(path, 'ro')}&immutable=1"
    with suppress(sqlite3.Error, UnicodeDecodeError), closing(sqlite3.connect(uri, uri=True)) as connection:
        begun(connection)
        _look(connection, path)


def _probe(path: Path, begun: Begun, mode: str = "ro") -> int:
    """The schema version of a file that has contents, as `_look` has it.

    Read-only: closing a writing connection would move the WAL into a file that is not ours to change. But a journal
    that a sudden end has left can only be played back by who may write; to be refused for that is no reason to record
    elsewhere.
    """
    with closing(sqlite3.connect(file_uri(path, mode), uri=True, timeout=BUSY_TIMEOUT)) as probe:
        begun(probe)
        try:
            return _look(probe, path)
        except sqlite3.OperationalError as error:
            if mode == "rw" or "readonly" not in str(error) or not os.path.exists(f"{path}-journal"):
                raise
    return _probe(path, begun, "rw")


def file_uri(path: Path, mode: str) -> str:
    """A file as SQLite is told of it, with its mode: ro, rw.

    Not `Path.as_uri`: that imports on its first use, and a signal handler may interrupt an import and
    record.
    """
    name = os.fsencode(path.as_posix())
    quoted = "".join(chr(byte) if byte in _UNQUOTED else f"%{byte:02X}" for byte in name)
    return f"file://{'' if name.startswith(b'/') else '/'}{quoted}?mode={mode}"


def _look(connection: sqlite3.Connection, path: Path) -> int:
    """The schema version of a file: 0 if it is empty, and an error if it is not ours to use."""
    # All in one transaction: while another process makes the database, it has no mark now and has tables then.
    connection.execute("BEGIN")
    try:
        application = connection.execute("PRAGMA application_id").fetchone()[0]
        version = int(connection.execute("PRAGMA user_version").fetchone()[0])
        # Not of one that is marked: the schema of a newer version may be more than this SQLite can read.
        tables = 0 if application else connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
    if application != APPLICATION_ID:
        if application == 0 and tables == 0:
            return 0
        raise ForeignDatabase(f"{path} is the database of another program: name another file with db= or --db")
    if version > VERSION:
        raise DatabaseTooNew(
            f"{path} has schema version {version} and this program knows version {VERSION} at most: "
            "upgrade agentops-local (pip install -U agentops-local), or name another file with db= or --db"
        )
    if version < 1:  # it is written together with the application id
        raise sqlite3.DatabaseError(f"database disk image is malformed: schema version {version}")
    return version


def _create(connection: sqlite3.Connection, path: Path, wal: bool) -> None:
    # WAL comes first, outside of any transaction; the tables then appear in one.
    _set_journal(connection, wal)
    connection.execute(f"PRAGMA synchronous = {'FULL' if wal else 'EXTRA'}")
    generation = clock.new_id()
    connection.execute("BEGIN IMMEDIATE")
    try:
        # Whoever lost the writers' lock on the way (its file was removed, a handler forked) may come second.
        if connection.execute("PRAGMA user_version").fetchone()[0] != 0:
            connection.execute("ROLLBACK")
            connection.execute(f"PRAGMA synchronous = {_everyday(wal)}")
            return
        _warn_if_emptied(path)
        for statement in statements(schema_text()):
            connection.execute(statement)
        facts = (("generation", str(generation)), ("created_us", clock.now_us()), ("created_by", "agentops_local"))
        connection.executemany("INSERT INTO about (key, value) VALUES (?, ?)", facts)
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID:d}")
        connection.execute(f"PRAGMA user_version = {VERSION:d}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    connection.execute(f"PRAGMA synchronous = {_everyday(wal)}")
    write_generation(path, str(generation))


def _set_journal(connection: sqlite3.Connection, wal: bool) -> None:
    wanted = "wal" if wal else "delete"
    if connection.execute("PRAGMA journal_mode").fetchone()[0] != wanted:
        connection.execute(f"PRAGMA journal_mode = {wanted}")


def _generation_file(path: Path) -> Path:
    return path.with_name(f"{path.name}-generation")


def _keep_generation(connection: sqlite3.Connection, path: Path) -> None:
    """Writes the generation beside a file that has lost it, or whose maker died or lost power before he had written it:
    without it a damaged file would not be put aside."""
    if not _generation_file(path).exists():
        with suppress(OSError):
            write_generation(path, generation(connection))


def write_generation(path: Path, text: str) -> None:
    """Writes the generation of a database beside it."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | getattr(os, "O_NOFOLLOW", 0)
    descriptor = os.open(_generation_file(path), flags, 0o600)
    try:
        os.write(descriptor, f"{text}\n".encode("ascii"))
    finally:
        os.close(descriptor)


def _warn_if_emptied(path: Path) -> None:
    """SQLite takes a file of no bytes for a new database without a word; the generation beside it tells."""
    if _generation_file(path).exists():
        logger.warning("agentops_local: %s was removed or emptied; a new database is begun there", path)


def _look_for_damage(connection: sqlite3.Connection) -> None:
    """Reads the ends of the tables, then checks pages for 25 ms at most: small files wholly, large ones in part
    (`agentops-local doctor` checks all of it).

    Raises:
        sqlite3.DatabaseError: if anything is damaged.
    """
    try:
        for table, columns in COLUMNS.items():
            sql = f"SELECT {columns} FROM {table} ORDER BY 1 DESC LIMIT 1"  # noqa: S608 - our own names
            connection.execute(sql).fetchone()
        for view in VIEWS:
            connection.execute(f"SELECT * FROM {view} LIMIT 0")  # noqa: S608 - our own names
    except UnicodeDecodeError as error:  # the name of a column
        raise sqlite3.DatabaseError(f"database disk image is malformed: {error}") from error
    except sqlite3.OperationalError as error:
        if "no such" not in str(error):  # table, or column
            raise
        raise sqlite3.DatabaseError(f"database disk image is malformed: {error}") from error
    deadline = time.monotonic() + _QUICK_CHECK
    # "Is it past the deadline?" without a line of Python: a signal handler that ran in a callback of SQLite's would
    # have its exception swallowed there, and Ctrl-C with it.
    late = map(deadline.__lt__, iter(time.monotonic, None))
    connection.set_progress_handler(late.__next__, 2000)
    try:
        verdict = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    except sqlite3.OperationalError as error:
        if "interrupt" not in str(error):
            raise
        return  # out of time: what was read was sound
    finally:
        connection.set_progress_handler(None, 0)
    if verdict != "ok" and not any(words in verdict for words in _UNREAD):
        raise sqlite3.DatabaseError(f"database disk image is malformed: {' '.join(verdict.split())}")
