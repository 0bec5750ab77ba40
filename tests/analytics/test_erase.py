from __future__ import annotations

import json
import os
import sqlite3
import threading
import time
from contextlib import closing
from itertools import count

import pytest

from agentops_local.analytics import erase as erasing
from agentops_local.analytics.erase import Eraser, StillRunning, unfinished
from agentops_local.analytics.reading import reading
from agentops_local.analytics.sweep import Marks
from agentops_local.event import LLMEvent
from agentops_local.store import connection as opening
from agentops_local.store import file
from tests.analytics.recording import ANY, LONG, OVER, SECRET, Book, died, erase, folder_holds, secretive, start

NUMBERS = {"sessions": "seq", "owners": "seq", "agents": "seq", "events": "seq", "messages": "id", "blobs": "id"}


@pytest.mark.parametrize("open_", [False, True])
def test_nothing_of_it_stays_in_any_file(book: Book, open_: bool) -> None:
    """What was erased stands in no file beside the database, whether a process has it open or not."""
    kept = book.session("kept")
    book.llm(kept, "a system prompt", "kept")
    session = secretive(book, 30)
    if not open_:
        book.end(kept)
        book.close()
    assert folder_holds(book, SECRET)
    done = erase(book, session)
    assert (done.sessions, done.events, done.wal_emptied, done.rewritten) == (1, 120, True, True)
    assert folder_holds(book, SECRET) == []
    assert folder_holds(book, "a system prompt")
    book.check()


def test_sqlite_that_deletes_carelessly_leaves_nothing(book: Book, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file is clean even where the SQLite that recorded overwrites nothing by itself."""
    real = opening.connect

    def careless(*args: object, **kwargs: object) -> sqlite3.Connection:
        connection = real(*args, **kwargs)  # type: ignore[arg-type]
        connection.execute("PRAGMA secure_delete = OFF")
        return connection

    monkeypatch.setattr(opening, "connect", careless)
    kept = book.session("kept")
    session = secretive(book, 30)
    for number in range(50):
        book.tool(kept, f"kept {number}", "x" * number * 20)
    erase(book, session)
    assert folder_holds(book, SECRET) == []


def test_it_is_the_same_without_a_wal(book: Book, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the database has a rollback journal instead of a WAL, nothing stays either."""
    monkeypatch.setattr(file, "wal_is_safe", lambda _: False)
    book.tool(book.session("kept"))
    session = secretive(book, 30)
    assert book.rows("PRAGMA journal_mode") == [("delete",)]
    assert erase(book, session).wal_emptied
    assert folder_holds(book, SECRET) == []
    assert book.rows("PRAGMA journal_mode") == [("delete",)]
    book.check()


def test_the_others_stay_whole(book: Book) -> None:
    """Erasing a session changes nothing in another, not even in one that shares its prompts and long texts."""
    first, second = book.session("first"), book.session("second")
    for state in (first, second):
        for number in range(5):
            book.llm(state, "shared", LONG, *(f"turn {turn}" for turn in range(number)), completion=LONG + state.id)
            book.tool(state, params=LONG, returns={"n": number})
    book.end(first)
    before = [book.rows(f"SELECT * FROM {view} WHERE session_id = ?", second.id) for view in ("llms", "tools")]
    erase(book, first.id)
    assert [book.rows(f"SELECT * FROM {view} WHERE session_id = ?", second.id) for view in ("llms", "tools")] == before
    assert book.rows("SELECT id FROM sessions WHERE id <> ''") == [(second.id,)]
    book.check()


def test_nothing_is_left_of_the_last(book: Book) -> None:
    """A database whose sessions are all erased holds no event, message, blob or environment but the empty rows."""
    session = secretive(book)
    book.change("INSERT INTO environments (fingerprint, host_env) VALUES ('x', '{}')")
    book.change("UPDATE sessions SET environment = 1")
    done = erase(book, session)
    assert done.environments == 1
    counts = {table: book.rows(f"SELECT count(*) FROM {table}")[0][0] for table in (*NUMBERS, "environments")}
    assert counts == {**dict.fromkeys(NUMBERS, 1), "environments": 0}
    for view in ("llms", "tools", "actions", "errors", "payloads", "message_texts", "session_stats"):
        assert book.rows(f"SELECT * FROM {view}") == [], view
    book.check()


def test_its_upload_is_forgotten_with_it(book: Book) -> None:
    """With a session goes what the ledger of its upload holds of it, and of it alone."""
    kept, gone = book.session(), book.session()
    for state in (kept, gone):
        book.tool(state)
    ids = [book.end(state) for state in (kept, gone)]
    book.change("INSERT INTO targets (id, url) VALUES (1, 'http://127.0.0.1:1')")
    for session in (1, 2):
        book.change(f"INSERT INTO deliveries (target, session) VALUES (1, {session})")
        book.change(f"INSERT INTO agent_deliveries (target, agent, session, id) VALUES (1, {session}, {session}, 'a')")
        book.change(
            "INSERT INTO batches (target, session, kind, policy, events, bytes, sent_us, sent_mono_us, boot) "
            f"VALUES (1, {session}, 'tools', 'full', '[{session}]', 1, 1, 1, 'b')"
        )
        book.change(f"INSERT INTO uploads (target, event, session, kind) VALUES (1, {session}, {session}, 'tools')")
        book.change(f"INSERT INTO attempts (target, event) VALUES (1, {session})")
        book.change(
            f"INSERT INTO dead_letters (target, event, at_us, reason, words) VALUES (1, {session}, 1, 'r', 'w')"
        )
    erase(book, ids[1])
    book.check()
    for table in ("deliveries", "agent_deliveries", "batches", "uploads", "attempts", "dead_letters"):
        assert book.rows(f"SELECT count(*) FROM {table}") == [(1,)], table


def test_no_number_is_given_twice(book: Book) -> None:
    """A row number or a revision that was given once is never given again, whatever is erased in between."""
    given: dict[str, set[int]] = {f"{table}.{column}": set() for table, column in NUMBERS.items()}
    given |= {"sessions.revision": set(), "agents.revision": set()}
    for round_ in range(6):
        top = {place: max(numbers, default=0) for place, numbers in given.items()}
        older = book.session()
        book.tool(older)
        session = secretive(book, 1 + round_ % 2)
        for place, numbers in given.items():
            table, column = place.split(".")
            new = {n for (n,) in book.rows(f"SELECT {column} FROM {table}") if n > top[place]}
            assert new, place
            assert not new & numbers
            numbers.update(new)
        erase(book, session)
        if round_ % 2:
            erase(book, book.end(older))
        for place, numbers in given.items():
            table, column = place.split(".")
            assert book.rows(f"SELECT max({column}) FROM {table}")[0][0] >= max(numbers), place
    book.check()


def test_a_writer_that_remembers_records_anew(book: Book) -> None:
    """A process that goes on with a conversation that was erased behind its back stores it whole, also where the last
    message it remembers had the highest number."""
    gone, live = book.session("gone"), book.session("live")
    turns = [{"role": "user", "content": "one " + LONG}, {"role": "user", "content": "two"}]
    book.add(gone, LLMEvent(prompt=turns, completion={"role": "assistant", "content": "yes"}))
    book.end(gone)
    erase(book, gone.id)
    turns += [{"role": "assistant", "content": "yes"}, {"role": "user", "content": "three"}]
    book.add(live, LLMEvent(prompt=turns, completion="no"))
    (prompt,) = book.rows("SELECT prompt FROM llms WHERE session_id = ?", live.id)
    assert json.loads(prompt[0]) == turns
    book.check()


def test_a_session_that_was_erased_begins_anew(book: Book) -> None:
    """An event that is recorded to a session after it was erased is kept, and so is its end."""
    state = book.session("gone")
    book.tool(state, "before")
    erase(book, book.end(state))
    book.tool(state, "late")
    assert book.rows("SELECT session_id, name FROM tools") == [(state.id, "late")]
    assert [row[0] for row in book.rows("SELECT session_id FROM session_stats")] == [state.id]
    book.check()


def test_a_running_session_is_refused(book: Book) -> None:
    """A session that runs is not erased unless that is asked for; what it records afterwards begins it anew."""
    state = book.session("running")
    book.tool(state, "before")
    with pytest.raises(StillRunning, match="running"):
        erase(book, state.id)
    assert book.rows("SELECT name FROM tools") == [("before",)]
    erase(book, state.id, erasable=ANY)
    assert book.rows("SELECT name FROM tools") == []
    book.tool(state, "after")
    assert book.rows("SELECT session_id, name FROM tools") == [(state.id, "after")]
    book.check()


def test_a_session_that_cannot_be_judged_is_refused(book: Book) -> None:
    """A session of another machine, which nobody ended, is not erased unless that is asked for."""
    state = book.session()
    book.change("UPDATE owners SET boot = 'another:1', host = 'elsewhere'")
    with pytest.raises(StillRunning, match="cannot be told"):
        erase(book, state.id)
    assert erase(book, state.id, erasable=ANY).sessions == 1


def test_a_session_that_died_is_over(book: Book) -> None:
    """A session whose process died counts as ended."""
    session = died(book, "one", "two")
    assert erase(book, session).events == 2


def test_a_long_erasure_lets_writers_in(book: Book, monkeypatch: pytest.MonkeyPatch) -> None:
    """However much is erased, no transaction is longer than its share, and every one leaves the database sound."""
    kept = book.session("kept")
    book.llm(kept, "shared", "kept")
    session = secretive(book, 150)
    monkeypatch.setattr(erasing, "_BATCH", 0.0)  # one row each
    pauses: list[float] = []
    real = time.sleep

    def pause(seconds: float) -> None:
        if threading.current_thread() is not threading.main_thread():  # of some library, beside the test
            real(seconds)
            return
        if len(pauses) % 50 == 0:
            book.llm(kept, "shared", f"written meanwhile {len(pauses)}")
            book.check()
        pauses.append(seconds)
        real(0)

    monkeypatch.setattr(time, "sleep", pause)
    done = erase(book, session)
    assert done.events == 600
    assert len(pauses) > 600
    written = [row for row in book.rows("SELECT prompt FROM llms") if "written meanwhile" in row[0]]
    assert len(written) == len(range(0, len(pauses), 50))
    assert folder_holds(book, SECRET) == []
    book.check()


def test_what_is_found_again_meanwhile_is_kept(book: Book, monkeypatch: pytest.MonkeyPatch) -> None:
    """A message or blob that an event comes to need between the marking and the deleting is not deleted."""
    gone, live = book.session(), book.session()
    book.llm(gone, "a prompt", LONG)
    book.tool(gone, params=LONG)
    book.end(gone)
    book.close()  # nothing is remembered: it is found by its content
    done: list[int] = []

    def unmarked(marks: Marks, below: int | None) -> list[int]:
        found = messages(marks, below)
        if found and not done:
            done.append(1)
            book.llm(live, "a prompt", LONG)
            book.tool(live, params=LONG)
        return found

    messages = Marks.messages
    monkeypatch.setattr(Marks, "messages", unmarked)
    erase(book, gone.id)
    assert done
    assert LONG in book.rows("SELECT prompt FROM llms")[0][0]
    assert LONG in book.rows("SELECT params FROM tools")[0][0]
    book.check()


def test_an_erasure_cut_short_is_finished_by_the_next(book: Book, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever an erasure is interrupted the database is sound, says so, and the next one finishes it."""
    session = secretive(book, 5)
    monkeypatch.setattr(erasing, "_BATCH", 0.0)
    interruptions = 0
    for steps in count(1):
        left = [steps]

        def pause(seconds: float, left: list[int] = left) -> None:
            left[0] -= 1
            if not left[0]:
                raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(time, "sleep", pause)
            try:
                erase(book, session)
                break
            except KeyboardInterrupt:
                interruptions += 1
        book.check()
        with reading(book.path) as connection:
            assert unfinished(connection)
        assert book.rows("SELECT end_state_reason FROM sessions WHERE id = ?", session) in ([("partly erased",)], [])
    assert interruptions > 5
    with reading(book.path) as connection:
        assert unfinished(connection) == set()
    assert folder_holds(book, SECRET) == []
    book.check()


def test_a_reader_that_stays_is_told_of(book: Book, monkeypatch: pytest.MonkeyPatch) -> None:
    """While a reader keeps the WAL, what was erased is not called erased; when it is gone, the next run finishes."""
    monkeypatch.setattr(erasing, "_WAL_PATIENCE", 0.0)
    session = secretive(book)
    with closing(sqlite3.connect(book.path)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM events").fetchall()
        assert not erase(book, session).wal_emptied
        with reading(book.path) as connection:
            assert "erasing" in unfinished(connection)
    assert erase(book).wal_emptied
    assert folder_holds(book, SECRET) == []


def test_a_large_file_waits_for_its_rewriting(book: Book, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that is too large to be rewritten beside a recording process is rewritten when nobody records, or on
    demand; until then it says so."""
    monkeypatch.setattr(erasing, "_QUICK", 0)
    live = book.session()
    book.tool(live)
    session = secretive(book)
    assert not erase(book, session).rewritten
    with reading(book.path) as connection:
        assert unfinished(connection) == {"rewrite_due"}
    assert not erase(book).rewritten
    assert erase(book, rewrite=True).rewritten
    with reading(book.path) as connection:
        assert unfinished(connection) == set()
    assert folder_holds(book, SECRET) == []
    book.tool(live)
    book.check()


def test_erasing_beside_processes_that_record_loses_nothing(book: Book) -> None:
    """Sessions are erased and the file is rewritten while another process records, and none of its events is lost or
    changed."""
    read, write = os.pipe()
    code = """
    import os, sys
    s = ao.init(default_tags=["live"])
    n = 0
    messages = ["a system prompt"]
    out = os.fdopen(int(sys.argv[1]), "w")
    while n < 400 or not os.path.exists("enough"):
        messages = messages[:1] if n % 9 == 0 else messages + [f"turn {n}"]
        prompt = [{"role": "user", "content": text} for text in messages]
        s.record(ao.LLMEvent(prompt=prompt, completion=f"done {n}", params={"n": n, "messages": messages}))
        s.record(ao.ToolEvent(name="tool", params={"n": n}, returns="a long text " * 300))
        n += 1
        print(n, file=out, flush=True)
    s.end_session("Success")
    """
    program = start(code, write, pass_fds=[write])
    os.close(write)
    with os.fdopen(read) as said:
        assert said.readline() == "1\n"
        for _ in range(12):
            session = secretive(book, 8)
            assert erase(book, session).rewritten
        book.path.parent.parent.joinpath("enough").touch()
        numbers = [int(line) for line in said]
    assert program.wait(60) == 0
    found = book.rows("SELECT prompt, params, completion FROM llms WHERE session_id <> '' ORDER BY seq")
    assert len(found) == numbers[-1]
    for number, (prompt, params, completion) in enumerate(found):
        given = json.loads(params)
        assert given["n"] == number
        assert [message["content"] for message in json.loads(prompt)] == given["messages"]
        assert completion == f"done {number}"
    returns = book.rows("SELECT returns FROM tools")
    assert returns == [("a long text " * 300,)] * numbers[-1]
    assert folder_holds(book, SECRET) == []
    book.check()


def test_progress_comes_to_all_of_it(book: Book) -> None:
    """Progress is told as the work is done, and comes to what was said at the beginning, or less."""
    session = secretive(book, 20)
    told: list[int] = []
    with reading(book.path) as connection:
        steps = erasing.work(connection, [session])
    with closing(Eraser(book.path, OVER, told.append)) as eraser:
        eraser.erase(session)
        eraser.finish()
    assert steps == 160
    assert 80 <= sum(told) <= steps + 1


def test_a_session_that_is_gone_is_passed_over(book: Book) -> None:
    """To erase what is not there changes nothing, and the empty rows cannot be named."""
    session = secretive(book)
    erase(book, session)
    before = book.rows("SELECT seq, id FROM sessions")
    assert erase(book, session, "").sessions == 0
    assert book.rows("SELECT seq, id FROM sessions") == before
