from __future__ import annotations

import json
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest

from tests.server.running import BEGAN, ENDED, Api, llm, tool

LATER = "2026-02-01T00:00:00.000000+00:00"
ENVIRONMENT = {
    "SDK": {"AgentOps SDK Version": "0.3.26"}, "OS": {"Hostname": "there", "OS": "Linux"},
    "CPU": {"Total cores": 2, "CPU Usage": "5.0%"}, "RAM": {"Total": "8 GB", "Used": "1 GB"},
    "Disk": {"/dev/sda": {"Used": "3 GB"}}, "Virtual Environment": {"Virtual Environment": None},
}  # fmt: skip


def test_a_session_is_created(api: Api) -> None:
    """A new session is answered with a token and a URL, and is there with everything that was said of it."""
    session_id = str(uuid4())
    said = {
        "session_id": session_id, "init_timestamp": BEGAN, "end_timestamp": ENDED, "tags": ["a", "b"],
        "end_state": "Success", "end_state_reason": "done", "video": "https://example.com/v", "host_env": ENVIRONMENT,
    }  # fmt: skip
    answer = api.by_key("/v2/create_session", {"session": said})
    assert answer.status == 200
    assert set(answer.body) == {"status", "jwt", "session_url"}
    assert answer.body["status"] == "Success"
    assert answer.body["session_url"] == f"{api.url}/drilldown?session_id={session_id}"
    found = api.export(session_id)
    assert {kind: found[kind] for kind in ("actions", "llms", "tools", "errors")} == {
        "actions": [], "llms": [], "tools": [], "errors": [],
    }  # fmt: skip
    session = found["session"]
    assert session.pop("project_id")
    assert json.loads(session.pop("tags")) == ["a", "b"]
    assert session == {
        "id": session_id, "project_id_secondary": None, "init_timestamp": BEGAN, "end_timestamp": ENDED,
        "end_state": "Success", "end_state_reason": "done", "video": "https://example.com/v", "host_env": ENVIRONMENT,
    }  # fmt: skip


def test_the_classic_client_s_first_words(api: Api) -> None:
    """The whole session object of the classic client is taken; what is no column of a session is ignored."""
    session = api.create(
        end_timestamp=None, end_state="Indeterminate", tags=None, video=None, end_state_reason=None,
        host_env=ENVIRONMENT, config="", jwt=None, _lock="", token_cost="", event_counts={"llms": 0},
    )  # fmt: skip
    found = session.export()["session"]
    assert (found["end_timestamp"], found["end_state"], found["tags"]) == (None, "Indeterminate", "[]")


def test_a_session_created_again_loses_nothing(api: Api) -> None:
    """Creating a session again is answered with a token; what it has stays, what it lacks is filled in."""
    session = api.create(tags=["first"])
    session.events(tool())
    again = api.create(session.id.upper().replace("-", ""), init_timestamp=LATER, tags=["second"], video="v")
    assert again.id.lower() != session.id
    found = session.export()
    assert json.loads(found["session"]["tags"]) == ["first"]
    assert (found["session"]["init_timestamp"], found["session"]["video"]) == (BEGAN, "v")
    assert len(found["tools"]) == 1
    assert session.events(tool()).status == 200
    assert again.events(tool()).status == 200
    assert session.stats()["events"] == 3


def test_an_ended_session_created_again_stays_ended(api: Api) -> None:
    """A process that inherits a session by its id takes no end away."""
    session = api.create()
    session.update(end_timestamp=ENDED, end_state="Success", is_running=False)
    api.create(session.id, end_timestamp=None, end_state="Indeterminate")
    found = session.export()["session"]
    assert (found["end_timestamp"], found["end_state"]) == (ENDED, "Success")


def test_what_is_said_replaces_and_what_is_not_stays(api: Api) -> None:
    """An update replaces the fields it names, with null where it says null, and leaves the others."""
    session = api.create(tags=["a"], video="v", host_env=ENVIRONMENT)
    session.update(tags=["b"])
    found = session.export()["session"]
    assert (json.loads(found["tags"]), found["video"], found["host_env"]) == (["b"], "v", ENVIRONMENT)
    session.update(video=None, host_env=None, tags=None)
    found = session.export()["session"]
    assert (found["tags"], found["video"], found["host_env"]) == ("[]", None, None)
    assert found["init_timestamp"] == BEGAN


def test_an_update_tells_the_cost(api: Api) -> None:
    """The answer to an update tells the cost so far as an exact decimal text, never as a float."""
    session = api.create()
    answer = session.update(tags=[])
    assert answer.body == {
        "status": "success", "token_cost": "0.00", "session_url": f"{api.url}/drilldown?session_id={session.id}",
    }  # fmt: skip
    session.events(llm(cost="0.1"), llm(cost=0.2), llm(cost=None), llm(cost="0.000000000001"))
    costs = [session.update(tags=[]).body["token_cost"], session.update().body["token_cost"]]
    assert costs == ["0.300000000001"] * 2
    assert Decimal(costs[0]) == Decimal("0.300000000001")


@pytest.mark.parametrize(
    ("said", "ended"),
    [
        ({"end_timestamp": ENDED, "is_running": True, "end_state": "Indeterminate"}, False),  # get_analytics
        ({"end_timestamp": ENDED, "is_running": False, "end_state": "Success"}, True),  # end_session
        ({"is_running": False}, True),
        ({"end_state": "Fail"}, True),
        ({"end_state": "Success", "is_running": True}, True),
        ({"end_timestamp": ENDED, "end_state": "Indeterminate"}, True),  # the daemon
        ({"end_timestamp": None, "end_state": "Indeterminate"}, False),
        ({"tags": ["x"]}, False),
    ],
)
def test_what_is_an_end(api: Api, said: dict[str, Any], ended: bool) -> None:
    """A session has ended when it no longer runs, or is said to have succeeded or failed, or has an end and nothing is
    said of running; not when the analytics of a running one are asked for."""
    session = api.create()
    assert session.update(**said).status == 200
    found = session.export()["session"]
    assert (found["end_timestamp"] is not None) is ended
    if said.get("end_timestamp") and ended:
        assert found["end_timestamp"] == ENDED
    first = found["end_timestamp"]
    session.update(**said)
    assert session.export()["session"]["end_timestamp"] == first, "said twice, it is the same end"


def test_a_running_process_takes_no_end_away(api: Api) -> None:
    """A client that has not heard of the end, and sends its whole object with nulls, undoes nothing of it."""
    session = api.create()
    session.update(end_timestamp=ENDED, end_state="Fail", end_state_reason="why", video="v", is_running=False)
    session.update(
        end_timestamp=None, end_state="Indeterminate", end_state_reason=None, video=None, tags=["x"], is_running=True
    )
    found = session.export()["session"]
    assert (found["end_timestamp"], found["end_state"]) == (ENDED, "Fail")
    assert (found["end_state_reason"], found["video"], found["tags"]) == ("why", "v", '["x"]')


def test_failure_is_fail(api: Api) -> None:
    """`Failure`, the word of the classic documentation, is stored as `Fail`."""
    session = api.create()
    session.update(end_state="Failure")
    assert session.export()["session"]["end_state"] == "Fail"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("session_id", "not-a-uuid"), ("session_id", 7), ("init_timestamp", "soon"), ("init_timestamp", 12),
        ("end_timestamp", "x"), ("end_state", "success"), ("end_state", 1), ("tags", {"a": 1}), ("tags", 5),
        ("host_env", "linux"), ("host_env", ["x"]), ("is_running", "yes"),
    ],
)  # fmt: skip
def test_a_field_that_is_wrong_is_named(api: Api, field: str, value: Any) -> None:
    """A session with a value that it cannot have is refused with 400; the message names field and value, and nothing of
    it is stored."""
    session_id = str(uuid4())
    answer = api.by_key("/v2/create_session", {"session": {"session_id": session_id, field: value}})
    assert answer.status == 400
    assert set(answer.body) == {"path", "message"}
    assert answer.body["path"] == "/v2/create_session"
    assert field in answer.message
    assert json.dumps(value, separators=(",", ":")).strip('"') in answer.message
    assert api.by_key("/v2/reauthorize_jwt", {"session_id": session_id}).message == "Invalid Session Id"


@pytest.mark.parametrize(
    "body", ["{", "[]", '"x"', "{}", '{"session": null}', '{"session": []}', "", b"\xff", "[" * 9999]
)
def test_a_body_that_is_none_is_refused(api: Api, body: Any) -> None:
    """A body that is no JSON, or has no session, is refused with 400."""
    answer = api.by_key("/v2/create_session", body)
    assert answer.status == 400
    assert answer.message


def test_a_token_is_renewed(api: Api) -> None:
    """A key gets a new token for a session of its project, which works."""
    session = api.create()
    answer = api.by_key("/v2/reauthorize_jwt", {"session_id": session.id.upper()})
    assert answer.status == 200
    assert set(answer.body) == {"status", "jwt"}
    assert api.by_token(answer.body["jwt"], "/v2/create_events", {"events": [tool()]}).body == "Success"


def test_an_unknown_session_is_told_so(api: Api) -> None:
    """For a session that is not there no token is given, and no rows."""
    unknown = str(uuid4())
    answer = api.by_key("/v2/reauthorize_jwt", {"session_id": unknown})
    assert (answer.status, answer.message) == (400, "Invalid Session Id")
    for what in ("stats", "export"):
        answer = api.by_key(f"/v2/sessions/{unknown}/{what}", method="GET")
        assert (answer.status, answer.message) == (400, "Session does not belong to this project")
        assert api.by_key(f"/v2/sessions/x/{what}", method="GET").status == 400


def test_environments_are_stored_once(api: Api) -> None:
    """A host environment comes back as it was sent, with its nulls, whatever moment it was taken at."""
    sent = []
    for usage in ("1%", "2%"):
        environment = {**ENVIRONMENT, "CPU": {"Total cores": 2, "CPU Usage": usage}}
        sent.append((api.create(host_env=environment), environment))
    for session, environment in sent:
        assert session.export()["session"]["host_env"] == environment
