"""The schema: `schema.sql` as statements, and the numbers by which a file says that it is ours."""

from __future__ import annotations

import sqlite3
from functools import cache
from pathlib import Path

APPLICATION_ID = 0x41474F4C  # "AGOL" in the header of the file
VERSION = 1  # PRAGMA user_version; raised together with a migration


@cache
def schema_text() -> str:
    """The text of schema.sql: beside the package in a wheel, one folder up in a checkout."""
    package = Path(__file__).resolve().parent.parent
    for folder in (package, package.parent):
        file = folder / "schema.sql"
        if file.is_file():
            return file.read_text(encoding="utf-8")
    raise FileNotFoundError(f"schema.sql is neither in {package} nor in {package.parent}: the installation is broken")


def statements(text: str) -> list[str]:
    """The statements of an SQL text. `executescript` would commit the transaction in which they are to run."""
    found: list[str] = []
    pending = ""
    for line in text.splitlines(keepends=True):
        if not pending and (not line.strip() or line.lstrip().startswith("--")):
            continue
        pending += line
        if sqlite3.complete_statement(pending):
            found.append(pending.strip())
            pending = ""
    return found
