from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from agentops_local.analytics.filters import Filter
from agentops_local.analytics.groups import Counting
from agentops_local.analytics.index import forget, opened
from agentops_local.analytics.index.file import index_file
from agentops_local.analytics.questions.stats import stats
from tests.analytics.recording import DB, ROOT, Book, folder_holds

EVENTS = "SELECT count(*) FROM events e JOIN sessions s ON s.seq = e.session WHERE s.id <> ''"


def counted(path: Path) -> int:
    """All events, as the index has them."""
    with opened(path) as connection:
        return sum(group.events for group in Counting(connection, Filter()).sessions().values())


def there(path: Path) -> int:
    """All events, as the database has them."""
    with closing(sqlite3.connect(path)) as connection:
        return int(connection.execute(EVENTS).fetchone()[0])


def fill(book: Book, events: int = 5) -> None:
    """A session with some tool calls."""
    state = book.session()
    for _ in range(events):
        book.tool(state)


def test_it_is_made_beside_the_database(book: Book) -> None:
    """The index is a file of its own that only its owner can read; the database stays as it is."""
    fill(book)
    book.close()
    before = book.path.read_bytes()
    assert counted(book.path) == 5
    assert book.path.read_bytes() == before
    assert index_file(book.path).stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("ruin", [b"", b"nonsense" * 1000, None], ids=["empty", "nonsense", "a page of nonsense"])
def test_a_ruined_index_is_made_anew(book: Book, ruin: bytes | None) -> None:
    """An index that is damaged, or no database at all, is thrown away and made again; nothing is said of it."""
    fill(book)
    counted(book.path)
    file = index_file(book.path)
    if ruin is None:
        whole = bytearray(file.read_bytes())
        whole[4096 * 2 : 4096 * 6] = b"\xa5" * 4096 * 4
        ruin = bytes(whole)
    file.write_bytes(ruin)
    fill(book)
    assert counted(book.path) == there(book.path) == 10


def test_an_older_copy_that_has_grown(book: Book, tmp_path: Path) -> None:
    """Where an older copy was put back and has grown beyond what was counted before anybody asked, other events have
    the same numbers; they are counted, not those that were there."""
    fill(book)
    book.close()
    shutil.copy(book.path, tmp_path / "older.db")
    state = book.session()
    for _ in range(5):
        book.tool(state, "gone")
    book.close()
    assert stats(db=book.path).tools["gone"].events == 5
    shutil.copy(tmp_path / "older.db", book.path)
    fill(book, 7)
    assert {name: group.events for name, group in stats(db=book.path).tools.items()} == {"search": 12}


def test_another_database_in_its_place(book: Book, tmp_path: Path) -> None:
    """The index of another database, or of a later state of this one, is known as that, and made anew."""
    fill(book)
    book.close()
    shutil.copy(book.path, tmp_path / "older.db")
    fill(book)
    book.close()
    assert counted(book.path) == 10
    shutil.copy(tmp_path / "older.db", book.path)
    assert counted(book.path) == 5
    fill(book, 7)  # the same numbers as before, other events
    assert counted(book.path) == there(book.path) == 12
    book.close()
    other = Book(tmp_path / "other" / "agentops.db")
    fill(other, 30)
    other.close()
    shutil.copy(other.path, book.path)
    assert counted(book.path) == there(book.path) == 30


def test_without_a_place_for_it(book: Book) -> None:
    """Where no index can be written, questions are answered all the same."""
    fill(book)
    index_file(book.path).mkdir()
    assert counted(book.path) == 5
    assert stats(db=book.path).tools["search"].events == 5


def test_forgotten(book: Book) -> None:
    """An index that is thrown away leaves no file, and the next question makes it again."""
    state = book.session()
    book.error(state, text="the secret of the index")
    book.close()
    counted(book.path)
    assert f"{DB.name}-index" in folder_holds(book, "the secret of the index")
    forget(book.path)
    assert folder_holds(book, "the secret of the index") == [DB.name]
    assert counted(book.path) == 1
    forget(book.path)
    forget(book.path)


def test_forgotten_while_it_is_read(book: Book) -> None:
    """Who reads an index while it is thrown away gets the answer that was there; afterwards it is whole again."""
    fill(book)
    counted(book.path)
    with opened(book.path) as connection:
        forget(book.path)
        assert connection.execute("SELECT sum(events) FROM idx.cells").fetchone()[0] == 5
    assert counted(book.path) == 5


def test_many_at_once(book: Book) -> None:
    """Processes that ask while others record count each event once, whoever brings the index up to date."""
    program = """
    import sys
    from pathlib import Path
    from tests.analytics.index.test_file import counted
    from tests.analytics.recording import Book
    path = Path(sys.argv[1])
    if sys.argv[2] == "ask":
        last = 0
        while last < 400:
            now = counted(path)
            assert last <= now <= 400, (last, now)
            last = now
    else:
        book = Book(path)
        state = book.session()
        for _ in range(200):
            book.tool(state)
        book.close()
    """
    code = "\n".join(line[4:] for line in program.splitlines())
    fill(book, 0)
    book.close()
    command = [sys.executable, "-c", code, str(book.path)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    running = [subprocess.Popen([*command, what], env=environment) for what in ("record", "ask", "record", "ask")]
    assert [one.wait(60) for one in running] == [0, 0, 0, 0]
    assert counted(book.path) == there(book.path) == 400
