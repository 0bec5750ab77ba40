"""Databases merged into one."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path

import pytest

from agentops_local import clock
from agentops_local.analytics.erase import Eraser
from agentops_local.analytics.owners import Status
from agentops_local.errors import DatabaseUnusable, ForeignDatabase, WrongUse
from agentops_local.event import ActionEvent, ErrorEvent
from agentops_local.importing import Merged, merge
from agentops_local.recorder.state import SessionState
from tests.analytics.recording import LONG, Book, run, start
from tests.importing.looking import query, said, sound, stored
from tests.recovery.old import SESSIONS, make_old

NODES, EVENTS = 50, 20


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with something of everything, gaps and a ledger among it; made once."""
    path = tmp_path_factory.mktemp("master") / "agentops.db"
    make_old(path, 6)
    return path


@pytest.fixture
def master(original: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return Path(shutil.copy(original, tmp_path / "master.db"))


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """Where the merged database shall be."""
    return tmp_path / "here" / "agentops.db"


def node(folder: Path, number: int = 0, events: int = EVENTS) -> Book:
    """A machine's database with a session: calls with a common system prompt, tools, actions and errors."""
    folder.mkdir(exist_ok=True)
    book = Book(folder / f"node-{number}.db")
    state = book.session(f"node:{number}")
    more(book, state, number, events)
    book.end(state)
    return book


def more(book: Book, state: SessionState, number: int, events: int) -> None:
    """So many events of a session."""
    for turn in range(events // 4):
        book.llm(state, "a system prompt", LONG, f"node {number} turn {turn}", cost="0.25")
        tool = book.tool(state, params={"turn": turn}, returns=LONG)
        book.action(state)
        book.error(state, tool)


def test_what_is_merged_is_equal(master: Path, here: Path) -> None:
    """A database merged into an empty one says the same in every view, row for row, and of its sessions, processes
    and agents."""
    done = merge(here, [master])
    assert (done.sessions, done.new_sessions, done.events, done.there) == (3, 3, 6 * 4 * 3, 0)
    assert said(here) == said(master)
    assert query(here, "SELECT at_us, pid, events, reason FROM losses") == [(5, 6, 7, "disk full")]
    sound(here)


def test_twice_is_once(master: Path, here: Path) -> None:
    """A second merge of the same changes no row of any table, and says that there was nothing."""
    merge(here, [master])
    before = stored(here)
    done = merge(here, [master, master])
    assert done.is_nothing
    assert done.there == 2 * 6 * 4 * 3
    assert stored(here) == before


def test_into_one_that_has_others(master: Path, here: Path, tmp_path: Path) -> None:
    """What is there stays as it is; long texts and messages that both have stand once."""
    book = node(tmp_path)
    book.close()
    merge(here, [master])
    before = said(here, "llms", "tools", "errors")
    counts = [query(path, "SELECT count(*) FROM messages WHERE parent IS NOT NULL OR hash IS NOT NULL")[0][0]
              for path in (here, book.path)]  # fmt: skip
    merge(here, [book.path])
    after = said(here, "llms", "tools", "errors")
    for name, rows in before.items():
        assert rows == [row for row in after[name] if row in rows]
    second = node(tmp_path, 1)
    second.close()
    merge(here, [second.path])
    (total,) = query(here, "SELECT count(*) FROM messages")[0]
    assert total == sum(counts) + 2 * (EVENTS // 4)  # what is new in the second: a question and an answer a call
    sound(here)


def test_fifty_machines(here: Path, tmp_path: Path) -> None:
    """Fifty databases become one, while a program records to it; everything of all of them is there, once."""
    books = [node(tmp_path / "nodes", number) for number in range(NODES)]
    for book in books:
        book.close()
    files = [book.path for book in books]
    code = """
    import sys
    session = ao.init(db=sys.argv[1], auto_start_session=False) or ao.start_session(["recording"])
    number = 0
    print("ready", flush=True)
    while not sys.stdin.closed and number < 400:
        session.record(ao.ActionEvent(action_type=str(number)))
        number += 1
    session.end_session("Success")
    print(number)
    """
    with start(code, here, stdout=subprocess.PIPE, stdin=subprocess.PIPE) as program:
        assert program.stdout is not None
        assert program.stdout.readline() == "ready\n"
        done = merge(here, files)
        again = merge(here, files)
        recorded = int(program.communicate(timeout=60)[0])
    assert (done.files, done.new_sessions, done.events) == (NODES, NODES, NODES * EVENTS)
    assert again.is_nothing
    assert query(here, "SELECT count(*) FROM sessions WHERE id <> ''") == [(NODES + 1,)]
    assert query(here, "SELECT count(*), count(DISTINCT id) FROM events") == [(NODES * EVENTS + recorded,) * 2]
    sound(here)


def test_a_session_that_goes_on(here: Path, tmp_path: Path) -> None:
    """What a machine has recorded since comes with the next merge: events, the end of the session, new sessions; and
    nothing that is here is told as changed but what is."""
    book = Book(tmp_path / "node.db")
    state = book.session("first")
    more(book, state, 0, 8)
    assert merge(here, [book.path]).events == 8
    more(book, state, 1, 8)
    book.end(state, "Fail", "it was enough")
    book.end(book.session("second"))
    done = merge(here, [book.path])
    book.close()
    assert (done.new_sessions, done.changed_sessions, done.events, done.there) == (1, 1, 8, 8)
    assert said(here) == said(book.path)
    sound(here)
    assert query(here, "SELECT * FROM changes") == []


def test_what_was_found_out_since(here: Path, tmp_path: Path) -> None:
    """A call whose cost a machine has learnt since it was merged gets it here, and the change is noted for those who
    keep sums; a cost that is known here stays."""
    book = Book(tmp_path / "node.db")
    state = book.session()
    book.llm(state, "one")
    book.llm(state, "two", cost="2")
    book.close()
    merge(here, [book.path])
    book.change("UPDATE events SET cost_pusd = 5, cost_source = 'priced'")
    done = merge(here, [book.path])
    assert (done.events, done.changed_events, done.there) == (0, 1, 1)
    assert query(here, "SELECT cost_pusd, cost_source FROM events ORDER BY seq") == [
        (5, "priced"), (2 * 10**12, "reported"),
    ]  # fmt: skip
    assert query(here, "SELECT session, revision FROM changes") == [(1, 1)]
    assert merge(here, [book.path]).is_nothing


def test_prices_come_along(here: Path, tmp_path: Path) -> None:
    """A call keeps the price that it was priced by, with its source; what holds for new calls is what is known here."""
    row = ("openai", "m", 0, None, '{"input": "1"}', "priced", "a book", 7, None)
    columns = "provider, model, from_us, until_us, rates, kind, source, looked_us, ended_us"
    insert = f"INSERT INTO prices ({columns}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
    books = [Book(tmp_path / f"node-{number}.db") for number in range(2)]
    for number, book in enumerate(books):
        book.llm(book.session(), "one")
        book.close()
        book.change(insert, *row[:6], f"book {number}", *row[7:])
        book.change("UPDATE events SET cost_pusd = 1, cost_source = 'priced', price = 1")
    merge(here, [book.path for book in books])
    assert query(here, "SELECT price_source FROM llms ORDER BY seq") == [("book 0",), ("book 1",)]
    assert query(here, "SELECT source FROM prices WHERE ended_us IS NULL") == [("book 0",)]


def test_a_session_of_two_machines(here: Path, tmp_path: Path) -> None:
    """A session to which two machines contributed is one: the events, processes and tags of both, and the end of the
    one that ended it; two errors of the same moment stay two, a microsecond apart."""
    session = str(clock.new_id())
    moment = clock.now_us()
    books = [Book(tmp_path / f"node-{number}.db") for number in range(2)]
    for number, book in enumerate(books):
        state = book.session(f"machine {number}", name=session, began=moment + number)
        book.tool(state)
        book.add(state, book.timed(ErrorEvent(error_type="E", details=str(number)), moment, 1))
        if number:
            book.end(state, "Fail", "the second")
        book.change("UPDATE owners SET boot = ?", str(number))
        book.close()
    merge(here, [book.path for book in books])
    assert query(here, "SELECT id, init_us, end_state, end_state_reason, tags FROM sessions") == [
        (session, moment, "Fail", "the second", '["machine 0", "machine 1"]')
    ]
    assert query(here, "SELECT details, init_us FROM events WHERE kind = 'errors' ORDER BY seq") == [
        ('"0"', moment), ('"1"', moment + 1),
    ]  # fmt: skip
    assert query(here, "SELECT count(*) FROM owners") == [(2,)]
    sound(here)


def test_an_agent_that_had_no_name(here: Path, tmp_path: Path) -> None:
    """An agent that was merged before it had a name gets it with a later merge; one that has a name keeps it."""
    agent = "0197a1b2-0000-7000-8000-000000000001"
    book = Book(tmp_path / "node.db")
    state = book.session()
    book.recorder.record(state, ActionEvent(action_type="a"), agent, None)
    book.close()
    for name, kept in (("Unnamed agent", "Unnamed agent"), ("first", "first"), ("second", "first")):
        book.change("UPDATE agents SET name = ? WHERE id = ?", name, agent)
        merge(here, [book.path])
        assert query(here, "SELECT name FROM agents WHERE id = ?", agent) == [(kept,)]


def test_one_that_is_damaged(master: Path, here: Path) -> None:
    """A database in which a row is not what was written is told of, and of the session nothing is here."""
    with closing(sqlite3.connect(master)) as connection, connection:
        connection.execute("PRAGMA foreign_keys = OFF")
        connection.execute("DELETE FROM messages WHERE id = (SELECT max(prompt) FROM events)")
    with pytest.raises(DatabaseUnusable, match="doctor --repair"):
        merge(here, [master])
    assert query(here, "SELECT id FROM sessions") == [(SESSIONS[0],), (SESSIONS[1],)]
    sound(here)


def test_what_is_erased_comes_back(master: Path, here: Path) -> None:
    """A session that was erased here and is still there comes back whole with a merge, as a new one."""
    merge(here, [master])
    with closing(Eraser(here, frozenset(Status))) as eraser:
        eraser.erase(SESSIONS[1])
        eraser.finish()
    done = merge(here, [master])
    assert (done.new_sessions, done.events) == (1, 24)
    assert sorted(said(here)["llms"]) == sorted(said(master)["llms"])
    sound(here)


def test_a_dry_run_writes_nothing(master: Path, here: Path) -> None:
    """A dry run tells just what a merge then brings, and makes no database; afterwards it tells that nothing would
    come, and when there is more, how much."""
    would = merge(here, [master], dry_run=True)
    assert not here.parent.exists()
    assert merge(here, [master]) == would
    assert merge(here, [master], dry_run=True) == Merged(files=1, sessions=3, there=72)
    for path in (here, master):
        before = stored(path)
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute("UPDATE events SET name = NULL WHERE kind = 'tools' AND seq % 2")
            connection.execute("UPDATE sessions SET video = ?", ("v.mp4" if path == master else None,))
            connection.execute("UPDATE uploads SET state = ?", ("done" if path == master else "pending",))
            if path == master:
                connection.execute("UPDATE events SET name = 'found' WHERE name IS NULL")
        assert stored(path) != before
    would = merge(here, [master], dry_run=True)
    assert (would.changed_sessions, would.changed_events > 0, would.uploaded > 0) == (3, True, True)
    assert merge(here, [master]) == would


def test_a_folder_means_its_database(master: Path, here: Path, tmp_path: Path) -> None:
    """A folder with a database, and a project with one in .agentops, can be named themselves."""
    (tmp_path / "project" / ".agentops").mkdir(parents=True)
    shutil.copy(master, tmp_path / "project" / ".agentops" / "agentops.db")
    assert merge(here, [tmp_path / "project"]).events == 72
    assert merge(here, [tmp_path / "project" / ".agentops"]).is_nothing


def test_what_cannot_be_merged(master: Path, here: Path, tmp_path: Path) -> None:
    """The database itself, one of another program, one of another version and none at all are refused before anything
    of the others is merged."""
    foreign, newer = tmp_path / "foreign.db", tmp_path / "newer.db"
    with closing(sqlite3.connect(foreign)) as connection, connection:
        connection.execute("CREATE TABLE theirs (a)")
    shutil.copy(master, newer)
    with closing(sqlite3.connect(newer)) as connection, connection:
        connection.execute("PRAGMA user_version = 99")
    for wrong, error in (
        (foreign, ForeignDatabase), (newer, DatabaseUnusable), (tmp_path / "none.db", DatabaseUnusable),
        (tmp_path, DatabaseUnusable),
    ):  # fmt: skip
        with pytest.raises(error, match=str(wrong)):
            merge(here, [master, wrong])
    assert not here.exists()
    with pytest.raises(WrongUse, match="is the database itself"):
        merge(master, [master])


def test_a_merge_that_is_killed(master: Path, here: Path, tmp_path: Path) -> None:
    """Whatever kills a merge leaves whole sessions, and the next one brings the rest."""
    code = """
    import os, sys
    from pathlib import Path
    from agentops_local.importing import merge
    from agentops_local.importing.writing import Writing
    add, left = Writing.add, [30]
    def dying(self, event):
        left[0] -= 1
        if not left[0]:
            os.kill(os.getpid(), 9)
        return add(self, event)
    Writing.add = dying
    merge(Path(sys.argv[1]), [Path(sys.argv[2])])
    """
    with pytest.raises(AssertionError):
        run(code, here, master)
    assert query(here, "SELECT session_id, events FROM session_stats") == [(SESSIONS[0], 24)]
    assert merge(here, [master]).events == 48
    assert said(here) == said(master)


def test_theirs_is_only_read(master: Path, here: Path, tmp_path: Path) -> None:
    """The database of a program that records is merged as it is: nothing writes to it, and the program goes on."""
    book = node(tmp_path)
    files = [tmp_path / "node-0.db", tmp_path / "node-0.db-wal"]
    before = [(file.stat().st_mtime_ns, file.stat().st_size) for file in files]
    assert merge(here, [book.path]).events == EVENTS
    assert [(file.stat().st_mtime_ns, file.stat().st_size) for file in files] == before
    book.tool(book.session())
    assert merge(here, [book.path]).events == 1
    book.close()
