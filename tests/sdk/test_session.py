from __future__ import annotations

import json
import threading
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from uuid import UUID

import pytest

import agentops_local as agentops
from agentops_local.recorder.writes import SessionWrite
from agentops_local.session import EndState, Session
from tests.sdk.records import Programs, Records, hear, tell

ENDED_IN_A_CHILD = """
import sys
import agentops_local as agentops
agentops.init(inherited_session_id=sys.argv[1])
agentops.end_session("Success", "the child's word")
"""


@pytest.fixture
def session() -> Session:
    """A live session."""
    started = agentops.init()
    assert started is not None
    return started


def test_attributes_of_a_live_session(session: Session) -> None:
    """A live session has the classic's attributes."""
    assert isinstance(session.session_id, UUID)
    assert session.project_id is None
    begun = datetime.fromisoformat(session.init_timestamp)
    assert begun.utcoffset() == timedelta(0)
    assert abs(begun - datetime.now(timezone.utc)) < timedelta(minutes=5)
    assert session.end_timestamp is None
    assert session.end_state == "Indeterminate"
    assert session.end_state_reason is None
    assert session.tags == []
    assert isinstance(session.host_env, dict)
    assert session.video is None
    assert isinstance(session.config, agentops.Configuration)
    assert session.is_running is True
    assert session.token_cost == Decimal(0)
    assert isinstance(session.token_cost, Decimal)
    assert session.event_counts == {"llms": 0, "tools": 0, "actions": 0, "errors": 0, "apis": 0}
    assert str(session.session_id) in session.session_url


def test_attributes_of_an_ended_session(session: Session) -> None:
    """An ended session tells how and when it ended."""
    session.end_session("Fail", "why", "video.mp4")
    assert session.is_running is False
    assert (session.end_state, session.end_state_reason, session.video) == ("Fail", "why", "video.mp4")
    assert session.end_timestamp is not None
    assert datetime.fromisoformat(session.end_timestamp) >= datetime.fromisoformat(session.init_timestamp)


@pytest.mark.parametrize(
    ("word", "state"),
    [
        ("Success", "Success"),
        ("Fail", "Fail"),
        ("Failure", "Fail"),
        ("Indeterminate", "Indeterminate"),
        *((state, state.value) for state in EndState),
    ],
)
def test_end_states(session: Session, records: Records, word: str, state: str) -> None:
    """A session ends with the classic's three states; `Failure`, the documentation's word, is `Fail`."""
    assert session.end_session(word) == "0.00"
    assert session.end_state == state
    assert records.value("SELECT end_state FROM sessions") == state


@pytest.mark.parametrize("word", ["success", "SUCCESS", "Done", "", "Fail ", 0, True, object(), ["Fail"], b"Fail"])
def test_other_end_states_are_refused(
    session: Session, records: Records, caplog: pytest.LogCaptureFixture, word: str
) -> None:
    """Any other word is refused with a message that names it and the right ones, and the session goes on."""
    assert session.end_session(word) is None
    assert repr(word) in caplog.text
    assert "'Success', 'Fail'" in caplog.text
    assert session.is_running
    assert records.value("SELECT end_us FROM sessions") is None
    session.record(agentops.ActionEvent(action_type="on we go"))
    assert session.end_session("Success") == "0.00"
    assert session.event_counts["actions"] == 1


def test_a_refused_end_state_with_none(session: Session) -> None:
    """None is no end state either."""
    assert session.end_session(None) is None  # type: ignore[arg-type]
    assert session.is_running


def test_a_session_ends_once(session: Session, records: Records) -> None:
    """`end_session` on an ended session returns None and changes nothing."""
    assert session.end_session("Success", "first") == "0.00"
    before = records.row("SELECT * FROM sessions")
    assert session.end_session("Fail", "second") is None
    assert agentops.end_session("Fail", "third") is None
    assert records.row("SELECT * FROM sessions") == before
    assert (session.end_state, session.end_state_reason) == ("Success", "first")


def test_threads_end_a_session_once(session: Session, records: Records, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two threads that end a session at once the first has its way: it gets the cost, the other None, and its word
    stands."""
    came, first_is_done = threading.Event(), threading.Event()
    answers: dict[str, str | None] = {}
    commit = session._recorder.change

    def end_second() -> None:
        answers["second"] = session.end_session("Success", "second")
        came.set()

    second = threading.Thread(target=end_second)

    def change(write: SessionWrite) -> object:
        if threading.current_thread() is second:
            came.set()
            first_is_done.wait()
            return commit(write)
        second.start()
        came.wait()  # until it is as far as this, or through
        return commit(write)

    session.host_env  # noqa: B018 - looked at beforehand, so that the end is the next change
    monkeypatch.setattr(session._recorder, "change", change)
    answers["first"] = session.end_session("Success", "first")
    first_is_done.set()
    second.join()
    assert answers == {"first": "0.00", "second": None}
    assert records.value("SELECT end_state_reason FROM sessions") == session.end_state_reason == "first"


def test_an_end_by_another_process_stands(session: Session, records: Records, programs: Programs) -> None:
    """A session that another process has ended keeps that end: here `end_session` returns None, and the session tells
    the end that stands."""
    programs.run(ENDED_IN_A_CHILD, session.session_id)
    before = records.row("SELECT * FROM sessions")
    assert before["end_state"] == "Success"
    assert session.end_session("Fail", "the parent's word") is None
    assert {**records.row("SELECT * FROM sessions"), "environment": None, "moment": None, "revision": 0} == {
        **before,
        "environment": None,
        "moment": None,
        "revision": 0,
    }
    assert not session.is_running
    assert (session.end_state, session.end_state_reason) == ("Success", "the child's word")


def test_an_event_after_the_end_is_refused(
    session: Session, records: Records, caplog: pytest.LogCaptureFixture
) -> None:
    """After the end of the session an event of the same process is refused with a warning."""
    session.end_session("Success")
    session.record(agentops.ActionEvent("late"))
    assert "has ended" in caplog.text
    assert records.value("SELECT count(*) FROM events") == 0


def test_a_process_that_ended_its_session_does_not_join_it_again(
    monkeypatch: pytest.MonkeyPatch, records: Records, caplog: pytest.LogCaptureFixture
) -> None:
    """AGENTOPS_LOCAL_SESSION is for a process that knows of no session: once it has ended that one, an event is
    refused."""
    monkeypatch.setenv("AGENTOPS_LOCAL_SESSION", "0190a000-0000-7000-8000-00000000000A")
    agentops.record(agentops.ActionEvent("in time"))
    agentops.end_session("Success")
    agentops.record(agentops.ActionEvent("late"))
    assert records.column("SELECT kind FROM actions") == ["in time"]
    assert "record() does nothing" in caplog.text


@pytest.mark.parametrize(
    "change",
    [
        lambda session: session.add_tags(["late"]),
        lambda session: session.set_tags(["late"]),
        lambda session: session.set_video("late"),
        lambda session: session.create_agent("late"),
    ],
)
def test_a_change_after_the_end_is_refused(
    session: Session, records: Records, caplog: pytest.LogCaptureFixture, change: object
) -> None:
    """After its end a session is not changed; a warning says so."""
    session.end_session("Success")
    before = (records.row("SELECT * FROM sessions"), records.rows("SELECT * FROM agents"))
    assert change(session) is None  # type: ignore[operator]
    assert "has ended" in caplog.text
    assert (records.row("SELECT * FROM sessions"), records.rows("SELECT * FROM agents")) == before


def test_events_of_another_process_after_the_end_are_kept(
    session: Session, records: Records, programs: Programs
) -> None:
    """An event that another process records after the end is kept, and the end stands."""
    child = programs.start(
        """
        import sys
        import agentops_local as agentops
        agentops.init(inherited_session_id=sys.argv[1])
        print("joined")
        input()
        agentops.record(agentops.ActionEvent("late"))
        """,
        session.session_id,
    )
    assert hear(child) == "joined"
    session.end_session("Success", "done")
    before = records.row("SELECT end_us, end_state, end_state_reason, auto_ended FROM sessions")
    tell(child)
    programs.finish(child)
    assert records.column("SELECT kind FROM actions") == ["late"]
    assert records.row("SELECT end_us, end_state, end_state_reason, auto_ended FROM sessions") == before


def test_the_reason_may_be_any_text(records: Records) -> None:
    """A session ends whatever its reason holds: what a database refuses is replaced, what is no text is told as it
    would be printed."""
    for reason in ("lone \ud800 surrogate", "a NUL \0 here", ValueError("boom"), 7, "x" * 100_000):
        session = agentops.init()
        assert session is not None
        assert session.end_session("Fail", reason) == "0.00"  # type: ignore[arg-type]
    reasons = records.column("SELECT end_state_reason FROM sessions WHERE end_us IS NOT NULL ORDER BY seq")
    assert reasons[:4] == ["lone \ufffd surrogate", "a NUL \ufffd here", "boom", "7"]
    assert len(reasons[4]) == 100_000


def test_a_reason_that_cannot_be_told_does_not_keep_the_session_open(
    records: Records, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A session ends even if its reason raises when it is asked for its text."""

    class Hostile:
        def __str__(self) -> str:
            raise RuntimeError("no")

    monkeypatch.setenv("AGENTOPS_LOCAL_STRICT", "0")
    session = agentops.init()
    assert session is not None
    session.end_session("Fail", Hostile())  # type: ignore[arg-type]
    assert records.value("SELECT end_state FROM sessions WHERE end_us IS NOT NULL") == "Fail"


def test_video_is_kept(session: Session, records: Records) -> None:
    """`set_video` stores the video at once; without another at the end it stays."""
    session.set_video("a.mp4")
    assert records.value("SELECT video FROM sessions") == "a.mp4"
    session.end_session("Success")
    assert records.value("SELECT video FROM sessions") == "a.mp4"


def test_video_as_an_attribute(session: Session, records: Records) -> None:
    """A video that is assigned, as the classic allows, is stored with the end."""
    session.video = "b.mp4"
    session.end_session("Success")
    assert records.value("SELECT video FROM sessions") == "b.mp4"


@pytest.mark.parametrize("video", [Path("a", "b.mp4"), "lone \ud800 surrogate", 7], ids=["path", "surrogate", "number"])
def test_any_video_as_an_attribute(session: Session, records: Records, video: object) -> None:
    """A session ends whatever is assigned to its video; its text is stored as the database takes it."""
    session.video = video  # type: ignore[assignment]
    session.end_session("Success")
    assert records.value("SELECT end_state FROM sessions WHERE end_us IS NOT NULL") == "Success"
    assert records.value("SELECT video FROM sessions") == str(video).replace("\ud800", "\ufffd")


def test_a_video_that_another_process_has_set_later_stays(
    session: Session, programs: Programs, records: Records
) -> None:
    """The end of a session takes nothing back: the video that was set last stays, whichever process set it."""
    session.set_video("early.mp4")
    programs.run(
        ENDED_IN_A_CHILD.replace(
            'end_session("Success", "the child\'s word")', 'get_session(sys.argv[1]).set_video("late.mp4")'
        ),
        session.session_id,
    )
    session.end_session("Success")
    assert records.value("SELECT video FROM sessions") == "late.mp4"


def test_tags_are_added_once_in_order(session: Session, records: Records) -> None:
    """Tags keep the order in which they came, each stands once, and a bare text is one tag."""
    session.add_tags(["b", "a"])
    session.add_tags("a bare text")
    session.add_tags(("a", "c"))
    assert session.tags == ["b", "a", "a bare text", "c"]
    assert json.loads(records.value("SELECT tags FROM sessions")) == session.tags


def test_tags_are_replaced(session: Session, records: Records) -> None:
    """`set_tags` replaces the tags; None or an empty list takes all away."""
    session.add_tags(["a"])
    session.set_tags("x")
    assert session.tags == ["x"]
    session.set_tags(["y", "y", "z"])
    assert session.tags == ["y", "z"]
    session.set_tags([])
    assert records.value("SELECT tags FROM sessions") == "[]"


def test_tags_that_are_no_text(session: Session, records: Records) -> None:
    """A tag that is no text becomes its text, and every tag can be read with SQLite's own JSON."""
    session.add_tags([1, None, "\ud800", 'quo"te', "NUL\0"])  # type: ignore[list-item]
    assert records.column("SELECT value FROM sessions, json_each(tags)") == [
        "1",
        "None",
        "\ufffd",
        'quo"te',
        "NUL\ufffd",
    ]


def test_tags_that_are_no_list(session: Session, records: Records, caplog: pytest.LogCaptureFixture) -> None:
    """What is no list of tags is refused with a warning and changes nothing."""
    session.add_tags(["a"])
    session.add_tags(7)  # type: ignore[arg-type]
    session.set_tags(7)  # type: ignore[arg-type]
    assert "7" in caplog.text
    assert records.value("SELECT tags FROM sessions") == '["a"]'


def test_the_repr_tells_the_session(session: Session) -> None:
    """The repr of a session tells its id and how it stands."""
    assert repr(session) == f"<Session {session.session_id} running>"
    session.end_session("Success")
    assert repr(session) == f"<Session {session.session_id} Success>"
