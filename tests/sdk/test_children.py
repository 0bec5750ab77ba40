from __future__ import annotations

import os

import pytest

from tests.sdk.records import Programs, Records, hear, tell

posix_only = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")

OWNERS = "SELECT pid, end_us IS NOT NULL AS ended, exit FROM owners ORDER BY seq"
POOL = """
import multiprocessing, sys
import agentops_local as agentops

def work(number):
    agentops.record(agentops.ActionEvent(f"worker {number}"))

if __name__ == "__main__":
    session = agentops.init()
    agentops.record(agentops.ActionEvent("parent"))
    context = multiprocessing.get_context(sys.argv[1])
    workers = [context.Process(target=work, args=(number,)) for number in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
        assert worker.exitcode == 0, worker.exitcode
    assert session.is_running
    agentops.record(agentops.ActionEvent("parent again"))
    print(session.session_id, session.get_analytics()["Actions"], flush=True)
    sys.stdin.readline()
"""


def owners(records: Records) -> list[tuple[object, object]]:
    """How each process of the session ended, in the order in which they came."""
    return [(row["ended"], row["exit"]) for row in records.rows(OWNERS)]


@pytest.mark.parametrize("method", ["fork", "forkserver", "spawn"])
def test_workers_of_multiprocessing(programs: Programs, records: Records, method: str) -> None:
    """Workers of `multiprocessing` record into their parent's session (those that are not forked by its environment)
    and say goodbye when they end; the session goes on, and ends with the parent."""
    if method != "spawn" and not hasattr(os, "fork"):
        pytest.skip("needs fork")
    source = POOL
    if method != "fork":
        source = POOL.replace(
            "context = m",
            "import os\n    os.environ['AGENTOPS_LOCAL_SESSION'] = str(session.session_id)\n    context = m",
        )
    child = programs.start(source, method)
    session_id, _ = hear(child).split()
    assert sorted(records.column("SELECT kind FROM actions WHERE session_id = ?", session_id)) == [
        "parent",
        "parent again",
        "worker 0",
        "worker 1",
    ]
    assert records.value("SELECT count(DISTINCT owner) FROM events") == 3
    assert owners(records) == [(0, None), (1, "end"), (1, "end")]
    assert records.value("SELECT end_us FROM sessions") is None
    programs.finish(child, "\n")
    assert owners(records) == [(1, "end")] * 3
    assert records.row("SELECT end_state, auto_ended FROM sessions") == {"end_state": "Indeterminate", "auto_ended": 1}


@posix_only
def test_a_pool_of_processes(programs: Programs, records: Records) -> None:
    """Workers of a `ProcessPoolExecutor` say goodbye, too, and the session is the parent's to end."""
    programs.run(
        """
        from concurrent.futures import ProcessPoolExecutor
        from multiprocessing import get_context
        import agentops_local as agentops

        @agentops.record_tool()
        def double(number):
            return 2 * number

        if __name__ == "__main__":
            agentops.init()
            with ProcessPoolExecutor(2, mp_context=get_context("fork")) as pool:
                assert list(pool.map(double, range(6))) == [0, 2, 4, 6, 8, 10]
            agentops.end_session("Success")
        """
    )
    assert records.value("SELECT count(*) FROM tools") == 6
    assert set(owners(records)[1:]) <= {(1, "end")}
    assert records.value("SELECT end_state FROM sessions") == "Success"


@posix_only
def test_a_forked_child_that_exits(programs: Programs, records: Records) -> None:
    """A child of os.fork that exits says goodbye if it recorded, and does not end the session of its parent; one that
    recorded nothing leaves no trace."""
    child = programs.start(
        """
        import os, sys
        import agentops_local as agentops
        session = agentops.init()
        for records in (True, False):
            pid = os.fork()
            if pid == 0:
                if records:
                    agentops.record(agentops.ActionEvent("child"))
                sys.exit(5)
            assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 5
        print("ready", flush=True)
        sys.stdin.readline()
        agentops.end_session("Success")
        """
    )
    assert hear(child) == "ready"
    assert owners(records) == [(0, None), (1, "end")]
    assert records.value("SELECT end_us FROM sessions") is None
    programs.finish(child, "\n")
    assert records.row("SELECT end_state, auto_ended FROM sessions") == {"end_state": "Success", "auto_ended": 0}


@posix_only
def test_a_forked_child_that_crashes(programs: Programs, records: Records) -> None:
    """An uncaught exception in a child shows with the child, and does not fail its parent's session."""
    ended = programs.run(
        """
        import os, sys
        import agentops_local as agentops
        agentops.init()
        if os.fork() == 0:
            agentops.record(agentops.ActionEvent("child"))
            raise ValueError("the child's")
        assert os.waitstatus_to_exitcode(os.wait()[1]) == 1
        """
    )
    assert "the child's" in ended.err
    assert owners(records) == [(1, "end"), (1, "error")]
    assert records.value("SELECT end_state FROM sessions") == "Indeterminate"


@posix_only
def test_the_last_process_ends_the_session(programs: Programs, records: Records) -> None:
    """A parent that ends before its child leaves the session open; the last process ends it."""
    child = programs.start(
        """
        import os, sys
        import agentops_local as agentops
        agentops.init()
        if os.fork() == 0:
            agentops.record(agentops.ActionEvent("child"))
            print("child", flush=True)
            sys.stdin.readline()
            agentops.record(agentops.ActionEvent("child again"))
            sys.exit()
        sys.stdin.readline()
        """
    )
    assert hear(child) == "child"
    tell(child)  # to either of the two, and the next to the other
    assert child.stdin is not None
    tell(child)
    programs.finish(child)
    assert owners(records) == [(1, "end")] * 2
    assert records.row("SELECT end_us IS NOT NULL AS ended, end_state, auto_ended FROM sessions") == {
        "ended": 1,
        "end_state": "Indeterminate",
        "auto_ended": 1,
    }


def test_a_session_outlives_the_process_that_began_it(programs: Programs, records: Records) -> None:
    """The process that began a session leaves it open for others that take part in it; what they say of its end
    counts."""
    begin = programs.start(
        """
        import sys
        import agentops_local as agentops
        print(agentops.init().session_id, flush=True)
        sys.stdin.readline()
        """
    )
    session_id = hear(begin)
    other = programs.start(
        """
        import sys
        import agentops_local as agentops
        agentops.record(agentops.ActionEvent("other"))
        print("joined", flush=True)
        sys.stdin.readline()
        agentops.record(agentops.ActionEvent("alone"))
        if sys.argv[1:]:
            agentops.end_session("Success", "the other's word")
        """,
        "say",
        AGENTOPS_LOCAL_SESSION=session_id,
    )
    assert hear(other) == "joined"
    programs.finish(begin, "\n")
    assert owners(records) == [(1, "end"), (0, None)]
    assert records.value("SELECT end_us FROM sessions") is None
    programs.finish(other, "\n")
    row = records.row("SELECT end_state, end_state_reason, auto_ended FROM sessions")
    assert tuple(row.values()) == ("Success", "the other's word", 0)


def test_a_crash_of_the_process_that_began_it(programs: Programs, records: Records) -> None:
    """An uncaught exception in the process that began a session fails it, though others still take part; what they
    record is kept."""
    begin = programs.start(
        """
        import sys
        import agentops_local as agentops
        print(agentops.init().session_id, flush=True)
        sys.stdin.readline()
        raise ValueError("the matter")
        """
    )
    session_id = hear(begin)
    other = programs.start(
        """
        import sys
        import agentops_local as agentops
        agentops.record(agentops.ActionEvent("other"))
        print("joined", flush=True)
        sys.stdin.readline()
        agentops.record(agentops.ActionEvent("later"))
        """,
        AGENTOPS_LOCAL_SESSION=session_id,
    )
    assert hear(other) == "joined"
    programs.finish(begin, "\n", code=1)
    programs.finish(other, "\n")
    assert records.column("SELECT kind FROM actions ORDER BY seq") == ["other", "later"]
    row = records.row("SELECT end_state, end_state_reason FROM sessions")
    assert tuple(row.values()) == ("Fail", "ValueError: the matter")


@posix_only
def test_a_killed_process_does_not_hold_the_session_open(programs: Programs, records: Records) -> None:
    """A process that was killed counts as gone: the last one that lives ends the session."""
    programs.run(
        """
        import os, signal, sys
        import agentops_local as agentops
        agentops.init()
        if os.fork() == 0:
            agentops.record(agentops.ActionEvent("child"))
            os.kill(os.getpid(), signal.SIGKILL)
        os.wait()
        """
    )
    assert owners(records) == [(1, "end"), (0, None)]
    assert records.value("SELECT end_us IS NOT NULL FROM sessions") == 1


def test_a_process_that_comes_late_moves_the_end(programs: Programs, records: Records) -> None:
    """A session that ended by itself goes on when a process takes part in it later, and ends with that one; a crash
    that ended it stays its end."""
    for crash, state in (("", "Indeterminate"), ("raise ValueError('the matter')", "Fail")):
        session_id = programs.run(
            "import agentops_local as agentops\nprint(agentops.init().session_id)\n" + crash, code=1 if crash else 0
        ).out.strip()
        first = records.value("SELECT end_us FROM sessions WHERE id = ?", session_id)
        programs.run(
            "import agentops_local as agentops\nagentops.record(agentops.ActionEvent('late'))",
            AGENTOPS_LOCAL_SESSION=session_id,
        )
        row = records.row("SELECT end_us, end_state, auto_ended FROM sessions WHERE id = ?", session_id)
        assert (row["end_state"], row["auto_ended"]) == (state, 1)
        if not crash:
            assert row["end_us"] > first
            assert row["end_us"] >= records.value("SELECT max(end_us) FROM events")


def test_the_owner_tells_who_it_was(programs: Programs, records: Records) -> None:
    """An owner's row names the process: its pid, its start, the boot, the host and the program."""
    out = programs.run(
        """
        import os
        import agentops_local as agentops
        agentops.init()
        print(os.getpid())
        """
    ).out
    row = records.row("SELECT pid, started, boot, host, program FROM owners")
    assert row["pid"] == int(out)
    assert row["program"] == "program.py"
    assert row["started"]
    assert row["boot"]
