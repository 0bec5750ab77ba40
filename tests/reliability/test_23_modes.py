"""Who may read what our programs make, whatever the umask: they run one after another in one project, and then every
file and folder that was not there before is looked at."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from agentops_local.cli.demo import _folder
from agentops_local.server.registry import parse_key
from agentops_local.store import connection as opening
from agentops_local.store.migrations import migrate
from tests.fakes.agentops_api import AgentOpsAPI
from tests.reliability.conftest import Spawn
from tests.reliability.scorecard import Score
from tests.reliability.tools.crash import DB, SESSION
from tests.store.places import umask
from tests.store.test_migrations import to_version_2
from tests.sync.running import PATIENCE, Running, environment

pytestmark = pytest.mark.skipif(os.name != "posix", reason="Windows has no modes")

CLI = [sys.executable, "-m", "agentops_local.cli"]
RECORDER = """
import agentops_local
session = agentops_local.init(api_key={key!r}, tags=["modes"])
agentops_local.record(agentops_local.ToolEvent(name="step", returns="x" * 9000))
say("recorded")
order()
session.end_session("Success")
"""


def everything(root: Path) -> dict[Path, int]:
    """Every file and folder, with its rights."""
    return {path: stat.S_IMODE(path.lstat().st_mode) for path in root.rglob("*") if not path.is_symlink()}


def run(*arguments: str, code: int = 0) -> None:
    """A command in a process of its own."""
    done = subprocess.run([*CLI, *arguments], capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == code, done.stderr


def recorded(spawn: Spawn) -> None:
    """A program records, and is looked at while it has the database open."""
    program = spawn(RECORDER.format(key=str(uuid4())))
    program.expect("recorded")
    for name in ("agentops.db", "agentops.db-wal", "agentops.db-shm", "agentops.db.lock", "agentops.db-generation"):
        assert stat.S_IMODE(Path(".agentops", name).stat().st_mode) == 0o600, name
    program.tell()
    program.finish()


def fallen_back(spawn: Spawn) -> None:
    """A program records into the user's data folder, for the place that it was told is another program's."""
    Path("theirs.db").write_bytes(Path(DB).read_bytes())
    with Path("theirs.db").open("r+b") as file:
        file.seek(68)  # the application id
        file.write(b"\1\2\3\4")
    program = spawn(RECORDER.format(key=""), environment={"AGENTOPS_LOCAL_DB": "theirs.db"})
    program.expect("recorded")
    program.tell()
    assert "recording to" in program.finish()
    for left in Path().glob("theirs.db*"):  # with the rights of a file that is not ours
        left.unlink()


def damaged(spawn: Spawn) -> None:
    """A program finds its database damaged, puts it aside and begins another; then what can be read is salvaged."""
    Path("bad").mkdir(mode=0o700)
    program = spawn(RECORDER.format(key=""), environment={"AGENTOPS_LOCAL_DB": "bad/bad.db"})
    program.expect("recorded")
    program.tell()
    program.finish()
    Path("bad/bad.db").write_bytes(b"x" * 8192)
    program = spawn(RECORDER.format(key=""), environment={"AGENTOPS_LOCAL_DB": "bad/bad.db"})
    program.expect("recorded")
    program.tell()
    assert "is kept as" in program.finish()
    (aside,) = Path("bad").glob("bad.db.damaged-*")
    assert stat.S_IMODE(aside.stat().st_mode) == 0o600
    subprocess.run([*CLI, "--db", "bad/bad.db", "doctor", "--repair"], capture_output=True, timeout=PATIENCE)


def migrated(spawn: Spawn) -> None:
    """A database is brought up to a newer version, after a backup."""
    spawn(
        "import sys\nme = Actor(*sys.argv[1:])\nme.many(3)\nme.leave()", "old/.agentops/agentops.db", SESSION
    ).finish()
    connection = opening.connect(Path("old/.agentops/agentops.db"))
    saved = migrate(connection, Path("old/.agentops/agentops.db").absolute(), to_version_2(), 2)
    connection.close()
    assert saved.exists()


def uploaded(spawn: Spawn) -> None:
    """The daemon uploads, with a policy of the user's; nothing of that file changes."""
    policy = Path(".agentops/sync.toml")
    policy.write_text('[upload]\npolicy = "full"\n')
    policy.chmod(0o640)
    with AgentOpsAPI(actions_work=True) as server:
        env = environment(Path(DB).absolute(), server.api_key)
        env["AGENTOPS_LOCAL_CREDENTIALS"] = os.environ["AGENTOPS_LOCAL_CREDENTIALS"]
        words = ("run", "--db", DB, "--endpoint", server.url, "--api-key", server.api_key)
        log = Path("daemon.log")
        log.touch(mode=0o600)  # the shell's, not ours
        with Running(*words, env=env, log=log) as daemon:
            daemon.until(lambda: "→" in daemon.log)
            assert daemon.stop() == 0
    assert (policy.read_text(), stat.S_IMODE(policy.stat().st_mode)) == ('[upload]\npolicy = "full"\n', 0o640)
    policy.unlink()
    service = [sys.executable, "-m", "agentops_sync", "--db", DB, "install-service"]
    assert subprocess.run(service, capture_output=True, timeout=PATIENCE).returncode == 0


def collected(spawn: Spawn) -> None:
    """A collector takes a session for a project of its own."""
    from tests.server.running import Api, in_a_process, tool

    done = subprocess.run([*CLI, "--db", DB, "keys", "add", "team"], capture_output=True, text=True, timeout=PATIENCE)
    assert parse_key(done.stdout) is not None
    with in_a_process(Path(DB)) as collector, Api(collector.url, done.stdout.strip()) as api:
        assert api.create().events(tool()).status == 200
        (project,) = Path(".agentops/projects").glob("*.db")
        assert str(UUID(project.stem)) == project.stem
        assert collector.stop() == 0


def copied(spawn: Spawn) -> None:
    """The command `backup` copies the database."""
    run("--db", DB, "backup")
    run("--db", DB, "backup", "copy.db")


STEPS: dict[str, Callable[[Spawn], None]] = {
    "recorded": recorded, "fallen back": fallen_back, "damaged": damaged, "migrated": migrated, "uploaded": uploaded,
    "collected": collected, "copied": copied,
}  # fmt: skip


def judge(project: Path, before: dict[Path, int], score: Score) -> None:
    """Files are 0600 and folders 0700. Folders above a database, which hold none, may be looked into as the umask has
    it, but not be written to by others."""
    made = {path: mode for path, mode in everything(project.parent).items() if path not in before}
    above = {parent for path in made if path.name.endswith(".db") for parent in path.parents[1:]}
    wrong = {
        str(path.relative_to(project.parent)): f"{mode:04o}" for path, mode in made.items()
        if mode != (0o700 if path.is_dir() else 0o600) and (path not in above or mode & 0o022)
    }  # fmt: skip
    score.add(len(made), lost=len(wrong))
    assert not wrong


@pytest.mark.parametrize("value", [0o000, 0o077])
def test_only_the_user_may_read_what_is_made(project: Path, spawn: Spawn, value: int, score: Score) -> None:
    """Databases, their WAL, locks and generations, damaged copies, backups, the user's data folder, the file of keys,
    the daemon's lock, a service file, the collector's secret and projects: each file is 0600, each folder 0700."""
    before = everything(project.parent)
    with umask(value):
        for step in STEPS.values():
            step(spawn)
    judge(project, before, score)
    found = {path.name for path in everything(project.parent) if path not in before}
    assert {"credentials", "agentops.db-secret", "agentops-sync.service", "copy.db", "projects", "backups"} <= found
    assert any(".salvaged-" in name for name in found)
    assert any(name.endswith(".backup") for name in found)


def test_only_the_user_may_read_the_demo(project: Path, score: Score) -> None:
    """The folder that the demo makes is the user's alone: the logs that its agent reads lie there, beside databases."""
    with umask(0o000):
        made = _folder(Path("demo/of/mine"))
    mode = stat.S_IMODE(made.stat().st_mode)
    score.add(1, lost=int(mode != 0o700))
    assert mode == 0o700
