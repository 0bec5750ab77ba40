from __future__ import annotations

import json
import re
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import agentops_local as agentops
from agentops_local.analytics.reading import open_reader
from agentops_local.recorder import rows, writes
from agentops_sync import wire
from agentops_sync.policy import FULL, Policy
from agentops_sync.wire import Ended, session_drift
from tests.recorder.taping import Tape
from tests.sync.table import (
    MASKED,
    METADATA,
    SESSION,
    refused,
    words,
)


def exported_session(body: dict[str, Any]) -> dict[str, Any]:
    """The session as the export shows it."""
    row = {**body, "id": body["session_id"], "project_id": str(uuid4()), "project_id_secondary": None}
    del row["session_id"]
    for name in ("init_timestamp", "end_timestamp"):
        row[name] = row[name] and re.sub(r"\.?0*(?=\+)", "", row[name])
    row["tags"] = json.dumps(row["tags"])
    return row


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    tags=st.lists(words, max_size=3), reason=st.one_of(st.none(), words),
    video=st.one_of(st.none(), words, st.just("https://example.com/v.mp4")),
    state=st.sampled_from(["Success", "Fail", "Indeterminate"]), policy=st.sampled_from([FULL, MASKED, METADATA]),
)  # fmt: skip
def test_every_session_has_a_body_that_the_server_takes(
    tape: Tape, tags: list[str], reason: str | None, video: str | None, state: str, policy: Policy
) -> None:
    """Whatever a session says of itself, every column is in its body, of the type that the server takes; and what it
    exports of that has not drifted."""
    text = rows.words
    row = (json.dumps([text(tag) for tag in tags]), reason and text(reason), video and text(video), state)
    with closing(sqlite3.connect(tape.file)) as writer, writer:
        writer.execute("UPDATE sessions SET tags = ?, end_state_reason = ?, video = ?, end_state = ?, end_us = 1", row)
    with closing(open_reader(tape.file)) as connection:
        body = wire.session_body(connection, 1, ended=None, policy=policy)
    assert body.keys() == SESSION.keys()
    assert refused(SESSION, body) == {}
    assert session_drift(body, exported_session(body)) == []
    assert policy is not METADATA or (body["end_state_reason"], body["video"], body["host_env"]) == (None, None, None)


def test_a_session_has_its_host_environment(project: Path) -> None:
    """The host environment travels whole: what lasts, with the values of the moment in it."""
    session = agentops.init()
    assert session is not None
    host_env = session.host_env
    agentops.end_session("Success")
    with closing(open_reader(project / ".agentops" / "agentops.db")) as connection:
        body: dict[str, Any] = wire.session_body(connection, 1, ended=None, policy=FULL)
    assert body["host_env"] == json.loads(json.dumps(host_env))
    assert "OS" in body["host_env"]


def test_the_end_is_what_the_caller_says(tape: Tape) -> None:
    """The end can be withheld, or told of a session that did not live to tell it."""
    begun = 4102444800_000_000  # in 2100: no end is before the beginning of its session
    tape.state.end_us, tape.state.end_state, tape.state.end_state_reason = begun + 2_000_000, "Success", "done"
    tape.recorder.change(writes.end(tape.state))
    with closing(open_reader(tape.file)) as connection:
        own = wire.session_body(connection, 1, ended=None, policy=FULL)
        withheld = wire.session_body(connection, 1, ended=Ended(None), policy=FULL)
        died = wire.session_body(connection, 1, ended=Ended(begun + 1_500_000, "Fail", "its process died"), policy=FULL)
        odd = wire.session_body(connection, 1, ended=Ended(1, "success"), policy=FULL)
    ends = [(one["end_timestamp"], one["end_state"], one["end_state_reason"]) for one in (own, withheld, died)]
    assert ends == [
        ("2100-01-01T00:00:02.000000+00:00", "Success", "done"),
        (None, "Indeterminate", None),
        ("2100-01-01T00:00:01.500000+00:00", "Fail", "its process died"),
    ]
    assert odd["end_state"] == "Indeterminate"


def test_a_session_that_is_gone_is_told_so(tape: Tape) -> None:
    """A session that was removed, or an empty row in its place, has no body."""
    with closing(sqlite3.connect(tape.file)) as writer, writer:
        writer.execute("UPDATE sessions SET id = ''")
    with closing(open_reader(tape.file)) as connection:
        for number in (1, 99):
            with pytest.raises(wire.SessionGone):
                wire.session_body(connection, number, ended=None, policy=FULL)


def test_an_agent_has_a_name_that_is_text() -> None:
    """The body of an agent is its id and its name, which is text."""
    assert wire.agent_body("a", "worker") == {"id": "a", "name": "worker"}
    assert wire.agent_body("a", "nul\0")["name"] == "nul\ufffd"
    assert wire.agent_body("a", "token=abc", MASKED)["name"] == "token=[redacted]"
