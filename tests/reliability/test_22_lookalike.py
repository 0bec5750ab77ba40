"""The look-alike against 156 exchanges with the real routes.

The recorded cases and the script that replays them are not part of the project; without them this test is skipped.
"""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from benchmarks.common import ROOT
from tests.fakes.agentops_api import AgentOpsAPI
from tests.reliability.scorecard import Score

SHARED = ROOT.parent / "shared"
CASES = SHARED / "data" / "rest-v2-cases.json"
SCRIPT = SHARED / "tools" / "replay_cases.py"
COUNT = 156

pytestmark = pytest.mark.skipif(
    not (CASES.is_file() and SCRIPT.is_file()), reason=f"needs {CASES.name} and {SCRIPT.name} in ../shared"
)


def load(script: Path) -> ModuleType:
    """The replay script as a module of our own: nobody else sees what we change in it."""
    spec = importlib.util.spec_from_file_location("replayed_cases", script)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def differences(script: Any, server: AgentOpsAPI, cases: list[dict]) -> dict[str, str]:
    """What the server answers otherwise than recorded, by case; a skipped case counts as different."""

    def hook(command: str, *, session: str, action: str = "") -> str:
        """What the script would start a program for, several hundred times."""
        if command == "setup":
            assert action == "delete_stats_row"
            server.delete_stats_row(session)
            return ""
        return json.dumps(server.rows(session))

    script.hook = hook
    keys = ["--api-key", server.api_key, "--other-api-key", server.other_api_key, "--jwt-secret", server.jwt_secret]
    hooks = ["--rows-command", "rows", "--setup-command", "setup"]
    options = script.options(["--base-url", server.url, "--cases", str(CASES), *keys, *hooks])
    found: dict[str, str] = {}
    for case in cases:
        run = script.Case(options)
        for number, step in enumerate(case["steps"], 1):
            try:
                why = run.step(step)
            except script.Skip as skip:
                why = f"skipped: {skip}"
            if why:
                found[case["name"]] = f"step {number}: {why}"
                break
    return found


def test_answers_as_recorded(score: Score) -> None:
    """Every recorded request gets the recorded answer and leaves the recorded rows."""
    cases = json.loads(CASES.read_text(encoding="utf-8"))["cases"]
    assert len(cases) == COUNT
    with AgentOpsAPI(jwt_secret="a secret of at least thirty-two bytes") as server:  # noqa: S106 - a test's own
        different = differences(load(SCRIPT), server, cases)
        score.add(len(cases), torn=len(different))
        assert different == {}
