"""Repairs while programs record, and repairs that are killed or find no room."""

from __future__ import annotations

import json
import resource
import shutil
import signal
import subprocess
import time
from pathlib import Path
from random import Random

import pytest

from tests.cli.calling import COMMAND, environment
from tests.recovery.old import make_old
from tests.reliability.conftest import Spawn
from tests.reliability.scorecard import Score
from tests.reliability.tools.crash import DB, SESSION, acks, check, query, scaled, seed

WRITER = """
import sys
me = Actor(*sys.argv[1:])
while order():
    me.many(20)
    me.error()
    say("done")
me.leave()
"""


def _command(*more: str, **how: object) -> subprocess.CompletedProcess[str]:
    line = [*COMMAND, "doctor", "--repair", *more]
    return subprocess.run(line, env=environment(), capture_output=True, text=True, timeout=60, **how)  # type: ignore[call-overload, no-any-return]


def _spoil(path: Path) -> None:
    with path.open("r+b") as file:
        file.write(bytes(100))


@pytest.mark.parametrize("writers", [1, 3])
def test_a_repair_while_programs_record(project: Path, spawn: Spawn, score: Score, writers: int) -> None:
    """A file that is repaired while programs record to it costs them nothing: what they recorded before is salvaged,
    they notice that there is a new file, and what they record after is in that, in the same session."""
    programs = [spawn(WRITER, DB, SESSION) for _ in range(writers)]
    for turn in range(2):
        for program in programs:
            program.tell()
            program.expect("done", turn + 1)
    _spoil(Path(DB))
    repaired = _command()
    assert repaired.returncode == 0, repaired.stderr
    for turn in range(2, 5):
        for program in programs:
            program.tell()
            program.expect("done", turn + 1)
    for program in programs:
        program.finish()
    assert _command().returncode == 0
    there = {row[0] for row in query(DB, "SELECT id FROM payloads")}
    score.add(1, lost=len(set(acks(*programs)) - there))
    assert check(acks(*programs), DB).sessions == [SESSION]


@pytest.fixture
def damaged(project: Path, tmp_path: Path) -> dict[str, bytes]:
    """A damaged database in the project; what lies there."""
    make_old(tmp_path / "agentops.db", 30)
    path = Path(DB)
    path.parent.mkdir()
    for end in ("", "-generation"):
        shutil.copy(tmp_path / f"agentops.db{end}", f"{path}{end}")
    _spoil(path)
    return {"": path.read_bytes()}


def test_a_repair_that_is_killed(project: Path, damaged: dict[str, bytes], score: Score) -> None:
    """Whenever a repair is killed, the damaged file is as it was, and another repair does what was left, once; nothing
    else is left in the folder."""
    chance = Random(seed(3))
    path = Path(DB)
    line = [*COMMAND, "doctor", "--repair"]
    began = time.monotonic()
    assert _command().returncode == 0
    took = time.monotonic() - began
    expected = query(path, "SELECT count(*) FROM payloads")
    cut_short = 0
    for _ in range(scaled(5)):
        shutil.rmtree(path.parent)
        path.parent.mkdir()
        path.write_bytes(damaged[""])
        Path(f"{path}-generation").write_text("made here\n")
        with subprocess.Popen(line, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as program:
            try:
                program.wait(took * chance.random())
            except subprocess.TimeoutExpired:
                program.send_signal(signal.SIGKILL)
                cut_short += 1
        copies = [copy for copy in path.parent.iterdir() if ".damaged-" in copy.name or ".salvaged-" in copy.name]
        kept = copies[0].read_bytes() if copies else path.read_bytes()
        done = _command()
        assert done.returncode == 0, done.stderr
        found = query(path, "SELECT count(*) FROM payloads")
        doubled = query(path, "SELECT count(*) - count(DISTINCT id) FROM payloads")[0][0]
        score.add(1, lost=max(0, expected[0][0] - found[0][0]), doubled=doubled, torn=kept != damaged[""])
        assert kept == damaged[""]
        assert (found, doubled) == (expected, 0)
        assert query(path, "PRAGMA integrity_check") == [("ok",)]
        assert not list(path.parent.glob("*.salvaging-*"))
    assert cut_short


@pytest.mark.parametrize("room", [0.3, 1.0], ids=["to read", "to store"])
def test_a_repair_without_room(project: Path, damaged: dict[str, bytes], score: Score, room: float) -> None:
    """A repair that finds no room for what it reads says so, with exit code 1, and leaves the damaged file as it is and
    nothing else; with room, another one does it all."""
    limit = int(len(damaged[""]) * room)

    def tighten() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    full = _command("--json", preexec_fn=tighten)
    (copy,) = Path(DB).parent.glob("*.damaged-*")
    score.add(1, torn=copy.read_bytes() != damaged[""])
    assert full.returncode == 1, full.stdout + full.stderr
    assert json.loads(full.stdout)["failed"][0][0] == str(copy.absolute())
    assert copy.read_bytes() == damaged[""]
    assert not list(copy.parent.glob("*.salvaging-*"))
    assert query(DB, "SELECT count(*) FROM payloads") == [(0,)]
    done = _command()
    assert done.returncode == 0, done.stderr
    assert query(DB, "SELECT count(*) FROM payloads") == [(3 * 30 * 4,)]
