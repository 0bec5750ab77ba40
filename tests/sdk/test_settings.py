from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from uuid import UUID

import pytest

import agentops_local as agentops
from agentops_local.client import Client
from agentops_local.config import Configuration, key_hash
from agentops_local.session import Session
from tests.sdk.records import Programs, Records

KEY = "6b7a3f0e-2b1c-4d5e-8f90-a1b2c3d4e5f6"
PARENT = "0f1e2d3c-4b5a-4978-8695-a4b3c2d1e0f9"


def begin() -> Session:
    """The session that `init` starts."""
    session = agentops.init()
    assert session is not None
    return session


def test_defaults() -> None:
    """Without arguments and variables the settings are the classic's, and those of ours as documented."""
    assert vars(Configuration()) == {
        "api_key": None,
        "parent_key": None,
        "endpoint": "https://api.agentops.ai",
        "max_wait_time": 5000,
        "max_queue_size": 512,
        "default_tags": set(),
        "instrument_llm_calls": True,
        "auto_start_session": True,
        "skip_auto_end_session": False,
        "env_data_opt_out": False,
        "db": None,
        "durability": "process",
        "redact": None,
    }


def test_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    """The classic's environment variables, and ours, give the settings; an empty one gives nothing."""
    for name, value in (
        ("AGENTOPS_API_KEY", KEY),
        ("AGENTOPS_PARENT_KEY", PARENT),
        ("AGENTOPS_API_ENDPOINT", "https://example.org/x"),
        ("AGENTOPS_ENV_DATA_OPT_OUT", "true"),
        ("AGENTOPS_LOCAL_DURABILITY", "power"),
    ):
        monkeypatch.setenv(name, value)
    config = Configuration()
    assert (config.api_key, config.parent_key, config.endpoint) == (KEY, PARENT, "https://example.org/x")
    assert (config.env_data_opt_out, config.durability) == (True, "power")
    for name in ("AGENTOPS_API_KEY", "AGENTOPS_PARENT_KEY", "AGENTOPS_API_ENDPOINT", "AGENTOPS_LOCAL_DURABILITY"):
        monkeypatch.setenv(name, "")
    config = Configuration()
    assert (config.api_key, config.parent_key, config.endpoint) == (None, None, "https://api.agentops.ai")
    assert config.durability == "process"


def test_variables_are_read_late(monkeypatch: pytest.MonkeyPatch) -> None:
    """Variables that the program sets after the import, and after its decorators, count (as with a .env file)."""

    @agentops.track_agent()
    @agentops.record_action()
    def work() -> None: ...

    monkeypatch.setenv("AGENTOPS_API_KEY", KEY)
    begin()
    assert agentops.get_api_key() == KEY


def test_arguments_win(monkeypatch: pytest.MonkeyPatch, project: Path) -> None:
    """An argument wins over its variable, and what is not given keeps the variable's value."""
    monkeypatch.setenv("AGENTOPS_API_KEY", PARENT)
    monkeypatch.setenv("AGENTOPS_API_ENDPOINT", "https://example.org")
    monkeypatch.setenv("AGENTOPS_LOCAL_DB", str(project / "variable.db"))
    agentops.init(api_key=KEY, db=project / "argument.db")
    assert Client().config.api_key == KEY
    assert Client().config.endpoint == "https://example.org"
    assert (project / "argument.db").exists()
    assert not (project / "variable.db").exists()


def test_the_database_of_the_variable(monkeypatch: pytest.MonkeyPatch, project: Path) -> None:
    """AGENTOPS_LOCAL_DB names the database."""
    monkeypatch.setenv("AGENTOPS_LOCAL_DB", str(project / "mine.db"))
    begin().record(agentops.ActionEvent("here"))
    assert Records(project / "mine.db").column("SELECT kind FROM actions") == ["here"]
    assert not (project / ".agentops").exists()


def test_every_classic_setting_is_kept(project: Path) -> None:
    """Every setting of the classic is accepted and can be read back, those that change nothing here included."""
    agentops.init(
        api_key=KEY,
        parent_key=PARENT,
        endpoint="https://example.org",
        max_wait_time=1,
        max_queue_size=2,
        default_tags=["a"],
        instrument_llm_calls=False,
        auto_start_session=False,
        skip_auto_end_session=True,
    )
    config = Client().config
    assert (config.api_key, config.parent_key, config.endpoint) == (KEY, PARENT, "https://example.org")
    assert (config.max_wait_time, config.max_queue_size, config.default_tags) == (1, 2, {"a"})
    assert (config.instrument_llm_calls, config.auto_start_session, config.skip_auto_end_session) == (
        False,
        False,
        True,
    )


@pytest.mark.parametrize(
    "say", [lambda word: agentops.configure(durability=word), lambda w: agentops.init(durability=w)]
)
def test_a_durability_that_is_none(caplog: pytest.LogCaptureFixture, say: Callable[[str], object]) -> None:
    """A durability that is not known is refused with a warning that names the right words, and changes nothing."""
    agentops.configure(durability="power")
    say("forever")
    assert Client().config.durability == "power"
    assert "'forever'" in caplog.text
    assert "'process'" in caplog.text


def test_a_variable_that_is_wrong(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """A durability that is not known, in the environment, is told, and the program records as ever."""
    monkeypatch.setenv("AGENTOPS_LOCAL_DURABILITY", "forever")
    assert begin().is_running
    assert Client().config.durability == "process"
    assert "AGENTOPS_LOCAL_DURABILITY" in caplog.text


def test_the_level_of_the_log(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """AGENTOPS_LOGGING_LEVEL sets the level of our logger, and of no other; a word that is none is told."""
    monkeypatch.setenv("AGENTOPS_LOGGING_LEVEL", "error")
    begin()
    assert logging.getLogger("agentops_local").level == logging.ERROR
    agentops.configure(durability="forever")
    assert caplog.text == ""
    logging.getLogger("agentops_local").setLevel(logging.NOTSET)
    monkeypatch.setenv("AGENTOPS_LOGGING_LEVEL", "loudly")
    begin()
    assert "'LOUDLY'" in caplog.text.upper()
    assert logging.getLogger("agentops_local").level == logging.NOTSET


def test_the_repr_hides_keys() -> None:
    """The repr of the settings shows everything but the keys."""
    agentops.configure(api_key=KEY, parent_key=PARENT, max_wait_time=77)
    shown = repr(Client().config)
    assert KEY not in shown
    assert PARENT not in shown
    assert "api_key='***'" in shown
    assert "max_wait_time=77" in shown


def test_a_key_that_is_no_uuid(caplog: pytest.LogCaptureFixture, records: Records) -> None:
    """A key that is no UUID is told without being shown, and recording goes on."""
    session = agentops.init(api_key="canary-key")
    assert session is not None
    assert "no UUID" in caplog.text
    assert "canary-key" not in caplog.text
    assert session.is_running
    assert len(records.value("SELECT key_hash FROM sessions")) == 16


@pytest.mark.parametrize(
    "spelling", [str.upper, lambda key: UUID(key).hex, lambda key: f"{{{key}}}", lambda k: UUID(k).urn]
)
def test_one_key_has_one_name(spelling: Callable[[str], str]) -> None:
    """The database knows a key by a hash that is the same however the UUID is spelt, and another for another key."""
    assert key_hash(spelling(KEY)) == key_hash(KEY)
    assert key_hash(KEY) != key_hash(PARENT)
    assert key_hash(None) is None


def test_sessions_know_their_keys(records: Records) -> None:
    """A session bears the names of the keys that were in force when it began."""
    agentops.set_api_key(KEY)
    agentops.set_parent_key(PARENT)
    begin().end_session("Success")
    agentops.set_api_key(PARENT)
    begin()
    assert records.rows("SELECT key_hash, parent_key_hash FROM sessions ORDER BY seq") == [
        {"key_hash": key_hash(KEY), "parent_key_hash": key_hash(PARENT)},
        {"key_hash": key_hash(PARENT), "parent_key_hash": key_hash(PARENT)},
    ]


def test_keys_are_nowhere(programs: Programs, project: Path) -> None:
    """Neither key stands, in any spelling, in the database, beside it, in the log at its most talkative, on standard
    output or standard error, also of a program that fails."""
    source = """
import logging
logging.basicConfig(level=logging.DEBUG)
import agentops_local as agentops
session = agentops.init(parent_key=PARENT, durability="forever", endpoint="https://example.org")
print(agentops.Client().config, session, session.config)
logging.warning("%r", vars(session))
agentops.record(agentops.ActionEvent("first"))
agentops.record("no event")
session.create_agent("agent", "no-uuid")
agentops.start_session(inherited_session_id="no-uuid")
agentops.end_session("no state")
agentops.get_session("no-uuid")
session.get_analytics()
session.host_env
raise ValueError("the matter")
""".replace("PARENT", repr(PARENT))
    program = project / "program.py"
    program.write_text(source, encoding="utf-8")
    ended = programs.run(program, code=1, AGENTOPS_API_KEY=KEY, AGENTOPS_LOGGING_LEVEL="DEBUG")
    program.unlink()
    files = [file.read_bytes() for file in project.rglob("*") if file.is_file()]
    assert len(files) > 1
    content = b"\n".join([*files, ended.out.encode(), ended.err.encode()])
    for key in (KEY, PARENT):
        for spelling in (key, UUID(key).hex):
            assert spelling.encode() not in content
            assert spelling.upper().encode() not in content
        assert UUID(key).bytes not in content
