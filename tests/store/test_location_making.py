from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from agentops_local.errors import DatabaseUnusable
from agentops_local.store import location
from agentops_local.store.location import (
    find_database,
    prepare_folder,
)
from tests.store.places import BESIDE, linux_only, mode, posix_only, umask


class TestMaking:
    @posix_only
    @pytest.mark.parametrize("value", [0o000, 0o022, 0o077, 0o277, 0o777])
    def test_the_rights_do_not_depend_on_the_umask(self, value: int, project: Path) -> None:
        """Under every umask the folder is 0700, the database 0600 and `.gitignore` closed to others."""
        db = project / BESIDE
        with umask(value):
            prepare_folder(db)
        assert mode(db.parent) == 0o700
        assert mode(db) == 0o600
        assert mode(db.parent / ".gitignore") & 0o077 == 0

    @posix_only
    def test_parents_have_the_usual_rights(self, project: Path) -> None:
        """Only the last folder is closed: those above it are as the umask has them."""
        with umask(0o022):
            prepare_folder(project / "a" / "b" / "c" / "x.db")
        assert [mode(project / part) for part in ("a", "a/b", "a/b/c")] == [0o755, 0o755, 0o700]

    @posix_only
    def test_sqlite_inherits_the_rights(self, project: Path) -> None:
        """The -wal and -shm that SQLite makes beside the file are 0600 as well, under an open umask."""
        db = project / BESIDE
        with umask(0o000):
            prepare_folder(db)
            with closing(sqlite3.connect(db)) as connection:
                connection.execute("PRAGMA journal_mode = WAL")
                connection.execute("CREATE TABLE t (x)")
                modes = {path.name: mode(path) for path in db.parent.glob("agentops.db*")}
        assert modes == dict.fromkeys(("agentops.db", "agentops.db-wal", "agentops.db-shm"), 0o600)

    @pytest.mark.skipif(shutil.which("git") is None, reason="needs git")
    def test_git_sees_nothing(self, project: Path) -> None:
        """In a git repository a folder of recordings does not show up as something to commit."""
        subprocess.run(["git", "init", "--quiet"], cwd=project, check=True)
        prepare_folder(project / BESIDE)
        prepare_folder(project / "runs" / "x.db")
        done = subprocess.run(["git", "status", "--porcelain"], cwd=project, check=True, capture_output=True, text=True)
        assert done.stdout == ""

    def test_a_chosen_folder_that_exists_is_not_hidden(self, project: Path) -> None:
        """A folder of the user's that was there before, and is not called `.agentops`, gets no
        `.gitignore`.
        """
        prepare_folder(project / "x.db")
        assert [path.name for path in project.iterdir()] == ["x.db"]

    def test_an_agentops_folder_of_the_user_is_hidden(self, project: Path) -> None:
        """An `.agentops/` that the user made gets a `.gitignore`; one that he wrote stays as it is."""
        (project / ".agentops").mkdir()
        prepare_folder(project / BESIDE)
        ignore = project / ".agentops" / ".gitignore"
        assert ignore.read_text().splitlines()[-1] == "*"
        ignore.write_text("!agentops.db\n")
        prepare_folder(project / BESIDE)
        assert ignore.read_text() == "!agentops.db\n"

    @posix_only
    def test_a_full_disk_leaves_no_empty_gitignore(self, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """When `.gitignore` cannot be written it is not left empty, and recording is not refused for it."""

        def full(descriptor: int, data: bytes) -> int:
            raise OSError(28, "no space left")

        with monkeypatch.context() as patched:
            patched.setattr(os, "write", full)
            prepare_folder(project / BESIDE)
        assert not (project / ".agentops" / ".gitignore").exists()
        prepare_folder(project / BESIDE)
        assert (project / ".agentops" / ".gitignore").read_text()

    def test_all_that_was_made_is_synced(self, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Each folder that got a new name in it is synced, so the way to the database survives a power cut;
        when all is in place nothing is.
        """
        synced: list[Path] = []
        monkeypatch.setattr(location, "sync_folder", synced.append)
        prepare_folder(project / "a" / "b" / "x.db")
        assert synced == [project, project / "a", project / "a" / "b"]
        synced.clear()
        prepare_folder(project / "a" / "b" / "x.db")
        assert synced == []

    def test_sixteen_processes_at_once(self, project: Path) -> None:
        """Of processes that start together all succeed, and there is one database."""
        code = (
            "import sys; from pathlib import Path; from agentops_local.store.location import prepare_folder;"
            "print(flush=True); sys.stdin.read(1); prepare_folder(Path(sys.argv[1]))"
        )
        children = [
            subprocess.Popen(
                [sys.executable, "-c", code, str(project / "a" / BESIDE)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            for _ in range(16)
        ]
        for child in children:
            assert child.stdout
            child.stdout.readline()
        for child in children:
            assert child.stdin
            child.stdin.close()
            child.stdin = None
        errors = [child.communicate()[1] for child in children]
        assert errors == [""] * 16
        assert sorted(path.name for path in (project / "a" / ".agentops").iterdir()) == [
            ".gitignore",
            "agentops.db",
        ]


class TestAnExistingDatabase:
    def test_it_is_left_alone(self, project: Path) -> None:
        """What is in the database stays in it."""
        db = project / BESIDE
        prepare_folder(db)
        db.write_bytes(b"SQLite format 3\0")
        prepare_folder(db)
        assert db.read_bytes() == b"SQLite format 3\0"

    def test_it_keeps_its_locks(self, project: Path) -> None:
        """A lock that SQLite holds on the database in this process is not lost by preparing it again."""
        db = project / BESIDE
        prepare_folder(db)
        other = (
            "import sqlite3, sys; c = sqlite3.connect(sys.argv[1], timeout=0, isolation_level=None);"
            "c.execute('BEGIN IMMEDIATE')"
        )
        with closing(sqlite3.connect(db, isolation_level=None)) as connection:
            connection.execute("BEGIN EXCLUSIVE")
            prepare_folder(db)
            done = subprocess.run([sys.executable, "-c", other, str(db)], capture_output=True, text=True, check=False)
        assert "database is locked" in done.stderr

    @linux_only
    def test_it_is_never_opened(self, project: Path) -> None:
        """The database is opened by SQLite alone: neither making it nor checking it opens it."""
        code = """
import sys
from pathlib import Path
from agentops_local.store.location import exposure, find_database, prepare_folder
opened = []
sys.addaudithook(lambda event, args: opened.append(str(args[0])) if event == "open" else None)
for _ in range(2):
    db = find_database()
    prepare_folder(db)
    exposure(db)
print(*opened)
"""
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert (project / BESIDE).exists()
        assert str(project / ".agentops" / ".gitignore") in done.stdout
        assert "agentops.db" not in done.stdout

    @posix_only
    def test_where_nodes_cannot_be_made_it_is_opened_once(self, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """On a filesystem without mknod a new database is made by open, and an existing one never opened."""
        monkeypatch.setattr(location, "_make_node", lambda _: False)
        with umask(0o000):
            prepare_folder(project / BESIDE)
        assert mode(project / BESIDE) == 0o600
        (project / BESIDE).write_bytes(b"kept")
        location._make_file(project / BESIDE)
        assert (project / BESIDE).read_bytes() == b"kept"

    @posix_only
    @pytest.mark.parametrize("target", ["exists", "missing"])
    def test_a_link_in_its_place_is_refused(self, target: str, project: Path) -> None:
        """A link called `agentops.db`, as a cloned repository may bring one, is neither followed nor written
        through.
        """
        victim = project / "victim"
        if target == "exists":
            victim.write_text("mine")
        (project / ".agentops").mkdir()
        (project / BESIDE).symlink_to(victim)
        with pytest.raises(DatabaseUnusable, match="symbolic link"):
            prepare_folder(find_database(environ={}))
        assert victim.exists() == (target == "exists")

    def test_a_folder_in_its_place_is_refused(self, project: Path) -> None:
        """A folder called `agentops.db` is refused."""
        (project / BESIDE).mkdir(parents=True)
        with pytest.raises(DatabaseUnusable, match="not a file"):
            prepare_folder(project / BESIDE)

    def test_one_that_a_stranger_put_into_a_shared_folder(self, project: Path, foreign: Callable[[Path], None]) -> None:
        """In a folder like /tmp a database that another user has put there is refused."""
        if os.geteuid() != 0:
            pytest.skip("only root can give a file away")
        shared = project / "shared"
        shared.mkdir()
        shared.chmod(0o1777)
        (shared / "x.db").touch()
        prepare_folder(shared / "x.db")
        foreign(shared / "x.db")
        with pytest.raises(DatabaseUnusable, match="another user"):
            prepare_folder(shared / "x.db")
