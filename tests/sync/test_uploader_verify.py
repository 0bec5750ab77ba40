"""What is here against what is there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

import pytest

from agentops_local.session import Session
from agentops_sync.client import Client
from agentops_sync.requeue import requeue
from agentops_sync.verify import Unanswered, Verdicts, Verifier
from tests.fakes.agentops_api import AgentOpsAPI
from tests.sync.driving import MAKERS, Machine, ids_there, tool


@contextmanager
def verifier(machine: Machine) -> Iterator[Verifier]:
    """Somebody who compares."""
    yield Verifier(machine.uploader.ledger, machine, machine.uploader.authorities, machine.timing)


def verify(machine: Machine, session: int = 1, repair: bool = False) -> Verdicts:
    """The comparison of a session; what is missing is made ready to be sent again."""
    with verifier(machine) as one:
        found = one.verify(session)
        if repair:
            one.repair(session, found)
        return found


@pytest.fixture
def session(machine: Machine) -> Session:
    """A session that is uploaded, with five events of each kind."""
    made = machine.session(tags=["a", "b"])
    for number in range(5):
        for make in MAKERS.values():
            made.record(make(number))
    made.end_session("Success", "well")
    machine.drain()
    assert machine.states() == {"done": 20}
    return made


def rows(api: AgentOpsAPI, session: Session, kind: str) -> list[dict[str, Any]]:
    """The server's own rows."""
    return api.api.store.of_session[kind, str(session.session_id)]


def test_what_was_uploaded_agrees(machine: Machine, session: Session) -> None:
    """After a clean upload everything that is here is there, once, as it was sent."""
    found = verify(machine)
    assert found.agrees, found
    assert found.local == found.there == dict.fromkeys(MAKERS, 5)
    assert found.stats == {}
    assert found.to_json()["agrees"] is True


def test_missing_errors(machine: Machine, api: AgentOpsAPI, session: Session) -> None:
    """Errors that the export lacks, though the server counts them, may be there: they are told, and not sent again."""
    del rows(api, session, "errors")[1:3]
    found = verify(machine, repair=True)
    assert (len(found.unseen), found.missing, found.agrees) == (2, [], False)
    assert machine.states() == {"done": 20}


@pytest.mark.parametrize("kind", [kind for kind in MAKERS if kind != "errors"])
def test_missing(machine: Machine, api: AgentOpsAPI, session: Session, kind: str) -> None:
    """Rows that are gone on the server are found missing, and repaired by being sent again, once."""
    gone = rows(api, session, kind)[1:3]
    for row in gone:
        del api.api.store.events[kind][row["id"]]
    del rows(api, session, kind)[1:3]
    found = verify(machine, repair=True)
    assert len(found.missing) == 2
    assert not found.agrees
    assert set(found.missing) == {row["id"] for row in gone}
    assert machine.states() == {"done": 18, "pending": 2}
    machine.drain()
    assert machine.states() == {"done": 20}
    assert verify(machine).agrees
    assert len(set(ids_there(api, session, kind))) == len(ids_there(api, session, kind)) == 5


def test_doubled(machine: Machine, api: AgentOpsAPI, session: Session) -> None:
    """An error that is there twice is told, and no repair makes it three."""
    rows(api, session, "errors").append({**rows(api, session, "errors")[0], "id": 99})
    found = verify(machine, repair=True)
    assert len(found.doubled) == 1
    assert (found.missing, found.foreign) == ([], {})
    assert not found.agrees
    machine.drain()
    assert len(rows(api, session, "errors")) == 6


@pytest.mark.parametrize(
    ("kind", "field", "value"),
    [("tools", "name", "other"), ("llms", "model", "gpt-5"), ("llms", "prompt_tokens", 4), ("actions", "logs", "x")],
)
def test_drifted(machine: Machine, api: AgentOpsAPI, session: Session, kind: str, field: str, value: object) -> None:
    """A row that differs is told with the fields that do."""
    rows(api, session, kind)[2][field] = value
    found = verify(machine)
    assert [(one.kind, one.fields) for one in found.drifted] == [(kind, [field])]
    assert not found.agrees


def test_a_session_that_differs_is_sent_again(machine: Machine, api: AgentOpsAPI, session: Session) -> None:
    """A session's row that differs is repaired."""
    api.api.store.sessions[str(session.session_id)].update(end_state="Fail", tags=None)
    found = verify(machine, repair=True)
    assert [(one.kind, sorted(one.fields)) for one in found.drifted] == [("session", ["end_state", "tags"])]
    machine.drain()
    assert verify(machine).agrees


def test_foreign(machine: Machine, api: AgentOpsAPI, session: Session) -> None:
    """Rows of another machine are counted, and are no fault."""
    rows(api, session, "tools").append({**rows(api, session, "tools")[0], "id": str(uuid4())})
    found = verify(machine)
    assert found.foreign == {"tools": 1}
    assert found.agrees
    assert found.stats == {"events": -1}


def test_truncated(machine: Machine, api: AgentOpsAPI, session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a truncated export does not show is unseen, not missing, and is not sent again."""
    monkeypatch.setattr("agentops_sync.reconcile.EXPORT_ROWS", 3)
    api.settings.export_limit = 3
    found = verify(machine, repair=True)
    assert found.missing == []
    assert len(found.unseen) == 4 * 2
    assert not found.agrees
    assert machine.states() == {"done": 20}


def test_waiting(machine: Machine, api: AgentOpsAPI, session: Session) -> None:
    """Events that have not been sent are waiting, those given up as well."""
    api.poison("poison", 400, "22P02")
    other = machine.session()
    other.record(tool("poison"))
    other.record(tool("fine"))
    machine.drain()
    found = verify(machine, 2)
    assert found.waiting == 1
    assert not found.agrees


def test_counted_twice(machine: Machine, api: AgentOpsAPI, session: Session) -> None:
    """What the server counts too often is told, and is no fault of the rows."""
    api.api.store.stats[str(session.session_id)]["events"] += 7
    found = verify(machine)
    assert found.stats == {"events": 7}
    assert found.agrees


def test_unanswered(machine: Machine, api: AgentOpsAPI, session: Session) -> None:
    """Without the server's answer there is no verdict."""
    machine.session()
    machine.uploader.outbox.take()
    for number in (2, 99):
        with pytest.raises(Unanswered, match="not been uploaded"):
            verify(machine, number)
    api.fault("502_before", path="export")
    with pytest.raises(Unanswered, match="502"):
        verify(machine)
    api.revoke(api.api_key)
    with pytest.raises(Unanswered, match="Invalid API Key"):
        verify(machine)


def test_verify_changes_nothing(machine: Machine, api: AgentOpsAPI, session: Session) -> None:
    """A comparison asks for the export and the stats, and changes nothing here or there."""
    before, changed = api.store(), machine.text()
    sent = len(machine.sent)
    verify(machine)
    assert api.store() == before
    assert machine.text() == changed
    assert sorted(machine.paths(sent)) == ["export", "stats"]


def test_requeue_of_one_session(machine: Machine, api: AgentOpsAPI) -> None:
    """Only what was given up of the session that is named is sent again."""
    api.poison("poison", 400, "22P02")
    first, second = machine.session(), machine.session()
    for session in (first, second):
        session.record(tool("poison"))
    machine.drain()
    assert machine.states() == {"dead": 2}
    api.api.poisons.clear()
    asked = requeue(machine.uploader.ledger, session=2)
    assert (asked.dead, asked.uncertain, asked.sessions, asked.parked) == (1, 0, 0, 0)
    machine.drain()
    assert machine.states() == {"dead": 1, "done": 1}
    assert len(ids_there(api, second, "tools")) == 1


def test_the_client_verifies_too(machine: Machine, api: AgentOpsAPI, session: Session) -> None:
    """The comparison needs nothing but a transport: the plain client does."""
    client = Client(api.url)
    made = Verifier(machine.uploader.ledger, client, machine.uploader.authorities, machine.timing)
    assert made.verify(1).agrees
    client.close()
