from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import timeit
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentops_local import process
from agentops_local.process import Liveness, ProcessIdentity, current, hostname, liveness

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
posix_only = pytest.mark.skipif(os.name != "posix", reason="needs fork")
waits = pytest.mark.skipif(not hasattr(os, "waitid"), reason="needs waitid")

TELL_AND_WAIT = """
import json, sys
from agentops_local import process
if {by_time}:
    process._identify = process._identify_by_psutil
print(json.dumps(process.current()), flush=True)
sys.stdin.read()
"""


@contextmanager
def running(by_time: bool = False) -> Iterator[tuple[subprocess.Popen[str], ProcessIdentity]]:
    """A process that lives until it is killed, and its identity in its own words."""
    code = TELL_AND_WAIT.format(by_time=by_time)
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout
        try:
            yield child, ProcessIdentity(*json.loads(child.stdout.readline()))
        finally:
            child.kill()


def kill(child: subprocess.Popen[str]) -> None:
    """Kill a child and take its exit code, so that its pid is free."""
    child.kill()
    child.wait()


def make_zombie(child: subprocess.Popen[str]) -> None:
    """Kill a child and leave its exit code, so that it is a zombie when this returns."""
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)


def test_a_process_knows_itself() -> None:
    """The identity of a process is complete, bears its pid, and stays the same."""
    me = current()
    assert me.pid == os.getpid()
    assert me.started
    assert me.boot
    assert current() is me
    assert liveness(me) is Liveness.ALIVE


def test_an_identity_survives_storage() -> None:
    """An identity is an int and two texts, and equal to what was stored of it."""
    assert ProcessIdentity(*json.loads(json.dumps(current()))) == current()


@posix_only
def test_a_forked_child_is_another_process() -> None:
    """After a fork the child has an identity of its own, and the parent keeps the one it had."""
    before = current()
    reading, writing = os.pipe()
    if (pid := os.fork()) == 0:
        os.write(writing, json.dumps(current()).encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as answer:
        child = ProcessIdentity(*json.loads(answer.read()))
    os.waitpid(pid, 0)
    assert child.pid == pid
    assert child.started != before.started or child.pid != before.pid
    assert child.boot == before.boot
    assert current() == before


@pytest.mark.parametrize("host", [None, "ours"])
def test_a_running_process_is_alive_and_a_killed_one_dead(host: str | None) -> None:
    """A process is ALIVE while it runs and DEAD once it was killed, whether its host was recorded or not."""
    host = hostname() if host else None
    with running() as (child, identity):
        assert identity.pid == child.pid
        assert liveness(identity, host) is Liveness.ALIVE
        kill(child)
        assert liveness(identity, host) is Liveness.DEAD


@waits
def test_a_stopped_process_is_alive() -> None:
    """A process that was stopped by a signal is ALIVE: it may go on."""
    with running() as (child, identity):
        child.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, child.pid, os.WSTOPPED | os.WNOWAIT)
        assert liveness(identity) is Liveness.ALIVE


@waits
def test_a_zombie_is_dead() -> None:
    """A process that ended is DEAD although its parent has not taken its exit code."""
    with running() as (child, identity):
        make_zombie(child)
        assert liveness(identity) is Liveness.DEAD


def test_a_pid_used_again_is_noticed() -> None:
    """A pid whose holder started at another time than recorded says that the process is DEAD."""
    with running() as (_, identity):
        kind, _, number = identity.started.partition(":")
        earlier = f"{kind}:{float(number) - 100:.0f}"
        assert liveness(identity._replace(started=earlier)) is Liveness.DEAD


def test_hostname_is_the_one_of_the_system() -> None:
    """The host's name is the one the socket module gives."""
    import socket

    assert hostname() == socket.gethostname()


@linux_only
class TestOnLinux:
    OTHER_BOOT = "00000000-1111-4222-8333-444444444444"

    @pytest.fixture(autouse=True)
    def named(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """This machine is called anvil."""
        monkeypatch.setattr(process, "hostname", lambda: "anvil.example.org")

    def other_boot(self) -> ProcessIdentity:
        """Ourselves, but in another boot: the pid lives, and that proves nothing."""
        return current()._replace(boot=f"{self.OTHER_BOOT}:{current().boot.partition(':')[2]}")

    @pytest.mark.parametrize("host", ["anvil", "ANVIL", "anvil.local", "anvil.example.org"])
    def test_rebooted(self, host: str) -> None:
        """Of an earlier boot of this machine every process is DEAD; the domain and the case of a name do not
        matter.
        """
        assert liveness(self.other_boot(), host) is Liveness.DEAD

    @pytest.mark.parametrize("host", [None, "", "hammer", "anvil2", "localhost"])
    def test_another_machine(self, host: str | None) -> None:
        """Of a process of another boot, of a machine that is not proven to be this one, nothing is known."""
        assert liveness(self.other_boot(), host) is Liveness.UNKNOWN

    @pytest.mark.parametrize("name", ["localhost", "localhost.localdomain", "(none)", ""])
    def test_a_common_name_proves_nothing(self, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
        """Two machines with a name that many bear are not taken for one."""
        monkeypatch.setattr(process, "hostname", lambda: name)
        assert liveness(self.other_boot(), name) is Liveness.UNKNOWN

    @pytest.mark.parametrize("host", [None, "anvil", "hammer"])
    def test_another_container(self, host: str | None) -> None:
        """Of a process in another pid namespace nothing is known, whatever its host is called."""
        boot_id = current().boot.partition(":")[0]
        assert liveness(current()._replace(boot=f"{boot_id}:1"), host) is Liveness.UNKNOWN

    def test_a_renamed_host_is_the_same_machine(self) -> None:
        """Within one boot and namespace the pid tells, whatever the host was called."""
        with running() as (child, identity):
            assert liveness(identity, "hammer") is Liveness.ALIVE
            kill(child)
            assert liveness(identity, "hammer") is Liveness.DEAD

    @pytest.mark.parametrize("host", [None, "anvil", "hammer"])
    def test_another_kind_of_system(self, host: str | None) -> None:
        """Of a process of Windows or macOS nothing is known from Linux, although WSL and Windows share a
        name.
        """
        windows = ProcessIdentity(os.getpid(), "time:1700000000.000", "time:1690000000")
        assert liveness(windows, host) is Liveness.UNKNOWN

    def test_a_hidden_process_is_not_declared_dead(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Where /proc hides other users' processes (hidepid), a process that runs is UNKNOWN, and one that is
        gone is DEAD.
        """
        whole = process._stat

        def hidden(pid: str) -> tuple[str, str, str]:
            if pid == "self":
                return whole(pid)
            raise FileNotFoundError(pid)

        monkeypatch.setattr(process, "_stat", hidden)
        with running() as (child, identity):
            assert liveness(identity) is Liveness.UNKNOWN
            kill(child)
            assert liveness(identity) is Liveness.DEAD

    def test_without_proc_a_process_has_no_identity(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Where /proc cannot be read the identity is the pid alone, and everybody's verdict UNKNOWN."""
        known = current()
        monkeypatch.setattr(process, "_cached", None)
        monkeypatch.setattr(process, "_read", lambda path: open("/nowhere/" + path))  # noqa: PTH123, SIM115
        bare = current()
        assert bare == (os.getpid(), "", "")
        assert liveness(known) is Liveness.UNKNOWN
        monkeypatch.undo()
        assert liveness(bare) is Liveness.UNKNOWN

    def test_a_name_cannot_pass_for_a_state(self, tmp_path: Path) -> None:
        """A program whose name looks like the fields of /proc/PID/stat is judged by its real fields."""
        sleep = shutil.which("sleep")
        assert sleep
        program = tmp_path / "x) Z 1 (y"
        shutil.copy(sleep, program)
        with subprocess.Popen([program, "1000"]) as child:
            try:
                since_boot = psutil.Process(child.pid).create_time() - psutil.boot_time()
                ticks = round(since_boot * os.sysconf("SC_CLK_TCK"))
                identity = ProcessIdentity(child.pid, f"ticks:{ticks}", current().boot)
                assert liveness(identity) is Liveness.ALIVE
            finally:
                child.kill()

    @pytest.mark.parametrize("own_proc", [True, False])
    def test_in_a_real_container(self, own_proc: bool) -> None:
        """A process in a pid namespace has an identity there; from outside nothing is known of it; inside,
        with its own /proc or the outer one, its living child is not DEAD and its dead child is.
        """
        code = """
import json, subprocess, sys
from agentops_local import process
child = subprocess.Popen([sys.executable, "-c", "import json, sys; from agentops_local import process;"
    "print(json.dumps(process.current()), flush=True); sys.stdin.read()"],
    stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
them = process.ProcessIdentity(*json.loads(child.stdout.readline()))
before = process.liveness(them).value
child.kill(); child.wait()
print(json.dumps([process.current(), before, process.liveness(them).value]))
"""
        unshare = ["unshare", "--pid", "--fork", *(["--mount-proc"] if own_proc else [])]
        if shutil.which("unshare") is None or subprocess.run([*unshare, "true"], check=False).returncode:
            pytest.skip("no right to make a pid namespace")
        done = subprocess.run([*unshare, sys.executable, "-c", code], capture_output=True, text=True, check=True)
        identity, before, after = json.loads(done.stdout)
        assert identity[0] < 10
        assert liveness(ProcessIdentity(*identity)) is Liveness.UNKNOWN
        assert before == ("alive" if own_proc else "unknown")
        assert after == "dead"


class TestByTime:
    """The ways of macOS and Windows, which psutil has on every system."""

    @pytest.fixture(autouse=True)
    def by_time(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """We are identified by psutil, on a machine called anvil."""
        monkeypatch.setattr(process, "_cached", process._identify_by_psutil())
        monkeypatch.setattr(process, "hostname", lambda: "anvil")

    @staticmethod
    def booted(identity: ProcessIdentity, later: float) -> ProcessIdentity:
        """The identity with another boot time."""
        return identity._replace(boot=f"time:{float(identity.boot[5:]) + later:.0f}")

    @staticmethod
    def begun(identity: ProcessIdentity, later: float) -> ProcessIdentity:
        """The identity with another start."""
        return identity._replace(started=f"time:{float(identity.started[5:]) + later:.3f}")

    @pytest.mark.parametrize("host", [None, "anvil", "anvil.local", "localhost"])
    def test_alive_then_dead(self, host: str | None) -> None:
        """A process is ALIVE while it runs and DEAD once it was killed."""
        with running(by_time=True) as (child, identity):
            assert liveness(identity, host) is Liveness.ALIVE
            kill(child)
            assert liveness(identity, host) is Liveness.DEAD

    @waits
    def test_zombie(self) -> None:
        """A zombie is DEAD."""
        with running(by_time=True) as (child, identity):
            make_zombie(child)
            assert liveness(identity) is Liveness.DEAD

    def test_pid_used_again(self) -> None:
        """A pid whose holder started a second earlier or later is that of another process."""
        with running(by_time=True) as (_, identity):
            assert liveness(self.begun(identity, 1)) is Liveness.DEAD
            assert liveness(self.begun(identity, -1)) is Liveness.DEAD

    def test_another_machine(self) -> None:
        """Of a process on another machine nothing is known, even if that booted in the same second."""
        with running(by_time=True) as (_, identity):
            assert liveness(identity, "hammer") is Liveness.UNKNOWN

    def test_another_boot_of_a_machine_without_a_name(self) -> None:
        """Without the host, another boot time may mean another machine: nothing is known."""
        with running(by_time=True) as (_, identity):
            assert liveness(self.booted(identity, -3600)) is Liveness.UNKNOWN

    def test_a_boot_time_wavers(self) -> None:
        """A boot time that differs by a second is the same boot."""
        with running(by_time=True) as (child, identity):
            assert liveness(self.booted(identity, 1)) is Liveness.ALIVE
            kill(child)
            assert liveness(self.booted(identity, 1)) is Liveness.DEAD

    def test_rebooted(self) -> None:
        """After a reboot of this machine a process is DEAD, whether its pid is free or used again."""
        with running(by_time=True) as (child, identity):
            before = self.booted(self.begun(identity, -5000), -9000)
            assert liveness(before, "anvil") is Liveness.DEAD
            kill(child)
            assert liveness(before, "anvil") is Liveness.DEAD

    def test_a_clock_that_was_set_kills_nobody(self) -> None:
        """If the clock was set since, a process is ALIVE when its start is reported as before, and UNKNOWN,
        not DEAD, when its start moved with the clock.
        """
        with running(by_time=True) as (_, identity):
            assert liveness(self.booted(identity, -300), "anvil") is Liveness.ALIVE
            assert liveness(self.begun(self.booted(identity, -300), -300), "anvil") is Liveness.UNKNOWN

    def test_a_linux_process(self) -> None:
        """Of a process of Linux nothing is known from macOS or Windows."""
        linux = ProcessIdentity(os.getpid(), "ticks:1", "71b74ba2-a206-4753-9591-f67ae66b44e2:4026531836")
        assert liveness(linux, "anvil") is Liveness.UNKNOWN

    def test_a_process_that_denies_us(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A process that may not be looked at is UNKNOWN."""

        def deny(self: psutil.Process) -> float:
            raise psutil.AccessDenied

        with running(by_time=True) as (_, identity):
            monkeypatch.setattr(psutil.Process, "create_time", deny)
            assert liveness(identity) is Liveness.UNKNOWN


TOKENS = st.one_of(
    st.text(max_size=20),
    st.sampled_from(["ticks:", "ticks:5", "time:", "time:nan", "time:inf", "time:1.5", current().boot]),
)


@given(st.integers(-(2**70), 2**70), TOKENS, TOKENS, st.none() | st.text(max_size=10))
def test_a_damaged_row_raises_nothing(pid: int, started: str, boot: str, host: str | None) -> None:
    """Whatever is stored as an identity, there is a verdict, and it is not that the process is ALIVE."""
    assert liveness(ProcessIdentity(pid, started, boot), host) in (Liveness.DEAD, Liveness.UNKNOWN)


def test_what_is_no_pid_is_unknown() -> None:
    """0 and negative numbers, which mean groups of processes to the system, are UNKNOWN."""
    for pid in (0, -1, -os.getpid()):
        assert liveness(current()._replace(pid=pid)) is Liveness.UNKNOWN


@linux_only
def test_no_third_party_module_is_loaded() -> None:
    """On Linux, to know oneself and to judge another loads no third-party module, and not even pathlib."""
    code = """
import sys
before = set(sys.modules)
from agentops_local import process
process.liveness(process.current()._replace(pid=1), process.hostname())
print(*{name.partition(".")[0] for name in set(sys.modules) - before})
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert loaded - sys.stdlib_module_names == {"agentops_local"}


def test_costs_are_told() -> None:
    """What an identity and a verdict cost is told (`pytest -rP` shows it), not judged."""
    other = current()._replace(pid=os.getppid())
    for name, call in (
        ("current(), cached", current),
        ("current(), first", process._identify),
        ("liveness()", lambda: liveness(other)),
    ):
        print(f"{name}: {min(timeit.repeat(call, number=200, repeat=5)) / 200 * 1e6:.1f} µs")
