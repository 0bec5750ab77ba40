"""What is recorded, and what servers say, as the commands print it: no terminal obeys it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID, uuid4

import click
import pytest
from click.testing import CliRunner
from requests.structures import CaseInsensitiveDict

import agentops_local as agentops
from agentops_local.analytics.feed import Feed
from agentops_local.cli import cli, tail
from agentops_sync.cli import cli as sync
from agentops_sync.client import Outcome, Request, judge
from tests.cli.calling import on_terminal
from tests.clients import forget_client
from tests.fakes.agentops_api import AgentOpsAPI
from tests.reliability.scorecard import Score
from tests.reliability.tools.hostile import TERMINAL, obeyed
from tests.sync.conftest import Machines
from tests.sync.driving import tool

MARK = "OBEY"  # stands beside each of the texts, so that a command that prints none of them is noticed


def evil(name: str) -> str:
    """A text that a terminal would obey."""
    return f"{MARK} {TERMINAL[name]} {name}"


def record(name: str) -> str:
    """A session that holds a text wherever a program can put one; returns its id."""
    forget_client()
    text = evil(name)
    session = agentops.init(tags=[text, f"{text} again"])
    assert session is not None
    session.create_agent(text, str(uuid4()))
    agentops.record(
        agentops.LLMEvent(
            prompt=[{"role": text, "content": text}, {"role": "user", "content": [{"type": text, "text": text}]}],
            completion={"role": "assistant", "content": text, text: text},
            model=text,
            params={text: text},
            thread_id=uuid4(),
            returns=text,
        )
    )
    agentops.record(agentops.LLMEvent(prompt=text, completion=text, model=text))
    agentops.record(agentops.ToolEvent(name=text, params={text: [text]}, returns=text, logs=text))
    agentops.record(agentops.ActionEvent(action_type=text, params=text, returns=text, screenshot=text, logs=text))
    agentops.record(agentops.ErrorEvent(error_type=text, code=text, details=text, logs=text))
    session.end_session("Fail", text, video=text)
    return str(session.session_id)


@pytest.fixture
def sessions(project: Path) -> Iterator[dict[str, str]]:
    """Recorded sessions, each with one of the texts in every place; their ids."""
    yield {name: record(name) for name in TERMINAL}
    forget_client()


def run(command: click.Command, arguments: list[str]) -> str:
    """What a command says, on both streams, as a terminal would get it."""
    result = CliRunner().invoke(command, arguments, env={"COLUMNS": "200"})
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.output


def test_what_commands_print(sessions: dict[str, str], score: Score) -> None:
    """No command prints a character of recorded text that a terminal would obey, as a table, whole or as JSON; names,
    tags, reasons, models, messages, keys of objects, logs, all of it."""
    calls = [[name, *rest] for name in ("sessions", "stats", "doctor") for rest in ([], ["--json"])]
    calls += [["prune", "--older-than", "0s", "--dry-run", *rest] for rest in ([], ["--json"])]
    for id in sessions.values():
        calls += [["show", id, *rest] for rest in ([], ["--full"], ["--json"])] + [["stats", id]]
    said = {" ".join(arguments): run(cli, arguments) for arguments in calls}
    found = {name: obeyed(words) for name, words in said.items() if obeyed(words)}
    score.add(len(said), lost=len(found))
    assert not found
    assert not [name for name, words in said.items() if MARK not in words and not name.startswith(("doctor", "prune"))]


def test_what_a_terminal_gets(sessions: dict[str, str], score: Score) -> None:
    """On a terminal, where colours are used, what is left when those are taken away is nothing that it would obey."""
    left = []
    for arguments in (["sessions"], ["show", "last", "--full"], ["stats"]):
        said = on_terminal(*arguments, width=160).out.replace("\r\n", "\n")
        assert "\x1b[0m" in said
        for colour in (0, 1, 2, 31, 32, 33, 36):
            said = said.replace(f"\x1b[{colour}m", "")
        left += [(arguments[0], character) for character in obeyed(said)]
        assert MARK in said
    score.add(3, lost=len(left))
    assert not left


def test_what_tail_prints(sessions: dict[str, str], project: Path, score: Score) -> None:
    """Neither does `tail`, as lines or as JSON."""
    db = project / ".agentops" / "agentops.db"
    lines = list(Feed(db, tail._Lines(True), "", None).poll())
    objects = list(Feed(db, tail._objects, "", None).poll())
    bad = [line for line in [*lines, *objects] if obeyed(line)]
    score.add(len(lines) + len(objects), lost=len(bad))
    assert not bad
    assert len(lines) == len(objects) == 5 * len(sessions)
    assert all(MARK in line for line in lines)


def test_what_dry_run_prints(sessions: dict[str, str], score: Score) -> None:
    """Neither does `agentops-sync --dry-run`, whose lines are requests as JSON, with all that was recorded in them."""
    said = run(sync, ["--endpoint", "http://127.0.0.1:1", "--api-key", str(UUID(int=1)), "--dry-run"])
    requests = [json.loads(line) for line in said.splitlines()]
    score.add(len(requests), lost=len(obeyed(said)))
    assert not obeyed(said)
    held = json.dumps([request["body"] for request in requests], ensure_ascii=False)
    assert all(character in held for character in "\u202e\u2066\ufeff\x9b")


def test_what_the_daemon_prints(machines: Machines, api: AgentOpsAPI, score: Score) -> None:
    """Neither do `status`, `verify` and `requeue` of agentops-sync, whatever the server has said."""
    machine = machines()
    for name in TERMINAL:
        machine.session().record(tool(name=evil(name)))
    said_by_server = iter(TERMINAL)

    def hook(request: Request) -> Outcome | None:
        if not request.path.endswith("create_events"):
            return None
        message = f"{{'code': '22P02', 'message': '{evil(next(said_by_server))}'}}"
        return judge(400, json.dumps({"message": message}).encode(), CaseInsensitiveDict())

    machine.hooks.append(hook)
    machine.steps(9)
    machine.stop()
    assert machine.states() == {"dead": len(TERMINAL)}
    common = ["--db", str(machine.file), "--endpoint", api.url, "--api-key", api.api_key]
    commands = (["status"], ["status", "--all"], ["status", "--json"], ["verify", "last"], ["requeue"])
    said = {" ".join(arguments): run(sync, [*common, *arguments]) for arguments in commands}
    bad = {name: obeyed(words) for name, words in said.items() if obeyed(words)}
    score.add(len(said), lost=len(bad))
    assert not bad
    assert MARK in said["status"]
    assert MARK in said["status --json"]
