"""The schema: `schema.sql` as statements, and the numbers by which a file says that it is ours."""

from __future__ import annotations

import sqlite3
from functools import cache
from pathlib import Path

APPLICATION_ID = 0x41474F4C  # "AGOL" in the header of the file
VERSION = 1  # PRAGMA user_version; raised together with a migration

# What the recorder writes, by what it prices, and what is said of it: table and columns. A schema that is damaged may
# lack one, and be sound in SQLite's eyes.
COLUMNS = {
    "about": "key, value",
    "blobs": "id, hash, text",
    "environments": "id, fingerprint, host_env",
    "sessions": (
        "seq, id, revision, init_us, end_us, auto_ended, end_state, end_state_reason, tags, video, environment, "
        "moment, key_hash, parent_key_hash, joined"
    ),
    "owners": "seq, session, pid, started, boot, host, program, start_us, end_us, exit",
    "agents": "seq, session, id, name, revision",
    "messages": "id, parent, hash, content",
    "prices": "id, provider, model, from_us, until_us, rates, kind, source, looked_us, ended_us",
    "events": (
        "seq, session, id, kind, owner, agent, parent, init_us, end_us, name, params, returns, logs, provider, model, "
        "prompt, prompt_form, completion, completion_form, prompt_tokens, completion_tokens, cache_read_tokens, "
        "cache_write_tokens, reasoning_tokens, cost_pusd, cost_source, price, thread_id, screenshot, code, details, "
        "trigger_id, trigger_kind, extra"
    ),
    "losses": "id, at_us, pid, events, reason",
    "scores": "id, session, event, name, kind, number, text, author, at_us",
}


# What everybody else reads.
VIEWS = ("message_texts", "payloads", "llms", "tools", "actions", "errors", "session_stats", "scored", "egress")


@cache
def schema_text() -> str:
    """The text of schema.sql: beside the package in a wheel, one folder up in a checkout."""
    package = Path(__file__).resolve().parent.parent
    for folder in (package, package.parent):
        file = folder / "schema.sql"
        if file.is_file():
            return file.read_text(encoding="utf-8")
    raise FileNotFoundError(f"schema.sql is neither in {package} nor in {package.parent}: the installation is broken")


def statements(text: str) -> list[str]:
    """The statements of an SQL text. `executescript` would commit the transaction in which they are to run."""
    found: list[str] = []
    pending = ""
    for line in text.splitlines(keepends=True):
        if not pending and (not line.strip() or line.lstrip().startswith("--")):
            continue
        pending += line
        if sqlite3.complete_statement(pending):
            found.append(pending.strip())
            pending = ""
    return found
