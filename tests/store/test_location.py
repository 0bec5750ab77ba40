from __future__ import annotations

import os
import shutil
import sqlite3
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from agentops_local.errors import DatabaseUnusable
from agentops_local.store import location
from agentops_local.store.location import (
    exposure,
    fallback_database,
    find_database,
    is_writable,
    prepare_folder,
)

posix_only = pytest.mark.skipif(os.name != "posix", reason="there are no modes and owners of files")
linux_only = pytest.mark.skipif(sys.platform != "linux", reason="only Linux makes a file without opening it")

BESIDE = Path(".agentops", "agentops.db")


def mode(path: Path) -> int:
    """The rights of a file or folder."""
    return stat.S_IMODE(path.stat().st_mode)


@contextmanager
def umask(value: int) -> Iterator[None]:
    """Another umask for a while."""
    before = os.umask(value)
    try:
        yield
    finally:
        os.umask(before)


@pytest.fixture
def foreign(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], None]:
    """Makes a path look as if it belonged to another user, neither us nor root."""
    if sys.platform == "win32":
        pytest.skip("there are no owners of files")
    really = os.geteuid()

    def give_away(path: Path) -> None:
        if really == 0:
            os.chown(path, 12345, -1, follow_symlinks=False)
        monkeypatch.setattr(os, "geteuid", lambda: 54321)

    return give_away


@pytest.fixture
def as_nobody() -> Iterator[Callable[[Callable[[Path], object]], str]]:
    """Runs a function, in a process that is not root, on a folder of its own; gives the repr of what it
    returned or raised.
    """
    if sys.platform == "win32":
        pytest.skip("there are no owners of files")
    folder = Path(tempfile.mkdtemp()).resolve()  # not tmp_path: that is below a folder which only we may enter

    def run(function: Callable[[Path], object]) -> str:
        reading, writing = os.pipe()
        if os.geteuid() == 0:
            os.chown(folder, 65534, 65534)
        if (pid := os.fork()) == 0:
            try:
                if os.geteuid() == 0:
                    os.setgid(65534)
                    os.setuid(65534)
                answer = repr(function(folder))
            except BaseException as error:  # noqa: BLE001 - it is the answer
                answer = repr(error)
            os.write(writing, answer.encode())
            os._exit(0)
        os.close(writing)
        with os.fdopen(reading) as text:
            answer = text.read()
        os.waitpid(pid, 0)
        return answer

    yield run
    for path in (folder, *folder.rglob("*")):
        if path.is_dir():
            path.chmod(0o700)
    shutil.rmtree(folder)


class TestFinding:
    def test_the_argument_comes_first(self, project: Path) -> None:
        """The argument wins over the variable, and the variable over what the folders say."""
        (project / ".agentops").mkdir()
        environ = {"AGENTOPS_LOCAL_DB": str(project / "b.db")}
        assert find_database("a.db", environ) == project / "a.db"
        assert find_database(None, environ) == project / "b.db"
        assert find_database(None, {}) == project / BESIDE

    @pytest.mark.parametrize("given", [None, ""])
    def test_what_is_empty_is_not_given(self, given: str | None, project: Path) -> None:
        """An empty argument and an empty variable count as none."""
        assert find_database(given, {"AGENTOPS_LOCAL_DB": ""}) == project / BESIDE

    def test_the_environment_is_read_when_asked(self, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """By default the variable is read from the environment as it is at the call."""
        monkeypatch.setenv("AGENTOPS_LOCAL_DB", "later.db")
        assert find_database() == project / "later.db"

    def test_the_nearest_agentops_folder(self, project: Path) -> None:
        """Of several folders that hold `.agentops/` the nearest upwards is used, before any that only look
        like a project.
        """
        inner = project / "a" / "b"
        inner.mkdir(parents=True)
        (project.parent / ".agentops").mkdir()
        (inner / "pyproject.toml").touch()
        assert find_database(cwd=inner, environ={}) == project.parent / BESIDE
        (project / ".agentops").mkdir()
        assert find_database(cwd=inner, environ={}) == project / BESIDE
        (inner / ".agentops").mkdir()
        assert find_database(cwd=inner, environ={}) == inner / BESIDE

    @pytest.mark.parametrize("marker", ["pyproject.toml", ".git"])
    def test_the_nearest_project(self, marker: str, project: Path) -> None:
        """Without an `.agentops/` the nearest folder with `pyproject.toml` or `.git`, which may be a file, is
        used.
        """
        inner = project / "a" / "b"
        inner.mkdir(parents=True)
        (project / marker).touch()
        assert find_database(cwd=inner, environ={}) == project / BESIDE
        (inner / ".git").mkdir()
        assert find_database(cwd=inner, environ={}) == inner / BESIDE

    def test_the_home_directory_serves_who_has_none(self, project: Path) -> None:
        """An `.agentops/` in the home directory serves projects below it, but not one with its own."""
        home = project.parent / "home"
        (home / ".agentops").mkdir()
        ours, others = home / "ours", home / "others"
        (ours / ".agentops").mkdir(parents=True)
        others.mkdir()
        assert find_database(cwd=ours, environ={}) == ours / BESIDE
        assert find_database(cwd=others, environ={}) == home / BESIDE

    def test_a_file_called_agentops_is_no_sign(self, project: Path) -> None:
        """A file called `.agentops` does not make a folder the one of the database."""
        inner = project / "inner"
        inner.mkdir()
        (project / ".agentops").touch()
        assert find_database(cwd=inner, environ={}) == inner / BESIDE

    def test_a_planted_folder_is_passed_over(self, project: Path, foreign: Callable[[Path], None]) -> None:
        """An `.agentops/` of another user above the project does not get its recordings."""
        (project.parent / ".agentops").mkdir()
        foreign(project.parent / ".agentops")
        assert find_database(cwd=project, environ={}) == project / BESIDE

    def test_nothing_is_made(self, project: Path) -> None:
        """Finding makes no file and no folder."""
        find_database("new/", {})
        find_database(environ={})
        assert list(project.iterdir()) == []

    def test_a_folder_holds_the_file(self, project: Path) -> None:
        """A path that is a folder, ends in a separator or is called `.agentops` means `agentops.db` in it;
        any other path is the file.
        """
        (project / "folder").mkdir()
        for given, expected in (
            ("folder", "folder/agentops.db"),
            ("new/", "new/agentops.db"),
            (".agentops", ".agentops/agentops.db"),
            ("new", "new"),
            ("new.db", "new.db"),
            (".agentops/other.db", ".agentops/other.db"),
        ):
            assert find_database(given, {}) == project / expected

    def test_a_path_object_is_as_good(self, project: Path) -> None:
        """A Path means the same as its text."""
        assert find_database(project / "x.db", {}) == find_database(str(project / "x.db"), {})

    def test_home_is_expanded(self, project: Path) -> None:
        """`~` is the home directory, in the argument and in the variable."""
        expected = project.parent / "home" / "runs.db"
        assert find_database("~/runs.db", {}) == expected
        assert find_database(None, {"AGENTOPS_LOCAL_DB": "~/runs.db"}) == expected

    def test_the_path_stays_when_the_program_moves(self, project: Path, tmp_path: Path) -> None:
        """The answer is absolute and without `..`: a later chdir does not change its meaning."""
        found = find_database("x/../y.db", {})
        assert found == project / "y.db"
        assert find_database("../y.db", {}, cwd=project) == tmp_path / "y.db"

    @posix_only
    def test_two_names_of_one_database_are_one_path(self, project: Path) -> None:
        """A database named through a link, of the file or of a folder, has the path it really has."""
        (project / "real").mkdir()
        (project / "real" / "x.db").touch()
        (project / "folder").symlink_to("real")
        (project / "file.db").symlink_to("real/x.db")
        assert find_database("folder/x.db", {}) == find_database("file.db", {}) == project / "real" / "x.db"

    @pytest.mark.parametrize("name", [":memory:", "file:x.db?mode=memory", "x\0y"])
    def test_names_with_another_meaning_are_refused(self, name: str, project: Path) -> None:
        """What would not be a file that processes share is refused by its name."""
        with pytest.raises(DatabaseUnusable, match="no file"):
            find_database(name, {})

    @posix_only
    def test_a_loop_of_links_is_refused(self, project: Path) -> None:
        """A path that leads back to itself is refused, or left for `prepare_folder` to refuse."""
        (project / "loop").symlink_to("loop")
        with pytest.raises((DatabaseUnusable, OSError)):
            prepare_folder(find_database("loop/x.db", {}))

    @posix_only
    def test_a_working_directory_that_is_gone(self, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Where the working directory was removed an absolute path is found, and the search says what is
        wrong.
        """
        gone = project / "gone"
        gone.mkdir()
        monkeypatch.chdir(gone)
        gone.rmdir()
        assert find_database(project / "x.db", {}) == project / "x.db"
        for given in (None, "x.db"):
            with pytest.raises(DatabaseUnusable, match="working directory"):
                find_database(given, {})
        monkeypatch.chdir(project)

    @posix_only
    def test_a_parent_that_may_not_be_searched(self, as_nobody: Callable[..., str]) -> None:
        """A folder above that may not be searched holds no database for us, and raises nothing."""

        def find(folder: Path) -> object:
            (folder / "closed" / "inner").mkdir(parents=True)
            os.chdir(folder / "closed" / "inner")
            (folder / "closed").chmod(0o000)
            return find_database(environ={})

        answer = as_nobody(find)
        assert "PermissionError" not in answer
        assert "agentops.db" in answer or "DatabaseUnusable" in answer


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


class TestAnExistingFolder:
    @posix_only
    @pytest.mark.parametrize("rights", [0o755, 0o777, 0o770, 0o701])
    def test_ours_is_closed(self, rights: int, project: Path) -> None:
        """An `.agentops/` of ours that others may enter is closed to them."""
        (project / ".agentops").mkdir()
        (project / ".agentops").chmod(rights)
        prepare_folder(project / BESIDE)
        assert mode(project / ".agentops") == 0o700

    @posix_only
    def test_a_chosen_one_is_left_as_it_is(self, project: Path) -> None:
        """A folder that the user named keeps its rights, and `exposure` has a word on those that endanger
        it.
        """
        for rights, expected in ((0o700, None), (0o777, "replace"), (0o775, "replace"), (0o755, None)):
            project.chmod(rights)
            prepare_folder(project / "x.db")
            assert mode(project) == rights
            told = exposure(project / "x.db")
            assert (told is None) if expected is None else (told is not None and expected in told)
        (project / "x.db").chmod(0o644)
        assert "open" in (exposure(project / "x.db") or "")
        project.chmod(0o700)
        assert exposure(project / "x.db") is None

    @posix_only
    def test_one_of_our_own_making_is_not_exposed(self, project: Path) -> None:
        """What is made here is never exposed, under whatever umask; a database that is not there neither."""
        assert exposure(project / BESIDE) is None
        with umask(0o000):
            prepare_folder(project / BESIDE)
        assert exposure(project / BESIDE) is None

    def test_a_strangers_is_refused(self, project: Path, foreign: Callable[[Path], None]) -> None:
        """An `.agentops/` of another user is refused: he could read what is recorded."""
        (project / ".agentops").mkdir()
        foreign(project / ".agentops")
        with pytest.raises(PermissionError, match="another user"):
            prepare_folder(project / BESIDE)

    @posix_only
    def test_a_strangers_is_good_enough_for_root(self, project: Path) -> None:
        """Root, as containers run, records into the folder of a user, and leaves its rights alone."""
        if os.geteuid() != 0:
            pytest.skip("only root can give a folder away")
        (project / ".agentops").mkdir()
        (project / ".agentops").chmod(0o755)
        os.chown(project / ".agentops", 12345, 12345)
        assert find_database(environ={}) == project / BESIDE
        prepare_folder(project / BESIDE)
        assert mode(project / ".agentops") == 0o755

    @posix_only
    def test_a_link_to_a_closed_folder_of_ours(self, project: Path, tmp_path: Path) -> None:
        """An `.agentops` that links to a folder of ours, which others cannot write to, is used and left as it
        is.
        """
        store = tmp_path / "large-disk"
        store.mkdir()
        store.chmod(0o750)
        (project / ".agentops").symlink_to(store)
        prepare_folder(find_database(environ={}))
        assert (store / "agentops.db").exists()
        assert (store / ".gitignore").exists()
        assert mode(store) == 0o750

    @posix_only
    def test_a_link_to_an_open_folder(self, project: Path, tmp_path: Path) -> None:
        """An `.agentops` that links to a folder others can write to is refused, and nothing is put there."""
        trap = tmp_path / "trap"
        trap.mkdir()
        trap.chmod(0o777)
        (project / ".agentops").symlink_to(trap)
        with pytest.raises(PermissionError, match="link"):
            prepare_folder(find_database(environ={}))
        assert list(trap.iterdir()) == []

    def test_a_link_to_a_strangers_folder(self, project: Path, tmp_path: Path, foreign: Callable[[Path], None]) -> None:
        """An `.agentops` that links to a folder of another user is passed over by the search and refused."""
        (tmp_path / "trap").mkdir()
        (project / ".agentops").symlink_to(tmp_path / "trap")
        foreign(tmp_path / "trap")
        with pytest.raises(PermissionError, match="link"):
            prepare_folder(project / BESIDE)

    @pytest.mark.parametrize("kind", ["file", "dangling link"])
    def test_what_is_no_folder(self, kind: str, project: Path) -> None:
        """A file or a dangling link called `.agentops` is refused, and stays."""
        if kind == "file":
            (project / ".agentops").write_text("mine")
        else:
            (project / ".agentops").symlink_to("nowhere")
        with pytest.raises(NotADirectoryError):
            prepare_folder(find_database(environ={}))
        assert (project / ".agentops").is_symlink() == (kind != "file")
        assert not (project / "nowhere").exists()

    def test_a_parent_that_is_a_file(self, project: Path) -> None:
        """A path that leads through a file is refused."""
        (project / "file").touch()
        with pytest.raises(OSError, match=r"[Nn]ot a|exists"):
            prepare_folder(project / "file" / "deeper" / "x.db")


class TestReadOnly:
    @posix_only
    @pytest.mark.parametrize("there", [False, True])
    def test_a_folder_that_cannot_be_written(self, there: bool, as_nobody: Callable[..., str]) -> None:
        """A folder that may not be written to is refused with an OSError, whether or not a database is in
        it.
        """

        def prepare(folder: Path) -> object:
            if there:
                prepare_folder(folder / BESIDE)
                (folder / ".agentops").chmod(0o500)
            folder.chmod(0o500)
            assert not is_writable(folder / ".agentops")
            prepare_folder(folder / BESIDE)
            return None

        assert as_nobody(prepare).startswith("PermissionError")

    @posix_only
    def test_a_database_that_cannot_be_written(self, as_nobody: Callable[..., str]) -> None:
        """A database that may not be written to, as one that root has made, is refused with an OSError."""

        def prepare(folder: Path) -> object:
            prepare_folder(folder / BESIDE)
            (folder / BESIDE).chmod(0o400)
            prepare_folder(folder / BESIDE)
            return None

        assert as_nobody(prepare).startswith("PermissionError")

    @linux_only
    def test_a_disk_that_is_read_only(self, tmp_path: Path) -> None:
        """On a read-only disk root is refused, too, and `is_writable` says so beforehand."""
        code = """
from pathlib import Path
import sys
from agentops_local.store.location import is_writable, prepare_folder
db = Path(sys.argv[1], "project", ".agentops", "agentops.db")
print(is_writable(db.parent))
try:
    prepare_folder(db)
except OSError as error:
    print(error.errno)
"""
        mount = f"mount -t tmpfs none {tmp_path} && mkdir {tmp_path}/project && mount -o remount,ro {tmp_path}"
        unshare = ["unshare", "--mount", "sh", "-c"]
        probe = subprocess.run([*unshare, mount], check=False, capture_output=True)
        if probe.returncode:
            pytest.skip("no right to mount")
        run = f'{mount} && exec "$0" -c "$1" {tmp_path}'
        done = subprocess.run([*unshare, run, sys.executable, code], capture_output=True, text=True, check=True)
        assert done.stdout.split() == ["False", "30"]

    def test_writable(self, project: Path) -> None:
        """A folder of ours is writable, and so is one that could be made in it; one below a file is not."""
        assert is_writable(project)
        assert is_writable(project / "a" / "b")
        (project / "file").touch()
        assert not is_writable(project / "file")
        assert not is_writable(project / "file" / "a")


class TestFallback:
    def environ(self, home: Path) -> dict[str, str]:
        """The variables of a user who has a home and nothing else."""
        return {"HOME": str(home), "USERPROFILE": str(home)}

    def test_it_is_in_the_data_folder(self, project: Path, tmp_path: Path) -> None:
        """The other place is in the user's data folder, under the project's name and eight hex digits."""
        found = fallback_database(project / BESIDE, self.environ(tmp_path / "home"))
        assert found.is_relative_to(tmp_path / "home")
        assert found.name == "agentops.db"
        assert found.parent.parent.name == "agentops-local"
        name, _, digits = found.parent.name.rpartition("-")
        assert name == "project"
        assert len(bytes.fromhex(digits)) == 4

    @linux_only
    def test_xdg_is_followed(self, project: Path, tmp_path: Path) -> None:
        """XDG_DATA_HOME is the data folder if it is absolute; else it is ~/.local/share."""
        environ = self.environ(tmp_path / "home")
        standard = tmp_path / "home" / ".local" / "share"
        for value, expected in (
            ("", standard),
            ("relative", standard),
            (str(tmp_path / "xdg"), tmp_path / "xdg"),
        ):
            found = fallback_database(project / BESIDE, {**environ, "XDG_DATA_HOME": value})
            assert found.parents[2] == expected

    @pytest.mark.parametrize(("platform", "folder"), [("darwin", "Library/Application Support"), ("win32", "D")])
    def test_other_systems_have_other_folders(
        self, platform: str, folder: str, project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """On macOS it is ~/Library/Application Support, on Windows %LOCALAPPDATA%; XDG is for neither."""
        monkeypatch.setattr(sys, "platform", platform)
        environ = {"LOCALAPPDATA": str(tmp_path / "home" / "D"), "XDG_DATA_HOME": str(tmp_path / "xdg")}
        found = fallback_database(project / BESIDE, {**self.environ(tmp_path / "home"), **environ})
        assert found.parents[2] == tmp_path / "home" / folder

    def test_a_project_finds_it_again_and_has_it_alone(self, project: Path, tmp_path: Path) -> None:
        """One database always has the same other place; two, be it in one folder, never share one."""
        environ = self.environ(tmp_path / "home")
        paths = [
            project / BESIDE,
            project / "a.db",
            project / "b.db",
            tmp_path / "other" / "project" / BESIDE,
        ]
        found = [fallback_database(path, environ) for path in paths]
        assert found == [fallback_database(path, environ) for path in paths]
        assert len(set(found)) == len(paths)
        assert fallback_database(Path("a.db"), environ) == fallback_database(project / "x" / ".." / "a.db", environ)

    @pytest.mark.parametrize("name", ["/", "x" * 255, "é" * 127, "Z:"])
    def test_any_folder_has_one(self, name: str, tmp_path: Path) -> None:
        """The root and folders with the longest names have another place that can be made."""
        found = fallback_database(Path(os.sep, name, ".agentops", "agentops.db"), self.environ(tmp_path))
        prepare_folder(found)
        assert found.exists()

    def test_without_a_home_there_is_none(self, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A user without a home directory is told to name a path."""

        def homeless() -> Path:
            raise RuntimeError

        monkeypatch.setattr(Path, "home", homeless)
        with pytest.raises(DatabaseUnusable, match="AGENTOPS_LOCAL_DB"):
            fallback_database(project / BESIDE, {})
        with pytest.raises(DatabaseUnusable, match="AGENTOPS_LOCAL_DB"):
            fallback_database(project / BESIDE, {"HOME": "relative", "USERPROFILE": "relative"})
