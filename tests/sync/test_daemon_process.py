"""The daemon as a process among others: woken, stopped, killed, offline, without a disk, without its database."""

from __future__ import annotations

import os
import resource
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.fakes.agentops_api import AgentOpsAPI
from tests.sync.running import Running, environment, names, posted, query, recorded, states

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")


@pytest.fixture
def server() -> Iterator[AgentOpsAPI]:
    """A look-alike."""
    with AgentOpsAPI(actions_work=True) as running:
        yield running


@pytest.fixture
def db(project: Path) -> Path:
    """A database with one session of three tool calls."""
    path = project / "agentops.db"
    recorded(path, 3, "first")
    return path


def all_done(db: Path, events: int) -> bool:
    """Whether so many events have been uploaded, and nothing else is open."""
    return states(db) == {"done": events} and query(db, "SELECT count(*) FROM deliveries WHERE NOT ended_sent") == [
        (0,)
    ]


# Waking and resting -------------------------------------------------------------------------------------------------


def test_what_other_processes_record_is_uploaded(db: Path, server: AgentOpsAPI) -> None:
    """A daemon that runs uploads what any process records, without being told."""
    with Running.on(db, server) as daemon:
        daemon.until(lambda: all_done(db, 3))
        for number in (1, 2):
            session = recorded(db, 2, "later")
            daemon.until(lambda: all_done(db, 3 + 2 * number))  # noqa: B023 - called at once
            assert names(server, session) == ["later", "later"]
        assert daemon.stop() == 0


def test_an_idle_daemon_is_silent(db: Path, server: AgentOpsAPI) -> None:
    """With nothing to send it makes no request, and writes nothing into the database."""
    with Running.on(db, server) as daemon:
        daemon.until(lambda: all_done(db, 3))
        daemon.until(lambda: query(db, "SELECT looked_us FROM targets") != [(None,)])
        requests, version = len(server.requests), _commits(db)
        before = psutil.Process(daemon.pid).cpu_times()
        assert not daemon.becomes(lambda: len(server.requests) > requests, 2.0)
        after = psutil.Process(daemon.pid).cpu_times()
        assert _commits(db) == version
        used = after.user + after.system - before.user - before.system
        print(f"idle for 2 s, looking every 0.05 s: {used:.2f} s of CPU time")


def _commits(db: Path) -> tuple[int, bytes]:
    """Whatever differs after a commit: the size of the log, and its frames' salt and the database's own counter."""
    wal = db.with_name(db.name + "-wal")
    return (wal.stat().st_size if wal.exists() else 0), str(query(db, "SELECT * FROM targets")).encode()


def test_several_databases(db: Path, server: AgentOpsAPI) -> None:
    """One daemon serves all the databases it is given."""
    other = db.with_name("other.db")
    recorded(other, 2, "other")
    with Running.on(db, server, "--db", str(other)) as daemon:
        daemon.until(lambda: all_done(db, 3) and all_done(other, 2))
        recorded(other, 1, "more")
        daemon.until(lambda: all_done(other, 3))
        assert daemon.stop() == 0


# Its end ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_cleanly(number: signal.Signals, db: Path, server: AgentOpsAPI) -> None:
    """On SIGTERM and Ctrl-C the request under way is finished and noted, and the exit code is 0."""
    server.fault("slow", path="create_events", seconds=0.7)
    with Running.on(db, server) as daemon:
        daemon.until(lambda: posted(server))
        assert states(db) == {"flying": 3}
        assert daemon.stop(number) == 0
        assert daemon.log.endswith("stopped\n")
    assert states(db) == {"done": 3}
    assert query(db, "SELECT state FROM batches") == [("ok",)]


def test_a_second_signal_does_not_wait(db: Path, server: AgentOpsAPI) -> None:
    """Who asks twice is obeyed at once, and nothing is lost or doubled by it."""
    server.fault("slow", path="create_events", seconds=3)
    with Running.on(db, server) as daemon:
        daemon.until(lambda: posted(server))
        daemon.send(signal.SIGTERM)
        daemon.becomes(lambda: _handles_by_default(daemon.pid), 2)
        daemon.send(signal.SIGTERM)
        assert daemon.wait() == -signal.SIGTERM
    assert states(db) == {"flying": 3}
    with Running.on(db, server) as daemon:
        daemon.until(lambda: all_done(db, 3))
    assert posted(server) == 1


def _handles_by_default(pid: int) -> bool:
    """Whether a process would die of SIGTERM; where that cannot be seen, it is waited for."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return False
    caught = next(int(line.split()[1], 16) for line in lines if line.startswith("SigCgt"))
    return not caught >> (signal.SIGTERM - 1) & 1


def test_one_daemon_for_a_database(db: Path, server: AgentOpsAPI) -> None:
    """A second daemon for a database says so and exits with 3; under another name of the file as well."""
    link = db.with_name("link.db")
    link.symlink_to(db)
    with Running.on(db, server) as daemon:
        daemon.until(lambda: all_done(db, 3))
        env = environment(db, server.api_key)
        for command, path in (("run", db), ("once", db), ("run", link)):
            log = db.with_name(f"second-{command}-{path.stem}.log")
            with Running(command, "--db", str(path), "--endpoint", server.url, env=env, log=log) as second:
                assert second.wait() == 3
                assert second.log == f"Error: another agentops-sync serves {db} already\n"
        assert daemon.stop() == 0


def test_a_killed_daemon_leaves_no_lock(db: Path, server: AgentOpsAPI) -> None:
    """After SIGKILL the next one begins at once, and finds out what became of the request under way."""
    server.fault("slow", path="create_events", seconds=0.5)
    with Running.on(db, server) as daemon:
        daemon.until(lambda: posted(server))
    assert states(db) == {"flying": 3}
    with Running.on(db, server) as daemon:
        daemon.until(lambda: all_done(db, 3))
        assert daemon.stop() == 0
    assert posted(server) == 1


def test_a_stopped_daemon_goes_on(db: Path, server: AgentOpsAPI) -> None:
    """SIGSTOP in the middle of a request, for longer than the answer is waited for, and SIGCONT: each event once."""
    server.fault("hang", path="create_events", seconds=0.3)
    with Running.on(db, server) as daemon:
        daemon.until(lambda: posted(server))
        daemon.send(signal.SIGSTOP)
        daemon.becomes(lambda: False, 1.0)
        session = recorded(db, 2, "meanwhile")
        daemon.send(signal.SIGCONT)
        daemon.until(lambda: all_done(db, 5))
        assert daemon.stop() == 0
    assert names(server, session) == ["meanwhile"] * 2
    assert len(server.store()["tools"]) == 5


# What it stands on --------------------------------------------------------------------------------------------------


def test_it_begins_offline(db: Path, server: AgentOpsAPI) -> None:
    """A daemon that cannot reach its server says so once, waits, and uploads when it can."""
    server.refuse()
    with Running.on(db, server) as daemon:
        daemon.until(lambda: "takes nothing now" in daemon.log)
        failures = query(db, "SELECT failures FROM targets")[0][0]
        daemon.until(lambda: query(db, "SELECT failures FROM targets")[0][0] > failures)
        assert daemon.log.count("takes nothing now") == 1
        server.listen()
        daemon.until(lambda: all_done(db, 3))
        daemon.until(lambda: "answers again" in daemon.log)
        assert daemon.stop() == 0


@pytest.mark.parametrize("how", ["removed", "replaced"])
def test_a_database_that_goes_away(how: str, db: Path, server: AgentOpsAPI) -> None:
    """A database that is removed or replaced under the daemon ends nothing: it serves what is there next."""
    with Running.on(db, server) as daemon:
        daemon.until(lambda: all_done(db, 3))
        fresh = db.with_name("fresh.db") if how == "replaced" else db
        if how == "removed":
            for file in db.parent.glob(f"{db.name}*"):
                if not file.name.endswith(".sync.lock"):
                    file.unlink()
            daemon.until(lambda: "cannot be used" in daemon.log)
        session = recorded(fresh, 2, "next")
        if how == "replaced":
            for end in ("-wal", "-shm", "-generation"):
                Path(f"{db}{end}").unlink(missing_ok=True)
            for file in db.parent.glob("fresh.db*"):
                os.replace(file, db.with_name(file.name.replace("fresh", "agentops")))  # noqa: PTH105 - over it
        daemon.until(lambda: len(names(server, session)) == 2)
        daemon.until(lambda: all_done(db, 2))
        assert daemon.stop() == 0


@pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="the limits of another process can be set on Linux only")
def test_a_full_disk(db: Path, server: AgentOpsAPI) -> None:
    """While the ledger cannot be written nothing is sent, for it could not be noted; then it goes on by itself."""
    with Running.on(db, server) as daemon:
        daemon.until(lambda: all_done(db, 3))
        before = posted(server)
        unlimited = resource.prlimit(daemon.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(daemon.pid, resource.RLIMIT_FSIZE, (4000, unlimited[1]))
        session = recorded(db, 2, "full")
        daemon.until(lambda: "cannot be used" in daemon.log)
        assert not daemon.becomes(lambda: posted(server) > before, 1.0)
        resource.prlimit(daemon.pid, resource.RLIMIT_FSIZE, unlimited)
        daemon.until(lambda: all_done(db, 5))
        assert names(server, session) == ["full"] * 2
        assert daemon.stop() == 0
