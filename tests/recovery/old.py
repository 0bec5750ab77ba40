"""A database with something of everything, which is then damaged."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from decimal import Decimal
from pathlib import Path

import pytest

from agentops_local.analytics import erase as erasing
from agentops_local.analytics.owners import Status
from agentops_local.event import ActionEvent, ErrorEvent, LLMEvent, ToolEvent
from agentops_local.recorder import writes
from agentops_local.recorder.recorder import Recorder
from agentops_local.recorder.state import SessionState

SESSIONS = [f"0190a000-0000-7000-8000-0000000000a{number}" for number in range(3)]
ERASED = "0190a000-0000-7000-8000-0000000000ee"
SECRET = "hunter2-was-erased"  # noqa: S105 - it is none
SHARED = "what every session repeats " * 200  # a long text, in databases old and new
URL = "http://127.0.0.1:9/api"

_LEDGER = f"""
INSERT INTO targets (id, url, taken_seq, taken_revision, taken_agent)
SELECT 1, '{URL}', max(seq), 99, 99 FROM events;
INSERT INTO deliveries (target, session, state, created) SELECT 1, seq, 'present', 1 FROM sessions WHERE id <> '';
INSERT INTO agent_deliveries (target, agent, session, id, revision_sent)
SELECT 1, a.seq, a.session, a.id, a.revision FROM agents a JOIN sessions s ON s.seq = a.session WHERE s.id <> '';
INSERT INTO batches (target, session, kind, policy, events, bytes, sent_us, sent_mono_us, boot, state)
SELECT 1, session, kind, 'full', json_group_array(seq), 9, 8, 7, 'b', 'ok'
FROM events WHERE kind IN ('tools', 'llms') GROUP BY session, kind, seq / 20;
INSERT INTO uploads (target, event, session, kind, state, batch)
SELECT 1, e.seq, e.session, CASE e.kind WHEN 'apis' THEN 'actions' ELSE e.kind END,
       CASE WHEN e.kind IN ('tools', 'llms') THEN 'done' ELSE 'pending' END,
       (SELECT b.id FROM batches b JOIN json_each(b.events) p WHERE p.value = e.seq)
FROM events e JOIN sessions s ON s.seq = e.session WHERE s.id <> '';
INSERT INTO scores (session, event, name, kind, number, text, author, at_us)
SELECT seq, NULL, 'helpful', 'number', 0.5 + seq, 'a remark', 'somebody', 5 FROM sessions WHERE id <> ''
UNION ALL SELECT session, id, 'thumb', 'thumb', seq % 2, NULL, NULL, 6 FROM events WHERE kind = 'tools'
UNION ALL SELECT seq, NULL, 'note', 'text', NULL, 'look again', NULL, 7 FROM sessions WHERE id <> ''
ORDER BY 1, 8, 2;
INSERT INTO losses (at_us, pid, events, reason) VALUES (5, 6, 7, 'disk full');
INSERT INTO projects (id, name, created_us) VALUES ('0190a000-0000-7000-8000-00000000000f', 'elsewhere', 5);
INSERT INTO projects (id, name, created_us) SELECT value, 'here', 5 FROM about WHERE key = 'generation';
INSERT INTO api_keys (hash, prefix, project, created_us) SELECT randomblob(32), '0190a000', id, 5 FROM projects;
"""


def make_old(path: Path, rounds: int = 12) -> None:
    """Makes it: sessions of all kinds of events, prompts that grow and share their beginning, long texts, a host
    environment, agents, a ledger of uploads, and free pages where a session was erased.

    Of that session no byte is left. In a file that is not rewritten a trace stays in a gap between rows now and then
    (2 files of 60), and would be there after a repair in place as well: such a file is made anew.
    """
    for _ in range(20):
        for end in ("", "-wal", "-shm", "-generation", ".lock"):
            path.with_name(path.name + end).unlink(missing_ok=True)
        _make(path, rounds)
        if SECRET.encode() not in path.read_bytes():
            return
    raise AssertionError("what was erased is in every file")


def _make(path: Path, rounds: int) -> None:
    recorder = Recorder(path)
    _record(recorder, ERASED, 6, SECRET)
    for number, session in enumerate(SESSIONS):
        state = _record(recorder, session, rounds, f"session {number}")
        if number:
            state.end_us, state.end_state, state.end_state_reason = 9, "Success", "done"
            recorder.change(writes.end(state))
    recorder.close()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(erasing, "_QUICK", 0)  # not rewritten, so that free pages stay
        patch.setattr(erasing, "_LONG", 0)
        with closing(erasing.Eraser(path, frozenset(Status))) as eraser:
            eraser.erase(ERASED)
            eraser.finish()
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(_LEDGER)
        assert connection.execute("PRAGMA freelist_count").fetchone()[0] > 3


def _record(recorder: Recorder, session: str, rounds: int, text: str) -> SessionState:
    state = SessionState(session, tags=[text])
    state.environment = ("print", '{"OS": {"OS": "Linux"}}', '{"CPU": {"CPU Usage": "1%"}}')
    state.agent_names = {f"{session[:-2]}{number:02}": f"agent {number} of {text}" for number in range(2)}
    recorder.start(state)
    prompt = [{"role": "system", "content": SHARED}, {"role": "user", "content": text}]
    for turn in range(rounds):
        agent = list(state.agent_names)[turn % 2]
        prompt.append({"role": "user", "content": f"{text}, turn {turn} " * (turn + 1)})
        llm = LLMEvent(prompt=list(prompt), completion=f"answer {turn} of {text}", model="m", cost=Decimal("0.01"),
                       params={"turn": turn}, prompt_tokens=turn)  # fmt: skip
        tool = ToolEvent(name=f"tool {turn}", params={"text": f"{text} {turn} " * 40}, returns=f"{text}{turn}! " * 700)
        action = ActionEvent(action_type="act", params=[text, turn], logs=f"{turn}é" * 600)
        error = ErrorEvent(trigger_event=tool, exception=ValueError(f"{text} {turn}"))
        for event in (llm, tool, action, error):
            recorder.record(state, event, agent, None)
    return state
