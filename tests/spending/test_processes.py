"""Laws of a budget that many processes spend from."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import agentops_local
from agentops_local import BudgetExceeded
from tests.fakes.llm import LLMServer
from tests.sdk.records import Records


def start(*arguments: str) -> subprocess.Popen[str]:
    """A process that spends."""
    command = [sys.executable, "-m", "tests.spending.spenders", *arguments]
    root = Path(__file__).parents[2]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=root)


def test_together(server: LLMServer, project: Path, records: Records, session: Any) -> None:
    """Four processes with a session each make, together, just the calls that a budget of the project has room for; each
    of them is refused in the end."""
    agentops_local.budget(usd="0.40", scope="project")
    workers = [start("spend", str(records.file), server.openai) for _ in range(4)]
    told = [worker.communicate(timeout=100)[0].split() for worker in workers]
    assert [worker.returncode for worker in workers] == [0] * 4
    made = sum(int(calls) for calls, _ in told)
    spent = records.value("SELECT sum(cost_pusd) FROM events")
    assert made == len(server.requests) == records.value("SELECT count(*) FROM llms")
    assert spent == made * 10**10
    # A call that is under way may cost twice what it reserves here: so much may go beyond, for each other process.
    assert 40 <= made <= 43
    assert records.column("SELECT count(*) FROM reservations") == [0]


def test_a_process_that_dies(server: LLMServer, client: Any, records: Records) -> None:
    """What a process has reserved that was killed in the midst of its call is given back."""
    agentops_local.budget(usd="0.0101", scope="project")
    gate = server.hold()
    workers = [start("hang", str(records.file), server.openai) for _ in range(2)]
    for worker in workers:
        assert worker.stdout is not None
        assert worker.stdout.readline() == "under way\n"
    settings: Any = {"model": "gpt-4o", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 500}
    with pytest.raises(BudgetExceeded):
        client.chat.completions.create(**settings)
    for worker in workers:
        worker.kill()
        worker.communicate()
    gate.set()
    client.chat.completions.create(**settings)
