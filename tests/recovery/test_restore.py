from __future__ import annotations

import random
import shutil
import sqlite3
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest

from agentops_local.errors import AgentOpsLocalError, DatabaseTooNew, ForeignDatabase, WrongUse
from agentops_local.recovery import restore as restoring
from agentops_local.recovery.backup import Refused, make
from agentops_local.recovery.digest import NotSound, digests, opened
from agentops_local.recovery.restore import look_at_backup, look_at_database, restore
from agentops_local.store import connection as opening
from agentops_local.store import migrations
from agentops_local.store.backup import put_in_place
from tests.analytics.recording import Book
from tests.reliability.conftest import Spawn
from tests.reliability.tools.crash import DB, SCALE, SESSION, acks, check, query
from tests.store.test_migrations import to_version_2

OTHER = "0190a000-0000-7000-8000-000000000002"
RENEWED = {"about"}  # what a restored database has of its own, where nothing was ever uploaded or collected


def contents(path: Path) -> dict[str, str]:
    """The digests of all tables but those that a restored database has of its own."""
    with opened(path) as connection:
        return {table: digest for table, digest in digests(connection).items() if table not in RENEWED}


def generation(path: Path) -> str:
    """The id of a database."""
    return str(query(path, "SELECT value FROM about WHERE key = 'generation'")[0][0])


def saved(book: Book, later: int = 3) -> Path:
    """A backup of a database that has since recorded more."""
    state = book.session("before")
    book.llm(state, "ask", completion="yes")
    book.tool(state, "early")
    path = make(book.path).held.path
    for _ in range(later):
        book.tool(state, "late")
    return path


class TestWhatIsThereAfterwards:
    def test_it_is_the_backup(self, book: Book) -> None:
        """The restored database equals the backup, table by table and row by row; the backup stays as it was."""
        backup = saved(book)
        before = backup.read_bytes()
        done = restore(book.path, backup)
        assert contents(book.path) == contents(backup)
        assert (done.held.sessions, done.held.events) == (1, 2)
        assert backup.read_bytes() == before
        book.check()

    def test_what_was_there_is_put_aside(self, book: Book) -> None:
        """The database that was there is put aside whole, with what only its WAL held, alone in one file."""
        backup = saved(book)
        before = contents(book.path)
        assert Path(f"{book.path}-wal").stat().st_size > 0
        done = restore(book.path, backup)
        assert done.replaced is not None
        shutil.copy(done.replaced, "alone.db")
        assert contents(Path("alone.db")) == before
        assert not [path for path in book.path.parent.iterdir() if path.name.endswith(("-wal", "-shm"))]

    def test_it_is_another_database(self, book: Book) -> None:
        """A restored database is a new generation, in the file and beside it: numbers of rows learnt in the one that
        was there, or in another copy of the backup, are not taken to mean the same."""
        backup = saved(book)
        known = {generation(book.path)}
        for _ in range(2):
            restore(book.path, backup)
            assert generation(book.path) not in known
            known.add(generation(book.path))
            assert Path(f"{book.path}-generation").read_text().strip() == generation(book.path)

    def test_where_there_was_none(self, book: Book, tmp_path: Path) -> None:
        """A backup is restored where there is no database yet, not even a folder for one."""
        backup = saved(book)
        done = restore(tmp_path / "new" / "agentops.db", backup)
        assert done.replaced is None
        assert contents(done.held.path) == contents(backup)

    def test_a_damaged_database_is_put_aside(self, book: Book) -> None:
        """A database that cannot be read is no obstacle, and is put aside with its WAL."""
        backup = saved(book)
        book.close()
        Path(f"{book.path}-wal").write_bytes(b"no log " * 1000)
        book.path.write_bytes(b"no database " * 1000)
        assert look_at_database(book.path) is None
        done = restore(book.path, backup)
        assert contents(book.path) == contents(backup)
        assert done.replaced is not None
        assert done.replaced.read_bytes() == b"no database " * 1000
        assert done.replaced.with_name(f"{done.replaced.name}-wal").read_bytes() == b"no log " * 1000

    def test_a_newer_database_is_put_aside(self, book: Book) -> None:
        """Going back to an older program, one restores the backup from before: the newer database is put aside."""
        backup = saved(book)
        book.close()
        book.change("PRAGMA user_version = 99")
        done = restore(book.path, backup)
        assert contents(book.path) == contents(backup)
        assert done.replaced is not None
        assert query(done.replaced, "PRAGMA user_version") == [(99,)]

    def test_a_backup_of_an_older_version(self, book: Book, monkeypatch: pytest.MonkeyPatch) -> None:
        """A backup of an older version is restored as it is, and brought up to date by the first event."""
        backup = saved(book)
        book.close()
        monkeypatch.setattr(opening, "VERSION", 2)
        monkeypatch.setattr(migrations, "migrate", partial(migrations.migrate, migrations=to_version_2(), to=2))
        assert look_at_backup(backup, book.path).version == restore(book.path, backup).held.version == 1
        assert contents(book.path) == contents(backup)
        book.tool(book.session())
        assert book.rows("PRAGMA user_version") == [(2,)]
        assert book.rows("SELECT count(*) FROM events") == [(3,)]

    def test_the_collectors_own_project(self, book: Book) -> None:
        """A project of the collector that is the database itself is the restored database, and its keys open it."""
        book.end(book.session())
        old = generation(book.path)
        book.change("INSERT INTO projects (id, name, created_us) VALUES (?, 'local', 1), ('other', 'other', 1)", old)
        for project in (old, "other"):
            row = (project.encode(), project[:8], project)
            book.change("INSERT INTO api_keys (hash, prefix, project, created_us) VALUES (?, ?, ?, 1)", *row)
        restore(book.path, make(book.path).held.path)
        new = generation(book.path)
        assert dict(book.rows("SELECT name, id FROM projects")) == {"local": new, "other": "other"}
        assert sorted(book.rows("SELECT project FROM api_keys")) == sorted([(new,), ("other",)])
        book.check()


class TestRefused:
    def test_what_is_no_backup(self, book: Book, tmp_path: Path) -> None:
        """The database itself, another program's, one of a newer version and a damaged one are no backups."""
        backup = saved(book)
        with pytest.raises(WrongUse):
            look_at_backup(book.path, book.path)
        with closing(sqlite3.connect("other.db")) as other:
            other.execute("CREATE TABLE t (x)")
        with pytest.raises(ForeignDatabase):
            look_at_backup(Path("other.db"), book.path)
        shutil.copy(backup, "newer.db")
        with closing(sqlite3.connect("newer.db")) as newer:
            newer.execute("PRAGMA user_version = 99")
        with pytest.raises(DatabaseTooNew):
            look_at_backup(Path("newer.db"), book.path)
        shutil.copy(backup, "orphan.db")
        with closing(sqlite3.connect("orphan.db")) as orphan, orphan:
            orphan.execute("DELETE FROM sessions")
        with pytest.raises(NotSound, match="name rows of"):
            look_at_backup(Path("orphan.db"), book.path)

    @pytest.mark.parametrize("seed", range(5))
    def test_a_damaged_backup(self, book: Book, seed: int) -> None:
        """A backup with a page that was overwritten is not restored."""
        state = book.session()
        for _ in range(200):
            book.tool(state, returns="x" * 900)
        backup = make(book.path).held.path
        page = random.Random(seed).randrange(1, backup.stat().st_size // 4096)
        with backup.open("r+b") as file:
            file.seek(page * 4096)
            file.write(b"\x05" * 4096)
        with pytest.raises(AgentOpsLocalError):
            look_at_backup(backup, book.path)

    def test_another_programs_database_is_not_moved(self, book: Book) -> None:
        """What is not ours stays where it is."""
        backup = saved(book)
        with closing(sqlite3.connect("other.db")) as other:
            other.execute("CREATE TABLE t (x)")
        before = Path("other.db").read_bytes()
        with pytest.raises(ForeignDatabase):
            restore(Path("other.db").resolve(), backup)
        assert Path("other.db").read_bytes() == before
        assert not list(Path().glob("other.db.*[!k]"))

    def test_the_guard_decides(self, book: Book) -> None:
        """What the guard refuses leaves everything as it was."""
        backup = saved(book)
        before = contents(book.path)

        def guard(connection: sqlite3.Connection) -> None:
            assert connection.execute("SELECT count(*) FROM events").fetchone() == (5,)
            raise Refused("no")

        with pytest.raises(Refused):
            restore(book.path, backup, guard)
        assert contents(book.path) == before
        assert not list(book.path.parent.glob("*.re[ps]*"))

    def test_a_reader_that_stays(self, book: Book, monkeypatch: pytest.MonkeyPatch) -> None:
        """While another program reads what the database was, the WAL cannot be moved into it: refused, and nothing is
        lost."""
        monkeypatch.setattr(restoring, "_WAL_PATIENCE", 0.01)
        backup = saved(book)
        with closing(sqlite3.connect(book.path, isolation_level=None)) as reader:
            reader.execute("BEGIN")
            reader.execute("SELECT count(*) FROM events").fetchone()
            book.tool(book.session())
            before = contents(book.path)
            with pytest.raises(Refused, match="close it first"):
                restore(book.path, backup)
        assert contents(book.path) == before
        assert not list(book.path.parent.glob("*.re[ps]*"))

    def test_a_disk_that_lies(self, book: Book, monkeypatch: pytest.MonkeyPatch) -> None:
        """If what was put in place is not what the backup holds, the database that was there is brought back."""
        backup = saved(book)
        before = contents(book.path)

        def lying(made: Path, target: Path, force: bool) -> None:
            put_in_place(made, target, force)
            with closing(sqlite3.connect(target)) as connection, connection:
                connection.execute("UPDATE events SET name = 'other' WHERE seq = 1")

        monkeypatch.setattr(restoring, "put_in_place", lying)
        with pytest.raises(NotSound):
            restore(book.path, backup)
        assert contents(book.path) == before
        assert not list(book.path.parent.glob("*.re[ps]*"))
        book.tool(book.session())
        book.check()


class TestWhileProgramsRecord:
    WRITER = """
import sys
me = Actor(*sys.argv[1:])
while order():
    me.many(5)
    me.llm("w", 1, 2)
    say("done")
me.leave()
"""

    @pytest.mark.parametrize("writers", [1, 3])
    def test_they_go_on_in_the_restored_one(self, project: Path, spawn: Spawn, writers: int) -> None:
        """Programs that have the old database open notice it with their next event, and go on in the restored one; what
        they recorded before is in the one that was put aside. Nothing is lost, and nobody's event gets into the session
        of somebody else."""
        programs = [spawn(self.WRITER, DB, SESSION) for _ in range(writers)]

        def record(turn: int) -> None:
            for program in programs:
                program.tell()
                program.expect("done", turn)

        record(1)
        backup = make(Path(DB).resolve()).held.path
        early = acks(*programs)
        late = spawn(self.WRITER, DB, OTHER)
        late.tell()
        late.expect("done")
        record(2)
        before = acks(*programs, late)
        done = restore(Path(DB).resolve(), backup)
        record(3)
        late.tell()
        late.expect("done", 2)
        for program in (*programs, late):
            assert "cannot be" not in program.finish()
        after = set(acks(*programs, late)) - set(before)
        truth = check([*early, *after], DB)
        assert truth.events.total() == len(early) + len(after)
        assert truth.sessions == [SESSION, OTHER]
        assert done.replaced is not None
        assert check(before, done.replaced).events.total() == len(before)
        assert len(query(DB, "SELECT 1 FROM payloads WHERE session_id = ?", OTHER)) == 6

    def test_no_wal_beside_another_database(self, project: Path, spawn: Spawn, monkeypatch: pytest.MonkeyPatch) -> None:
        """At no moment does the WAL of the old database lie beside the restored one, though others have it open."""
        program = spawn(self.WRITER, DB, SESSION)
        program.tell()
        program.expect("done")
        backup = make(Path(DB).resolve()).held.path
        there: list[bool] = []

        def put(made: Path, target: Path, force: bool) -> None:
            there.append(Path(f"{DB}-wal").exists() or Path(f"{DB}-shm").exists())
            put_in_place(made, target, force)

        monkeypatch.setattr(restoring, "put_in_place", put)
        assert Path(f"{DB}-wal").exists()
        restore(Path(DB).resolve(), backup)
        assert there == [False]
        assert not Path(f"{DB}-wal").exists()
        program.finish()


# Restores again and again, each time in a child that is killed one moment later than the last: after a call of our own
# code that moves files, or at the beginning or the end of one of its functions.
KILLED = """
import os, shutil, sys
from pathlib import Path
from agentops_local.recovery.restore import restore
from tests.recovery.test_restore import contents
db, backup, master = map(Path, sys.argv[1:4])
step = int(sys.argv[4])
old, new = contents(master / db.name), contents(backup)
ours = ("recovery/restore.py", "store/backup.py", "recovery/renewal.py")
count = 0

def die_after(number):
    count = 0
    def profile(frame, event, argument):
        nonlocal count
        if frame.f_code.co_filename.endswith(ours):
            count += 1
            if count == number:
                die()
    sys.setprofile(profile)

def begin():
    for file in db.parent.glob("agentops.db*"):
        file.unlink()
    for file in master.iterdir():
        shutil.copy(file, db.parent)

moment, status = 1, 1
while status:
    moment += step
    begin()
    pid = os.fork()
    if pid == 0:
        die_after(moment)
        restore(db, backup)
        os._exit(0)
    status = os.waitpid(pid, 0)[1]
    found = contents(db)
    is_whole = found in (old, new)
    if found == new:
        is_whole = any(contents(path) == old for path in db.parent.glob("*.replaced-*"))
    say("killed", moment, "old" if found == old else "new" if found == new else "neither", is_whole)
    if moment % 10 == 0:
        restore(db, backup)
        assert contents(db) == new
"""


def test_a_kill_at_any_moment(spawn: Spawn, book: Book) -> None:
    """Killed at any moment, a restoring leaves the old database or the restored one at the path, whole; nothing of
    either is lost, and the next one succeeds."""
    backup = saved(book)
    master = Path("master")
    master.mkdir()
    for file in book.path.parent.glob("agentops.db*"):  # with a WAL that holds what the database does not
        shutil.copy(file, master)
    book.close()
    program = spawn(KILLED, book.path, backup, master.resolve(), 2 if SCALE <= 1 else 1)
    program.finish()
    killed = program.said("killed")
    print(f"killed at {len(killed) - 1} moments")
    assert [line for line in killed if line[3] != "True"] == []
    states = [line[2] for line in killed]
    assert states == sorted(states, reverse=True)
    assert states.count("old") > 50
    assert states.count("new") > 2
