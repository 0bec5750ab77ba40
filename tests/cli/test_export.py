from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
from pathlib import Path

import pytest

from agentops_local.exporting import FORMATS
from agentops_local.exporting.choice import TABLES
from tests.analytics.recording import Book
from tests.cli.calling import COMMAND, ROOT, call, environment, execute, on_terminal


def test_to_standard_output(book: Book) -> None:
    """Without a place the session goes to standard output, as JSON in the shape of v2, and nothing else does."""
    state = book.session("a")
    book.llm(state, "hello")
    said = execute("export", "last")
    assert (said.code, said.err) == (0, "")
    assert said.json["session"]["id"] == state.id
    assert said.json["llms"][0]["prompt"]["messages"] == [{"role": "user", "content": "hello"}]


@pytest.mark.parametrize("form", FORMATS)
def test_every_format(book: Book, project: Path, form: str) -> None:
    """Each format writes a file, says what is in it, and leaves it to its owner alone."""
    if form == "parquet":
        pytest.importorskip("pyarrow")
    book.tool(book.session(), "look")
    said = call("export", "last", "--format", form, "-o", "out.file")
    assert (said.code, said.out, said.err) == (0, "", "1 session, 1 event: out.file\n")
    assert (project / "out.file").stat().st_mode & 0o777 == 0o600
    assert (project / "out.file").read_bytes()


def test_which_sessions(book: Book) -> None:
    """Sessions are named, or picked by all or by what they are; one of the two, and never by nothing."""
    first, second = book.session("nightly"), book.session()
    book.end(first, "Fail")

    def ids(*args: str) -> list[str]:
        found = call("export", *args).json
        return [one["session"]["id"] for one in (found if isinstance(found, list) else [found])]

    assert ids("--all") == ids(first.id, second.id) == [first.id, second.id]
    assert ids("--tag", "nightly") == ids("--state", "fail") == [first.id]
    assert ids("--since", "1h", "--all") == [first.id, second.id]
    assert ids("--until", "2020-01-01") == []
    for args in ((), ("last", "--all"), ("last", "--tag", "nightly")):
        said = call("export", *args)
        assert (said.code, "one of the two" in said.err) == (2, True), args
    assert call("export", "nothing").code == 1
    assert call("export", "--since", "whenever").code == 2


def test_an_existing_file(book: Book, project: Path) -> None:
    """A file that is there is replaced only with --force; else the exit code is 2."""
    book.session()
    (project / "out.json").write_text("mine")
    said = call("export", "last", "-o", "out.json")
    assert (said.code, "--force" in said.err) == (2, True)
    assert (project / "out.json").read_text() == "mine"
    assert call("export", "last", "-o", "out.json", "--force").code == 0


def test_tables(book: Book) -> None:
    """The table can be chosen, of formats that have tables; the command offers those that there are."""
    book.tool(book.session(), "=cmd")
    assert call("export", "--all", "--format", "csv", "--table", "tools").lines[1].split(",")[6] == "'=cmd"
    assert call("export", "--all", "--table", "tools").code == 2
    from agentops_local.cli import export as command

    assert command._FORMATS == FORMATS
    assert command._TABLES == TABLES


def test_without_content(book: Book) -> None:
    """`--without-content` leaves out what was said."""
    book.llm(book.session(), "hello-secret", completion="answer-secret")
    assert "secret" in call("export", "last").out
    assert "secret" not in call("export", "last", "--without-content").out


def test_each_message_once(book: Book) -> None:
    """`--each-message-once` tells a message on a line of its own."""
    book.llm(book.session(), "hello", cost="0.5")
    types = [json.loads(line)["type"] for line in call("export", "last", "-f", "jsonl", "--each-message-once").lines]
    assert types == ["session", "node", "node", "event"]


def test_prices_are_looked_up_first(book: Book) -> None:
    """Calls that nobody has priced yet are priced before they are exported."""
    book.llm(book.session(), "hello", model="gpt-4o")
    assert execute("export", "last").json["llms"][0]["cost"] is not None


def test_on_a_terminal(book: Book) -> None:
    """A terminal is shown no control characters that were recorded; to a file or a pipe everything goes as it is."""
    book.tool(book.session(), "\x1b[31m\u202eevil\x9b")
    for form in ("v2", "jsonl", "csv", "html", "otlp"):
        said = on_terminal("export", "last", "--format", form).out
        assert "evil" in said
        assert not set("\x1b\u202e\x9b") & set(said), form
    assert "\u202e" in call("export", "last", "-f", "csv").out


def test_a_broken_pipe(book: Book) -> None:
    """Whoever stops reading ends the export, without a word."""
    state = book.session()
    for number in range(40):
        book.tool(state, params=f"{number}" * 10_000)
    reader, writer = os.pipe()
    with subprocess.Popen([*COMMAND, "export", "--all", "-f", "jsonl"], env=environment(), stdout=writer,
                          stderr=subprocess.PIPE) as program:  # fmt: skip
        os.close(writer)
        assert os.read(reader, 10).startswith(b'{"type":')
        os.close(reader)
        _, complained = program.communicate(timeout=60)
    assert complained == b""


def test_the_docs(book: Book) -> None:
    """Every command that the page about exports shows works."""
    state = book.session()
    book.llm(state, "hello")
    book.end(state)
    page = (ROOT / "docs" / "export.md").read_text(encoding="utf-8")
    commands = re.findall(r"^\$ agentops-local (.*?)(?:\s+#.*)?$", page, re.M)
    assert len(commands) > 5
    for command in commands:
        said = call(*shlex.split(command))
        assert said.code == 0, command + said.err
        assert said.out or said.err.startswith("1 session"), command
