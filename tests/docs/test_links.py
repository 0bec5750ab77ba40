"""What the pages point to."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md")]
PAGES += [*sorted((ROOT / "docs").glob("*.md")), ROOT / "tests" / "reliability" / "tools" / "README.md"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page: Path) -> None:
    """Every file that a page links to is there: a test that shows a claim of the threat model above all."""
    links = re.findall(r"\]\(([^)#\s]+)", page.read_text(encoding="utf-8"))
    missing = [link for link in links if "://" not in link and not (page.parent / link).exists()]
    assert not missing


def test_every_row_of_the_threat_model_has_its_test() -> None:
    """Whatever is said to be defended is shown by a test, or by a check of `make lint` that is tested."""
    text = (ROOT / "docs" / "threat-model.md").read_text(encoding="utf-8")
    part = text.partition("## What may be tried")[2].partition("## ")[0]
    rows = [line for line in part.splitlines() if line.startswith("|")][2:]
    assert len(rows) > 10
    assert not [row for row in rows if "tests/" not in row.rsplit("|", 2)[1]]
