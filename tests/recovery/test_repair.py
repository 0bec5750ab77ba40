"""Repairing a database: what is done to it, and what is not."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from random import Random

import pytest

from agentops_local.analytics import erase as erasing
from agentops_local.analytics.erase import Eraser
from agentops_local.analytics.owners import Status
from agentops_local.errors import ForeignDatabase
from agentops_local.event import ToolEvent
from agentops_local.recorder.recorder import Recorder
from agentops_local.recorder.state import SessionState
from agentops_local.recovery import repair as repairing
from agentops_local.recovery.contents import altered
from agentops_local.recovery.repair import Repair, Repaired
from agentops_local.store.schema import APPLICATION_ID
from tests.recovery.old import SECRET, SESSIONS, URL
from tests.reliability.tools.corrupt import File
from tests.reliability.tools.crash import DB, query


def spoil(path: Path, *conditions: str) -> None:
    """Makes garbage of pages, by what they are in the file."""
    file = File(path, Random(5))
    pages = [number for condition in conditions for number in file.pages(condition)]
    assert pages
    for number in pages:
        file.write((number - 1) * file.page, file.chance.randbytes(file.page))
    path.write_bytes(file.data)


def leaves(table: str) -> str:
    """All that holds rows of a table."""
    return f"name = '{table}' AND pagetype = 'leaf'"


def header(path: Path) -> None:
    """Damages the header, and nothing that is not there twice."""
    with path.open("r+b") as file:
        file.write(bytes(16))


def repair(path: Path) -> Repaired:
    """Repairs, without failures; the database is sound then, and has no row that names none."""
    done = Repair(path).run()
    assert not done.failed
    assert query(path, "PRAGMA integrity_check") == [("ok",)]
    assert query(path, "PRAGMA foreign_key_check") == []
    return done


def files(path: Path) -> dict[str, bytes]:
    """What lies in the folder, but for the lock."""
    return {file.name: file.read_bytes() for file in path.parent.iterdir() if not file.name.endswith((".lock", "-shm"))}


def record(path: Path, session: str, *texts: str) -> None:
    """Records tool calls into a session."""
    recorder = Recorder(path)
    state = SessionState(session, tags=["later"])
    recorder.start(state)
    for text in texts:
        assert recorder.record(state, ToolEvent(name=text, params=text), None, None)
    recorder.close()


def test_a_sound_database_is_left_alone(database: Path) -> None:
    """Of a sound database not a byte is changed, and nothing is put beside it."""
    before = files(database)
    assert repair(database) == Repaired()
    assert files(database) == before


def test_nothing_that_we_write_counts_as_altered(database: Path) -> None:
    """Every row of a sound database is what was written, by its hash and as JSON."""
    with closing(sqlite3.connect(database)) as connection:
        assert not altered(connection)


def test_no_database_at_all(project: Path) -> None:
    """Where there is no database, none is made."""
    assert Repair(project / DB).run() == Repaired()
    assert not (project / DB).exists()


def test_indexes_are_mended_in_place(database: Path) -> None:
    """Where only an index lacks a row, it is built anew: the database stays, and with it every number."""
    before = query(database, "SELECT * FROM events")
    with closing(sqlite3.connect(database)) as connection:
        root = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'owners_by_session'").fetchone()[0]
    file = File(database, Random(1))
    at = (root - 1) * file.page
    file.write(at + 3, (int.from_bytes(file.data[at + 3 : at + 5], "big") - 1).to_bytes(2, "big"))  # one cell fewer
    database.write_bytes(file.data)
    assert query(database, "PRAGMA integrity_check") != [("ok",)]
    done = repair(database)
    assert done.reindexed
    assert done.aside is None
    assert query(database, "SELECT * FROM events") == before


def test_everything_comes_back(database: Path, master: Path) -> None:
    """Where only the header is damaged, every row of every table comes back under its number, the ledger of uploads
    included, but for the empty rows that only keep numbers from being given again."""
    header(database)
    done = repair(database)
    assert done.copies[0].lost_events_known == 0
    assert not done.copies[0].standins
    same = ["blobs", "environments", "losses", "batches", "uploads", "agent_deliveries", "dead_letters", "attempts"]
    for table in (*same, "scores"):
        sql = f"SELECT * FROM {table} ORDER BY 1, 2" if table != "blobs" else "SELECT * FROM blobs WHERE hash <> x''"
        assert query(database, sql) == query(master, sql), table
    for table, key in (("sessions", "seq"), ("owners", "session"), ("agents", "session"), ("events", "session")):
        sql = f"SELECT * FROM {table} WHERE {key} IN (SELECT seq FROM sessions WHERE id <> '') ORDER BY 1"
        assert query(database, sql) == query(master, sql), table
    sql = "SELECT * FROM messages WHERE parent IS NOT NULL OR hash IS NOT NULL"
    assert query(database, sql) == query(master, sql)
    sql = "SELECT hash, created_us, revoked_us FROM api_keys ORDER BY 1"
    assert query(database, sql) == query(master, sql)


def test_the_local_project_stays_local(database: Path) -> None:
    """A project of the collector that was the damaged database is the new one; its keys open that."""
    header(database)
    repair(database)
    sql = """SELECT p.name FROM api_keys k JOIN projects p ON p.id = k.project
             WHERE p.id = (SELECT value FROM about WHERE key = 'generation')"""
    assert query(database, sql) == [("here",)]


def test_a_session_that_goes_on_in_the_new_database(database: Path) -> None:
    """A session that was recorded into the damaged file and into the new one is one session, with what each knew of
    it; its agents, and the process if it is the same, are there once."""
    header(database)
    record(database, SESSIONS[0], "after")  # puts the file aside
    done = repair(database)
    assert done.damage == []
    (row,) = query(database, "SELECT tags, environment IS NOT NULL FROM sessions WHERE id = ?", SESSIONS[0])
    assert row == ('["session 0", "later"]', 1)
    assert query(database, "SELECT id, count(*) FROM sessions GROUP BY id HAVING count(*) > 1") == []
    assert query(database, "SELECT count(*) FROM tools WHERE session_id = ?", SESSIONS[0]) == [(7,)]
    sql = "SELECT count(*) FROM owners o JOIN sessions s ON s.seq = o.session WHERE s.id = ?"
    assert query(database, sql, SESSIONS[0]) == [(1,)]
    assert query(database, "SELECT end_state FROM sessions WHERE id = ?", SESSIONS[1]) == [("Success",)]


def test_what_was_recorded_since_keeps_its_number(database: Path) -> None:
    """Rows of the damaged file come after those that are there: who has seen number n has seen all up to n."""
    header(database)
    record(database, SESSIONS[0], "one", "two")
    before = query(database, "SELECT seq, id FROM events ORDER BY seq")
    repair(database)
    assert query(database, "SELECT seq, id FROM events ORDER BY seq LIMIT 2") == before


def test_several_copies(database: Path, master: Path) -> None:
    """Each damaged copy that lies beside is salvaged; an event that is in two of them is there once."""
    events = query(master, "SELECT count(*) FROM payloads")
    for _ in range(2):
        shutil.copy(master, database)
        shutil.copy(f"{master}-generation", f"{database}-generation")
        header(database)
        record(database, SESSIONS[2], "more")
    shutil.copy(next(database.parent.glob("*.damaged-*")), f"{database}.damaged-by-hand")
    done = repair(database)
    assert len(done.copies) == 3
    assert query(database, "SELECT count(*) FROM payloads") == [(events[0][0] + 1,)]
    assert query(database, "SELECT max(n) FROM (SELECT count(*) AS n FROM payloads GROUP BY id)") == [(1,)]


def test_cut_short_between_storing_and_renaming(database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A repair that ends after the rows are stored and before the copy has its new name is not done twice."""
    header(database)

    def interrupt(_: Path) -> Path:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(repairing, "_rename", interrupt)
        with pytest.raises(KeyboardInterrupt):
            Repair(database).run()
    before = query(database, "SELECT count(*) FROM messages")
    (copy,) = repair(database).copies
    assert copy.before
    assert ".salvaged-" in copy.copy
    assert query(database, "SELECT count(*) FROM messages") == before


# What is lost ---------------------------------------------------------------------------------------------------------


def test_sessions_that_are_lost(database: Path) -> None:
    """A session whose row is lost keeps its id, which an index tells, and says that its row is lost; an uploader leaves
    its state on the server alone."""
    spoil(database, leaves("sessions"))
    done = repair(database)
    found = query(database, "SELECT id, joined, end_state_reason FROM sessions ORDER BY id")
    assert [row[:2] for row in found] == [(session, 1) for session in SESSIONS]
    assert all("its row was lost with the damaged database" in row[2] for row in found)
    assert done.copies[0].standins["sessions"] == 3


def test_sessions_of_which_not_even_the_id_is_known(database: Path) -> None:
    """Without the index, too, the events come back, in a session with an id of its own."""
    spoil(database, leaves("sessions"), leaves("sqlite_autoindex_sessions_1"))
    repair(database)
    assert query(database, "SELECT count(DISTINCT id) FROM sessions WHERE id NOT LIKE '0190a000-%'") == [(3,)]
    assert query(database, "SELECT count(*) FROM payloads") == [(3 * 6 * 4,)]


def test_processes_agents_and_environments_that_are_lost(database: Path) -> None:
    """Events whose process and agent are lost come back: of a process of which nothing is known, and of no agent."""
    spoil(database, leaves("owners"), leaves("agents"), leaves("environments"))
    repair(database)
    assert query(database, "SELECT DISTINCT pid, end_us IS NOT NULL FROM owners") == [(0, 1)]
    assert query(database, "SELECT count(*) FROM payloads WHERE agent_id IS NOT NULL") == [(0,)]
    assert query(database, "SELECT count(*) FROM payloads") == [(3 * 6 * 4,)]


def test_messages_and_long_texts_that_are_lost(database: Path) -> None:
    """Prompts and payloads say where something of them is lost, and with which file; all of them can be read."""
    spoil(database, leaves("messages"), leaves("blobs"))
    (copy,) = repair(database).copies
    lost = query(database, "SELECT prompt, completion FROM llms")
    assert len(lost) == 3 * 6
    assert all("lost with the damaged database" in prompt and "lost" in completion for prompt, completion in lost)
    texts = query(database, "SELECT returns FROM tools")
    assert all("was lost with the damaged database" in row[0] for row in texts)
    assert copy.standins["blobs"] >= 18


def test_a_long_text_that_leads_astray(database: Path) -> None:
    """Where the chain of a long text leads into another, the text is what is certain of it, and says what is missing;
    nothing of the other is taken for it, and the other is whole."""
    file = File(database, Random(1))
    first, second = (file.pages(f"name = 'blobs' AND path = '/000/00{row}+000000'")[0] for row in (2, 3))
    file.write((first - 1) * file.page, second.to_bytes(4, "big"))
    file.write(0, bytes(16))
    database.write_bytes(file.data)
    (copy,) = repair(database).copies
    assert copy.cut == {"blobs": 1}
    texts = [row[0] for row in query(database, "SELECT text FROM blobs")]
    (cut,) = [text for text in texts if "bytes lost with the damaged database" in text]
    whole = [text for text in texts if text != cut]
    assert len({text[:20] for text in texts}) == len(texts) > 10
    assert all(text.count(text[1:10]) > 100 for text in whole)
    assert 0 < cut.count(cut[1:10]) < 700


def test_events_that_are_lost_are_named(database: Path, master: Path) -> None:
    """Which events are lost is known by their index, exactly; without it, how many numbers are missing."""
    file = File(database, Random(1))
    page = file.pages(leaves("events"))[3]
    file.write((page - 1) * file.page, bytes(file.page))
    database.write_bytes(file.data)
    (copy,) = repair(database).copies
    there = {row[0] for row in query(database, "SELECT id FROM payloads")}
    lost = {row[0] for row in query(master, "SELECT id FROM payloads")} - there
    assert copy.exact
    assert {event["id"] for event in copy.lost_events} == lost
    assert {event["session_id"] for event in copy.lost_events} <= set(SESSIONS)
    assert copy.unreadable_pages == [page]


# What must not come back ----------------------------------------------------------------------------------------------


def test_what_was_erased_stays_erased(database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of sessions that were erased nothing comes back, though the list of free pages and the trees are broken, and the
    file was not rewritten after it."""
    monkeypatch.setattr(erasing, "_QUICK", 0)
    monkeypatch.setattr(erasing, "_LONG", 0)
    with closing(Eraser(database, frozenset(Status))) as eraser:
        eraser.erase(SESSIONS[1])
        eraser.finish()
    file = File(database, Random(2))
    for number in file.pages("name IN ('events', 'messages', 'blobs') AND pagetype = 'internal'"):
        file.spoil(number)
    file.write(32, bytes([0, 0, 255, 255] * 2))
    database.write_bytes(file.data)
    (copy,) = repair(database).copies
    assert copy.adrift
    data = b"".join(files(database)[name] for name in files(database) if ".salvaged-" not in name)
    assert SECRET.encode() not in data
    assert b"session 1" not in data
    assert b"session 2" in data


def test_rows_deleted_on_a_page_that_is_used(database: Path) -> None:
    """A row that was deleted is not read again from the gap it left on its page."""
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("PRAGMA secure_delete = OFF")
        connection.execute("INSERT INTO losses (at_us, pid, events, reason) VALUES (1, 2, 3, 'deleted by hand')")
        connection.execute("DELETE FROM losses WHERE pid = 2")
    assert b"deleted by hand" in database.read_bytes()
    header(database)
    repair(database)
    assert query(database, "SELECT reason FROM losses") == [("disk full",)]


# What is not ours -----------------------------------------------------------------------------------------------------


def test_a_file_that_is_not_ours_is_left_alone(project: Path) -> None:
    """A text, or the database of another program, is not put aside, however it was named."""
    path = project / DB
    path.parent.mkdir()
    path.write_text("What is this?\n" * 500)
    with pytest.raises(ForeignDatabase):
        Repair(path).run()
    path.unlink()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE theirs (a)")
    with pytest.raises(ForeignDatabase):
        Repair(path).run()
    assert [file.name for file in path.parent.iterdir() if ".damaged" in file.name] == []


def test_ours_is_known_by_what_is_in_it(database: Path) -> None:
    """A damaged file that no `-generation` calls ours is known by its tables."""
    Path(f"{database}-generation").unlink()
    header(database)
    assert repair(database).aside is not None
    assert query(database, "SELECT count(*) FROM payloads") == [(3 * 6 * 4,)]


def test_a_mark_that_is_wrong(database: Path) -> None:
    """A database of ours whose header says that it is another program's is put aside and salvaged."""
    with database.open("r+b") as file:
        file.seek(68)
        file.write((APPLICATION_ID ^ 1).to_bytes(4, "big"))
    assert "does not say that it is ours" in repair(database).damage[0]
    assert query(database, "SELECT count(*) FROM payloads") == [(3 * 6 * 4,)]


def test_a_copy_of_a_newer_version(database: Path) -> None:
    """A copy that a newer version wrote is left as it is, and it is said what to do."""
    with database.open("r+b") as file:
        file.seek(60)
        file.write((9).to_bytes(4, "big"))
    copy = database.rename(f"{database}.damaged-x")
    before = copy.read_bytes()
    done = Repair(database).run()
    assert "upgrade agentops-local" in done.failed[0][1]
    assert copy.read_bytes() == before


def test_the_ledger_comes_along(database: Path, master: Path) -> None:
    """Where the notes about uploads are lost, accepted requests tell what is done; the rest is looked up there."""
    spoil(database, leaves("uploads"), leaves("targets"))
    repair(database)
    assert query(database, "SELECT url, taken_seq FROM targets") == [(URL, 0)]
    states = dict(query(database, "SELECT kind, group_concat(DISTINCT state) FROM uploads GROUP BY kind"))
    assert states == {"tools": "done", "llms": "done", "actions": "pending", "errors": "pending"}
    assert query(database, "SELECT DISTINCT found FROM deliveries") == [(1,)]
