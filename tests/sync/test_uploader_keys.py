"""Under which key a session travels, and what of it may."""

from __future__ import annotations

import json

import pytest

from agentops_local.config import key_hash
from agentops_local.credentials import save_key
from tests.fakes.agentops_api import AgentOpsAPI
from tests.sync.conftest import Machines
from tests.sync.driving import HOUR, MAKERS, Machine, error, ids_there, llm, posts, tool


def allow(machine: Machine, text: str) -> None:
    """Writes the policy of a machine."""
    machine.file.parent.mkdir(mode=0o700, exist_ok=True)
    machine.file.with_name("sync.toml").write_text(text, encoding="utf-8")


def keys_of(api: AgentOpsAPI) -> set[str | None]:
    """Every key that the server was shown."""
    return {one.headers.get("x-agentops-api-key") for one in api.requests} - {None}


# Keys ---------------------------------------------------------------------------------------------------------------


def test_each_session_under_its_own_key(machines: Machines, api: AgentOpsAPI) -> None:
    """Sessions of two keys go to their two projects, and one without a key under the key of this run."""
    machine = machines(api_key=api.api_key)
    save_key(api.other_api_key)
    mine, others, bare = machine.session(key=api.api_key), machine.session(key=api.other_api_key), machine.session()
    for session in (mine, others, bare):
        session.record(tool())
    machine.drain()
    assert machine.states() == {"done": 3}
    projects = {str(row["id"]): row["project_id"] for row in api.store()["sessions"]}
    first, second = api.api.projects[api.api_key], api.api.projects[api.other_api_key]
    assert [projects[str(each.session_id)] for each in (mine, others, bare)] == [first, second, first]


def test_a_key_that_comes_later(machines: Machines, api: AgentOpsAPI) -> None:
    """A session whose key is not known here waits, and goes as soon as the key is kept."""
    machine = machines(api_key="")
    session = machine.session(key=api.api_key)
    session.record(tool())
    machine.run(2 * HOUR)
    assert api.requests == []
    assert machine.states() == {"pending": 1}
    assert str(key_hash(api.api_key)) in machine.delivery()["reason"]
    machine.clock.after(10, lambda: save_key(api.api_key))
    machine.run(15)
    assert machine.states() == {"done": 1}
    assert machine.delivery()["reason"] is None


def test_a_default_key_that_comes_later(machines: Machines, api: AgentOpsAPI) -> None:
    """A session without any key waits for a default one, and takes no other."""
    machine = machines(api_key="")
    session = machine.session()
    session.record(tool())
    save_key(api.other_api_key)
    machine.run(60)
    assert api.requests == []
    machine.clock.after(10, lambda: save_key(api.api_key, default=True))
    machine.run(15)
    assert machine.states() == {"done": 1}
    assert keys_of(api) == {api.api_key}


def test_a_parent_key(machine: Machine, api: AgentOpsAPI) -> None:
    """A parent key, for which the server answers 500 though it has made the session, costs two requests more."""
    save_key(api.other_api_key)
    session = machine.session()
    session._state.parent_key_hash = key_hash(api.other_api_key)
    session.record(tool())
    with machine.uploader.ledger.transaction() as connection:
        connection.execute("UPDATE sessions SET parent_key_hash = ?", (key_hash(api.other_api_key),))
    machine.drain()
    assert machine.states() == {"done": 1}
    assert machine.paths()[:4] == ["create_session", "reauthorize_jwt", "export", "create_agent"]
    assert (api.session(str(session.session_id)) or {})["project_id_secondary"] is not None


# Policies -----------------------------------------------------------------------------------------------------------


def everything(machine: Machine, **settings: list[str]) -> str:
    """A session with an event of each kind, all of them with something secret; returns its id."""
    session = machine.session(**settings)  # type: ignore[arg-type]  # tags
    for make in MAKERS.values():
        event = make("CUST-1234")
        event.params = {"api_key": "sk-secret-0123456789abcdef", "note": "CUST-1234"}
        session.record(event)
    session.end_session("Fail", "because of CUST-1234")
    return str(session.session_id)


def on_the_wire(machine: Machine) -> str:
    """All that was sent."""
    return "".join((request.body or b"").decode() for _, request, _ in machine.sent)


def test_never(machine: Machine, api: AgentOpsAPI) -> None:
    """Of a session whose policy is "never" the server does not even learn that it exists; others go."""
    allow(machine, '[[upload.rule]]\ntag = "private"\npolicy = "never"\n')
    kept = everything(machine, tags=["private"])
    gone = everything(machine, tags=["public"])
    machine.drain()
    assert kept not in on_the_wire(machine)
    assert kept not in "".join(one.path for one in api.requests)
    assert api.rows(gone)["llms"] == 1
    assert machine.states() == {"done": 4, "pending": 4}


def test_metadata(machine: Machine, api: AgentOpsAPI) -> None:
    """Under "metadata" no payload leaves, and the names, counts and times do."""
    allow(machine, '[upload]\npolicy = "metadata"\n')
    id = everything(machine)
    machine.drain()
    assert machine.states() == {"done": 4}
    text = on_the_wire(machine)
    for secret in ("sk-secret", "prompt CUST", "completion CUST", "error CUST", "because of"):
        assert secret not in text
    (row,) = api.events(id, "llms")
    assert (row["model"], row["prompt_tokens"]) == ("gpt-4o", 3)
    assert set(machine.column("SELECT policy FROM batches")) == {"metadata"}


def test_masked(machine: Machine, api: AgentOpsAPI) -> None:
    """Under "masked" what the rules name is replaced before it leaves, and the rest goes."""
    allow(machine, '[upload]\npolicy = "masked"\nredact = ["secrets", "regex CUST-[0-9]+"]\n')
    id = everything(machine)
    machine.drain()
    assert machine.states() == {"done": 4}
    assert "CUST-1234" not in on_the_wire(machine)
    assert "sk-secret" not in on_the_wire(machine)
    assert "completion" in json.dumps(api.events(id, "llms"))


def test_a_policy_that_is_edited_while_it_runs(machine: Machine, api: AgentOpsAPI) -> None:
    """A policy holds from the next request on, the stricter and the looser one."""
    session = machine.session()
    session.record(tool(1))
    machine.clock.after(10, lambda: allow(machine, '[upload]\npolicy = "never"\n'))
    machine.clock.after(10, lambda: session.record(tool(2)))
    machine.run(60)
    assert machine.states() == {"done": 1, "pending": 1}
    machine.clock.after(10, lambda: allow(machine, '[upload]\npolicy = "metadata"\n'))
    machine.run(20)
    assert machine.states() == {"done": 2}
    assert "tool 2" in on_the_wire(machine)
    assert "number\\" not in json.dumps(api.events(str(session.session_id), "tools")[1])


def test_a_request_under_an_older_policy_is_found(machine: Machine, api: AgentOpsAPI) -> None:
    """An error that may have been sent under another policy is recognised by what it was then."""
    session = machine.session()
    session.record(error("CUST-1"))
    api.fault("lost_answer", path="create_events")
    machine.steps(3)
    allow(machine, '[upload]\npolicy = "metadata"\n')
    machine.drain()
    assert machine.states() == {"done": 1}
    assert len(posts(api, "create_events")) == 1
    assert len(ids_there(api, session, "errors")) == 1


@pytest.mark.parametrize("text", ["[upload", '[upload]\npolicy = "some"\n', "[uploads]\n"])
def test_a_policy_that_cannot_be_understood(machine: Machine, api: AgentOpsAPI, text: str) -> None:
    """While the policy cannot be understood nothing leaves; mended, everything goes on."""
    session = machine.session()
    session.record(llm(1))
    machine.clock.after(10, lambda: allow(machine, text))
    machine.clock.after(10, lambda: session.record(llm(2)))
    machine.run(3 * HOUR)
    assert machine.states() == {"done": 1, "pending": 1}
    assert "sync.toml" in machine.delivery()["reason"]
    machine.clock.after(10, lambda: allow(machine, ""))
    machine.run(15)
    assert machine.states() == {"done": 2}
    assert len(ids_there(api, session, "llms")) == 2
