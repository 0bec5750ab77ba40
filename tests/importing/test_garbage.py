"""Files of which a part is something else than it should be."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agentops_local.importing import take_in
from tests.importing.looking import query
from tests.importing.test_chat import MESSAGES
from tests.importing.test_otlp import AGENT, CHAT, TOOL, request, span

TIME = "2026-01-31T12:00:00Z"
SESSION = "0190a000-0000-7000-8000-0000000000a0"
EVENT = {"id": SESSION, "init_timestamp": TIME, "timestamp": TIME, "agent_id": SESSION, "params": {"a": "b"}}
CALL = {**EVENT, "model": "m", "cost": 0.5, "prompt": [{"role": "user", "content": "q"}], "prompt_tokens": 3}
SAMPLES: dict[str, list[Any]] = {
    "chat": [{"messages": MESSAGES, "reward": 1, "task_id": 3, "model": "m", "created_at": TIME}],
    "v2": [{"session": {"id": SESSION, "init_timestamp": TIME, "end_timestamp": TIME, "end_state": "Success",
                        "tags": ["a"], "host_env": {"OS": {}}},
            "llms": [CALL], "tools": [EVENT], "actions": [EVENT], "errors": [EVENT]}],
    "jsonl": [
        {"type": "session", "format": 1, "id": SESSION, "init_timestamp": TIME, "tags": ["a"], "host_env": {"OS": {}},
         "agents": [{"id": SESSION, "name": "a"}], "owners": [{"number": 1, "pid": 3, "start_timestamp": TIME}],
         "moment": {"CPU": {}}, "events": 2},
        {"type": "price", "number": 1, "provider": "p", "model": "m", "from_timestamp": TIME, "rates": {"input": "1"},
         "looked_timestamp": TIME},
        {"type": "node", "number": 1, "message": {"role": "user"}},
        {"type": "node", "number": 2, "parent": 1, "message": {"role": "assistant"}},
        {"type": "event", **CALL, "kind": "llms", "owner": 1, "price": 1, "prompt_form": 0, "completion_form": 1,
         "completion": {"role": "assistant"}, "extra": {"a": 1}},
        {"type": "event", **CALL, "id": SESSION[:-1] + "1", "kind": "llms", "prompt_form": 0, "prompt_node": 1,
         "completion_form": 1, "completion_node": 2},
    ],
    "otlp": [request(span(1, said=AGENT), span(2, 1, said=CHAT), span(3, 1, said=TOOL, status={"code": 2}))],
}  # fmt: skip
JUNK = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False) | st.text(max_size=4)
    | st.sampled_from(["\x00", "\ud800", SESSION, TIME]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2), max_leaves=4,
)  # fmt: skip


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The paths to all that a value holds."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [one for key, item in inner for one in ((*path, key), *places(item, (*path, key)))]


@pytest.mark.parametrize("form", SAMPLES)
@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_whatever_stands_there(form: str, data: st.DataObject, tmp_path: Path) -> None:
    """Whatever stands in a place of a file, taking it in ends: what it brings is sound and can be read, the rest is
    told; and a second time it brings nothing."""
    value = copy.deepcopy(SAMPLES[form])
    for _ in range(data.draw(st.integers(1, 2))):
        *path, last = data.draw(st.sampled_from(places(value)))
        inside: Any = value
        for key in path:
            inside = inside[key]
        inside[last] = data.draw(JUNK)
    file, db = tmp_path / "file", tmp_path / "db"
    file.write_text("".join(json.dumps(one) + "\n" for one in value))
    done = take_in(db, [file], form=form)
    if db.exists():
        for view in ("llms", "tools", "actions", "errors", "session_stats"):
            query(db, f"SELECT * FROM {view}")
        assert query(db, "PRAGMA foreign_key_check") == []
        again = take_in(db, [file], form=form)
        assert (again.events, again.new_sessions, again.skipped) == (0, 0, done.skipped)
    for left in tmp_path.iterdir():
        left.unlink()
