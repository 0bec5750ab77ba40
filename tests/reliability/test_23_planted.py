"""What another user of the machine has put in our way: links and files of his where we are about to make ours.

The programs run as one user of this machine and what is planted belongs to another, in a folder that both may write to,
so these tests need root.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import stat
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

import agentops_local as agentops
from agentops_local.credentials import save_key
from agentops_local.errors import DatabaseUnusable
from agentops_local.store import location
from tests.clients import forget_client
from tests.reliability.scorecard import Score

VICTIM, ATTACKER = 65534, 65533
PRECIOUS = b"a file of the user's that is precious to him\n" * 10
KEY = "0190a000-0000-4000-8000-000000000001"

pytestmark = pytest.mark.skipif(
    sys.platform == "win32" or os.geteuid() != 0, reason="needs root, to be two users one after another"
)


class Ground:
    """A shared folder as /tmp is one, and the home of a user with a precious file in it."""

    def __init__(self, root: Path) -> None:
        self.shared, self.home = root / "shared", root / "home"
        root.chmod(0o755)
        for folder, mode, owner in ((self.shared, 0o1777, 0), (self.home, 0o700, VICTIM)):
            folder.mkdir()
            folder.chmod(mode)
            os.chown(folder, owner, owner)
        self.precious, self.absent = self.home / "precious", self.home / "absent"
        self.precious.write_bytes(PRECIOUS)
        self.precious.chmod(0o644)
        os.chown(self.precious, VICTIM, VICTIM)
        self.db = self.shared / "x.db"

    def link(self, path: Path, target: Path) -> None:
        """The attacker makes a link."""
        path.symlink_to(target)
        os.chown(path, ATTACKER, ATTACKER, follow_symlinks=False)

    def file(self, path: Path, content: bytes = b"") -> None:
        """The attacker makes a file that everybody may write to, which he keeps open."""
        path.write_bytes(content)
        path.chmod(0o666)
        os.chown(path, ATTACKER, ATTACKER)

    def folder(self, path: Path) -> None:
        """The attacker makes a folder that everybody may write to."""
        path.mkdir()
        path.chmod(0o777)
        os.chown(path, ATTACKER, ATTACKER)

    def as_victim(self, act: Callable[[], object]) -> str:
        """Does something in a process of the user's; the repr of what it returned or raised."""
        reading, writing = os.pipe()
        if (pid := os.fork()) == 0:
            answer = ""
            try:
                os.setgroups([])
                os.setgid(VICTIM)
                os.setuid(VICTIM)
                os.environ.update(HOME=str(self.home), XDG_DATA_HOME=str(self.home / "data"))
                os.environ.pop("AGENTOPS_LOCAL_STRICT", None)
                os.chdir(self.home)
                forget_client()
                answer = repr(act())
            except BaseException as error:  # noqa: BLE001 - it is the answer
                answer = repr(error)
            finally:
                os.write(writing, answer.encode()[-60_000:])
                os._exit(0)
        os.close(writing)
        with os.fdopen(reading) as text:
            answer = text.read()
        os.waitpid(pid, 0)
        return answer

    def record(self, **settings: object) -> str:
        """The user's program records."""

        def act() -> object:
            session = agentops.init(**settings)  # type: ignore[arg-type]  # as a program would
            assert session is not None
            session.record(agentops.ToolEvent(name="step", params="secret"))
            session.end_session("Success")
            path = session._recorder.database.path
            unstored = session._recorder.database.unstored
            forget_client()
            return str(path), unstored

        return self.as_victim(act)


@pytest.fixture
def ground() -> Iterator[Ground]:
    """Not below the folder of the tests, which only root may enter."""
    root = Path(tempfile.mkdtemp()).resolve()
    yield Ground(root)
    shutil.rmtree(root)


def plant(kind: str, target: str) -> Callable[[Ground], None]:
    """Something at x.db or beside it."""

    def act(ground: Ground) -> None:
        path = ground.db.with_name(f"x.db{kind}")
        if target == "hard":
            os.link(ground.precious, path)  # where the system lets one link a file of somebody else's
        elif target in ("precious", "absent"):
            ground.link(path, ground.precious if target == "precious" else ground.absent)
        elif target == "folder":
            ground.folder(path)
        else:
            ground.file(path, b"" if target == "empty" else database(ground))

    return act


def database(ground: Ground) -> bytes:
    """An attacker's database, with our marks on it and a trigger that would tell him what is recorded."""
    made = ground.shared / "made"
    with closing(sqlite3.connect(made)) as connection:
        connection.executescript((Path(__file__).parents[2] / "schema.sql").read_text())
        connection.execute("PRAGMA application_id = 1095192396")
        connection.execute("PRAGMA user_version = 1")
        connection.execute("INSERT INTO about VALUES ('generation', 'his')")
        connection.commit()
    content = made.read_bytes()
    made.unlink()
    return content


PLANTED = {
    f"{suffix or 'the database'}, {target}": plant(suffix, target)
    for suffix in ("", "-wal", "-shm", "-journal", "-generation", ".lock")
    for target in ("precious", "absent", "hard", "empty", "folder", *(["database"] if not suffix else []))
}


@pytest.mark.parametrize("name", PLANTED)
def test_beside_the_database(ground: Ground, name: str, score: Score) -> None:
    """Whatever another user has put where a database in a shared folder shall be, or beside it: no file of ours is
    written through it, none of his holds what is recorded, and every event is stored."""
    PLANTED[name](ground)
    planted = {path.name: (path.lstat().st_uid, path.read_bytes() if path.is_file() and not path.is_symlink() else b"")
               for path in ground.shared.iterdir() if path.lstat().st_uid == ATTACKER}  # fmt: skip
    said = ground.record(db=str(ground.db))
    after = {path.name: (path.lstat().st_uid, path.read_bytes() if path.is_file() and not path.is_symlink() else b"")
             for path in ground.shared.iterdir() if path.lstat().st_uid == ATTACKER}  # fmt: skip
    harmed = ground.precious.read_bytes() != PRECIOUS or ground.absent.exists() or after != planted
    score.add(1, lost=int(harmed))
    assert ground.precious.read_bytes() == PRECIOUS
    assert not ground.absent.exists()
    assert after == planted
    path, unstored = eval(said)  # noqa: S307 - the repr of two values of ours
    assert unstored == 0
    if "empty" not in name or ".lock" not in name:
        assert path.startswith(str(ground.home / "data")), path
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT count(*) FROM tools").fetchone() == (1,)
    assert stat.S_IMODE(Path(path).stat().st_mode) == 0o600
    assert Path(path).stat().st_uid == VICTIM


@pytest.mark.parametrize("kind", ["folder", "link to a folder of his", "link to a home", "file"])
def test_a_planted_folder(ground: Ground, kind: str, score: Score) -> None:
    """An `.agentops` of another user above the project, or in it, holds nothing of ours, whatever it is."""
    place = ground.shared / ".agentops"
    if kind == "folder":
        ground.folder(place)
    elif kind == "link to a folder of his":
        ground.folder(ground.shared / "his")
        ground.link(place, ground.shared / "his")
    elif kind == "link to a home":
        ground.link(place, ground.home)
    else:
        ground.file(place)
    work = ground.shared / "work"
    work.mkdir()
    os.chown(work, VICTIM, VICTIM)
    for folder in (work, ground.shared):

        def act(folder: Path = folder) -> object:
            os.chdir(folder)
            found = location.find_database(environ={})
            try:
                location.prepare_folder(found)
            except (OSError, DatabaseUnusable) as error:
                return "refused", str(error)
            return "made", str(found)

        what, where = eval(ground.as_victim(act))  # noqa: S307 - the repr of two values of ours
        made = [path for path in ground.shared.rglob("*.db*") if work not in path.parents]
        score.add(1, lost=len(made))
        assert not made
        assert not list(ground.home.rglob("*.db*"))
        if folder == work:
            assert (what, where) == ("made", str(work / ".agentops" / "agentops.db"))
        else:
            assert what == "refused"


@pytest.mark.parametrize("target", ["precious", "absent", "hard", "empty"])
@pytest.mark.parametrize("name", ["keys", "keys.lock"])
def test_beside_the_file_of_keys(ground: Ground, name: str, target: str, score: Score) -> None:
    """Keys are read from no file of another user's and written into none; the file of keys is refused instead."""
    path = ground.shared / name
    if target == "hard":
        os.link(ground.precious, path)
    elif target == "empty":
        ground.file(path)
    else:
        ground.link(path, ground.precious if target == "precious" else ground.absent)
    environ = {"AGENTOPS_LOCAL_CREDENTIALS": str(ground.shared / "keys")}
    said = ground.as_victim(lambda: save_key(KEY, environ=environ))
    leaked = [found for found in ground.shared.rglob("*") if found.is_file() and found.stat().st_uid == ATTACKER
              and KEY.encode() in found.read_bytes()]  # fmt: skip
    score.add(1, lost=len(leaked) + (ground.precious.read_bytes() != PRECIOUS))
    assert ground.precious.read_bytes() == PRECIOUS
    assert not leaked
    if name == "keys" and target != "absent":
        assert "WrongCredentials" in said
    elif target in ("precious", "absent") and name == "keys.lock":
        assert "Error" in said
    else:
        assert said == "True"


@pytest.mark.parametrize("kind", ["his", "open to all", "a link"])
def test_the_secret_of_the_tokens(ground: Ground, kind: str, score: Score) -> None:
    """A secret that another user may know signs no token: the collector does not start with it."""
    pytest.importorskip("jwt", reason="the extra `server` is not installed")
    from agentops_local.server.tokens import load_secret

    path = ground.shared / "x.db-secret"
    ground.file(path, b"s" * 64)
    if kind == "open to all":
        os.chown(path, VICTIM, VICTIM)
    elif kind == "a link":
        path.rename(ground.shared / "his")
        ground.link(path, ground.shared / "his")
    said = ground.as_victim(lambda: load_secret(ground.db))
    score.add(1, lost=int("Error" not in said))
    assert ("Too many levels" if kind == "a link" else "others may know") in said


def test_the_daemons_lock(ground: Ground, score: Score) -> None:
    """The lock of agentops-sync is no way to write into a file of the user's either."""
    from agentops_local.analytics.uploading import lock_file
    from agentops_sync.instance import _alone

    path = lock_file(ground.db)
    ground.link(path, ground.precious)

    def act() -> object:
        with _alone(ground.db):
            return "served"

    said = ground.as_victim(act)
    score.add(1, lost=int(ground.precious.read_bytes() != PRECIOUS))
    assert ground.precious.read_bytes() == PRECIOUS
    assert "Error" in said


@pytest.mark.parametrize("kind", ["a link", "a hard link", "a pipe"])
def test_the_daemons_reserve(ground: Ground, kind: str, score: Score) -> None:
    """The reserve of agentops-sync, which grows and is cut, is no way to a file of the user's, and nobody waits for a
    pipe in its place."""
    from agentops_local.analytics.uploading import reserve_file, reserved
    from agentops_sync.reserve import Reserve

    ground.precious.write_bytes(PRECIOUS * 1000)
    path = reserve_file(ground.db)
    if kind == "a pipe":
        os.mkfifo(path, 0o666)
        path.chmod(0o666)
    elif kind == "a hard link":
        os.link(ground.precious, path)
    else:
        ground.link(path, ground.precious)

    def act() -> object:
        reserve = Reserve(ground.db)
        grown, given = reserve.keep(), reserve.give_up()
        reserve.take_back()
        return grown, given, reserved(ground.db)

    said = ground.as_victim(act)
    score.add(1, lost=int(ground.precious.read_bytes() != PRECIOUS * 1000))
    assert ground.precious.read_bytes() == PRECIOUS * 1000
    assert said == "(False, False, None)"
