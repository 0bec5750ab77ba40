from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
import requests

from tests.fakes.agentops_api import AgentOpsAPI
from tests.reliability.tools.crash import ROOT
from tests.reliability.tools.faultproxy import AT_RANDOM, FaultProxy, main

PLAN = [
    "drop",
    {"fault": "page", "status": 503, "path": "health", "nth": 2},
    {"fault": "slow_down", "retry_after": "3", "times": 2},
]


def test_it_is_a_program(tmp_path: Path, api: AgentOpsAPI) -> None:
    """As a program it prints its URL, follows a plan from a file, forwards the rest, tells in a log what came of each
    request, and ends with SIGTERM."""
    plan, log = tmp_path / "plan.json", tmp_path / "log"
    plan.write_text(json.dumps(PLAN))
    words = ("--upstream", api.url, "--plan", str(plan), "--log", str(log))
    with subprocess.Popen(
        [sys.executable, "-m", "tests.reliability.tools.faultproxy", *words],
        env={**os.environ, "PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE, text=True,
    ) as program:  # fmt: skip
        assert program.stdout is not None
        url = program.stdout.readline().strip()
        with pytest.raises(requests.exceptions.ConnectionError):
            requests.get(f"{url}/health", timeout=10)
        answers = [requests.get(f"{url}/health", timeout=10) for _ in range(4)]
        program.send_signal(signal.SIGTERM)
        assert program.wait(10) == 0
    assert [answer.status_code for answer in answers] == [429, 503, 429, 200]
    assert answers[0].headers["Retry-After"] == "3"
    assert answers[3].json() == requests.get(f"{api.url}/health", timeout=10).json()
    seen = [json.loads(line) for line in log.read_text().splitlines()]
    assert [(one["fault"], one["forwarded"], one["answered"]) for one in seen] == [
        ("drop", 0, None), ("slow_down", 0, None), ("page", 0, None), ("slow_down", 0, None), (None, 1, 200),
    ]  # fmt: skip


def test_the_same_seed_does_the_same(api: AgentOpsAPI) -> None:
    """Requests one after the other meet the same faults with the same seed, in the share that was asked for."""
    met = []
    for seed in (5, 5, 6):
        with FaultProxy(api.url) as proxy:
            proxy.chaos(0.5, seed, [name for name in AT_RANDOM if name != "stale"])
            for _ in range(40):
                with suppress(requests.exceptions.RequestException):
                    requests.get(f"{proxy.url}/health", timeout=10)
            met.append([seen.fault for seen in proxy.seen])
    assert met[0] == met[1] != met[2]
    assert 8 < sum(fault is not None for fault in met[0]) < 32


def test_its_help_names_every_fault(capsys: pytest.CaptureFixture[str]) -> None:
    """The help describes each fault; a fault that there is none of is refused."""
    with pytest.raises(SystemExit):
        main(["--help"])
    said = capsys.readouterr().out
    assert all(f"\n  {name} " in said for name in AT_RANDOM)
    with FaultProxy("http://127.0.0.1:9") as proxy, pytest.raises(ValueError, match="no fault is called 'none'"):
        proxy.plan("none")
