from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentops_local import figures
from agentops_local.cli import text
from agentops_local.cli.table import Column, Note, table


@pytest.mark.parametrize(
    ("cost", "unpriced", "shown"),
    [
        ("0", 0, "$0"), ("0", 3, "unpriced"), ("0.0123", 0, "$0.0123"), ("1234.5", 0, "$1,234.5000"),
        ("0.0000012", 0, "$0.0000012"), ("0.1", 2, "≥$0.1000"), ("-0.5", 0, "-$0.5000"), ("0.00999", 0, "$0.0100"),
        ("0.000000000001", 0, "$0.000000000001"),
    ],
)  # fmt: skip
def test_costs(cost: str, unpriced: int, shown: str) -> None:
    """A cost shows four decimals, or two digits that count; calls without a price make it a lower bound."""
    assert figures.money(Decimal(cost), unpriced) == shown
    assert figures.money(None) == "unpriced"


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (None, ""), (0, "0"), (0.0001, "<1ms"), (0.012, "12ms"), (0.9999, "1.0s"), (3.44, "3.4s"), (59.96, "1m00s"),
        (125, "2m05s"), (3720, "1h02m"), (180_000, "2d02h"), (-2, "-2.0s"),
    ],
)  # fmt: skip
def test_durations(seconds: float | None, shown: str) -> None:
    """A duration shows its two largest units."""
    assert figures.seconds(seconds) == shown


@pytest.mark.parametrize(
    ("count", "shown"),
    [(0, "0"), (9_999, "9,999"), (12_345, "12.3k"), (123_456, "123k"), (2_500_000, "2.5M"), (3 * 10**9, "3.0G")],
)
def test_tokens(count: int, shown: str) -> None:
    """Many tokens are shown in thousands and millions."""
    assert figures.tokens(count) == shown


@pytest.mark.parametrize(("count", "shown"), [(0, "0 B"), (999, "999 B"), (1500, "1.5 kB"), (2_300_000, "2.3 MB")])
def test_sizes(count: int, shown: str) -> None:
    """A size is shown in thousands."""
    assert figures.size(count) == shown


@pytest.mark.parametrize(
    ("us", "shown"), [(0, "+0.000"), (1_234_567, "+1.235"), (-5_000, "-0.005"), (3_725_000_000, "+1:02:05")]
)
def test_offsets(us: int, shown: str) -> None:
    """The time since the beginning is shown in seconds, or after ten minutes as a clock would."""
    assert text.offset(us) == shown


def test_times_no_calendar_has() -> None:
    """A time beyond all calendars is shown as its number."""
    assert text.moment(2**62, utc=True) == f"{2**62} us"
    assert text.moment(0, utc=True) == "1970-01-01 00:00:00"
    assert text.short_moment(0, True, 10**15) == "1970-01-01"
    assert text.clock_time(1_002_000, utc=True) == "00:00:01.002"


@given(st.text())
def test_a_line_is_a_line(recorded: str) -> None:
    """Whatever the text, its line has no break and no control character, and takes at most the columns it is cut to."""
    line = text.one_line(recorded)
    assert len(line.splitlines()) <= 1
    assert not [character for character in line if ord(character) < 32 or 0x7F <= ord(character) < 0xA0]
    for columns in (1, 5, 20):
        assert text.width(text.cut(line, columns)) <= columns
    assert text.cut(line, text.width(line)) == line


def test_wide_characters_take_two_columns() -> None:
    """East Asian characters and emoji take two columns, marks that combine none."""
    assert text.width("東京") == 4
    assert text.width("e\u0301") == 1
    assert text.cut("東京東京", 5) == "東京…"


CELL = st.text(max_size=30)


@given(st.lists(st.tuples(CELL, CELL, CELL, CELL), min_size=1, max_size=5), st.integers(40, 100))
def test_a_table_is_as_wide_as_its_room(rows: list[tuple[str, str, str, str]], room: int) -> None:
    """A table whose columns may be cut or left out is never wider than its room, and has a line for each row."""
    columns = (
        Column("A", least=3),
        Column("B", right=True, spare=1),
        Column("C", least=5, spare=2),
        Column("D", least=9),
    )
    lines = table(columns, rows, room)
    assert len(lines) == len(rows) + 1
    assert max(map(text.width, lines)) <= room


def test_columns_go_before_words_do() -> None:
    """The columns that can be spared are left out first, the most dispensable before the others; empty ones always."""
    columns = (Column("ID"), Column("MUCH", least=10, spare=1), Column("MORE", spare=2), Column("NONE", spare=3))
    row = ("1", "much " * 4, "more " * 4, "")
    assert table(columns, [row], 100)[0].split() == ["ID", "MUCH", "MORE"]
    assert table(columns, [row], 30)[0].split() == ["ID", "MUCH"]
    assert table(columns, [row], 8)[0].split() == ["ID"]


def test_numbers_stand_to_the_right() -> None:
    """Numbers are aligned by their last digit, and a note takes lines of its own."""
    lines = table((Column("N", right=True), Column("X")), [("1", "a"), Note("word " * 20), ("1000", "b")], 60)
    assert lines[0] == "   N  X"
    assert (lines[1], lines[-1]) == ("   1  a", "1000  b")
    assert all(line.startswith("  word") and len(line) <= 60 for line in lines[2:-1])
