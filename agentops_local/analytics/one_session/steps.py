"""Some events of a session as people read them: what each was asked, and what it gave."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass

from agentops_local.analytics.one_session.messages import spoken, words
from agentops_local.analytics.reading import iso
from agentops_local.analytics.whole import value

MOST = 4_000  # characters of a text

STEPS = """
SELECT p.seq, p.id, p.kind, coalesce(p.name, p.model) AS name, p.agent_name, p.init_us, p.end_us, p.params, p.returns,
       (SELECT t.text FROM message_texts t WHERE t.id = p.prompt) AS asked,
       (SELECT t.text FROM message_texts t WHERE t.id = p.completion) AS said
FROM payloads p WHERE p.seq IN (SELECT value FROM json_each(?)) ORDER BY p.seq
"""


@dataclass(frozen=True)
class Step:
    """An event.

    Attributes:
        name: of the tool, action or error type; for an LLM call its model.
        given: what it was asked, cut to `MOST` characters: its params; of an LLM call the last message of the prompt.
        got: what it gave, cut alike: what it returned; of an LLM call the completion.
    """

    seq: int
    id: str
    kind: str
    name: str | None
    agent: str | None
    init_us: int
    end_us: int | None
    given: str | None
    got: str | None

    def to_json(self) -> dict[str, object]:
        """All of it, times in ISO 8601."""
        return {
            "id": self.id, "seq": self.seq, "kind": self.kind, "name": self.name, "agent_name": self.agent,
            "init_timestamp": iso(self.init_us), "end_timestamp": iso(self.end_us), "given": self.given,
            "got": self.got,
        }  # fmt: skip


def steps(connection: sqlite3.Connection, seqs: Iterable[int | None]) -> dict[int, Step]:
    """Events by their seq; for a few of them."""
    wanted = json.dumps([seq for seq in seqs if seq is not None])
    return {row["seq"]: _step(row) for row in connection.execute(STEPS, (wanted,)).fetchall()}


def shown(payload: str | None) -> str | None:
    """A payload as people read it, cut."""
    return None if payload is None else _cut(spoken(value(payload)) if payload[:1] == '"' else payload)


def _step(row: sqlite3.Row) -> Step:
    given, got = shown(row["params"]), shown(row["returns"])
    if row["kind"] == "llms":
        given = given if row["asked"] is None else _cut(words(row["asked"]))
        got = got if row["said"] is None else _cut(words(row["said"]))
    return Step(
        row["seq"], row["id"], row["kind"], row["name"], row["agent_name"], row["init_us"], row["end_us"], given, got
    )


def _cut(text: str) -> str:
    return text if len(text) <= MOST else f"{text[: MOST - 1]}…"
