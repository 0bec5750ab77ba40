from __future__ import annotations

import json
import os
import platform
import time
from pathlib import Path
from typing import Any

import pytest

import agentops_local as agentops
from agentops_local import host_env
from agentops_local.process import hostname
from agentops_local.session import Session
from tests.sdk.records import Programs, Records

STORED = "SELECT json_patch(e.host_env, s.moment) FROM sessions s JOIN environments e ON e.id = s.environment"
PARTS = {
    "SDK",
    "OS",
    "CPU",
    "RAM",
    "Disk",
    "Installed Packages",
    "Project Working Directory",
    "Virtual Environment",
}
RUN = """
import agentops_local as agentops
agentops.init()
agentops.record(agentops.ActionEvent("first"))
"""


def begin() -> Session:
    """A live session."""
    started = agentops.init()
    assert started is not None
    return started


def stored(records: Records) -> dict[str, Any]:
    """The host environment of the one session, as any SQLite tool reads it."""
    found: dict[str, Any] = json.loads(records.value(STORED))
    return found


def test_the_environment_has_the_classic_shape(project: Path, records: Records) -> None:
    """After the end of the session its host environment is there, in the classic's shape."""
    session = begin()
    session.end_session("Success")
    found = stored(records)
    assert set(found) <= PARTS
    assert set(found) >= PARTS - {"Disk", "Virtual Environment"}
    assert found["SDK"]["AgentOps SDK Version"] == agentops.__version__
    assert found["SDK"]["Python Version"] == platform.python_version()
    assert found["OS"]["Hostname"] == hostname()
    assert found["OS"]["OS"] == platform.system()
    assert found["CPU"]["Total cores"] == os.cpu_count()
    assert set(found["RAM"]) == {"Total", "Available", "Used", "Percentage"}
    assert "pytest" in found["Installed Packages"]["Installed Packages"]
    assert found["Project Working Directory"] == {"Project Working Directory": str(project)}
    assert session.host_env == found


def test_the_first_event_does_not_pay(records: Records, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither `init` nor the first events look at the host: that waits until it is asked for, a while has passed, or
    the session ends."""
    looked = []

    def look(*_: object) -> dict[str, object]:
        looked.append("stable")
        return {}

    monkeypatch.setattr(host_env, "stable", look)
    session = begin()
    for _ in range(3):
        session.record(agentops.ActionEvent())
    session.add_tags(["a"])
    session.get_analytics()
    assert looked == []
    assert records.value("SELECT environment FROM sessions") is None
    session.end_session("Success")
    assert looked == ["stable"]


def test_a_long_session_looks_with_an_event(records: Records, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once a second has passed, the next event looks at the host, so that a program that is killed later has its
    environment; and it looks once."""
    now = time.monotonic
    session = begin()
    session.record(agentops.ActionEvent())
    assert records.value("SELECT environment FROM sessions") is None
    monkeypatch.setattr(time, "monotonic", lambda: now() + 2)
    session.record(agentops.ActionEvent())
    assert stored(records)["OS"]["Hostname"] == hostname()
    before = records.value("SELECT revision FROM sessions")
    session.record(agentops.ActionEvent())
    assert records.value("SELECT revision FROM sessions") == before


def test_the_exit_looks(programs: Programs, records: Records) -> None:
    """A program that ends without end_session has told its environment all the same."""
    programs.run(RUN)
    assert stored(records)["SDK"]["AgentOps SDK Version"] == agentops.__version__


def test_the_environment_is_kept_once(programs: Programs, records: Records) -> None:
    """Sessions of one program on one host share one row of the lasting part, and list the packages once."""
    for _ in range(2):
        programs.run(RUN + "agentops.end_session('Success')\nagentops.init()\nagentops.end_session('Success')")
    assert records.value("SELECT count(*) FROM environments") == 1
    assert records.value("SELECT count(*) FROM sessions WHERE environment IS NOT NULL AND moment IS NOT NULL") == 4


def test_a_fault_of_the_look_does_not_hurt(records: Records, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the host cannot be looked at, the session ends as ever, without an environment."""
    monkeypatch.setenv("AGENTOPS_LOCAL_STRICT", "0")

    def fail(*_: object) -> str:
        raise OSError("no /proc here")

    monkeypatch.setattr(host_env, "fingerprint", fail)
    session = begin()
    assert session.host_env == {}
    assert session.end_session("Success") == "0.00"
    assert records.row("SELECT end_state, environment FROM sessions") == {"end_state": "Success", "environment": None}


def test_a_child_does_not_describe_its_parent(records: Records, programs: Programs) -> None:
    """A process that takes part in a session of another leaves the environment to that one."""
    session = begin()
    programs.run(RUN, AGENTOPS_LOCAL_SESSION=str(session.session_id))
    assert records.value("SELECT environment FROM sessions") is None
    session.end_session("Success")
    assert records.value("SELECT count(*) FROM environments") == 1


def test_the_host_is_looked_at_once_for_all_processes(records: Records, programs: Programs) -> None:
    """Whichever process of a session has told where it runs, forked or joined, has told it for all: none of the others
    looks again, and each says the same."""
    done = programs.run(
        """
import os, sys
import agentops_local as agentops
from agentops_local import host_env
session = agentops.init()
agentops.record(agentops.ActionEvent("first"))
if os.fork() == 0:
    session.host_env
    os._exit(0)
os.wait()
looked = []
host_env.momentary = looked.append
if os.fork() == 0:
    session.host_env
    os._exit(len(looked))
assert os.wait()[1] == 0
print(session.session_id, session.host_env["OS"]["Hostname"], looked)
"""
    )
    session, host, looked = done.out.split()
    assert (host, looked) == (hostname(), "[]")
    joined = "import agentops_local as agentops, json; print(json.dumps(agentops.init().host_env))"
    assert json.loads(programs.run(joined, AGENTOPS_LOCAL_SESSION=session).out) == stored(records)


@pytest.mark.parametrize("word", ["True", "true", "1", "YES"])
def test_opted_out_nothing_names_the_host(tmp_path: Path, word: str) -> None:
    """With AGENTOPS_ENV_DATA_OPT_OUT neither the host's name nor the working directory nor the program's name stands
    anywhere in the database or beside it."""
    folder = tmp_path / "canary-working-directory"
    folder.mkdir()
    records = Records(folder / ".agentops" / "agentops.db")
    programs = Programs(folder)
    source = """
import os
import agentops_local as agentops
system = os.uname()
named = os.uname_result((system.sysname, "canary-host", system.release, system.version, system.machine))
os.uname = lambda: named
agentops.init()
agentops.record(agentops.ActionEvent("first"))
agentops.record(agentops.LLMEvent(prompt="hello", completion="hi"))
assert agentops.get_session(agentops.Client().current_session_ids[0]).host_env["OS"]
"""
    program = folder / "canary_program.py"
    program.write_text(source, encoding="utf-8")
    programs.run(program, AGENTOPS_ENV_DATA_OPT_OUT=word)
    programs.close()
    content = records.text()
    for secret in (b"canary-host", b"canary-working-directory", b"canary_program", str(Path.home()).encode()):
        assert secret not in content
    assert set(stored(records)) == {"SDK", "OS"}
    assert records.row("SELECT host, program FROM owners") == {"host": None, "program": None}


def test_without_opting_out_they_do(tmp_path: Path) -> None:
    """Without the opt-out they do stand there, so the absence above proves something."""
    folder = tmp_path / "canary-working-directory"
    folder.mkdir()
    records = Records(folder / ".agentops" / "agentops.db")
    programs = Programs(folder)
    programs.run(RUN, AGENTOPS_ENV_DATA_OPT_OUT="no")
    programs.close()
    assert b"canary-working-directory" in records.text()
    assert hostname().encode() in records.text()
    assert records.value("SELECT host FROM owners") == hostname()
