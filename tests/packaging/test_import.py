"""What the first line of a user's program costs."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

IMPORT_AND_LIST = """
import json, sys
before = set(sys.modules)
import agentops_local
print(json.dumps(sorted(set(sys.modules) - before)))
"""


def run(code: str, folder: Path) -> str:
    """Run `code` in a Python of its own, in `folder`, and return what it printed."""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=True, timeout=60
    )
    return done.stdout


def fastest(code: str, folder: Path, rounds: int = 7) -> float:
    """The shortest time one run of `code` took, in seconds: the least disturbed by other programs."""
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        run(code, folder)
        times.append(time.perf_counter() - start)
    return min(times)


def test_import_loads_no_third_party_module(project: Path) -> None:
    """Importing the package loads modules of the standard library and of the package, and no other."""
    loaded = json.loads(run(IMPORT_AND_LIST, project))
    assert "agentops_local" in loaded
    roots = {name.partition(".")[0] for name in loaded}
    assert roots - sys.stdlib_module_names == {"agentops_local"}


def test_import_is_silent(project: Path) -> None:
    """Importing the package prints nothing and leaves no file behind."""
    assert run("import agentops_local", project) == ""
    assert list(project.iterdir()) == []


def test_import_time_is_told(project: Path) -> None:
    """The import's time is told as a multiple of an empty program's (`pytest -rP` shows it), not judged."""
    empty = fastest("pass", project)
    full = fastest("import agentops_local", project)
    print(f"import agentops_local: {full / empty:.2f} x `pass`, {(full - empty) * 1000:.1f} ms more")
