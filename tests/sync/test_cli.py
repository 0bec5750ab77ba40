"""The commands, as a user calls them: what they say, how they end, and what they never show."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from agentops_local.analytics.checkup import Checkup
from agentops_local.analytics.uploading import reserved
from agentops_sync.cli import cli
from agentops_sync.reserve import Reserve
from tests.fakes.agentops_api import AgentOpsAPI
from tests.sync.running import COMMAND, PATIENCE, Running, environment, query, recorded, states

COMMANDS = ["run", "once", "status", "verify", "requeue", "login", "install-service"]


@pytest.fixture
def server() -> Iterator[AgentOpsAPI]:
    """A look-alike."""
    with AgentOpsAPI(actions_work=True) as running:
        yield running


class User:
    """Somebody who works in a project folder with one recorded session of two tool calls."""

    def __init__(self, folder: Path, server: AgentOpsAPI) -> None:
        self.db = folder / ".agentops" / "agentops.db"
        self.session = recorded(self.db, 2)
        self.env = environment(self.db, server.api_key, AGENTOPS_API_ENDPOINT=server.url)

    def sync(self, *words: str, code: int = 0, told: str | None = None, **env: str) -> str:
        """Calls a command, whose exit code must be this one; returns what it printed, errors included."""
        done = subprocess.run(
            [*COMMAND, *words], env={**self.env, **env}, input=told or "", capture_output=True, text=True,
            timeout=PATIENCE,
        )  # fmt: skip
        output = done.stdout + done.stderr
        assert done.returncode == code, output
        assert "Traceback" not in output
        return output


@pytest.fixture
def user(project: Path, server: AgentOpsAPI) -> User:
    """The user."""
    return User(project, server)


# How they end -------------------------------------------------------------------------------------------------------


def test_once_ends_with_0_when_all_is_sent(user: User) -> None:
    """`once` uploads what is there and ends with 0; a second time there is nothing to do."""
    for _ in range(2):
        assert f"{user.db} → " in (said := user.sync("once"))
        assert "\n  2 sent\n" in said
    assert states(user.db) == {"done": 2}


def test_once_ends_with_1_when_something_remains(user: User, server: AgentOpsAPI) -> None:
    """`once` ends with 1 when the server cannot be reached, and does not wait for it for long."""
    server.refuse()
    said = user.sync("once", code=1)
    assert "0 sent, 2 pending; 1 session not complete: see agentops-sync status" in said
    assert "takes nothing now: not sent" in said


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--db", "none.db", "once"), "there is no database at"),
        (("--endpoint", "ftp://example.org", "once"), "'ftp://example.org' is no endpoint: give a URL such as https://"),
        (("--endpoint", "http://example.org", "once"), "the API key and your prompts in plain text: use https"),
        (("--endpoint", "https://me:secret@example.org", "run"), "an endpoint has no user, query or fragment"),
        (("--api-key", "mine", "once"), "--api-key is no API key: give the UUID"),
        (("once", "--wait", "long"), "is not a valid float range"),
        (("nothing",), "No such command 'nothing'"),
        ((), "Usage: "),
    ],
)  # fmt: skip
def test_wrong_use_ends_with_2(words: tuple[str, ...], sentence: str, user: User) -> None:
    """What cannot be meant is told in a sentence, and ends with 2; nothing is sent."""
    assert sentence in user.sync(*words, code=2)
    assert query(user.db, "SELECT count(*) FROM batches") == [(0,)]


@pytest.mark.parametrize(
    ("file", "text", "code"),
    [("sync.toml", "[upload]\npolicy = 'some'\n", 1), ("credentials", "not a key\n", 1)],
)
def test_a_file_that_cannot_be_understood_ends_it(file: str, text: str, code: int, user: User) -> None:
    """While the policy or the keys cannot be understood nothing is sent, and the file is named."""
    user.db.with_name(file).write_text(text)
    user.db.with_name(file).chmod(0o600)
    assert file in user.sync("once", code=code)
    assert query(user.db, "SELECT count(*) FROM batches") == [(0,)]


def test_the_periods_can_be_set(user: User) -> None:
    """AGENTOPS_SYNC_TIMING sets periods by name; a name that there is not is told with those that there are."""
    user.sync("once", AGENTOPS_SYNC_TIMING="settle=1, poll=0.1")
    assert "settle_errors" in user.sync("once", code=2, AGENTOPS_SYNC_TIMING="setle=1")
    assert "settle" in user.sync("once", code=2, AGENTOPS_SYNC_TIMING="settle=soon")


def test_the_options_stand_before_or_after_the_command(user: User, server: AgentOpsAPI) -> None:
    """--db, --endpoint and --api-key are taken in either place, and go before the environment."""
    user.env |= {"AGENTOPS_API_ENDPOINT": "https://127.0.0.1:1", "AGENTOPS_API_KEY": ""}
    user.sync("--db", str(user.db), "--endpoint", server.url, "once", "--api-key", server.api_key)
    assert states(user.db) == {"done": 2}


# status -------------------------------------------------------------------------------------------------------------


def test_status_before_anything(user: User) -> None:
    """Where nothing has been uploaded yet, `status` says how to begin, and ends with 1."""
    assert user.sync("status", code=1).endswith("nothing has been uploaded from here yet: agentops-sync once\n")
    assert json.loads(user.sync("status", "--json", code=1)) == []


def test_status_says_what_is_missing_and_why(user: User, server: AgentOpsAPI) -> None:
    """`status` lists what is not complete and what it waits for, until all is sent; then it ends with 0."""
    user.sync("once", code=1, AGENTOPS_API_KEY="")
    said = user.sync("status", code=1)
    assert "2 pending\nagentops-sync is not running\n" in said
    assert f"\n{user.session}  absent        2\n" in said
    assert "an API key is not known here: agentops-sync login, or AGENTOPS_API_KEY" in " ".join(said.split())
    user.sync("once")
    said = user.sync("status")
    assert "2 done\n" in said
    assert "1 session complete\n" in said
    assert user.session not in said
    assert user.session in user.sync("status", "--all")
    (report,) = json.loads(user.sync("status", "--json"))
    assert (report["target"], report["complete"], report["served"]) == (server.url, True, False)
    assert report["events"]["done"] == 2


def test_status_tells_of_dead_letters_and_of_a_daemon_that_runs(user: User, server: AgentOpsAPI) -> None:
    """`status` shows events that were given up with the server's words, and whether a daemon serves the database."""
    server.poison('"number": 1', 400, "22P02")
    server.poison('"number":1', 400, "22P02")
    user.sync("once", code=1)
    said = " ".join(user.sync("status", code=1).split())
    assert "1 done, 1 dead" in said
    assert "the server cannot store it (SQLSTATE 22P02); refused (400):" in said
    (report,) = json.loads(user.sync("status", "--json", code=1))
    assert [letter["kind"] for letter in report["dead_letters"]] == ["tools"]
    with Running("run", "--db", str(user.db), env=user.env, log=user.db.with_name("log")) as daemon:
        daemon.until(lambda: "→" in daemon.log)
        assert "agentops-sync is running" in user.sync("status", code=1)


# verify and requeue -------------------------------------------------------------------------------------------------


def test_verify_agrees(user: User) -> None:
    """`verify` ends with 0 when everything is there once, as it was sent; in JSON as well."""
    assert "has not been uploaded yet" in user.sync("verify", "last", code=1)
    user.sync("once")
    said = user.sync("verify", "last")
    assert "tools           2 recorded         2 on the server\n" in said
    assert said.endswith("everything recorded is on the server, once, as it was sent\n")
    found = json.loads(user.sync("verify", user.session[:18], "--json"))
    assert (found["session"], found["missing"], found["doubled"]) == (user.session, [], [])


def test_verify_repairs(user: User, server: AgentOpsAPI) -> None:
    """What is missing on the server is told, with 1, and sent again with --repair."""
    user.sync("once")
    gone = server.api.store.of_session["tools", user.session].pop()
    del server.api.store.events["tools"][gone["id"]]
    said = user.sync("verify", "last", code=1)
    assert f"missing: 1\n  {gone['id']}\n" in said
    assert "the server's statistics say 1 event more than it holds\n" in said
    assert "1 event of session" in user.sync("verify", "last", "--repair")
    assert user.sync("verify", "last").endswith("everything recorded is on the server, once, as it was sent\n")


def test_requeue_sends_dead_letters_again(user: User, server: AgentOpsAPI) -> None:
    """`requeue` makes dead letters ready again, of one session or of all; when the server can take them they arrive."""
    server.poison("search", 400, "22P02")
    user.sync("once", code=1)
    assert states(user.db) == {"dead": 2}
    server.api.poisons.clear()
    assert "2 dead letters to be sent again" in user.sync("requeue", "last")
    assert "0 dead letters to be sent again" in user.sync("requeue")
    user.sync("once")
    assert states(user.db) == {"done": 2}
    assert "there is no session 'nobody'" in user.sync("requeue", "nobody", code=1)


# --dry-run ----------------------------------------------------------------------------------------------------------


def test_a_dry_run_prints_what_would_be_sent(user: User, server: AgentOpsAPI) -> None:
    """--dry-run sends nothing and leaves the database as it is; the requests it prints are those that are sent after,
    with their keys hidden."""
    bodies: list[tuple[str, Any]] = []
    handle = server.api.handle

    def watched(request: Any) -> Any:
        bodies.append((request.path, request.json()))
        return handle(request)

    server.api.__dict__["handle"] = watched
    before = query(user.db, "SELECT (SELECT count(*) FROM targets), (SELECT count(*) FROM uploads)")
    first, second = user.sync("--dry-run"), user.sync("once", "--dry-run")
    assert bodies == []
    assert query(user.db, "SELECT (SELECT count(*) FROM targets), (SELECT count(*) FROM uploads)") == before
    assert first == second
    user.sync("once")
    printed = [json.loads(line) for line in first.splitlines()]
    assert [(one["url"].removeprefix(server.url), one["body"]) for one in printed] == bodies
    assert all("<" in value for one in printed for name, value in one["headers"].items() if name != "Content-Type")


# Keys ---------------------------------------------------------------------------------------------------------------


def test_login_keeps_a_key(user: User, server: AgentOpsAPI) -> None:
    """`login` reads a key from standard input into a file of mode 0600, from where it is used; it shows its hash."""
    said = user.sync("login", "--default", told=f"{server.api_key}\n")
    file = user.db.with_name("credentials")
    assert str(file) in said
    assert server.api_key not in said
    assert server.api_key in file.read_text()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    user.sync("once", AGENTOPS_API_KEY="")
    assert states(user.db) == {"done": 2}
    assert "an API key is a UUID" in user.sync("login", told="mine\n", code=2)


def test_no_key_is_ever_shown(user: User, server: AgentOpsAPI) -> None:
    """No command prints a key, and none gets into a file, but for the file of keys."""
    keys = [server.api_key, server.api_key.replace("-", ""), server.other_api_key]
    calls: list[tuple[int, tuple[str, ...]]] = [
        (0, ("login",)), (0, ("once", "--dry-run")), (0, ("once",)), (0, ("status", "--json")),
        (0, ("verify", "last")), (0, ("requeue",)), (0, ("install-service", "--print")),
        (1, ("once", "--api-key", server.other_api_key)),
    ]  # fmt: skip
    for code, words in calls:
        said = user.sync(*words, code=code, told=f"{server.api_key}\n")
        assert not any(key in said for key in keys), words
    server.revoke(server.api_key)
    recorded(user.db)
    with Running("run", "--db", str(user.db), env=user.env, log=user.db.with_name("log")) as daemon:
        daemon.until(lambda: query(user.db, "SELECT count(*) FROM parked") == [(1,)])
    files = [file for file in user.db.parent.rglob("*") if file.is_file() and file.name != "credentials"]
    assert {"agentops.db", "agentops.db-wal", "log"} <= {file.name for file in files}
    for file in files:
        held = file.read_bytes()
        assert not any(key.encode() in held for key in keys), file


def test_a_service_holds_no_key(user: User, tmp_path: Path) -> None:
    """`install-service --print` writes nothing; the service file names the database and the server, never a key."""
    printed = user.sync("install-service", "--print")
    assert str(user.db) in printed
    assert not list((tmp_path / "configuration").rglob("*agentops-sync*"))
    key = user.env["AGENTOPS_API_KEY"]
    assert "agentops-sync login" in user.sync("install-service", "--api-key", key, code=2)


def test_status_and_doctor_say_when_it_is_in_use(user: User) -> None:
    """The daemon makes it, of the size that was asked for; status and doctor say when some of it was given up."""
    user.env["AGENTOPS_SYNC_RESERVE"] = "256KiB"
    user.sync("once")
    assert reserved(user.db) == (262_144, 262_144)
    assert "kept for the ledger" not in user.sync("status")
    assert json.loads(user.sync("status", "--json"))[0]["reserve"] == {
        "size": 262_144,
        "whole": 262_144,
        "in_use": False,
    }
    assert Reserve(user.db).give_up(65_536)
    assert f"of the {262_144:,} bytes kept for the ledger {65_536:,} are in use" in " ".join(
        user.sync("status").split()
    )
    assert json.loads(user.sync("status", "--json"))[0]["reserve"]["in_use"] is True
    found = [one for one in Checkup(user.db).run() if one.about == "reserve"]
    assert [one.level.value for one in found] == ["note"]
    user.env["AGENTOPS_SYNC_RESERVE"] = "some"
    assert "no size" in user.sync("once", code=2)


# On the screen ------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(sys.platform == "win32", reason="no pseudo-terminals")
def test_a_progress_bar_on_a_terminal_only(user: User) -> None:
    """`once` draws a progress bar on a terminal, and none into a pipe or with --quiet."""
    import pty

    said = user.sync("once", "--dry-run") + user.sync("status", code=1)
    assert "█" not in said
    for words, drawn in ((("once",), True), (("once", "--quiet"), False)):
        controller, terminal = pty.openpty()
        with subprocess.Popen([*COMMAND, *words], env=user.env, stdout=terminal, stderr=terminal) as process:
            os.close(terminal)
            shown = b""
            while chunk := _read(controller):
                shown += chunk
            assert process.wait(PATIENCE) == 0, shown
        os.close(controller)
        assert (" of 2 events" in shown.decode()) is drawn
        recorded(user.db)
        break_lines = shown.decode().replace("\r\n", "\n").split("\x1b[K")[-1]
        assert ("2 sent\n" in break_lines) is drawn
    assert "░" not in user.sync("once")


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:  # the other end is closed
        return b""


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_examples(command: str) -> None:
    """The help of every command says what it is for, describes each option, and ends with examples."""
    said = CliRunner().invoke(cli, [command, "--help"], prog_name="agentops-sync", terminal_width=80)
    assert said.exit_code == 0
    usage, _, examples = said.output.partition("\n  Examples:\n")
    assert f"agentops-sync {command}" in examples
    options = usage.partition("\nOptions:\n")[2]
    assert options
    assert max(map(len, said.output.splitlines())) <= 100


def test_all_commands_are_listed() -> None:
    """The help of the whole names every command and the exit codes."""
    said = CliRunner().invoke(cli, ["--help"], prog_name="agentops-sync").output
    assert all(f"\n  {command} " in said for command in COMMANDS)
    assert "  3  another agentops-sync serves the database already" in said
