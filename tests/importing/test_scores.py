"""Scores and notes that are carried from one database to another."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from agentops_local import analytics, clock
from agentops_local.exporting import export
from agentops_local.importing import merge, take_in
from tests.analytics.recording import Book
from tests.importing.looking import query, sound, stored

NOW = 1_769_860_800_000_000
SAID = "SELECT name, value, remark, author FROM scored ORDER BY seq"


@pytest.fixture
def two(book: Book, tmp_path: Path) -> tuple[Path, Path]:
    """Two machines that hold the same run."""
    book.end(book.session())
    book.close()
    merge(tmp_path / "other.db", [book.path])
    return book.path, tmp_path / "other.db"


def test_what_was_said_last_counts_wherever(two: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """Of what an author has said on two machines the last word counts on both, in whatever order they are merged; notes
    of both are there, once each."""
    ours, theirs = two
    now = [NOW]
    monkeypatch.setattr(clock, "now_us", lambda: now[0])
    for path, value in ((ours, 0.1), (theirs, "two"), (ours, 0.3)):
        now[0] += 1
        analytics.score("last", "helpful", value, db=path)
        analytics.note("last", f"said {value}", db=path)
    now[0] += 1
    analytics.score("last", "helpful", 0, author="ann", db=theirs)
    assert merge(ours, [theirs], dry_run=True).scores == 2
    assert merge(ours, [theirs]).scores == 2
    assert merge(ours, [theirs]).is_nothing
    merge(theirs, [ours])
    expected = {
        ("helpful", 0.3, None, None), ("helpful", 0.0, None, "ann"), ("note", "said 0.1", None, None),
        ("note", "said two", None, None), ("note", "said 0.3", None, None),
    }  # fmt: skip
    for path in two:
        rows = query(path, SAID)
        assert (set(rows), len(rows)) == (expected, 5)
        sound(path)


def test_without_content(two: tuple[Path, Path], tmp_path: Path) -> None:
    """An export without content has thumbs and numbers, and nothing that anybody wrote."""
    ours, _ = two
    analytics.score("last", "helpful", 0.5, note="what I think", author="ann", db=ours)
    analytics.note("last", "what I noted", db=ours)
    export(ours, None, "jsonl", tmp_path / "out.jsonl", content=False)
    lines = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    (score,) = [line for line in lines if line["type"] == "score"]
    assert score.keys() == {"type", "name", "kind", "number", "timestamp"}


@pytest.mark.parametrize(
    "wrong",
    [{"kind": "stars"}, {"number": "much"}, {"number": True}, {"name": "a>b"}, {"name": None}, {"timestamp": None},
     {"event_id": "no id"}, {"kind": "text", "text": ""}],
)  # fmt: skip
def test_a_wrong_score_is_named(two: tuple[Path, Path], tmp_path: Path, wrong: dict[str, object]) -> None:
    """A score that cannot be meant is named by its line and left out; the others are taken in."""
    ours, theirs = two
    analytics.score("last", "first", 1, db=ours)
    analytics.score("last", "second", 2, db=ours)
    file = tmp_path / "out.jsonl"
    export(ours, None, "jsonl", file)
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    lines[-2].update(wrong)
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    done = take_in(theirs, [file])
    assert (done.skipped, done.scores) == (1, 1)
    assert f"line {len(lines) - 1}" in done.wrong[0][1]
    assert [row[0] for row in query(theirs, SAID)] == ["second"]
    before = stored(theirs)
    assert take_in(theirs, [file]).scores == 0
    assert stored(theirs) == before
