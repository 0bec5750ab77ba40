from __future__ import annotations

from pathlib import Path
from uuid import UUID, uuid4

import pytest

import agentops_local as agentops
from agentops_local.client import Client
from tests.sdk.records import Records

KEY = "6b7a3f0e-2b1c-4d5e-8f90-a1b2c3d4e5f6"


def begin() -> agentops.Session:
    """The session that `init` starts."""
    session = agentops.init()
    assert session is not None
    return session


def test_init_returns_the_session(records: Records) -> None:
    """`init` returns a running session, which is in the database at once."""
    session = begin()
    assert isinstance(session, agentops.Session)
    assert session.is_running
    assert records.value("SELECT id FROM sessions") == str(session.session_id)


def test_init_without_a_session_starts_none(project: Path) -> None:
    """`init(auto_start_session=False)` returns None and leaves no file behind; `start_session` then starts one."""
    assert agentops.init(auto_start_session=False) is None
    assert list(project.iterdir()) == []
    assert isinstance(agentops.start_session(), agentops.Session)


def test_init_again_returns_the_live_session(records: Records) -> None:
    """A second `init`, as of a notebook's cell that is run again, returns the session that is live."""
    session = begin()
    assert agentops.init() is session
    assert agentops.init(api_key=KEY, default_tags=["later"]) is session
    assert records.value("SELECT count(*) FROM sessions") == 1


def test_init_after_the_end_starts_another(records: Records) -> None:
    """`init` after the end of the session starts a new one."""
    first = begin()
    first.end_session("Success")
    second = begin()
    assert second is not first
    assert records.column("SELECT id FROM sessions ORDER BY seq") == [str(first.session_id), str(second.session_id)]


def test_start_session_needs_init(project: Path, caplog: pytest.LogCaptureFixture) -> None:
    """`start_session` before `init` returns None, says why, and leaves no file behind."""
    assert agentops.start_session() is None
    assert "init()" in caplog.text
    assert list(project.iterdir()) == []


def test_end_session_returns_the_cost() -> None:
    """`end_session` returns the cost as text: "0.00" when zero, otherwise six decimals."""
    begin()
    assert agentops.end_session("Success") == "0.00"
    begin()
    agentops.record(agentops.LLMEvent(cost=0.1))
    agentops.record(agentops.LLMEvent(cost=0.2))
    assert agentops.end_session("Success") == "0.300000"


def test_end_session_takes_reason_and_video(records: Records) -> None:
    """`end_session` keeps the state, its reason and the video."""
    begin()
    agentops.end_session("Fail", "no money", "https://example.org/run.mp4")
    row = records.row("SELECT end_state, end_state_reason, video, auto_ended, end_us FROM sessions")
    assert row.pop("end_us") > 0
    assert row == {
        "end_state": "Fail",
        "end_state_reason": "no money",
        "video": "https://example.org/run.mp4",
        "auto_ended": 0,
    }


def test_record_returns_after_the_commit(records: Records) -> None:
    """`record` returns None, and another connection sees the event when it has."""
    begin()
    assert agentops.record(agentops.ActionEvent("my-type")) is None  # type: ignore[func-returns-value]
    assert records.value("SELECT kind FROM actions") == "my-type"


def test_record_without_a_session_warns(project: Path, caplog: pytest.LogCaptureFixture) -> None:
    """`record` without a session raises nothing, says what to do, and leaves no file behind."""
    agentops.record(agentops.ActionEvent("lost"))
    assert "init()" in caplog.text
    assert list(project.iterdir()) == []


def test_configure_returns_none_and_starts_nothing(project: Path) -> None:
    """`configure` returns None, changes the settings that are given and no other, and starts nothing."""
    assert agentops.configure(max_wait_time=7, default_tags=["a"]) is None  # type: ignore[func-returns-value]
    config = Client().config
    assert (config.max_wait_time, config.max_queue_size, config.default_tags) == (7, 512, {"a"})
    assert list(project.iterdir()) == []
    assert not Client().has_sessions


def test_tags_of_the_package(records: Records) -> None:
    """`add_tags` and `set_tags` return None and change the session's tags."""
    session = begin()
    assert agentops.add_tags(["a", "b"]) is None  # type: ignore[func-returns-value]
    assert session.tags == ["a", "b"]
    assert agentops.set_tags(["c"]) is None  # type: ignore[func-returns-value]
    assert records.value("SELECT tags FROM sessions") == '["c"]'


def test_tags_before_a_session_wait_for_it() -> None:
    """Tags that are added before there is a session are those of the sessions to come."""
    agentops.add_tags(["early"])
    assert begin().tags == ["early"]


def test_tags_is_the_old_name_of_default_tags() -> None:
    """`init(tags=...)` means `default_tags`, which every session of the process gets."""
    session = agentops.init(tags=["old"])
    assert session is not None
    assert session.tags == ["old"]
    session.end_session("Success")
    another = agentops.start_session(tags=["own"])
    assert another is not None
    assert another.tags == ["old", "own"]


def test_default_tags_win_over_their_old_name() -> None:
    """Of `tags` and `default_tags`, the new name counts."""
    session = agentops.init(tags=["old"], default_tags=["new"])
    assert session is not None
    assert session.tags == ["new"]


def test_create_agent_returns_the_id(records: Records) -> None:
    """`create_agent` returns the agent's id, the one given or a new UUID, and the agent is in the database."""
    begin()
    given = str(uuid4())
    assert agentops.create_agent("one", given) == given
    made = agentops.create_agent("two")
    assert made == str(UUID(made))
    assert records.rows("SELECT id, name FROM agents WHERE name <> 'Default Agent' ORDER BY seq") == [
        {"id": given, "name": "one"},
        {"id": made, "name": "two"},
    ]


def test_create_agent_with_an_id_that_is_no_uuid(caplog: pytest.LogCaptureFixture) -> None:
    """An agent's id that is no UUID stands for one UUID, always the same, which is returned and told."""
    begin()
    known = agentops.create_agent("researcher", "agent-7")
    assert known == str(UUID(known))
    assert agentops.create_agent("researcher", "agent-7") == known
    assert "agent-7" in caplog.text
    assert str(known) in caplog.text


def test_get_session_finds_live_ones() -> None:
    """`get_session` finds a live session by its id, as text in any spelling or as UUID, and nothing else."""
    session = begin()
    assert agentops.get_session(str(session.session_id)) is session
    assert agentops.get_session(str(session.session_id).upper()) is session
    assert agentops.get_session(session.session_id) is session
    assert agentops.get_session(str(uuid4())) is None
    assert agentops.get_session("nonsense") is None
    session.end_session("Success")
    assert agentops.get_session(str(session.session_id)) is None


def test_keys_are_set_and_read() -> None:
    """`set_api_key`, `set_parent_key` and `get_api_key` act on the settings."""
    assert agentops.get_api_key() is None
    agentops.set_api_key(KEY)
    agentops.set_parent_key(KEY[::-1].replace("-", "")[:32])
    assert agentops.get_api_key() == KEY
    assert Client().parent_key == KEY[::-1].replace("-", "")[:32]


def test_stop_instrumenting_leaves_recording_alone(records: Records) -> None:
    """`stop_instrumenting` ends the recording of LLM calls by themselves; what the program records goes on."""
    begin()
    agentops.stop_instrumenting()
    assert Client().config.instrument_llm_calls is False
    agentops.record(agentops.ActionEvent("by hand"))
    assert records.value("SELECT count(*) FROM actions") == 1


def test_end_all_sessions(records: Records) -> None:
    """`end_all_sessions` ends every live session, as Indeterminate."""
    begin()
    agentops.start_session()
    agentops.end_all_sessions()
    assert records.column("SELECT DISTINCT end_state FROM sessions WHERE end_us IS NOT NULL") == ["Indeterminate"]
    assert records.value("SELECT count(*) FROM sessions WHERE end_us IS NULL") == 0
    assert not Client().has_sessions


@pytest.mark.parametrize("skip", [False, True])
def test_a_framework_may_end_the_session_unless_told_otherwise(skip: bool) -> None:
    """A framework's end of the session is heeded, but not with `skip_auto_end_session`; the program's own always."""
    session = agentops.init(skip_auto_end_session=skip)
    assert session is not None
    agentops.end_session("Success", is_auto_end=True)
    assert session.is_running is skip
    agentops.end_session("Success")
    assert not session.is_running


def test_client_is_one_for_the_process() -> None:
    """`Client()` is the same object wherever it is asked for, and tells of the sessions that are live."""
    client = agentops.Client()
    assert agentops.Client() is client
    assert (client.is_initialized, client.has_sessions, client.session_count) == (False, False, 0)
    session = begin()
    assert (client.is_initialized, client.has_sessions, client.is_multi_session) == (True, True, False)
    agentops.start_session()
    assert (client.is_multi_session, client.session_count) == (True, 2)
    assert client.current_session_ids[0] == str(session.session_id)


def test_client_has_the_methods_of_the_package(records: Records) -> None:
    """What the package's functions do, the client's methods of the same name do."""
    client = agentops.Client()
    client.configure(max_queue_size=9)
    client.add_default_tags(["tag"])
    assert client.get_default_tags() == ["tag"]
    session = client.initialize()
    assert session is not None
    assert client.get_session(session.session_id) is session
    client.record(agentops.ToolEvent(name="hammer"))
    client.add_tags(["more"])
    assert client.create_agent("smith") is not None
    assert client.host_env == session.host_env
    assert client.end_session("Success") == "0.00"
    assert records.value("SELECT name FROM tools") == "hammer"
    assert client.config.max_queue_size == 9
