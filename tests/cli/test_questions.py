from __future__ import annotations

import csv
import io
import re
from decimal import Decimal

import pytest

from agentops_local import clock
from agentops_local.event import LLMEvent, ToolEvent
from tests.analytics.recording import Book
from tests.cli.calling import call, execute, on_terminal

QUESTIONS = (
    ("cost",),
    ("cost", "--by", "day"),
    ("top",),
    ("errors",),
    ("slow",),
    ("slow", "last"),
    ("active",),
    ("stats",),
)
SQL = "SELECT name, count(*) AS n FROM tools GROUP BY name"


@pytest.fixture
def told(book: Book) -> Book:
    """Two sessions: a dear one that failed, and a cheap one that runs."""
    first, second = book.session("nightly"), book.session()
    now = clock.now_us()
    for number in range(3):
        event = LLMEvent(prompt="what next?", completion="the answer", model="gpt-4o-with-a-rather-long-name",
                         prompt_tokens=1200, completion_tokens=34, cost=Decimal("0.25"))  # fmt: skip
        book.add(first, book.timed(event, now - 86_400_000_000 * number, 1_500_000))
    failed = ToolEvent(name="search", params={"q": "flights"})
    book.add(first, book.timed(failed, now, 700_000))
    book.error(first, failed, "no answer in 17 s")
    book.end(first, "Fail")
    book.llm(second, "hello", model="unheard-of")
    book.tool(second, "=cmd|' /C calc'!A0")
    return book


@pytest.mark.parametrize("question", QUESTIONS)
def test_every_answer_fits(told: Book, question: tuple[str, ...]) -> None:
    """An answer fits the terminal, is plain where there is no terminal, and JSON where that is asked for."""
    for columns in (60, 80, 132):
        said = call(*question, COLUMNS=str(columns))
        assert (said.code, said.err) == (0, "")
        assert max(map(len, said.lines)) <= columns, said.out
        assert "\x1b" not in said.out
    assert call(*question, "--json").json


def test_what_is_told(told: Book) -> None:
    """The numbers that a question is asked for stand in its answer."""
    assert "≥$0.7500 (1 call unpriced)" in call("cost").out
    assert re.search(r"gpt-4o\S*\s.*3\s.*\$0\.7500\s+100%", call("cost", COLUMNS="120").out)
    assert len([line for line in call("cost", "--by", "day").lines if re.match(r"\d{4}-", line)]) == 3
    (first,) = [line for line in call("top", "-n", "1").lines if "Fail" in line]
    assert "$0.7500" in first
    said = call("errors").out
    for text in ("ValueError in search", "no answer in <n> s", "1 session"):
        assert text in said
    assert re.search(r"llms +gpt-4o\S* +3 +4\.5s", call("slow", COLUMNS="120").out)
    assert re.search(r"running .* tools", call("active", COLUMNS="120").out)


def test_narrowed_down(told: Book) -> None:
    """Filters leave out what is not asked for; one that cannot be understood is refused with exit code 2."""
    assert "no LLM calls" in call("cost", "--tag", "weekly").out
    assert "$0.2500" in call("cost", "--since", "12h", "--tag", "nightly").out
    assert call("top", "--state", "fail", "--json").json[0]["tags"] == ["nightly"]
    assert call("errors", "--model", "gpt", "--json").json == []
    assert call("stats", "--agent", "nobody", "--json").json["events"] == 0
    for wrong in (("--since", "soon"), ("--state", "lost")):
        said = call("cost", *wrong)
        assert said.code == 2
        assert wrong[1] in said.err


def test_csv(told: Book) -> None:
    """CSV has one header and a row each; what a spreadsheet would take for a formula begins with an apostrophe."""
    for question in ("cost", "top", "errors", "slow"):
        header, *rows = csv.reader(io.StringIO(call(question, "--csv").out))
        assert rows
        assert all(len(row) == len(header) for row in rows)
    names = [row["name"] for row in csv.DictReader(io.StringIO(call("slow", "--csv").out))]
    assert "'=cmd|' /C calc'!A0" in names


def test_sql(told: Book) -> None:
    """A query is answered as a table, as JSON or as CSV; too many rows are told of, and nothing can be written."""
    assert "search" in call("sql", SQL).out
    assert call("sql", SQL, "--json").json[1] == {"name": "search", "n": 1}
    assert call("sql", SQL, "--csv").lines[0] == "name,n"
    said = call("sql", SQL, "--limit", "1")
    assert "more than 1 row" in said.err
    assert call("sql", "DELETE FROM events").code == 2
    assert call("sql", "SELECT x'ff' AS b", "--json").json == [{"b": "ff"}]
    slow = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"
    said = call("sql", slow, "--seconds", "0.05")
    assert said.code == 1
    assert "longer than 0.05 s" in said.err


def test_search(told: Book) -> None:
    """A hit tells its session, its event and what stands around it; the exit code is 1 where there is none."""
    said = call("search", "THE ANSWER")
    assert said.code == 0
    assert "the answer" in said.out
    assert max(map(len, said.lines)) <= 80
    assert "\x1b[" in on_terminal("search", "the answer").out
    said = call("search", "no such text")
    assert (said.code, said.err) == (1, "'no such text' is nowhere\n")
    assert call("search", "no such text", "--json").json == []


def test_without_a_database(project: object) -> None:
    """Where nothing was recorded yet, a question says so with exit code 1, and makes no database."""
    for question in (*QUESTIONS, ("search", "text"), ("sql", "SELECT 1")):
        said = call(*question)
        assert said.code == 1
        assert "record something first" in said.err


def test_as_a_program(told: Book) -> None:
    """A question is answered by the installed command as well."""
    assert execute("top", "--json").json[0]["cost"] == 0.75
