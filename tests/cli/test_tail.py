from __future__ import annotations

import json
import os
import selectors
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.analytics.recording import Book, run
from tests.cli.calling import COMMAND, call, environment

PATIENCE = 30.0  # seconds until a silent program counts as hung

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Ctrl-C cannot be sent to one process alone there")


class Tail:
    """`agentops-local tail` in a process of its own."""

    def __init__(self, *args: str) -> None:
        self._program = subprocess.Popen(
            [*COMMAND, "tail", *args], env=environment(PYTHONUNBUFFERED="1"), stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )  # fmt: skip
        assert self._program.stdout is not None
        self._out = self._program.stdout
        self._rest = b""

    def line(self) -> str:
        """The next line it prints."""
        deadline = time.monotonic() + PATIENCE
        with selectors.DefaultSelector() as selector:
            selector.register(self._out, selectors.EVENT_READ)
            while b"\n" not in self._rest:
                assert selector.select(max(0.0, deadline - time.monotonic())), "silent"
                chunk = os.read(self._out.fileno(), 1 << 16)
                assert chunk, "it has ended"
                self._rest += chunk
        line, _, self._rest = self._rest.partition(b"\n")
        return line.decode()

    def event(self) -> Any:
        """The next line, as JSON."""
        return json.loads(self.line())

    def interrupt(self) -> int:
        """Ctrl-C; the exit code."""
        self._program.send_signal(signal.SIGINT)
        code = self._program.wait(PATIENCE)
        assert b"Traceback" not in self._rest + self._out.read()
        return code

    def close(self) -> None:
        """Ends it."""
        self._program.kill()
        self._program.wait()
        self._out.close()


@contextmanager
def tailing(*args: str) -> Iterator[Tail]:
    """A tail, ended after the block."""
    tail = Tail(*args)
    try:
        yield tail
    finally:
        tail.close()


def test_it_follows_every_process(book: Book) -> None:
    """Events of all processes are printed as they are committed; Ctrl-C ends it with exit code 0."""
    state = book.session()
    book.action(state, "there before")
    with tailing() as tail:
        assert "there before" in tail.line()
        book.action(state, "of this process")
        assert "of this process" in tail.line()
        run('ao.init().record(ao.ActionEvent(action_type="of another"))')
        assert "of another" in tail.line()
        assert "ended: Indeterminate" in tail.line()
        assert tail.interrupt() == 0


def test_json_lines_are_whole(book: Book) -> None:
    """With `--json` each line is an event with all its fields."""
    state = book.session()
    book.llm(state, "ask", "x" * 5000, completion="done", cost="0.5")
    with tailing("--json", "--from-start") as tail:
        event = tail.event()
        assert event["prompt"][1]["content"] == "x" * 5000
        assert (event["completion"], event["cost"], event["session_id"]) == ("done", 0.5, state.id)
        book.tool(state, "next", params={"a": [1]})
        assert tail.event()["params"] == {"a": [1]}


def test_where_it_begins(book: Book) -> None:
    """It begins with the last so many events, or with the first of all."""
    state = book.session()
    for number in range(15):
        book.action(state, f"step-{number}-")
    with tailing("-n", "2") as tail:
        assert "step-13-" in tail.line()
        assert "step-14-" in tail.line()
    with tailing("--from-start") as tail:
        assert "step-0-" in tail.line()


def test_one_session(book: Book) -> None:
    """With `--session` only its events are printed."""
    one, other = book.session(), book.session()
    book.action(one, "wanted")
    book.action(other, "unwanted")
    with tailing("--session", one.id, "--json") as tail:
        assert tail.event()["action_type"] == "wanted"
        book.action(other, "unwanted")
        book.action(one, "wanted too")
        assert tail.event()["action_type"] == "wanted too"
    with tailing("--session", "last", "--json") as tail:
        assert tail.event()["action_type"] == "unwanted"


def test_what_is_not_there_yet_is_waited_for(book: Book) -> None:
    """A database, and a session, that come later are waited for, and followed from their first event."""
    name = "0197a1b2-c3d4-7000-8000-000000000001"
    with tailing("--session", name[:20], "--json") as tail:
        assert "waiting" in tail.line()
        assert "waiting" in tail.line()
        state = book.session(name=name)
        book.action(book.session(), "other")
        book.action(state, "first")
        assert tail.event()["action_type"] == "first"


@pytest.mark.parametrize("way", ["renamed", "removed with its folder"])
def test_a_database_that_is_replaced_is_followed(book: Book, way: str) -> None:
    """When another database takes the place of the file, it is followed from its first event."""
    state = book.session()
    book.action(state, "before")
    with tailing("--json") as tail:
        assert tail.event()["action_type"] == "before"
        if way == "renamed":
            book.path.replace(book.path.with_name("old.db"))
        else:
            shutil.rmtree(book.path.parent)
        book.action(state, "after")
        book.action(state, "and on")
        said = [tail.line()]
        while '"and on"' not in said[-1]:
            said.append(tail.line())
        assert sum('"after"' in line for line in said) == 1


def test_an_ambiguous_session_is_refused(book: Book) -> None:
    """A beginning that fits several sessions is refused with exit code 2."""
    for digit in "12":
        book.session(name=f"0197a1b2-c3d4-7000-8000-00000000000{digit}")
    assert call("tail", "--session", "0197").code == 2


def test_it_is_not_in_the_way_of_writers(book: Book) -> None:
    """While it follows, sessions can be erased and the write-ahead log emptied."""
    state = book.session()
    book.action(state, "one")
    with tailing("--json") as tail:
        assert tail.event()["action_type"] == "one"
        gone = book.session()
        book.action(gone, "gone")
        assert tail.event()["action_type"] == "gone"
        assert call("rm", book.end(gone)).code == 0
        book.action(state, "two")
        assert tail.event()["action_type"] == "two"
