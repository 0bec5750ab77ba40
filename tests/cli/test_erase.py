from __future__ import annotations

import re
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing

import pytest

from agentops_local.analytics import erase as erasing
from tests.analytics.recording import LONG, SECRET, Book, folder_holds, secretive
from tests.cli.calling import call, environment, execute, on_terminal


def test_a_pattern_is_gone_from_everywhere(book: Book) -> None:
    """After `erase --pattern` no file beside the database holds what matches, and what was not meant is as before."""
    kept = book.session("kept")
    book.tool(kept, params="kept")
    session = secretive(book, 3)
    book.end(kept)
    book.close()
    said = execute("erase", "--pattern", "hunter2-[a-z-]+")
    assert said.code == 0, said.err
    assert said.out.startswith("took out ")
    assert "shown by 12 events of 1 session" in said.out
    assert folder_holds(book, SECRET) == []
    shown = call("show", session, "--json").json
    assert shown["session"]["tags"] == ["[erased]"]
    assert {tool["name"] for tool in shown["events"] if tool["kind"] == "tools"} == {"[erased]"}
    assert call("show", kept.id, "--json").json["events"][0]["params"] == "kept"
    assert call("doctor").code == 0


def test_looking_first(book: Book) -> None:
    """With --dry-run it is said where a text stands, never the text, and nothing is written."""
    session = secretive(book)
    before = book.path.read_bytes()
    said = execute("erase", "--pattern", SECRET, "--dry-run")
    assert said.code == 0, said.err
    assert SECRET not in said.out
    assert "would take out" in said.out
    assert re.search(rf"^{session[:8]}\S* +[0-9a-f-]{{36}} +tools +name, params", said.out, re.MULTILINE)
    told = execute("erase", "--pattern", SECRET, "-n", "--json").json
    assert {place["session_id"] for place in told["places"] if place["event_id"]} == {session}
    assert "model, prompt, completion" in {place["where"] for place in told["places"]}
    assert told["found"]["events_showing"] == 4
    assert folder_holds(book, SECRET)
    assert book.path.read_bytes() == before


def test_nothing_matches(book: Book) -> None:
    """What stands nowhere is told to, and the exit code is 0: it is not there."""
    book.tool(book.session())
    assert execute("erase", "--pattern", SECRET).out.startswith("took out nothing")
    assert execute("erase", "--pattern", SECRET, "-n").out.startswith("would take out nothing")


def test_in_one_session(book: Book) -> None:
    """With --session and --replace, what matches in that session is replaced by that text."""
    one, other = book.session(), book.session()
    for state in (one, other):
        book.tool(state, params=SECRET)
        book.end(state)
    told = execute("erase", "-p", SECRET, "-s", one.id, "--replace", "[a customer]", "--json").json
    assert (told["matches"], told["rows"], told["session_ids"]) == (1, {"events": 1}, [one.id])
    assert book.rows("SELECT params FROM tools ORDER BY seq") == [("[a customer]",), (SECRET,)]


def test_an_event(book: Book) -> None:
    """`erase --event` erases events by their ids; where one is not there, none goes."""
    state = book.session()
    first = book.tool(state, "first", LONG)
    book.tool(state, "second")
    book.end(state)
    nobody = "0197a1b2-c3d4-7000-8000-000000000001"
    said = execute("erase", "--event", first.id, "--event", nobody)
    assert (said.code, said.out) == (1, "")
    assert f"no event {nobody}" in said.err
    assert "1 event would be erased" in execute("erase", "-e", first.id, "-n").out
    assert execute("erase", "--event", first.id).out.startswith("erased 1 event: 0 messages, 1 blob; ")
    assert book.rows("SELECT name FROM tools") == [("second",)]
    assert execute("erase", "--event", "last").code == 2
    assert folder_holds(book, SECRET) == []


def test_a_session(book: Book) -> None:
    """`erase --session` does as `rm` does."""
    running, ended = book.session(), book.end(book.session())
    assert execute("erase", "--session", running.id).code == 1
    assert execute("erase", "--session", ended, "--dry-run").out == "1 session would be erased: 0 events\n"
    assert execute("erase", "--session", ended).out.startswith("erased 1 session: ")
    assert execute("erase", "--session", running.id, "--force").code == 0
    assert call("sessions", "--json").json == []


@pytest.mark.parametrize(
    "words",
    [
        [], ["--pattern", "("], ["--pattern", "x*"], ["--pattern", "erased"], ["--pattern", "x", "--replace", "xx"],
        ["--replace", "x", "--session", "last"], ["--event", "0197a1b2-c3d4-7000-8000-000000000001", "--pattern", "x"],
    ],
)  # fmt: skip
def test_wrong_use(book: Book, words: list[str]) -> None:
    """What says nothing, what would match everything, and what contradicts itself is refused with 2."""
    book.tool(book.session(), "x")
    assert call("erase", *words).code == 2
    assert book.rows("SELECT name FROM tools") == [("x",)]


def test_uploads_and_copies_are_told(book: Book) -> None:
    """What had been sent to a server is told with its target and time, and a copy beside the database by its name."""
    state = book.session()
    event = book.tool(state, params=SECRET)
    book.end(state)
    book.change("INSERT INTO targets (id, url) VALUES (1, 'http://127.0.0.1:1')")
    book.change(
        "INSERT INTO batches (id, target, session, kind, policy, events, bytes, sent_us, sent_mono_us, boot, state) "
        "VALUES (1, 1, 1, 'tools', 'full', '[1]', 1, 1700000000000000, 1, 'b', 'ok')"
    )
    book.change("INSERT INTO uploads (target, event, session, kind, state, batch) VALUES (1, 1, 1, 'tools', 'done', 1)")
    book.path.with_name("agentops.db.damaged-20260101T000000-1").write_text("x")
    told = execute("erase", "-p", SECRET, "-n").out
    assert re.search(rf"2023-11-14 22:13:20 +http://127.0.0.1:1 +{event.id}", told)
    said = execute("erase", "-p", SECRET)
    assert str(event.id) in said.out
    assert "damaged-20260101T000000-1 lies beside the database" in said.err


def test_a_reader_that_keeps_the_wal_is_a_failure(book: Book, monkeypatch: pytest.MonkeyPatch) -> None:
    """While what was taken out can still be read in the WAL the exit code is 1, and `rm` without a name finishes it."""
    monkeypatch.setattr(erasing, "_WAL_PATIENCE", 0.0)
    secretive(book)
    with closing(sqlite3.connect(book.path)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM sessions").fetchall()
        said = call("erase", "-p", SECRET)
        assert said.code == 1
        assert "write-ahead log" in said.err
    assert call("rm").code == 0
    assert folder_holds(book, SECRET) == []


def test_interrupted(book: Book) -> None:
    """Ctrl-C leaves a sound database, and the same command finishes."""
    state = book.session()
    for number in range(400):
        book.llm(state, f"{SECRET} {number}", LONG, f"more {number}")
    book.end(state)
    book.close()
    line = [sys.executable, "-c", _SLOWLY, "erase", "--pattern", SECRET]
    with subprocess.Popen(
        line, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as program:
        assert program.stdout is not None
        assert program.stdout.readline() == "begun\n"
        program.send_signal(signal.SIGINT)
        _, complained = program.communicate(timeout=60)
    assert (program.returncode, "the same command again finishes it" in complained) == (1, True), complained
    book.check()
    assert call("doctor").code == 1
    assert execute("erase", "--pattern", SECRET).code == 0
    assert folder_holds(book, SECRET) == []
    assert call("doctor").code == 0


_SLOWLY = """
from agentops_local.analytics import erase, scrub
from agentops_local.cli import main
erase._BATCH = 0.0
real = scrub._make
made = []
def make(*args):
    made.append(1)
    if len(made) == 20:
        print("begun", flush=True)
    return real(*args)
scrub._make = make
main()
"""


def test_a_terminal_sees_a_bar(book: Book) -> None:
    """On a terminal a bar tells how far it has come, to the end."""
    secretive(book, 20)
    book.close()
    said = on_terminal("erase", "--pattern", SECRET)
    assert said.code == 0
    assert "100%" in said.out
