from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from agentops_local import clock
from agentops_local.server.collector import Request
from agentops_local.server.store import LOCAL
from tests.cli.calling import environment
from tests.server.passing import HOUR, LATER, OPEN, REASON, House, Sent, us
from tests.server.running import BEGAN, ENDED, tool

# Records, and dies without a word.
RECORDS = """
import os, sys
import agentops_local as agentops
session = agentops.init(db=sys.argv[1])
agentops.record(agentops.ToolEvent(name="x"))
print(session.session_id, flush=True)
os._exit(0)
"""


def ended_by_itself(house: House) -> Sent:
    """A session with an event that has ended by itself."""
    session = house.create()
    session.events(tool())
    house.later(25)
    house.sweep()
    assert session.row == (us(ENDED), "Indeterminate", REASON, 1)
    return session


def test_silence_ends_a_session(house: House) -> None:
    """A collected session of which nothing has come for the time-out ends by itself with the last that is known of it,
    Indeterminate and with the reason; its client has left. Not a moment before, and no other session."""
    bare, busy, over = house.create(), house.create(), house.create()
    busy.events(tool(), tool(end_timestamp=None))
    over.update(is_running=False, end_state="Success", end_timestamp=ENDED)
    house.later(23.99)
    late = house.create()
    house.sweep()
    assert [one.row for one in (bare, busy, late)] == [OPEN] * 3
    house.later(0.02)
    house.sweep()
    assert bare.row == (us(BEGAN), "Indeterminate", REASON, 1)
    assert busy.row == (us(ENDED), "Indeterminate", REASON, 1)
    assert over.row == (us(ENDED), "Success", None, 0)
    assert late.row == OPEN
    with closing(sqlite3.connect(house.path)) as connection:
        exits = connection.execute("SELECT exit FROM owners ORDER BY seq").fetchall()
    assert exits == [("end",), ("end",), ("end",), (None,)]


def test_an_end_raises_the_revision(house: House) -> None:
    """Whoever follows the sessions by their revision learns of an end that came by itself; a sweep that ends nothing
    changes nothing."""
    session = house.create()
    query = "SELECT revision FROM sessions WHERE id = ?"
    found = []
    with closing(sqlite3.connect(house.path)) as connection:
        for hours in (1, 25, 25):
            house.later(hours)
            house.sweep()
            found.append(connection.execute(query, (session.id,)).fetchone()[0])
    assert found[0] < found[1] == found[2]


@pytest.mark.parametrize(
    ("said", "row"),
    [
        ({"end_timestamp": LATER, "end_state": "Success", "is_running": False}, (us(LATER), "Success", None, 0)),
        ({"end_timestamp": LATER, "end_state": "Indeterminate"}, (us(LATER), "Indeterminate", None, 0)),
        ({"end_timestamp": LATER, "end_state": "Fail", "end_state_reason": "x"}, (us(LATER), "Fail", "x", 0)),
    ],
)
@pytest.mark.parametrize("manner", ["update", "create"])
def test_an_end_that_is_told_replaces_it(house: House, manner: str, said: dict[str, Any], row: tuple[Any, ...]) -> None:
    """An end that a client or agentops-sync tells later, with an update or by creating the session again, replaces the
    one that came by itself, reason and all; no later silence touches it."""
    session = ended_by_itself(house)
    if manner == "update":
        session.update(**said)
    else:
        house.create(session_id=session.id, **said)
    assert session.row == row
    house.later(1000)
    house.sweep()
    assert session.row == row


def test_an_end_without_a_time_replaces_it(house: House) -> None:
    """An end without a time is now, whatever time the session had ended with by itself; told twice, it is the same."""
    session = ended_by_itself(house)
    before = clock.now_us()
    session.update(is_running=False)
    first = session.row
    assert first[0] >= before
    assert first[1:] == ("Indeterminate", None, 0)
    session.update(is_running=False)
    assert session.row == first


def test_a_session_that_is_said_to_be_open_is_open(house: House) -> None:
    """Where agentops-sync says that a session has no end yet, the end that came by itself is gone; it comes again with
    the next silence. What says nothing of the end leaves it."""
    session = ended_by_itself(house)
    session.update(tags=["x"])
    session.update(tags=["y"], is_running=True, end_timestamp=None, end_state="Indeterminate")
    house.create(session_id=session.id)
    assert session.row == (us(ENDED), "Indeterminate", REASON, 1)
    session.update(end_timestamp=None, end_state="Indeterminate", end_state_reason=None)
    assert session.row == OPEN
    house.sweep()
    assert session.row == OPEN
    house.later(25)
    house.sweep()
    assert session.row == (us(ENDED), "Indeterminate", REASON, 1)


def test_events_may_come_after_it(house: House) -> None:
    """Events that come after a session has ended by itself are stored, and leave its end as it is."""
    session = ended_by_itself(house)
    session.events(tool(init_timestamp=LATER, end_timestamp=LATER))
    totals = house.store.totals(LOCAL, session.id)
    assert totals is not None
    assert totals.events == 2
    assert session.row == (us(ENDED), "Indeterminate", REASON, 1)


def test_what_was_recorded_here_is_left_alone(project: Path) -> None:
    """A session that was recorded on this machine never ends by silence, not even if its process has died or a client
    has sent something to it."""
    database = project / "agentops.db"
    done = subprocess.run(
        [sys.executable, "-c", RECORDS, str(database)], env=environment(), capture_output=True, text=True, check=True
    )
    session_id = done.stdout.strip()
    house = House(database)
    house.awake = 1e9  # the session began just now, not when those of the other tests do
    house.later(1000)
    house.sweep()
    assert house.row(session_id) == OPEN
    house.create(session_id=session_id).events(tool())
    house.later(1000)
    house.sweep()
    assert house.row(session_id) == OPEN
    house.store.close()


def test_while_something_comes_a_session_is_not_over(house: House) -> None:
    """A session is not ended while it is heard of, however old the events are that an uploader brings."""
    session = house.create()
    for _ in range(10):
        house.later(20)
        session.events(tool())
        house.sweep()
    assert session.row == OPEN
    house.later(20)
    house.collector.reauthorize_jwt(Request(key=str(uuid4()), body=json.dumps({"session_id": session.id}).encode()))
    house.later(20)
    house.sweep()
    assert session.row == OPEN


def test_a_late_event_keeps_a_session(house: House) -> None:
    """A session is not ended while its last event is younger than the time-out."""
    session = house.create()
    session.events(tool(), tool(init_timestamp=LATER, end_timestamp=None), tool())
    house.later(59)  # LATER is 60 hours after the beginning
    house.sweep()
    house.later(24)
    house.sweep()
    assert session.row == OPEN
    house.later(2)
    house.sweep()
    assert session.row == (us(LATER), "Indeterminate", REASON, 1)


@pytest.mark.parametrize(("hours", "grace"), [(24, 1), (0.5, 0.5)])
def test_after_a_start_there_is_a_grace(path: Path, hours: float, grace: float) -> None:
    """After a start a session that was not heard of since is left for an hour, or the time-out if that is less: its
    client may be on its way back. It ends then, however short the collector has been up."""
    first = House(path, hours)
    back, gone = first.create(), first.create()
    first.store.close()
    second = House(path, hours)
    second.asleep = 1000 * HOUR
    second.later(grace * 0.99)
    second.sweep()
    assert (second.row(back.id), second.row(gone.id)) == (OPEN, OPEN)
    second.create(session_id=back.id)
    second.later(grace * 0.02)
    second.sweep()
    assert (second.row(back.id), second.row(gone.id)[3]) == (OPEN, 1)
    second.store.close()


def test_sleep_does_not_count(house: House) -> None:
    """Time during which the machine sleeps is no silence: nobody could be heard."""
    session = house.create()
    house.asleep = 100 * HOUR
    house.sweep()
    assert session.row == OPEN


def test_what_happens_meanwhile_counts(house: House) -> None:
    """What comes between the search and the turn of the project keeps a session, also if another collector brings it;
    what was erased meanwhile stays erased."""
    heard, elsewhere, ended, erased = (house.create() for _ in range(4))
    house.later(25)
    deed = house.collector.sweep(LOCAL)
    assert deed is not None
    heard.update(tags=["x"])
    other = House(house.path)
    Sent(other, elsewhere.id, elsewhere.token).events(tool())
    Sent(other, ended.id, ended.token).update(end_state="Fail", end_timestamp=ENDED)
    other.store.close()
    with closing(sqlite3.connect(house.path)) as connection, connection:
        connection.execute("DELETE FROM owners WHERE session = (SELECT seq FROM sessions WHERE id = ?)", (erased.id,))
        connection.execute("DELETE FROM sessions WHERE id = ?", (erased.id,))
    assert deed.do() == 0
    assert (heard.row, elsewhere.row, ended.row) == (OPEN, OPEN, (us(ENDED), "Fail", None, 0))
    assert not house.store.has_session(LOCAL, erased.id)
