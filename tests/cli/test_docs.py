from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.calling import call
from tests.cli.test_command import OURS

PAGE = Path(__file__).parents[2] / "docs" / "cli.md"


@pytest.mark.parametrize("name", [None, *OURS])
def test_the_help_stands_in_the_page(project: Path, name: str | None) -> None:
    """The page of the command line holds the help of every command as it is printed now (`make docs` writes it)."""
    said = call(*filter(None, [name]), "--help")
    text = "\n".join(line.rstrip() for line in said.lines)
    assert f"```text\n{text}\n```" in PAGE.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", OURS)
def test_every_command_has_a_section(name: str) -> None:
    """Every command has a section of its own."""
    assert f"\n## {name}\n" in PAGE.read_text(encoding="utf-8")
