from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import Any

import pytest

from agentops_local import clock
from agentops_local.event import LLMEvent, ToolEvent
from agentops_local.recorder import writes
from agentops_local.recorder.state import Place, SessionState
from agentops_local.recorder.writes import EventWrite
from agentops_local.store import database
from tests.recorder.taping import Tape

CHAT = [{"role": "user", "content": f"m{number}"} for number in range(4)]

# As prune leaves it (see schema.sql): the highest number stays taken, by an empty row.
NO_MESSAGES = """
DELETE FROM events WHERE kind = 'llms';
INSERT INTO messages (content) VALUES ('null');
DELETE FROM messages WHERE id < (SELECT max(id) FROM messages);
"""
EMPTY = """
INSERT INTO sessions (id, revision, init_us) SELECT '', max(revision) + 1, 0 FROM sessions;
INSERT INTO owners (session, pid, started, boot, start_us) SELECT max(seq), 0, '', '', 0 FROM sessions;
INSERT INTO agents (session, id, name, revision)
    SELECT s.seq, '', '', (SELECT max(revision) + 1 FROM agents) FROM sessions s WHERE s.id = '';
"""
NO_SESSION = f"""
{EMPTY}
DELETE FROM events WHERE session = 1;
DELETE FROM owners WHERE session = 1;
DELETE FROM agents WHERE session = 1;
DELETE FROM sessions WHERE seq = 1;
"""
NO_AGENTS = f"""
{EMPTY}
UPDATE events SET agent = NULL;
DELETE FROM agents WHERE id <> '';
"""
NO_OWNERS = f"""
{EMPTY}
DELETE FROM events;
DELETE FROM owners WHERE pid <> 0;
"""


def erase(tape: Tape, script: str) -> None:
    """Deletes rows as another program may, without a question."""
    with closing(sqlite3.connect(tape.file)) as connection:
        connection.execute("PRAGMA foreign_keys = OFF")
        connection.executescript(f"BEGIN IMMEDIATE; {script} COMMIT;")
    assert tape.sound()


def test_messages_that_are_gone_are_written_anew(tape: Tape) -> None:
    """A conversation that this process remembers and the database has lost reads back whole from the next prompt on."""
    tape.call(CHAT[:3], "a")
    epoch = tape.recorder.database.epoch
    erase(tape, NO_MESSAGES)
    calls = [tape.call(CHAT, "b"), tape.call(CHAT[:2], "c"), tape.call(CHAT, "b")]
    assert tape.recorder.database.epoch != epoch
    assert [tape.prompt(call) for call in calls] == [CHAT, CHAT[:2], CHAT]
    assert [tape.llm(call)["completion"] for call in calls] == ["b", "c", "b"]
    assert tape.messages() == 1 + 5 + 1
    assert tape.sound()


def test_the_same_prompt_again_notices_too(tape: Tape) -> None:
    """A prompt that needs no new message is pointed at, and what it points at must be there."""
    tape.call(CHAT)
    erase(tape, NO_MESSAGES)
    assert tape.prompt(tape.call(CHAT)) == CHAT
    assert tape.sound()


@pytest.mark.parametrize("script", [NO_SESSION, NO_AGENTS, NO_OWNERS], ids=["session", "agents", "owners"])
@pytest.mark.parametrize("kind", ["tool", "llm"])
def test_what_an_event_stands_on_is_written_anew(tape: Tape, script: str, kind: str) -> None:
    """A session, its agents or its owner that are gone come back with the next event, which has its agent."""
    agent = str(clock.new_id())
    tape.state.agent_names[agent] = "Ada"
    tape.add(ToolEvent(name="before"), agent)
    tape.call(CHAT[:2])
    erase(tape, script)
    event = LLMEvent(prompt=CHAT) if kind == "llm" else ToolEvent(name="after")
    tape.add(event, agent)
    tape.add(ToolEvent(name="last"))
    assert tape.sound()
    row = tape.row("SELECT session_id, agent_id, agent_name FROM payloads WHERE id = ?", str(event.id))
    assert row == {"session_id": tape.state.id, "agent_id": agent, "agent_name": "Ada"}
    assert tape.value("SELECT agent_name FROM tools WHERE name = 'last'") == "Default Agent"
    assert tape.value("SELECT session_id FROM tools WHERE name = 'last'") == tape.state.id
    assert tape.column("SELECT id FROM sessions WHERE id <> ''") == [tape.state.id]
    if kind == "llm":
        assert tape.prompt(event) == CHAT


def test_no_event_goes_to_the_session_that_came_after(tape: Tape) -> None:
    """A session begun after another was erased gets a number of its own: what the erased one goes on to record is its
    own, and what it was keeps its tags."""
    tape.state.tags = ["mine"]
    tape.add(ToolEvent(name="gone"))
    erase(tape, NO_SESSION)
    after = Tape(tape.file)
    after.add(ToolEvent(name="other"))
    tape.add(ToolEvent(name="mine"))
    tape.call(CHAT)
    after.add(ToolEvent(name="other"))
    after.recorder.close()
    assert tape.column("SELECT name FROM tools WHERE session_id = ?", after.state.id) == ["other", "other"]
    assert tape.column(
        "SELECT coalesce(name, kind) FROM payloads WHERE session_id = ? ORDER BY seq", tape.state.id
    ) == [
        "mine",
        "llms",
    ]
    assert tape.value("SELECT tags FROM sessions WHERE id = ?", tape.state.id) == '["mine"]'
    assert tape.sound()


def test_no_prompt_goes_to_messages_that_came_after(tape: Tape, other: Tape) -> None:
    """Row numbers of erased messages are not those of new ones: a conversation that goes on never goes on from
    another's."""
    tape.call(CHAT[:3])
    erase(tape, NO_MESSAGES)
    strange = [{"role": "user", "content": f"strange {number}"} for number in range(6)]
    foreign = other.call(strange)
    assert tape.prompt(tape.call(CHAT)) == CHAT
    assert tape.prompt(other.call(CHAT[:3])) == CHAT[:3]
    assert tape.prompt(foreign) == strange
    assert tape.messages() == 1 + 6 + 4


def test_no_prompt_goes_to_the_messages_of_another_file(tape: Tape) -> None:
    """Row numbers of one file mean nothing in the file that takes its place, where others have them already."""
    branch = [CHAT[0], CHAT[3], CHAT[2]]
    tape.call(CHAT[:3])
    tape.call(branch)
    tape.file.rename(tape.file.with_name("moved.db"))
    another = Tape(tape.file.with_name("another.db"))
    strange = [{"role": "user", "content": f"strange {number}"} for number in range(6)]
    foreign = another.call(strange)
    another.recorder.close()
    another.file.rename(tape.file)
    calls = [tape.call(CHAT), tape.call(branch)]
    assert [tape.prompt(call) for call in calls] == [CHAT, branch]
    assert tape.prompt(foreign) == strange
    assert [tape.llm(call)["session_id"] for call in calls] == [tape.state.id] * 2
    assert tape.sound()


# A transaction that fails --------------------------------------------------------------------------------------------


class _FailsOnce:
    """Lets the next event write all it stands on, and then fail."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, error: sqlite3.Error) -> None:
        self.errors = [error]
        self.known: list[Place] = []
        self._insert = EventWrite._insert

        def insert(write: EventWrite, connection: sqlite3.Connection, known: Place) -> None:
            self(write, connection, known)

        monkeypatch.setattr(EventWrite, "_insert", insert)

    def __call__(self, write: EventWrite, connection: sqlite3.Connection, known: Place) -> None:
        self.known.append(known)
        if self.errors:
            raise self.errors.pop()
        self._insert(write, connection, known)


def test_numbers_of_a_transaction_that_was_undone_are_not_used(
    tape: Tape, other: Tape, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A session and messages that were rolled back leave their numbers to another process; the event that waited finds
    new ones, and both read back as what they are."""
    monkeypatch.setattr(database, "_RETRY_AFTER", 0.0)
    fails = _FailsOnce(monkeypatch, sqlite3.OperationalError("disk I/O error"))
    tape.state = SessionState(str(clock.new_id()))  # its row comes with its first event
    epoch = tape.recorder.database.epoch
    mine = LLMEvent(prompt=CHAT, completion="mine")
    assert tape.recorder.record(tape.state, mine, None, None) is False
    assert tape.recorder.database.epoch != epoch
    assert tape.rows("SELECT * FROM events") == tape.rows("SELECT * FROM messages") == []

    other.state = SessionState(str(clock.new_id()))
    strange = [{"role": "user", "content": f"strange {number}"} for number in range(4)]
    foreign = other.call(strange, "theirs")
    undone = fails.known[0]
    assert other.state.place is not None
    assert other.state.place.session == undone.session, "the number is given again, or this test shows nothing"

    more = tape.call([*CHAT, {"role": "user", "content": "more"}])
    assert tape.recorder.database.unstored == 0
    assert tape.prompt(mine) == CHAT
    assert tape.prompt(more)[:4] == CHAT
    assert tape.prompt(foreign) == strange
    sessions = [tape.llm(call)["session_id"] for call in (mine, more, foreign)]
    assert sessions == [tape.state.id, tape.state.id, other.state.id]
    assert tape.messages() == 5 + 5 + 1
    assert tape.sound()


@pytest.mark.parametrize(
    "error",
    [
        sqlite3.IntegrityError("FOREIGN KEY constraint failed"),
        sqlite3.ProgrammingError("Cannot operate on a closed database."),
    ],
    ids=["lost ground", "closed"],
)
@pytest.mark.parametrize("make", [lambda: LLMEvent(prompt=CHAT, completion="a"), lambda: ToolEvent(name="t")])
def test_what_can_be_mended_is_mended_within_the_call(
    tape: Tape, monkeypatch: pytest.MonkeyPatch, error: sqlite3.Error, make: Any
) -> None:
    """Lost ground and a closed connection cost a second attempt under another epoch, and no second row."""
    tape.call(CHAT[:2])
    epoch = tape.recorder.database.epoch
    fails = _FailsOnce(monkeypatch, error)
    event = tape.add(make())
    assert len(fails.known) == 2
    assert fails.known[0].epoch < fails.known[1].epoch
    assert tape.recorder.database.epoch != epoch
    assert tape.value("SELECT count(*) FROM events") == 2
    assert tape.value("SELECT count(*) FROM owners") == tape.value("SELECT count(*) FROM agents") == 1
    if isinstance(event, LLMEvent):
        assert tape.prompt(event) == CHAT
        assert tape.messages() == 5


@pytest.mark.parametrize("noticed", [True, False], ids=["after an event", "at once"])
def test_a_session_erased_before_its_end_is_ended(tape: Tape, noticed: bool) -> None:
    """A change of a session whose row is gone is made on the row written anew, whether or not an event came before."""
    tape.add(ToolEvent(name="gone"))
    erase(tape, NO_SESSION)
    if noticed:
        tape.add(ToolEvent(name="kept"))
    tape.state.end_us = clock.now_us()
    tape.state.end_state = "Success"
    tape.recorder.change(writes.end(tape.state))
    row = tape.row("SELECT id, end_us, end_state FROM sessions WHERE id <> ''")
    assert row == {"id": tape.state.id, "end_us": tape.state.end_us, "end_state": "Success"}
