"""One database, many threads of one process; and forks of such a process."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from agentops_local.event import ErrorEvent, LLMEvent, ToolEvent
from agentops_local.recorder.recorder import Recorder
from agentops_local.recorder.state import SessionState
from tests.reliability.tools.crash import DB, SESSION, Program, acks, check, query


def _open_files() -> int:
    """How many files this process has open; 0 where that cannot be seen."""
    seen = Path("/proc/self/fd")
    return len(list(seen.iterdir())) if seen.exists() else 0


def _run(*targets: Callable[[], object]) -> None:
    """Runs each in a thread of its own, all at once; what one raises is raised here."""
    raised: list[BaseException] = []
    start = threading.Barrier(len(targets))

    def run(target: Callable[[], object]) -> None:
        try:
            start.wait(60)
            target()
        except BaseException as error:  # noqa: BLE001 - raised below, in the thread of the test
            raised.append(error)

    threads = [threading.Thread(target=run, args=(target,)) for target in targets]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    if raised:
        raise raised[0]


def test_threads_lose_and_mix_nothing(project: Path) -> None:
    """Eight threads record 300 events each, of three kinds: every one is stored once, and those of a thread stand in
    the order in which it recorded them."""
    recorder = Recorder(Path(DB))
    state = SessionState(SESSION)
    assert recorder.start(state)

    def work(thread: int) -> None:
        for number in range(300):
            params = {"thread": thread, "number": number}
            event: ToolEvent | ErrorEvent | LLMEvent = ToolEvent(name="step", params=params)
            if number % 5 == 1:
                event = ErrorEvent(error_type="Broken", params=params)
            elif number % 5 == 2:
                prompt = [{"role": "user", "content": f"{thread} asks {step}"} for step in range(number % 7 + 1)]
                event = LLMEvent(prompt=prompt, completion=f"{thread}.{number}", params=params)
            assert recorder.record(state, event, None, None)

    _run(*(lambda thread=thread: work(thread) for thread in range(8)))
    recorder.close()
    order = defaultdict(list)
    for thread, number in query(
        DB, "SELECT json_extract(params, '$.thread'), json_extract(params, '$.number') FROM payloads ORDER BY seq"
    ):
        order[thread].append(number)
    assert order == {thread: list(range(300)) for thread in range(8)}
    assert query(DB, "PRAGMA integrity_check") == [("ok",)]
    mixed = query(
        DB,
        "SELECT prompt, completion FROM llms WHERE completion <> json_extract(params, '$.thread') || '.' ||"
        " json_extract(params, '$.number') OR json_extract(prompt, '$[0].content') <>"
        " json_extract(params, '$.thread') || ' asks 0'",
    )
    assert mixed == []
    assert query(DB, "SELECT count(*) FROM owners") == [(1,)]


def test_short_lived_threads(project: Path) -> None:
    """200 threads that live for one event each, and are the first to record, leave every event, one session, one owner
    and no open file behind."""
    recorder = Recorder(Path(DB))
    state = SessionState(SESSION)
    events = [ToolEvent(name="step", params=number) for number in range(201)]
    recorder.record(state, events[200], None, None)
    files = _open_files()
    for first in range(0, 200, 20):
        _run(*(lambda event=event: recorder.record(state, event, None, None) for event in events[first : first + 20]))
    assert _open_files() == files
    recorder.close()
    truth = check((str(event.id) for event in events), DB)
    assert truth.events.total() == 201
    assert truth.sessions == [SESSION]
    assert len(truth.owners) == 1


def test_threads_meet_in_the_making_of_the_database(project: Path) -> None:
    """When the first events come from many threads at once, there is one database, one session and one owner."""
    recorder = Recorder(Path(DB))
    state = SessionState(SESSION)
    events = [ToolEvent(name="step") for _ in range(16)]
    _run(*(lambda event=event: recorder.record(state, event, None, None) for event in events))
    recorder.close()
    truth = check((str(event.id) for event in events), DB)
    assert (truth.sessions, len(truth.owners)) == ([SESSION], 1)


def test_closing_is_no_end(project: Path) -> None:
    """A thread that closes the database again and again does not cost the others an event."""
    recorder = Recorder(Path(DB))
    state = SessionState(SESSION)
    batches = [[ToolEvent(name="step") for _ in range(100)] for _ in range(3)]
    ended = threading.Semaphore(0)

    def work(batch: list[ToolEvent]) -> None:
        try:
            for event in batch:
                assert recorder.record(state, event, None, None)
        finally:
            ended.release()

    def close() -> None:
        for _ in batches:
            while not ended.acquire(timeout=0.002):
                recorder.close()

    _run(close, *(lambda batch=batch: work(batch) for batch in batches))
    recorder.close()
    check((str(event.id) for batch in batches for event in batch), DB)


def test_forks_of_a_process_with_threads(project: Path) -> None:
    """While four threads record, the process forks; each child records, too, and every event of all is stored once."""
    program = Program(
        """
        import os, sys
        me = Actor(*sys.argv[1:])
        done = []

        def work():
            while not done:
                me.tool("thread")

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        pids = []
        for _ in range(12):
            pid = os.fork()
            if not pid:
                me.many(10)
                me.leave()
                os._exit(0)
            pids.append(pid)
        codes = [os.waitpid(pid, 0)[1] for pid in pids]
        done.append(True)
        for thread in threads:
            thread.join()
        me.leave()
        say("codes", *codes)
        """,
        DB,
        SESSION,
    )
    with closing(program):
        errors = program.finish()
    assert errors == ""
    assert program.said("codes")[0][1:] == ["0"] * 12
    truth = check(acks(program), DB)
    assert truth.events.total() == len(acks(program))
    assert len(set(truth.owners)) == 13
    assert {line[2] for line in program.said("left")} == {"0"}
