"""The encoder, fuzzed by a program that watches which of its lines run: see `tools/fuzz_serialize.py`."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.reliability.scorecard import Score
from tests.reliability.tools.crash import ROOT, scaled, seed

SECONDS = 20


@pytest.mark.slow
@pytest.mark.timeout(scaled(SECONDS) + 100)
def test_whatever_reaches_more_of_the_encoder(project: Path, score: Score) -> None:
    """No input that a fuzzer finds by watching the encoder makes it fail, exceed its limit, or write what is no strict
    JSON."""
    if find_spec("atheris") is None:
        pytest.skip("atheris, the fuzzer, is not installed: it has wheels for Linux on x86-64")
    number = seed(1)
    ended = subprocess.run(
        [
            sys.executable,
            "-m",
            "tests.reliability.tools.fuzz_serialize",
            f"--seconds={scaled(SECONDS)}",
            f"--seed={number}",
        ],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    said = [line.split() for line in ended.stdout.splitlines() if line.startswith("tried ")]
    tried = int(said[-1][1]) if said else 0
    score.add(tried)
    print(f"seed {number}, {tried} values\n{ended.stderr[-4000:]}")
    assert ended.returncode == 0
    assert tried > 0
