"""Recording in the midst of recording: from signal handlers, finalisers and exit functions; and what interrupts it."""

from __future__ import annotations

import gc
import signal
import sqlite3
import textwrap
import weakref
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from types import FrameType

import pytest

from agentops_local.event import ErrorEvent, Event, LLMEvent, ToolEvent
from agentops_local.recorder import writes
from agentops_local.recorder.recorder import Recorder
from agentops_local.recorder.state import SessionState
from agentops_local.store import schema
from tests.reliability.tools.crash import DB, SESSION, Program, acks, check, query
from tests.reliability.tools.inside import conversation


def _llm(number: int) -> LLMEvent:
    """A call whose prompt `check` can compute again."""
    params = {"writer": "w", "number": number, "turn": number % 5}
    return LLMEvent(prompt=list(conversation("w", number, number % 5)), completion="Because.", params=params)


EVENTS: dict[str, Callable[[], Event]] = {
    "tool": lambda: ToolEvent(name="step", params={"a": 1}),
    "error": lambda: ErrorEvent(error_type="Broken"),
    "llm": lambda: _llm(1),
}


class Recording:
    """A session recorded by this process."""

    def __init__(self) -> None:
        self.recorder = Recorder(Path(DB))
        self.state = SessionState(SESSION)
        self.ids: list[str] = []

    def event(self, event: Event | None = None) -> bool:
        """Records an event."""
        made = event or ToolEvent(name="step")
        self.ids.append(str(made.id))
        return self.recorder.record(self.state, made, None, None)

    def check(self) -> None:
        """Whether every event is stored, and stored once."""
        self.recorder.close()
        assert self.recorder.database.unstored == 0
        assert sorted(check(self.ids, DB).events) == sorted(self.ids)


@pytest.fixture
def mine(project: Path) -> Recording:
    """A session, begun."""
    found = Recording()
    assert found.recorder.start(found.state)
    return found


@pytest.fixture
def interruption() -> Iterator[Callable[[Callable[[], object]], None]]:
    """Sets what the handler of SIGUSR1 does."""
    before = signal.getsignal(signal.SIGUSR1)

    def act(action: Callable[[], object]) -> None:
        def handler(number: int, frame: FrameType | None) -> None:
            action()

        signal.signal(signal.SIGUSR1, handler)

    yield act
    signal.signal(signal.SIGUSR1, before)


def _amidst(monkeypatch: pytest.MonkeyPatch, action: Callable[[], object], after: bool, times: int = 1) -> None:
    """Does something in the next transaction: before or after its statements are executed."""
    left = [times]
    insert = writes.EventWrite._insert

    def once(write: writes.EventWrite, connection: sqlite3.Connection, known: object) -> None:
        if after:
            insert(write, connection, known)  # type: ignore[arg-type]
        if left[0]:
            left[0] -= 1
            action()
        if not after:
            insert(write, connection, known)  # type: ignore[arg-type]

    monkeypatch.setattr(writes.EventWrite, "_insert", once)


moments = pytest.mark.parametrize("after", [False, True], ids=["before the insert", "after the insert"])
kinds = pytest.mark.parametrize("kind", EVENTS)

# ------------------------------------------------------------------------------------------------ recording within


@kinds
@moments
def test_a_handler_that_interrupts_a_write_records(
    mine: Recording, interruption: Callable, monkeypatch: pytest.MonkeyPatch, kind: str, after: bool
) -> None:
    """What a signal handler records in the midst of a write is put off and stored when that is done, both once, even
    if a second handler interrupts it there."""
    answers: list[bool] = []
    interruption(lambda: answers.append(mine.event(EVENTS[kind]())))
    _amidst(monkeypatch, lambda: signal.raise_signal(signal.SIGUSR1), after, times=2)
    assert mine.event(EVENTS[kind]())
    assert answers == [False, False]
    assert query(DB, "SELECT count(*) FROM events") == [(3,)]
    mine.check()


def test_a_storm_of_signals(project: Path) -> None:
    """While 2,000 events are recorded, an alarm that records rings again half a millisecond after it was dealt with:
    every event of both is stored once."""
    program = Program(
        """
        import signal, sys
        me = Actor(*sys.argv[1:], quiet=True)
        rung = 0

        def handler(number, frame):
            global rung
            me.tool("alarm")
            rung += 1
            signal.setitimer(signal.ITIMER_REAL, 0.0005)

        signal.signal(signal.SIGALRM, handler)
        signal.setitimer(signal.ITIMER_REAL, 0.0005)
        for number in range(2000):
            if number % 10:
                me.tool(number)
            else:
                me.llm("w", 1, number % 7)
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, signal.SIG_IGN)
        me.leave()
        say("rung", rung)
        """,
        DB,
        SESSION,
    )
    with closing(program):
        assert program.finish() == ""
    rung = int(program.said("rung")[0][1])
    assert rung > 20
    assert program.said("left")[0][2] == "0"
    assert check([], DB).events.total() == 2000 + rung


class Cycle:
    """What only the garbage collector can free, and then records."""

    def __init__(self, mine: Recording, answers: list[bool]) -> None:
        self.mine = mine
        self.answers = answers
        self.me = self

    def __del__(self) -> None:
        self.answers.append(self.mine.event())


@moments
def test_a_finaliser_records_in_the_midst_of_a_write(
    mine: Recording, monkeypatch: pytest.MonkeyPatch, after: bool
) -> None:
    """What a `__del__` records that the garbage collector runs in the midst of a write is stored once, after it."""
    answers: list[bool] = []
    for _ in range(5):
        Cycle(mine, answers)
    _amidst(monkeypatch, gc.collect, after)
    assert mine.event()
    assert answers == [False] * 5
    mine.check()


def test_a_storm_of_finalisers(mine: Recording) -> None:
    """The same when the collector runs wherever it likes, again and again."""
    answers: list[bool] = []
    before = gc.get_threshold()
    gc.set_threshold(3, 2, 2)
    try:
        for number in range(300):
            Cycle(mine, answers)
            assert mine.event(_llm(number))
    finally:
        gc.set_threshold(*before)
    gc.collect()
    assert len(answers) == 300
    assert len(mine.ids) == 600
    mine.check()


@moments
def test_the_callback_of_a_weak_reference_records(
    mine: Recording, monkeypatch: pytest.MonkeyPatch, after: bool
) -> None:
    """The same for the callback of a weak reference."""

    class Thing:
        pass

    answers: list[bool] = []
    things = [Thing()]
    reference = weakref.ref(things[0], lambda _: answers.append(mine.event()))
    _amidst(monkeypatch, things.clear, after)
    assert mine.event()
    assert reference() is None
    assert answers == [False]
    mine.check()


def test_a_read_in_the_midst_of_a_write(mine: Recording, monkeypatch: pytest.MonkeyPatch) -> None:
    """A handler that closes and reads the database in the midst of a write does it no harm."""
    found: list[int] = []

    def meddle() -> None:
        mine.recorder.close()
        found.append(mine.recorder.read(lambda connection: connection.execute("SELECT 7").fetchone()[0]))

    _amidst(monkeypatch, meddle, after=True)
    assert mine.event()
    assert found == [7]
    mine.check()


# ------------------------------------------------------------------------------------------------ interruptions


@kinds
@moments
@pytest.mark.parametrize("exception", [KeyboardInterrupt, SystemExit, GeneratorExit])
def test_an_interrupted_write(
    mine: Recording, interruption: Callable, monkeypatch: pytest.MonkeyPatch, exception: type[BaseException],
    kind: str, after: bool,
) -> None:  # fmt: skip
    """Ctrl-C, or an exit, in the midst of a write: its transaction is undone, the event is stored all the same and
    once, the exception goes on, and so does recording."""

    def stop() -> None:
        raise exception

    mine.event()
    interruption(stop)
    _amidst(monkeypatch, lambda: signal.raise_signal(signal.SIGUSR1), after)
    with pytest.raises(exception):
        mine.event(EVENTS[kind]())
    assert query(DB, "SELECT count(*) FROM events") == [(2,)]
    assert mine.event(EVENTS[kind]())
    mine.check()


@moments
def test_interrupted_again_and_again(
    mine: Recording, monkeypatch: pytest.MonkeyPatch, interruption: Callable, after: bool
) -> None:
    """An exception that comes in the second attempt as well may cost that event, but no other: nothing stays locked,
    no transaction stays open, nothing is stored in part."""

    def stop() -> None:
        raise KeyboardInterrupt

    interruption(stop)
    _amidst(monkeypatch, lambda: signal.raise_signal(signal.SIGUSR1), after, times=2)
    with pytest.raises(KeyboardInterrupt):
        mine.event(EVENTS["llm"]())
    mine.ids.pop()
    assert mine.event()
    assert mine.event(EVENTS["llm"]())
    other = Recorder(Path(DB))
    event = ToolEvent(name="another connection")
    assert other.record(SessionState(SESSION), event, None, None)
    other.close()
    mine.ids.append(str(event.id))
    mine.check()


def test_an_interruption_while_the_database_is_made(
    project: Path, monkeypatch: pytest.MonkeyPatch, interruption: Callable
) -> None:
    """Ctrl-C while the tables are made leaves no half-made database: the session is in it, and all that follows."""
    text = schema.schema_text
    left = [1]

    def schema_text() -> str:
        if left[0]:
            left[0] -= 1
            signal.raise_signal(signal.SIGUSR1)
        return text()

    def stop() -> None:
        raise KeyboardInterrupt

    interruption(stop)
    monkeypatch.setattr("agentops_local.store.connection.schema_text", schema_text)
    mine = Recording()
    with pytest.raises(KeyboardInterrupt):
        mine.recorder.start(mine.state)
    assert query(DB, "SELECT id FROM sessions") == [(SESSION,)]
    assert mine.event()
    mine.check()


# ------------------------------------------------------------------------------------------------ the end

BEGIN = """
import atexit, signal, sys
from agentops_local.recorder.writes import SessionWrite
me = Actor(*sys.argv[1:])
"""
ENDS = {
    "an exit function that runs after ours": (
        """
        atexit.register(me.many, 3)
        atexit.register(me.leave)
        me.many(3)
        """,
        0,
        6,
    ),
    "an exit in a handler, in the midst of a write": (
        """
        signal.signal(signal.SIGUSR1, lambda *_: sys.exit(7))
        change = SessionWrite(me.state, lambda *_: signal.raise_signal(signal.SIGUSR1))
        atexit.register(me.leave)
        me.many(3)
        me.recorder.change(change)
        """,
        7,
        3,
    ),
    "finalisers of what lives until the end": (
        """
        class Late:
            def __del__(self):
                me.tool("late")

        late = Late()
        me.late = Late()
        me.many(3)
        """,
        0,
        3,
    ),
}


@pytest.mark.parametrize("end", ENDS)
def test_the_end_of_a_program(project: Path, end: str) -> None:
    """However a program ends, it ends with its own exit code and what it was told is stored, is."""
    source, code, least = ENDS[end]
    program = Program(BEGIN + textwrap.dedent(source), DB, SESSION)
    with closing(program):
        assert program.finish(code) == ""
    stored = acks(program)
    assert len(stored) >= least
    check(stored, DB)


@pytest.mark.parametrize("said_goodbye", [False, True])
def test_daemon_threads_at_the_end(project: Path, said_goodbye: bool) -> None:
    """Threads that go on recording while the interpreter shuts down neither crash nor hang it, whether the database was
    closed before or not: what they were told is stored, is."""
    for _ in range(4):
        program = Program(
            """
            import atexit, sys
            me = Actor(*sys.argv[1:3])
            ready = threading.Barrier(5)

            def work():
                me.many(5)
                ready.wait()
                while True:
                    me.llm("w", 1, 3)

            for _ in range(4):
                threading.Thread(target=work, daemon=True).start()
            ready.wait()
            if sys.argv[3] == "True":
                atexit.register(me.leave)
            """,
            DB,
            SESSION,
            said_goodbye,
        )
        with closing(program):
            assert program.finish() == ""
        assert len(acks(program)) >= 20
        check(acks(program), DB)
