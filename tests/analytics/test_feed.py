from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from agentops_local.analytics import feed as feeding
from agentops_local.analytics.feed import Feed
from agentops_local.analytics.reading import reading
from agentops_local.errors import DatabaseTooNew, ForeignDatabase
from tests.analytics.recording import Book, erase, run


def names(connection: sqlite3.Connection, seqs: list[int]) -> Iterator[str]:
    """The names of some events."""
    for seq in seqs:
        yield connection.execute("SELECT name FROM events WHERE seq = ?", (seq,)).fetchone()[0]


def follow(path: Path, session: str = "", already: int | None = 0) -> closing[Feed[str]]:
    """A feed of the names of events."""
    return closing(Feed(path, names, session, already))


def test_new_events_come_once_in_order(book: Book) -> None:
    """Each event comes once, in the order of commits, whichever process has committed it."""
    state = book.session()
    book.action(state, "old")
    with follow(book.path) as feed:
        assert list(feed.poll()) == []
        book.action(state, "one")
        run('ao.init().record(ao.ActionEvent(action_type="two"))')
        assert list(feed.poll()) == ["one", "two"]
        assert list(feed.poll()) == []
        book.action(state, "three")
        assert list(feed.poll()) == ["three"]


@pytest.mark.parametrize(("already", "expected"), [(0, []), (2, ["3", "4"]), (9, ["0", "1", "2", "3", "4"])])
def test_it_begins_with_the_last(book: Book, already: int, expected: list[str]) -> None:
    """As many of the events already there come first as are asked for."""
    state = book.session()
    for number in range(5):
        book.action(state, str(number))
    with follow(book.path, already=already) as feed:
        assert list(feed.poll()) == expected
    with follow(book.path, already=None) as feed:
        assert list(feed.poll()) == ["0", "1", "2", "3", "4"]


def test_more_than_a_piece(book: Book, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many are new at once, all come."""
    monkeypatch.setattr(feeding, "_NEW", feeding._NEW.replace(f"LIMIT {feeding._PIECE}", "LIMIT 2"))
    state = book.session()
    with follow(book.path) as feed:
        list(feed.poll())
        for number in range(7):
            book.action(state, str(number))
        assert list(feed.poll()) == [str(number) for number in range(7)]


def test_one_session(book: Book) -> None:
    """With the beginning of an id, events of other sessions do not come, and do not count."""
    one, other = book.session(), book.session()
    for number in range(3):
        book.action(one, str(number))
        book.action(other, "other")
    with follow(book.path, one.id, already=2) as feed:
        assert list(feed.poll()) == ["1", "2"]
        book.action(other, "other")
        book.action(one, "3")
        book.end(other)
        assert list(feed.poll()) == ["3"]
        assert feed.ends() == []
        book.end(one, "Fail", "why")
        assert list(feed.poll()) == []
        assert feed.ends() == [(one.id, "Fail", "why")]
        assert feed.ends() == []


def test_a_database_that_is_not_there_is_waited_for(book: Book) -> None:
    """A database that comes later is followed from its first event, and until then it is told what is waited for."""
    with follow(book.path, already=0) as feed:
        assert list(feed.poll()) == []
        assert "no database" in str(feed.trouble)
        book.path.parent.mkdir()
        book.path.touch()
        assert list(feed.poll()) == []
        book.action(book.session(), "first")
        assert list(feed.poll()) == ["first"]
        assert feed.trouble is None


@pytest.mark.parametrize("way", ["renamed", "removed", "folder"])
def test_a_database_in_its_place_is_followed(book: Book, way: str) -> None:
    """When the file is renamed or removed, alone or with its folder, the one that takes its place is followed from its
    first event, though its numbers begin anew."""
    state = book.session()
    for number in range(3):
        book.action(state, str(number))
    with follow(book.path, already=None) as feed:
        assert len(list(feed.poll())) == 3
        if way == "renamed":
            book.path.replace(book.path.with_name("old.db"))
        elif way == "removed":
            book.path.unlink()
        else:
            shutil.rmtree(book.path.parent)
        book.action(state, "after")
        found = list(feed.poll()) + list(feed.poll())
        assert found[-1] == "after"
        book.action(state, "more")
        assert list(feed.poll()) == ["more"]


def test_events_by_another_index_are_found(project: Path) -> None:
    """Where the index of the WAL is removed, those who come make another; what they store is found."""
    event = (
        'session = ao.init(db="agentops.db"); session.record(ao.ActionEvent(action_type="{}")); session.end_session()'
    )
    run(event.format("old"))
    with follow(Path("agentops.db")) as feed:
        assert list(feed.poll()) == []
        Path("agentops.db-shm").unlink()
        run(event.format("new"))
        assert list(feed.poll()) == ["new"]


def test_an_older_copy_in_its_place_is_followed(book: Book) -> None:
    """When a backup is put back, the events that are recorded to it from then on come, though their numbers were given
    before."""
    state = book.session()
    book.action(state, "one")
    book.close()
    copy = book.path.with_name("copy")
    shutil.copy(book.path, copy)
    book.action(state, "two")
    with follow(book.path, already=None) as feed:
        assert list(feed.poll()) == ["one", "two"]
        book.close()
        for suffix in ("-wal", "-shm"):
            Path(f"{book.path}{suffix}").unlink(missing_ok=True)
        copy.replace(book.path)
        list(feed.poll())
        book.action(state, "another two")
        assert list(feed.poll()) == ["another two"]


def test_what_is_not_ours_is_refused(book: Book) -> None:
    """A file of another program, or of a newer version, is not waited for: it is an error."""
    book.path.parent.mkdir()
    with closing(sqlite3.connect(book.path)) as other:
        other.execute("CREATE TABLE t (x)")
    with follow(book.path) as feed, pytest.raises(ForeignDatabase):
        list(feed.poll())
    book.path.unlink()
    book.session()
    book.close()
    book.change("PRAGMA user_version = 99")
    with follow(book.path) as feed, pytest.raises(DatabaseTooNew):
        list(feed.poll())


def test_an_erasure_does_not_disturb(book: Book) -> None:
    """Events that are erased leave a gap, the empty rows do not come, and what is recorded next does."""
    state, gone = book.session(), book.session()
    with follow(book.path) as feed:
        list(feed.poll())
        book.action(gone, "gone")
        assert list(feed.poll()) == ["gone"]
        erase(book, book.end(gone))
        assert list(feed.poll()) == []
        assert feed.ends() == []
        book.action(state, "next")
        assert list(feed.poll()) == ["next"]


def test_a_reader_leaves_nothing_open(book: Book) -> None:
    """Between two looks a feed holds no snapshot: the WAL can be emptied beside it."""
    state = book.session()
    with follow(book.path, already=None) as feed:
        book.action(state, "one")
        list(feed.poll())
        assert erase(book, book.end(book.session())).wal_emptied


def test_new_events_are_found_by_their_number(book: Book) -> None:
    """A look at what is new goes through what is new alone."""
    book.session()
    with reading(book.path) as connection:
        values = {"mark": 1, "session": ""}
        plan = [row["detail"] for row in connection.execute(f"EXPLAIN QUERY PLAN {feeding._NEW}", values)]
    assert plan == ["SEARCH e USING INTEGER PRIMARY KEY (rowid>?)", "SEARCH s USING INTEGER PRIMARY KEY (rowid=?)"]
