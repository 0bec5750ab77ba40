"""Ids that are paths, statements or nonsense, wherever an id is taken."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote
from uuid import UUID, uuid4

import pytest
from click.testing import CliRunner

import agentops_local as agentops
from agentops_local.analytics.sessions import as_id
from agentops_local.cli import cli
from agentops_sync.cli import cli as sync
from tests.clients import forget_client
from tests.reliability.scorecard import Score
from tests.reliability.tools.bare import message, send
from tests.reliability.tools.crash import DB, query
from tests.reliability.tools.hostile import IDS, Touched

BEFORE = "f190a000-0000-7000-8000-000000000001"  # no text of the list is the beginning of it
CANARY = "what no answer may hold"
_OURS = re.compile(
    r"agentops\.db(-index)?(-wal|-shm)?|agentops\.db(\.lock|-generation|-secret|-sync\.lock)|\.gitignore|"
    r"projects(/\.gitignore|/[0-9a-f-]{36}\.db.*)?"
)


@pytest.fixture(autouse=True)
def surroundings(project: Path) -> Iterator[None]:
    """A session in the project, and files around it that nobody may touch; afterwards they are as they were, and
    nothing was opened whose name an id had."""
    forget_client()
    session = agentops.init(tags=["before"], inherited_session_id=BEFORE)
    assert session is not None
    session.record(agentops.ToolEvent(name="before"))
    session.end_session("Success")
    forget_client()
    for folder in (project.parent, project, project / ".agentops", project.parent / "home"):
        (folder / "victim").write_text(CANARY)
    (project.parent / "etc").mkdir()
    (project.parent / "etc" / "passwd").write_text(CANARY)
    before = around(project)
    with Touched.files() as touched:
        yield
    forget_client()
    assert around(project) == before
    assert not [path for path in touched if re.search(r"victim|passwd|projects/x", path)]
    inside = {str(path.relative_to(project / ".agentops")) for path in (project / ".agentops").rglob("*")} - {"victim"}
    assert not [name for name in inside if not _OURS.fullmatch(name)]
    assert query(DB, "SELECT count(*) FROM tools WHERE name = 'before'") == [(1,)]


def around(project: Path) -> dict[str, bytes]:
    """Every file but those of the database, with its content."""
    return {
        str(path): path.read_bytes() if path.is_file() else b""
        for path in sorted(project.parent.rglob("*"))
        if project / ".agentops" not in path.parents or path.name == "victim"
    }


def is_id(text: str) -> bool:
    """Whether it is a UUID in a spelling that Python knows."""
    try:
        UUID(text)
    except ValueError:
        return False
    return True


# The program ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["inherited_session_id", "AGENTOPS_LOCAL_SESSION", "start_session"])
def test_the_program(how: str, monkeypatch: pytest.MonkeyPatch, score: Score) -> None:
    """An id that is no UUID begins no session and raises nothing in the program; one that can be read as a UUID is that
    UUID and nothing else, in the database too."""
    monkeypatch.setenv("AGENTOPS_ENV_DATA_OPT_OUT", "true")
    monkeypatch.setenv("AGENTOPS_LOGGING_LEVEL", "CRITICAL")
    tried = [text for text in IDS if text and (how != "AGENTOPS_LOCAL_SESSION" or not {"\0", "\ud800"} & set(text))]
    for text in tried:
        forget_client()
        session: Any = None
        if how == "AGENTOPS_LOCAL_SESSION":
            monkeypatch.setenv(how, text)
            session = agentops.init()
        elif how == "inherited_session_id":
            session = agentops.init(inherited_session_id=text)
        else:
            agentops.init(auto_start_session=False)
            session = agentops.start_session(inherited_session_id=text)
        assert (session is not None) is is_id(text), ascii(text)
        if session is not None:
            agentops.record(agentops.ToolEvent(name="after"))
    score.add(len(tried))
    for (found,) in query(DB, "SELECT id FROM sessions"):
        assert str(UUID(found)) == found


def test_agents_of_the_program(score: Score) -> None:
    """An agent's id may be any text; in the database it is a UUID, and the agent's name is its name."""
    session = agentops.init()
    assert session is not None
    made = [session.create_agent("an agent", text) for text in IDS]
    score.add(len(IDS))
    assert len(made) == len(IDS)
    found = [row[0] for row in query(DB, "SELECT id FROM agents WHERE name = 'an agent'")]
    assert len(found) > len(IDS) // 2
    assert all(str(UUID(text)) == text for text in found)


# The commands --------------------------------------------------------------------------------------------------------

COMMANDS = {
    "show": (cli, ["show", "--"]),
    "stats": (cli, ["stats", "--"]),
    "rm": (cli, ["rm", "--"]),
    "tail": (cli, ["tail", "--session"]),
    "sessions": (cli, ["sessions", "--tag"]),
    "revoke": (cli, ["keys", "revoke", "--"]),
    "verify": (sync, ["--endpoint", "http://127.0.0.1:1", "verify", "--"]),
    "requeue": (sync, ["--endpoint", "http://127.0.0.1:1", "requeue", "--"]),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_the_commands(name: str, score: Score) -> None:
    """Every command that takes an id tells in a line that there is no such session; none of them fails, finds or erases
    another, or says what is in a file."""
    command, arguments = COMMANDS[name]
    wrong = []
    for text in IDS:
        if name == "tail" and as_id(text):  # may yet come: it is waited for
            continue
        result = CliRunner().invoke(command, [*arguments, text], env={"AGENTOPS_LOCAL_CREDENTIALS": "keys"})
        fine = result.exception is None or isinstance(result.exception, SystemExit)
        if not fine or result.exit_code not in (0, 1, 2) or CANARY in result.output or "Traceback" in result.output:
            wrong.append((text[:80], repr(result.exception)[:200]))
        if result.exit_code == 0 and name in ("show", "rm", "revoke"):
            wrong.append((text[:80], result.output[:200]))
    score.add(len(IDS), lost=len(wrong))
    assert not wrong
    assert query(DB, "SELECT count(*) FROM sessions") == [(1,)]


# The collector -------------------------------------------------------------------------------------------------------


@pytest.fixture
def url(project: Path) -> Iterator[str]:
    """A collector of the project's database."""
    pytest.importorskip("uvicorn", reason="the extra `server` is not installed")
    from tests.server.running import in_process

    with in_process(project / DB) as found:
        yield found


def test_the_paths_of_the_collector(url: str, score: Score) -> None:
    """An id in a path that is none is refused with 400, or is another path, which is 404; as it stands, encoded, and
    encoded twice."""
    own = url.partition("//")[2]
    found: dict[str, int] = {}
    for text in IDS:
        plain = text.encode("utf-8", "surrogatepass")
        once = quote(plain, safe="")
        forms = {once, quote(once, safe="")}
        if len(plain) < 3000 and plain.isascii() and plain.decode().isprintable() and not set(b" #?") & set(plain):
            forms.add(plain.decode())
        for form in forms:
            for what in ("stats", "export"):
                reply = send(url, message(f"GET /v2/sessions/{form}/{what} HTTP/1.1", f"Host: {own}"))
                known = is_id(text) and reply.status == 400
                assert CANARY.encode() not in reply.body
                if reply.status not in (400, 404, 405, 431) and not known:
                    found[form[:100]] = reply.status
    score.add(len(IDS) * 4, lost=len(found))
    assert not found


BODIES: dict[str, Any] = {
    "create_session": lambda text, _: {"session": {"session_id": text}},
    "reauthorize_jwt": lambda text, _: {"session_id": text},
    "update_session": lambda text, _: {"session": {"session_id": text, "project_id": text, "tags": [text]}},
    "create_agent": lambda text, _: {"id": text, "name": text},
    "create_thread": lambda text, _: {"id": text, "session_id": text},
    "an event's id": lambda text, _: {"events": [event(id=text)]},
    "an event's session": lambda text, _: {"events": [event(session_id=text)]},
    "an event's agent": lambda text, _: {"events": [event(agent_id=text, thread_id=text)]},
    "an error's trigger": lambda text, _: {
        "events": [event(event_type="errors", timestamp="2026-01-31T12:00:00Z", trigger_event_id=text)]
    },
    "an event's kind": lambda text, _: {"events": [event(event_type=text)]},
    "update_events": lambda text, _: {"events": [event(id=text)]},
}


def event(**more: Any) -> dict[str, Any]:
    """An event."""
    from tests.server.running import tool

    return {**tool(), **more}


@pytest.mark.parametrize("name", BODIES)
def test_the_bodies_of_the_collector(url: str, name: str, score: Score) -> None:
    """An id in a body that is none is refused with 400, or is taken as the text it is where any text will do; it never
    becomes a file, a statement or a failure."""
    from tests.server.running import Api

    path = name if name.startswith(("create", "update", "reauth")) else "create_events"
    said: dict[int, list[str]] = {}
    with Api(url) as api:
        session = api.create()
        for text in IDS:
            body = json.dumps(BODIES[name](text, session))
            headers = {"Authorization": f"Bearer {session.token}", "X-Agentops-Api-Key": api.key}
            answer = api.send("POST", f"/v2/{path}", body, headers)
            assert CANARY not in str(answer.body)
            said.setdefault(answer.status, []).append(text)
        assert session.stats()["events"] >= 0
    failed = [text for status, texts in said.items() if status not in (200, 400) for text in texts]
    score.add(len(IDS), lost=len(failed))
    assert not failed
    if name in ("create_session", "reauthorize_jwt", "create_agent", "an event's id"):
        assert all(is_id(text) or text == "" for text in said.get(200, []))


def test_keys_and_projects(url: str, project: Path, score: Score) -> None:
    """Whatever a key or a token is said to be, it is refused; whatever a project is called, its database is called by
    a UUID, in the folder of the projects."""
    own = f"Host: {url.partition('//')[2]}"
    texts = [text for text in IDS if text.isprintable() and text.isascii() and len(text) < 6000]
    statuses = []
    for text in texts:
        for header in (f"X-Agentops-Api-Key: {text}", f"Authorization: Bearer {text}"):
            path = "create_session" if header.startswith("X") else "create_events"
            reply = send(url, message(f"POST /v2/{path} HTTP/1.1", own, header, body=b'{"session": {}}'))
            statuses.append(reply.status)
    keys = {}
    for text in IDS[::7]:
        made = CliRunner().invoke(cli, ["keys", "add", "--", text])
        if made.exit_code == 0:
            keys[text] = made.stdout.strip()
    for key in keys.values():
        body = json.dumps({"session": {"session_id": str(uuid4())}}).encode()
        reply = send(url, message("POST /v2/create_session HTTP/1.1", own, f"X-Agentops-Api-Key: {key}", body=body))
        statuses.append(400 if reply.status == 200 else reply.status)
    score.add(len(statuses), lost=sum(status not in (400, 401, 431) for status in statuses))
    assert set(statuses) <= {400, 401, 431}
    assert len(keys) > 20
    made_files = {path.name for path in (project / ".agentops" / "projects").glob("*.db")}
    assert len(made_files) == len(keys)
    assert all(str(UUID(name.removesuffix(".db"))) == name.removesuffix(".db") for name in made_files)
