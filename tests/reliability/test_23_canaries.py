"""Secrets with a name of their own, followed through everything that is written or said: keys, tokens, passwords in
addresses, and what prompts hold when redaction is on."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from tests.fakes.agentops_api import AgentOpsAPI
from tests.reliability.conftest import Spawn
from tests.reliability.scorecard import Score
from tests.reliability.tools.crash import DB
from tests.sync.running import PATIENCE, Running, environment

CLI = [sys.executable, "-m", "agentops_local.cli"]
SYNC = [sys.executable, "-m", "agentops_sync"]
READING = (
    "sessions --json", "show last --full", "show last --json", "doctor --full", "doctor --json", "keys list --json",
)  # fmt: skip
UPLOADING = (
    "--dry-run", "once --wait 0", "status --all --json", "status", "verify last --json --repair", "requeue --uncertain",
)  # fmt: skip

# The keys come by standard input: the program's own text and command line would hold them.
PROGRAM = """
import os, agentops_local, logging
key, parent, bad = order(), order(), order()
logging.basicConfig(level="DEBUG")
agentops_local.init(api_key=bad)
agentops_local.end_all_sessions()
session = agentops_local.init(api_key=key, parent_key=parent or None, tags=["canary"])
agentops_local.record(agentops_local.LLMEvent(prompt="hello", completion="there", model="m", prompt_tokens=1))
agentops_local.record(agentops_local.ToolEvent(name="step", params={"cwd": os.getcwd()}))
say("recorded", session.session_id)
order()
raise RuntimeError("the program has crashed")
"""


def forms(secret: str) -> list[bytes]:
    """The spellings in which a secret might be written."""
    found = [secret.encode(), secret.encode("utf-16-le")]
    try:
        key = UUID(secret)
    except ValueError:
        return found
    return [*found, key.hex.encode(), key.bytes, str(key).upper().encode(), key.hex.upper().encode(), key.bytes_le]


def leaks(secrets: dict[str, str], roots: Iterable[Path], said: dict[str, bytes], *but: Path) -> tuple[list[str], int]:
    """Where any of the secrets is found, and how many places were searched."""
    contents = dict(said)
    for root in roots:
        for path in root.rglob("*"):
            if path.is_file() and path not in but:
                contents[str(path)] = path.read_bytes()
    return [
        f"{name} in {place}" for name, secret in secrets.items() for place, content in contents.items()
        if any(form in content for form in forms(secret))
    ], len(contents) * len(secrets)  # fmt: skip


def run(command: list[str], arguments: str, text: str = "", **environ: str) -> bytes:
    """All that a command says."""
    done = subprocess.run(
        [*command, *arguments.split()], env={**os.environ, **environ}, input=text.encode(), capture_output=True,
        timeout=PATIENCE,
    )  # fmt: skip
    return done.stdout + done.stderr


def tokens(server: AgentOpsAPI) -> dict[str, str]:
    """The tokens that were used with a server."""
    heard = {one.headers.get("authorization", "").removeprefix("Bearer ") for one in list(server.requests)} - {""}
    return {f"token {number}": token for number, token in enumerate(heard)}


def test_keys_and_tokens(project: Path, spawn: Spawn, score: Score) -> None:
    """A key that was given to a program, to the daemon, by the environment or to `login`, and every token of a server,
    is in no file, no log, no answer and no process's command line of ours, in no spelling, whether the upload goes well
    or not and whether the program crashes; but the keys that are to be kept are in the file of keys, 0600."""
    kept = Path(os.environ["AGENTOPS_LOCAL_CREDENTIALS"])
    keys = {name: str(uuid4()) for name in ("init", "parent", "environment", "login", "argument")}
    bad = "CANARY-is-no-uuid-4711"
    said: dict[str, bytes] = {}

    for name in ("init", "environment"):
        given = {"AGENTOPS_API_KEY": keys["environment"]} if name == "environment" else {}
        program = spawn(PROGRAM, environment={"AGENTOPS_LOGGING_LEVEL": "DEBUG", **given})
        for line in ("" if given else keys["init"], "" if given else keys["parent"], bad):
            program.tell(line)
        program.expect("recorded")
        said[f"cmdline {name}"] = Path(f"/proc/{program.pid}/cmdline").read_bytes() if sys.platform == "linux" else b""
        program.tell()
        program.until(lambda: False)
        program._process.wait(PATIENCE)
        assert "the program has crashed" in program.errors()
        said[f"errors {name}"] = program.errors().encode()
    said["login"] = run(SYNC, "login --default", keys["login"] + "\n")
    said["bad login"] = run(SYNC, "login", bad + "\n")
    said["bad environment"] = run(SYNC, "status", AGENTOPS_API_KEY=bad)
    said["bad argument"] = run(SYNC, f"once --api-key {bad}")

    secrets = dict(keys)
    with AgentOpsAPI(api_key=keys["init"], other_api_key=keys["login"], actions_work=True) as server:
        for place in ("http://127.0.0.1:1", server.url):
            for words in UPLOADING if place == server.url else UPLOADING[:3]:
                arguments = f"{words} --endpoint {place} --api-key {keys['argument']}".removeprefix("--dry-run ")
                arguments = f"--endpoint {place} --dry-run" if words == "--dry-run" else arguments
                said[f"{words} {place}"] = run(
                    SYNC, arguments, AGENTOPS_SYNC_TIMING="settle=0.1,poison=0.1,backoff=0.05"
                )
        env = {**environment(Path(DB).absolute(), keys["argument"]), "AGENTOPS_LOCAL_CREDENTIALS": str(kept)}
        with Running("run", "--db", DB, "--endpoint", server.url, env=env, log=Path("daemon.log")) as daemon:
            daemon.until(lambda: "→" in daemon.log)
            said["cmdline daemon"] = (
                Path(f"/proc/{daemon.pid}/cmdline").read_bytes() if sys.platform == "linux" else b""
            )
            assert daemon.stop() == 0
        secrets.update(tokens(server))
        assert any(request.done == 200 for request in server.requests)
    for words in READING:
        said[words] = run(CLI, words)

    assert len(secrets) > len(keys)
    found, searched = leaks({**secrets, "no key": bad}, [project.parent], said, kept)
    score.add(searched, lost=len(found))
    assert not found
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    lines = kept.read_text()
    assert [name for name, key in keys.items() if key in lines] == ["init", "parent", "login"]


def test_keys_of_the_collector(project: Path, score: Score) -> None:
    """A key of the collector is printed once, when it is made; neither it nor a token nor the secret of the tokens is
    in any file but that of the secret, in the log, or in an answer that did not ask for it."""
    pytest.importorskip("uvicorn", reason="the extra `server` is not installed")
    from tests.server.running import Api, in_a_process, tool

    secrets = {name: run(CLI, f"keys add {name}").decode().strip() for name in ("one", "two")}
    said: dict[str, bytes] = {}
    with in_a_process(project / DB) as collector, Api(collector.url, secrets["one"]) as api:
        session = api.create()
        secrets["token"] = session.token
        session.events(tool(), {"event_type": "llms"})
        answers = [
            session.stats(), session.export(), session.export("?columns=all"), api.send("GET", "/health"),
            api.send("GET", "/v2/openapi.json"), session.update(end_state="Success"), session.events({"id": "no id"}),
            api.by_token(session.token + "x", "/v2/create_events", {}), api.by_key("/v2/nothing", {}),
            api.send("POST", "/v2/create_session", {}, {"X-Agentops-Api-Key": secrets["two"]}),
            api.by_key("/v2/developer_errors", {"type": "E", "message": "m"}),
        ]  # fmt: skip
        said["answers"] = repr(answers).encode()
        said["cmdline"] = (
            Path(f"/proc/{collector.process.pid}/cmdline").read_bytes() if sys.platform == "linux" else b""
        )
        assert collector.stop() == 0
        said["log"] = "".join(collector.said).encode()
    said["revoked"] = run(CLI, f"keys revoke {secrets['two']}")
    said["revoked again"] = run(CLI, f"keys revoke {secrets['two']}")
    for words in READING:
        said[words] = run(CLI, words)
    hidden = project / ".agentops" / "agentops.db-secret"
    secrets["secret"] = hidden.read_text().strip()
    found, searched = leaks(secrets, [project.parent], said, hidden)
    score.add(searched, lost=len(found))
    assert not found
    assert stat.S_IMODE(hidden.stat().st_mode) == 0o600


def test_passwords_in_addresses(project: Path, spawn: Spawn, score: Score) -> None:
    """A password in an endpoint or in a proxy's address is neither stored nor told, where it is refused and where the
    connection fails."""
    program = spawn(PROGRAM)
    for line in ("", "", ""):
        program.tell(line)
    program.expect("recorded")
    program.tell()
    program.until(lambda: False)
    canary = "CANARY-hunter2"
    key = str(uuid4())
    said = {}
    for place in (
        f"https://me:{canary}@127.0.0.1:1", f"http://me:{canary}@127.0.0.1:1", f"http://me:{canary}@elsewhere.example",
        f"https://me:{canary}@[", f"https://me:{canary}@x:notaport", f"https://{canary}@x",
    ):  # fmt: skip
        said[place] = run(SYNC, f"once --wait 0 --endpoint {place}", AGENTOPS_API_KEY=key)
        assert b"Error" in said[place]
    said["service"] = run(SYNC, f"install-service --endpoint https://me:{canary}@127.0.0.1:1")
    proxy = {"HTTPS_PROXY": f"http://me:{canary}@127.0.0.1:1", "AGENTOPS_API_KEY": key, "NO_PROXY": "", "no_proxy": ""}
    for words in ("once --wait 0", "status --json", "verify last"):
        said[words] = run(SYNC, f"{words} --endpoint https://127.0.0.1:1", **proxy)
    for words in ("doctor --json", "show last --json"):
        said[words] = run(CLI, words, **proxy)
    found, searched = leaks({"password": canary}, [project.parent], said)
    score.add(searched, lost=len(found))
    assert not found


SHAPES = [
    "sk-proj-CANARY0123456789abcd", "sk-ant-api03-CANARY-0123456789", "sk_live_CANARY0123456789",
    "AKIACANARY0123456789",
    "ghp_CANARY0123456789abcdef", "github_pat_CANARY0123456789abcdef", "glpat-CANARY0123456789",
    "xoxb-CANARY0123456789", "AIzaCANARY0123456789012345678901234567", "hf_CANARY0123456789abcdef",
    "eyJhbGciOiJI.eyJzdWIiOiIx.CANARY_12-3", "Bearer CANARY0123456789", "postgres://me:CANARY@host/db",
    "-----BEGIN PRIVATE KEY-----\nCANARY\n-----END PRIVATE KEY-----", "password=CANARY",
    '{"api_key": "CANARY"}', "Authorization: Basic CANARY0123456789", "Cookie: session=CANARY",
]  # fmt: skip

REDACTED = """
import json, os, sys, uuid
import agentops_local as agentops, logging
logging.disable()
shapes = json.loads(order())
session = agentops.init(redact="secrets", tags=[f"tag {one}" for one in shapes])
for number, one in enumerate(shapes):
    text = f"before {one} after " + "long " * number * 200  # some go into the text, some into a row of their own
    session.create_agent(text, str(uuid.uuid4()))
    @agentops.track_agent(name=text)
    class Agent:
        def act(self):
            agentops.record(agentops.ToolEvent(name="by an agent"))
    Agent().act()
    agentops.record(agentops.ToolEvent(name="of an agent", agent_id=text))
    agentops.record(agentops.LLMEvent(
        prompt=[{"role": "system", "content": text}, {"role": "user", "content": [{"type": "text", "text": text}]}],
        completion={"role": "assistant", "content": text}, model="m", params={"password": "CANARY", "text": text},
        returns=[text],
    ))
    agentops.record(agentops.LLMEvent(prompt=text, completion=text))
    agentops.record(agentops.ToolEvent(name="t", params={text: {"token": "CANARY"}}, returns=text, logs=text))
    agentops.record(agentops.ActionEvent(action_type=text, params=text, returns=text, screenshot=text, logs=text))
    agentops.record(agentops.ErrorEvent(error_type="E", code="1", details=text, logs=text))
    try:
        raise ValueError(text)
    except ValueError as error:
        agentops.record(agentops.ErrorEvent(exception=error))
session.end_session("Fail", f"because of {shapes[0]}", video=f"https://me:CANARY@host/v")
session = agentops.init(redact="secrets")
agentops.record(agentops.ToolEvent(name="t", returns=shapes[0]))
say("recorded")
order()
die()
"""


def test_secrets_in_prompts(project: Path, spawn: Spawn, score: Score) -> None:
    """With redact="secrets" no byte of a credential of a known shape reaches a file: not the database, not its WAL
    after a SIGKILL, not a backup, not the daemon's requests; what stands around it is kept."""
    program = spawn(REDACTED)
    program.tell(json.dumps(SHAPES))
    program.expect("recorded")
    program.tell()
    program.until(lambda: False)
    folder = project / ".agentops"
    assert (folder / "agentops.db-wal").stat().st_size > 0
    said = {words: run(CLI, words) for words in ("show last --full", "sessions --json", "backup copy.db")}
    said["--dry-run"] = run(SYNC, f"--api-key {uuid4()} --endpoint http://127.0.0.1:1 --dry-run")
    said["errors"] = program.errors().encode()
    found, searched = leaks({"secret": "CANARY"}, [project.parent], said)
    score.add(searched * len(SHAPES), lost=len(found))
    assert not found
    assert b"[redacted]" in said["--dry-run"]
    assert said["--dry-run"].count(b"before ") > 5 * len(SHAPES)
