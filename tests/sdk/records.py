"""The outer side of the SDK's tests: what was recorded, as any SQLite tool shows it, and programs as users run them."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import textwrap
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parents[2]
PATIENCE = 60.0  # seconds until a silent program counts as hung


class Records:
    """A database, read anew by each question.

    Args:
        file: the database file.
    """

    def __init__(self, file: Path) -> None:
        self.file = file

    def rows(self, query: str, *values: object) -> list[dict[str, Any]]:
        """The rows of a query, by column."""
        with closing(sqlite3.connect(f"{self.file.as_uri()}?mode=ro", uri=True)) as connection:
            connection.row_factory = sqlite3.Row
            return [dict(row) for row in connection.execute(query, values)]

    def row(self, query: str, *values: object) -> dict[str, Any]:
        """The one row that there is."""
        (row,) = self.rows(query, *values)
        return row

    def column(self, query: str, *values: object) -> list[Any]:
        """The first value of each row."""
        return [next(iter(row.values())) for row in self.rows(query, *values)]

    def value(self, query: str, *values: object) -> Any:
        """The one value that there is."""
        (value,) = self.column(query, *values)
        return value

    def text(self) -> bytes:
        """Every byte of the database and the files beside it."""
        return b"".join(file.read_bytes() for file in sorted(self.file.parent.iterdir()) if file.is_file())


class Ended(NamedTuple):
    """How a program ended, and what it said."""

    code: int
    out: str
    err: str


class Programs:
    """Starts programs in a folder, and ends with the test those that have not ended.

    Args:
        folder: where they are written and run.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._started: list[subprocess.Popen[str]] = []

    def start(self, source: str | Path, *arguments: object, **environment: str) -> subprocess.Popen[str]:
        """Starts a program.

        Args:
            source: its text, or a file.
            arguments: `sys.argv[1:]`.
            environment: variables beside those of the test.
        """
        if isinstance(source, Path):
            file = source
        else:
            file = self.folder / f"program{len(self._started) or ''}.py"
            file.write_text(textwrap.dedent(source), encoding="utf-8")
        child = subprocess.Popen(
            [sys.executable, str(file), *map(str, arguments)],
            cwd=self.folder,
            env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", **environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,  # so that no Ctrl-C of ours reaches the tests
        )
        self._started.append(child)
        return child

    def run(self, source: str | Path, *arguments: object, code: int | None = 0, **environment: str) -> Ended:
        """Runs a program to its end, which must be of this exit status."""
        child = self.start(source, *arguments, **environment)
        out, err = child.communicate(timeout=PATIENCE)
        assert code is None or child.returncode == code, f"exit {child.returncode} instead of {code}\n{err}"
        return Ended(child.returncode, out, err)

    def finish(self, child: subprocess.Popen[str], say: str = "", code: int | None = 0) -> Ended:
        """Tells a program the rest of what it waits for, and waits for its end."""
        out, err = child.communicate(say, timeout=PATIENCE)
        assert code is None or child.returncode == code, f"exit {child.returncode} instead of {code}\n{err}"
        return Ended(child.returncode, out, err)

    def close(self) -> None:
        """Ends all."""
        for child in self._started:
            if child.poll() is None:
                child.kill()
                child.wait()
            for stream in (child.stdin, child.stdout, child.stderr):
                assert stream is not None
                stream.close()


def hear(child: subprocess.Popen[str]) -> str:
    """The next line a program says; the program waits for nothing else meanwhile."""
    assert child.stdout is not None
    line = child.stdout.readline()
    assert line, child.stderr.read() if child.stderr is not None else "it ended"
    return line.rstrip("\n")


def tell(child: subprocess.Popen[str], line: str = "") -> None:
    """Gives a program the line it waits for."""
    assert child.stdin is not None
    child.stdin.write(line + "\n")
    child.stdin.flush()
