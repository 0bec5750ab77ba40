from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from tests.sdk.records import PATIENCE, ROOT, Programs, Records, hear

SESSION = "SELECT end_us IS NOT NULL AS ended, end_state, end_state_reason, auto_ended FROM sessions"
OWNER = "SELECT end_us IS NOT NULL AS ended, exit FROM owners"
posix_only = pytest.mark.skipif(os.name != "posix", reason="signals are POSIX's")

RECORD = """
import agentops_local as agentops
agentops.init()
agentops.record(agentops.ActionEvent("first"))
"""
WAIT = """
import sys
print("ready", flush=True)
sys.stdin.readline()
"""


def end(records: Records) -> tuple[object, ...]:
    """How the one session and its one process ended: ended, state, reason, by itself; ended, manner."""
    return (*records.row(SESSION).values(), *records.row(OWNER).values())


def test_a_program_that_ends_without_a_word(programs: Programs, records: Records) -> None:
    """A program that ends without end_session leaves its session Indeterminate, ended by itself at its exit."""
    programs.run(RECORD)
    ended, state, reason, auto, *owner = end(records)
    assert (ended, state, auto, owner) == (1, "Indeterminate", 1, [1, "end"])
    assert "without end_session()" in str(reason)
    assert records.value("SELECT end_us >= init_us FROM sessions") == 1


def test_a_program_that_ends_its_session(programs: Programs, records: Records) -> None:
    """A program that ends its session has said its word: the exit changes nothing."""
    programs.run(RECORD + "agentops.end_session('Success', 'done')")
    assert end(records) == (1, "Success", "done", 0, 1, "end")


def test_every_live_session_ends_with_the_program(programs: Programs, records: Records) -> None:
    """Of several sessions those that are live end with the program, and those that have ended stay as they are."""
    programs.run(
        RECORD
        + """
other = agentops.start_session()
other.end_session("Fail", "mine")
agentops.start_session()
"""
    )
    states = records.rows("SELECT end_state, auto_ended FROM sessions WHERE end_us IS NOT NULL ORDER BY seq")
    assert [tuple(row.values()) for row in states] == [("Indeterminate", 1), ("Fail", 0), ("Indeterminate", 1)]


def test_an_uncaught_exception(programs: Programs, records: Records) -> None:
    """An uncaught exception fails the session with its type and text; Python prints it and exits with 1 as ever."""
    ended = programs.run(RECORD + "raise ValueError('the matter')", code=1)
    assert end(records) == (1, "Fail", "ValueError: the matter", 1, 1, "error")
    assert ended.err.startswith("Traceback (most recent call last)")
    assert ended.err.endswith("ValueError: the matter\n")
    assert "agentops_local" not in ended.err


def test_the_user_s_excepthook_runs(programs: Programs, records: Records) -> None:
    """The user's own sys.excepthook runs, whether it is set before or after init, and stays in place."""
    for number, source in enumerate(("HOOK\nINIT", "INIT\nHOOK")):
        hook = """
import sys
def hook(kind, error, trace):
    print("mine:", error, sys.excepthook is hook)
sys.excepthook = hook
"""
        ended = programs.run(
            source.replace("HOOK", hook).replace("INIT", RECORD) + "\nraise ValueError('the matter')", code=1
        )
        assert (ended.out, ended.err) == ("mine: the matter True\n", "")
        states = records.column("SELECT end_state_reason FROM sessions")
        assert states == ["ValueError: the matter"] * (number + 1)


def test_the_exit_ends_each_of_several_sessions(programs: Programs, records: Records) -> None:
    """A process ends all its sessions at its exit, also those to which it has recorded nothing since the database was
    opened anew."""
    programs.run(
        RECORD
        + """
other = agentops.start_session()
for recorder in agentops.Client()._recorders.values():
    recorder.close()
other.record(agentops.ActionEvent("after"))
"""
    )
    assert records.rows(SESSION.replace("end_state_reason, ", "")) == 2 * [
        {"ended": 1, "end_state": "Indeterminate", "auto_ended": 1}
    ]
    assert records.rows(OWNER) == 2 * [{"ended": 1, "exit": "end"}]


def test_an_exception_that_was_caught(programs: Programs, records: Records) -> None:
    """An exception that the program has caught is not what ends it."""
    programs.run(
        RECORD
        + """
import traceback
try:
    1 / 0
except ZeroDivisionError:
    traceback.print_exc()
"""
    )
    assert end(records)[1:4:2] == ("Indeterminate", 1)
    assert records.value("SELECT exit FROM owners") == "end"


def test_an_exception_that_cannot_be_printed(programs: Programs, records: Records) -> None:
    """An uncaught exception that cannot even be printed fails the session all the same."""
    source = """
class Unspeakable(Exception):
    def __str__(self):
        raise RuntimeError("no")
raise Unspeakable
"""
    programs.run(RECORD + source, code=1, AGENTOPS_LOCAL_STRICT="0")
    assert records.value("SELECT end_state FROM sessions WHERE end_us IS NOT NULL") == "Fail"
    assert "Unspeakable" in records.value("SELECT end_state_reason FROM sessions")


@pytest.mark.parametrize(
    ("leave", "code"), [("3", 3), ("0", 0), ("None", 0), ("'a message'", 1), ("True", 1)], ids=repr
)
def test_sys_exit_keeps_its_code(programs: Programs, records: Records, leave: str, code: int) -> None:
    """`sys.exit` is no failure of the program: its status is kept, and the session ends as at any exit."""
    programs.run(RECORD + f"import sys\nsys.exit({leave})", code=code)
    assert end(records)[1] == "Indeterminate"
    assert end(records)[4:] == (1, "end")


def test_what_is_recorded_at_exit(programs: Programs, records: Records) -> None:
    """An event recorded while the program exits, by a function registered after init, is kept."""
    programs.run(
        RECORD
        + """
import atexit
atexit.register(lambda: agentops.record(agentops.ActionEvent("last")))
"""
    )
    assert records.column("SELECT kind FROM actions ORDER BY seq") == ["first", "last"]


def test_threads_are_waited_for(programs: Programs, records: Records) -> None:
    """What threads record after the end of the main one is kept: the session ends with the process, not before."""
    programs.run(
        RECORD
        + """
import threading
main = threading.current_thread()
def work():
    main.join()
    agentops.record(agentops.ActionEvent("last"))
threading.Thread(target=work).start()
"""
    )
    assert records.column("SELECT kind FROM actions ORDER BY seq") == ["first", "last"]
    assert end(records)[0] == 1


def signalled(programs: Programs, source: str, number: int) -> tuple[int, str]:
    """How a program that waits ends by a signal: its status, and what stands on standard error."""
    child = programs.start(source)
    assert hear(child) == "ready"
    os.kill(child.pid, number)
    _, err = child.communicate(timeout=PATIENCE)
    return child.returncode, err


@posix_only
def test_ctrl_c_is_as_without_us(programs: Programs, records: Records) -> None:
    """Ctrl-C ends a program as without us: the same status, KeyboardInterrupt from the program's own code; the session
    fails."""
    plain = signalled(programs, WAIT, signal.SIGINT)
    ours = signalled(programs, RECORD + WAIT, signal.SIGINT)
    assert ours[0] == plain[0] == -signal.SIGINT
    for _, err in (plain, ours):
        lines = err.splitlines()
        assert (lines[0], lines[-1]) == ("Traceback (most recent call last):", "KeyboardInterrupt")
    assert "agentops_local" not in ours[1]
    assert end(records) == (1, "Fail", "KeyboardInterrupt", 1, 1, "error")


@posix_only
def test_ctrl_c_that_the_program_handles(programs: Programs, records: Records) -> None:
    """A program that handles Ctrl-C itself, by a handler or by except, is not disturbed."""
    handled = (
        RECORD
        + """
import signal, sys
def stop(number, frame):
    print("mine")
    sys.exit(7)
signal.signal(signal.SIGINT, stop)
print("ready", flush=True)
sys.stdin.readline()
"""
    )
    child = programs.start(handled)
    assert hear(child) == "ready"
    os.kill(child.pid, signal.SIGINT)
    assert programs.finish(child, code=7).out == "mine\n"
    assert end(records)[1] == "Indeterminate"


@posix_only
def test_sigterm_kills_as_without_us(programs: Programs, records: Records) -> None:
    """SIGTERM kills a program with its own status, for no handler of ours is there; the session then shows no end, for
    nobody had the time to say one."""
    assert signalled(programs, RECORD + WAIT, signal.SIGTERM) == (-signal.SIGTERM, "")
    assert end(records) == (0, "Indeterminate", None, 0, 0, None)
    assert records.column("SELECT kind FROM actions") == ["first"]


@posix_only
def test_sigkill_leaves_no_end(programs: Programs, records: Records) -> None:
    """After SIGKILL what was recorded is there, and neither the session nor its process has an end."""
    assert signalled(programs, RECORD + WAIT, signal.SIGKILL) == (-signal.SIGKILL, "")
    assert end(records) == (0, "Indeterminate", None, 0, 0, None)
    assert records.column("SELECT kind FROM actions") == ["first"]


def test_hooks_and_handlers_stay_the_user_s(programs: Programs) -> None:
    """To record changes no signal handler, no hook of sys or threading, and starts no thread."""
    source = """
import signal, sys, threading
def state():
    handlers = [signal.getsignal(number) for number in signal.valid_signals()]
    return handlers, sys.excepthook, sys.unraisablehook, threading.excepthook, sys.displayhook, threading.active_count()
before = state()
"""
    after = """
agentops.end_session("Success")
assert state() == before
"""
    programs.run(source + RECORD + after)


def test_the_exit_is_silent(programs: Programs, records: Records) -> None:
    """A program that records prints nothing of ours, whether it ends its session or not."""
    for source in (RECORD, RECORD + "agentops.end_session('Success')"):
        ended = programs.run(source)
        assert (ended.out, ended.err) == ("", "")
    assert records.value("SELECT count(*) FROM sessions") == 2


def test_an_interactive_session_that_had_an_error(programs: Programs, records: Records) -> None:
    """In an interactive Python the last error that was printed is not what ends it."""
    ended = subprocess.run(
        [sys.executable, "-i", "-q"],
        input=RECORD + "1 / 0\nagentops.record(agentops.ActionEvent('after'))\n",
        cwd=programs.folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=True,
    )
    assert "ZeroDivisionError" in ended.stderr
    assert records.column("SELECT kind FROM actions ORDER BY seq") == ["first", "after"]
    assert end(records)[1] == "Indeterminate"
