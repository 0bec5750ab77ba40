from __future__ import annotations

import json
import sqlite3
import stat
from contextlib import closing
from pathlib import Path
from uuid import UUID, uuid4

import pytest

import agentops_local as agentops
from tests.cli.calling import call
from tests.server.running import Api, in_process, llm, tool


def add(path: Path, *args: str) -> str:
    """A new key."""
    said = call("keys", "add", *args, "--db", path)
    assert said.code == 0, said.err
    (key,) = said.lines
    return key


def test_each_project_sees_its_own(path: Path) -> None:
    """A key opens its own project: its sessions are there, and those of another project are unknown to it in the words
    for what is not there; the same session id can be in both."""
    first, second = add(path, "first"), add(path, "second")
    session_id = str(uuid4())
    with in_process(path) as url, Api(url, first) as one, Api(url, second) as two:
        mine, theirs = one.create(session_id, tags=["one"]), two.create()
        mine.events(tool())
        for what in ("stats", "export"):
            answer = two.by_key(f"/v2/sessions/{session_id}/{what}", method="GET")
            assert (answer.status, answer.message) == (400, "Session does not belong to this project")
        answer = two.by_key("/v2/reauthorize_jwt", {"session_id": session_id})
        assert (answer.status, answer.message) == (400, "Invalid Session Id")
        again = two.create(session_id, tags=["two"])
        again.events(llm())
        assert mine.stats()["events"] == again.stats()["events"] == 1
        assert (mine.export()["session"]["tags"], again.export()["session"]["tags"]) == ('["one"]', '["two"]')
        ids = {found["session"]["project_id"] for found in (mine.export(), again.export(), theirs.export())}
        assert len(ids) == 2


def test_a_project_is_an_ordinary_database(path: Path) -> None:
    """A project is a database of its own, 0600 in a folder of 0700, which every command reads."""
    with in_process(path) as url, Api(url, add(path, "team")) as api:
        session = api.create()
        session.events(llm(), tool())
    project = call("keys", "list", "--json", "--db", path).json[0]["project_id"]
    database = path.parent / "projects" / f"{project}.db"
    assert stat.S_IMODE(database.stat().st_mode) == 0o600
    assert stat.S_IMODE(database.parent.stat().st_mode) == 0o700
    assert [one["session_id"] for one in call("sessions", "--json", "--db", database).json] == [session.id]
    assert call("show", "last", "--json", "--db", database).json["session"]["status"] == "unknown"
    assert call("doctor", "--db", database).code == 0
    assert call("sessions", "--json", "--db", path).json == []


def test_the_commands_know_when_a_client_has_left(path: Path) -> None:
    """A collected session is shown as unknown until its end is told; then its client counts as having left."""
    with in_process(path) as url, Api(url) as api:
        session = api.create(host_env={"OS": {"Hostname": "there"}})
        (owner,) = call("show", "last", "--json", "--db", path).json["session"]["owners"]
        assert (owner["pid"], owner["host"], owner["liveness"]) == (0, "there", "unknown")
        session.update(is_running=False, end_state="Success")
        (owner,) = call("show", "last", "--json", "--db", path).json["session"]["owners"]
        assert (owner["liveness"], owner["exit"]) == ("left", "end")


def test_what_was_recorded_here_is_served(project: Path) -> None:
    """A session that was recorded on this machine is exported, and summed up, like one that was collected."""
    database = project / "agentops.db"
    agentops.init(db=database, default_tags=["local"])
    agentops.record(
        agentops.LLMEvent(prompt=[{"role": "user", "content": "x"}], completion="y", cost=0.25, prompt_tokens=3)
    )
    agentops.record(agentops.ErrorEvent(error_type="E", details={"a": "1"}))
    session_id = str(agentops.Client().active_session().session_id)  # type: ignore[union-attr]
    agentops.end_session("Success", "done")
    with in_process(database) as url, Api(url) as api:
        found = api.export(session_id)
        assert (found["session"]["end_state"], json.loads(found["session"]["tags"])) == ("Success", ["local"])
        assert found["session"]["host_env"]["SDK"]
        assert found["llms"][0]["completion"] == {"type": "string", "string": "y"}
        assert found["errors"][0]["details"] == '{"a":"1"}'
        assert api.stats(session_id)["cost"] == 0.25
        assert api.create(session_id).events(tool()).status == 200
        assert api.stats(session_id)["events"] == 3


def test_once_there_is_a_key_only_keys_work(path: Path) -> None:
    """Without a key any key works; as soon as one is registered only registered ones do, in the running server too, and
    what was begun goes on with its token."""
    with in_process(path) as url, Api(url) as anybody:
        session = anybody.create()
        add(path, "team")
        answer = anybody.by_key("/v2/create_session", {"session": {"session_id": str(uuid4())}})
        assert (answer.status, answer.message) == (400, "Invalid API Key")
        answer = anybody.by_key(f"/v2/sessions/{session.id}/stats", method="GET")
        assert (answer.status, answer.message) == (400, "Invalid API Key")
        assert anybody.send("GET", f"/v2/sessions/{session.id}/stats").message == "API Key is Missing"
        assert anybody.send("GET", "/health").status == 200
        assert session.events(tool()).status == 200
        with Api(url, add(path, "me", "--local")) as mine:
            assert mine.stats(session.id)["events"] == 1


def test_a_revoked_key_is_over_at_once(path: Path) -> None:
    """A revoked key opens nothing, and neither do the tokens issued for it; other keys of the project still do. With
    all revoked the collector is not open again."""
    first, second = add(path, "team"), add(path, "team")
    with in_process(path) as url, Api(url, first) as one, Api(url, second) as two:
        session = one.create()
        assert two.stats(session.id)["events"] == 0
        assert call("keys", "revoke", first[:8], "--db", path).code == 0
        answer = one.by_key("/v2/reauthorize_jwt", {"session_id": session.id})
        assert (answer.status, answer.message) == (400, "Invalid API Key")
        answer = session.events(tool())
        assert answer.status == 401
        assert answer.message.startswith("Invalid Token")
        assert two.create(session.id).events(tool()).status == 200
        assert call("keys", "revoke", second, "--db", path).code == 0
        assert two.by_key(f"/v2/sessions/{session.id}/stats", method="GET").message == "Invalid API Key"
        assert two.send("GET", f"/v2/sessions/{session.id}/stats").message == "API Key is Missing"


def test_a_key_is_shown_once(path: Path) -> None:
    """A key is printed alone when it is made, and is nowhere afterwards: not in the list, not in any file."""
    key = UUID(add(path, "team"))
    said = call("keys", "list", "--db", path)
    assert key.hex[:8] in said.out
    assert "team" in said.out
    assert str(key) not in said.out
    for file in path.parent.rglob("*"):
        if file.is_file():
            content = file.read_bytes()
            assert not [form for form in (key.hex.encode(), str(key).encode(), key.bytes) if form in content], file


def test_the_secret_of_the_tokens_is_beside_the_database(path: Path) -> None:
    """The secret is made once, 0600, in a file beside the database and not in it: tokens outlive the server."""
    with in_process(path) as url, Api(url) as api:
        session = api.create()
    secret = path.with_name(f"{path.name}-secret")
    assert stat.S_IMODE(secret.stat().st_mode) == 0o600
    assert secret.read_bytes() not in path.read_bytes()
    with in_process(path) as url, Api(url) as api:
        assert api.by_token(session.token, "/v2/create_events", {"events": [tool()]}).status == 200
    assert [file.name for file in path.parent.iterdir() if "secret" in file.name] == [secret.name]


def test_keys_are_listed(path: Path) -> None:
    """The list tells how each key begins, its project, and when it was made and revoked; as JSON for programs."""
    assert call("keys", "list", "--json", "--db", path).json == []
    assert call("keys", "list", "--db", path) == (
        0,
        "",
        "no keys yet: the collector takes any key, from this machine only\n",
    )
    keys = [add(path, "team"), add(path, "team"), add(path, "me", "--local"), add(path, "me")]
    call("keys", "revoke", keys[1], "--db", path)
    found = call("keys", "list", "--json", "--db", path).json
    assert [one["prefix"] for one in found] == [key[:8] for key in keys]
    assert [one["project"] for one in found] == ["team", "team", "me", "me"]
    assert [one["local"] for one in found] == [False, False, True, True]
    assert [one["revoked"] is not None for one in found] == [False, True, False, False]
    assert len({one["project_id"] for one in found}) == 2
    table = call("--utc", "keys", "list", "--db", path).lines
    assert table[0].split() == ["KEY", "PROJECT", "CREATED", "REVOKED"]
    assert len(table) == 5


def test_revoking_says_what_it_did(path: Path) -> None:
    """To revoke a key twice is harmless; one that is not there is an error with exit code 1."""
    key = add(path, "team")
    assert call("keys", "revoke", key.upper(), "--db", path) == (0, "", f"revoked {key[:8]}\n")
    assert call("keys", "revoke", key, "--db", path) == (0, "", "it was revoked already\n")
    for unknown in (str(uuid4()), "zz", "-", "%"):
        said = call("keys", "revoke", "--db", path, "--", unknown)
        assert (said.code, said.out) == (1, "")
        assert "no such key" in said.err


def test_an_ambiguous_beginning_revokes_nothing(path: Path) -> None:
    """A beginning that several keys share revokes none of them, with exit code 2."""
    add(path, "team")
    add(path, "team")
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE api_keys SET prefix = 'aaaa' || substr(prefix, 5)")
    said = call("keys", "revoke", "aaaa", "--db", path)
    assert said.code == 2
    assert not [one for one in call("keys", "list", "--json", "--db", path).json if one["revoked"]]


@pytest.mark.parametrize("name", ["", "  ", "a\nb", "\x1b[2J"])
def test_a_project_has_a_name(path: Path, name: str) -> None:
    """A project whose name is empty, or holds what is no character to show, is refused with exit code 2."""
    assert call("keys", "add", name, "--db", path).code == 2


def test_the_local_database_is_one_project(path: Path) -> None:
    """The local database has one name: another, or that of another project, is refused with exit code 2."""
    add(path, "team")
    add(path, "me", "--local")
    assert call("keys", "add", "you", "--local", "--db", path).code == 2
    assert call("keys", "add", "team", "--local", "--db", path).code == 2


def test_more_projects_than_are_kept_open(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many projects there are, each is found again, though only some databases are kept open."""
    monkeypatch.setattr("agentops_local.server.sqlite_store._MOST_OPEN", 2)
    keys = [add(path, f"project {number}") for number in range(5)]
    with in_process(path) as url:
        clients = [Api(url, key) for key in keys]
        sessions = [client.create() for client in clients]
        for _ in range(3):
            for session in sessions:
                assert session.events(tool()).status == 200
        assert [session.stats()["events"] for session in sessions] == [3] * 5
        for client in clients:
            client.__exit__()
