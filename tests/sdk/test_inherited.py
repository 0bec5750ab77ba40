from __future__ import annotations

import threading
from textwrap import dedent
from uuid import uuid4

import pytest

import agentops_local as agentops
from agentops_local.client import Client
from agentops_local.session import Session
from tests.sdk.records import Programs, Records, hear, tell

JOIN = """
import sys
import agentops_local as agentops
session = agentops.init(inherited_session_id=sys.argv[1])
agentops.record(agentops.ActionEvent(sys.argv[2]))
print(session.session_id, session.init_timestamp, session.tags)
"""
JOIN_AND_WAIT = """
import sys
import agentops_local as agentops
session = agentops.init(inherited_session_id=sys.argv[1])
agentops.record(agentops.ActionEvent("child"))
print("joined")
input()
"""


@pytest.fixture
def session() -> Session:
    """A live session, with a tag."""
    started = agentops.init(default_tags=["parent"])
    assert started is not None
    return started


def test_a_child_takes_part_by_init(session: Session, records: Records, programs: Programs) -> None:
    """`init(inherited_session_id=...)` takes part in a session: the same row, an owner of its own, the same begin and
    tags."""
    session.record(agentops.ActionEvent("parent"))
    out = programs.run(JOIN, session.session_id, "child").out.strip()
    assert out == f"{session.session_id} {session.init_timestamp} {session.tags}"
    assert records.value("SELECT count(*) FROM sessions") == 1
    assert records.column("SELECT kind FROM actions ORDER BY seq") == ["parent", "child"]
    assert records.value("SELECT count(DISTINCT pid) FROM owners") == 2
    assert records.value("SELECT count(DISTINCT owner) FROM events") == 2


def test_a_child_takes_part_by_start_session(session: Session, records: Records, programs: Programs) -> None:
    """`start_session(inherited_session_id=...)` does the same, beside sessions of the child's own."""
    programs.run(
        """
        import sys
        import agentops_local as agentops
        own = agentops.init()
        shared = agentops.start_session(["child"], sys.argv[1])
        shared.record(agentops.ActionEvent("shared"))
        own.record(agentops.ActionEvent("own"))
        """,
        session.session_id,
    )
    shared = records.column("SELECT kind FROM payloads WHERE session_id = ?", str(session.session_id))
    assert shared == ["shared"]
    assert records.value("SELECT count(*) FROM sessions") == 2
    assert records.value("SELECT tags FROM sessions WHERE id = ?", str(session.session_id)) == '["parent", "child"]'


@pytest.mark.parametrize(
    "source",
    [
        """
        agentops.record(agentops.ActionEvent("child"))
        """,
        """
        @agentops.record_action("child")
        def work(): ...
        work()
        """,
        """
        @agentops.track_agent(name="worker")
        class Worker:
            def work(self): agentops.record(agentops.ActionEvent("child"))
        Worker().work()
        """,
        """
        agentops.init()
        agentops.record(agentops.ActionEvent("child"))
        """,
        """
        agentops.init(auto_start_session=False)
        agentops.record(agentops.ActionEvent("child"))
        """,
        """
        agentops.add_tags(["child"])
        agentops.record(agentops.ActionEvent("child"))
        """,
    ],
    ids=["record", "decorator", "agent", "init", "init without a session", "tags"],
)
def test_a_child_takes_part_by_its_environment(
    session: Session, records: Records, programs: Programs, source: str
) -> None:
    """With AGENTOPS_LOCAL_SESSION a child takes part whatever it calls first, `init` or not."""
    source = "import agentops_local as agentops\n" + dedent(source)
    programs.run(source, AGENTOPS_LOCAL_SESSION=str(session.session_id))
    assert records.column("SELECT session_id FROM actions") == [str(session.session_id)]
    assert records.value("SELECT count(*) FROM sessions") == 1
    assert session.is_running
    assert records.value("SELECT end_us FROM sessions") is None


def test_a_decorator_joins_nothing_before_its_call(session: Session, records: Records, programs: Programs) -> None:
    """To decorate is not to take part: a child that only defines its functions and agents leaves no trace."""
    programs.run(
        """
        import agentops_local as agentops
        @agentops.record_action()
        def work(): ...
        @agentops.track_agent()
        def agent(): ...
        @agentops.track_agent()
        class Worker: ...
        """,
        AGENTOPS_LOCAL_SESSION=str(session.session_id),
    )
    assert records.value("SELECT count(*) FROM owners") == 1


def test_a_child_may_come_before_its_parent(records: Records, programs: Programs) -> None:
    """A process may take part in a session before the one that gave it its id: whoever comes first begins it, and it is
    one session."""
    session_id = uuid4()
    child = programs.start(JOIN_AND_WAIT, session_id)
    assert hear(child) == "joined"
    begun = records.value("SELECT init_us FROM sessions")
    parent = agentops.init(inherited_session_id=str(session_id), default_tags=["parent"])
    assert parent is not None
    parent.record(agentops.ActionEvent("parent"))
    tell(child)
    programs.finish(child)
    assert parent.end_session("Success", "both are done") == "0.00"
    row = records.row("SELECT * FROM sessions")
    assert (row["id"], row["init_us"], row["tags"]) == (str(session_id), begun, '["parent"]')
    assert (row["end_state"], row["auto_ended"]) == ("Success", 0)
    assert records.column("SELECT kind FROM actions ORDER BY seq") == ["child", "parent"]


def test_tags_of_two_processes_are_united(session: Session, records: Records, programs: Programs) -> None:
    """Tags that two processes add at the same time are all kept, and each process learns of the other's."""
    child = programs.start(
        """
        import sys
        import agentops_local as agentops
        session = agentops.init(inherited_session_id=sys.argv[1])
        print("joined")
        input()
        session.add_tags(["child"])
        print(session.tags)
        """,
        session.session_id,
    )
    assert hear(child) == "joined"
    session.add_tags(["later"])
    tell(child)
    assert hear(child) == "['parent', 'later', 'child']"
    session.add_tags("last")
    assert session.tags == ["parent", "later", "child", "last"]
    programs.finish(child)
    assert records.value("SELECT tags FROM sessions") == '["parent", "later", "child", "last"]'


def test_an_id_that_is_none_is_refused(project: object, caplog: pytest.LogCaptureFixture) -> None:
    """What is no UUID starts no session, and is told."""
    assert agentops.init(inherited_session_id="nonsense") is None
    assert "'nonsense' is no UUID" in caplog.text
    assert not Client().has_sessions


def test_a_wrong_environment_does_not_hurt(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """A program whose AGENTOPS_LOCAL_SESSION is nonsense runs as ever, is told, and records nothing."""
    monkeypatch.setenv("AGENTOPS_LOCAL_SESSION", "nonsense")

    @agentops.record_action()
    def work() -> int:
        return 7

    assert work() == 7
    agentops.record(agentops.ActionEvent())
    agentops.add_tags(["x"])
    assert "'nonsense' is no UUID" in caplog.text


def test_one_id_is_one_session_in_a_process(session: Session) -> None:
    """To take part again, however the id is spelt, gives the session that is live, so the package's functions still
    know which is meant."""
    for spelling in (session.session_id, str(session.session_id).upper(), session.session_id.hex):
        assert agentops.init(inherited_session_id=spelling) is session
        assert agentops.start_session(["again"], spelling) is session
    assert Client().session_count == 1
    assert session.tags == ["parent", "again"]


def test_threads_that_begin_at_once_share_one_session(monkeypatch: pytest.MonkeyPatch, records: Records) -> None:
    """The first events of several threads take part in the session of the environment together."""
    monkeypatch.setenv("AGENTOPS_LOCAL_SESSION", str(uuid4()))
    barrier = threading.Barrier(8)
    clients = []

    def work(number: int) -> None:
        barrier.wait()
        agentops.record(agentops.ActionEvent(f"{number}"))
        clients.append(Client())

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(map(id, clients))) == 1
    assert Client().session_count == 1
    assert sorted(records.column("SELECT kind FROM actions")) == [f"{number}" for number in range(8)]
    assert records.value("SELECT count(*) FROM owners") == 1


def test_an_inherited_session_that_has_ended_is_told(session: Session, records: Records, programs: Programs) -> None:
    """A process that takes part in a session which a program has ended is told so; its events are kept."""
    session.end_session("Success")
    ended = programs.run(JOIN, session.session_id, "late")
    assert "has been ended already" in ended.err
    assert records.column("SELECT kind FROM actions") == ["late"]
    assert records.value("SELECT end_state FROM sessions") == "Success"
