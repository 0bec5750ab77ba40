"""Makes the database that stands for a release: tests/reliability/fixtures/VERSION.sql, as SQL text.

    python -m tests.reliability.tools.make_fixture

It holds a row of every kind: sessions that ended, run and were joined, all kinds of events, prompts as text and as
messages, long strings, losses, prices and limits, an upload in every state, projects and keys of a collector. As long
as a version is not released, its fixture is made anew whenever the schema changes; once it is, its fixture stays as it
is, for ever: it is what users have.
"""

from __future__ import annotations

import argparse
import os
import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path
from uuid import UUID

from agentops_local import __version__
from agentops_local.clock import new_id
from agentops_local.credentials import save_key
from agentops_local.event import ActionEvent, ErrorEvent, Event, LLMEvent
from agentops_local.server import registry
from agentops_local.server.sqlite_writer import SqliteWriter
from agentops_local.store.database import _Loss
from agentops_sync.client import Outcome, Request, Verdict
from tests.fakes.agentops_api import AgentOpsAPI
from tests.sync.driving import Machine, error, llm, tool

FOLDER = Path(__file__).parents[1] / "fixtures"
LONG = "a text of more than two thousand characters, " * 50
# A price that was looked up, one that took its place, a model that is not known; a limit, and what is held against it.
PRICED = """
UPDATE events SET price = NULL; -- what the daemon has looked up on its way depends on what is installed
DELETE FROM prices;
DELETE FROM changes;
INSERT INTO changes VALUES (1, 1);
INSERT INTO prices (id, provider, model, from_us, rates, kind, source, looked_us, ended_us) VALUES
    (1, '', 'm', 0, '{"input":"1","output":"2"}', 'priced', 'genai-prices 0.2.3 openai/m', 1, 2),
    (2, '', 'm', 0, '{"input":"1.25","output":"10"}', 'overridden', 'prices.toml', 2, NULL),
    (3, 'openai', 'unheard of', 0, NULL, 'priced', 'genai-prices 0.2.3', 2, NULL);
UPDATE events SET price = 2, cost_source = 'overridden', cost_pusd = 22500000
WHERE seq = (SELECT max(seq) FROM events WHERE kind = 'llms' AND cost_pusd IS NULL);
INSERT INTO budgets VALUES ('day', 5000000000000, 'refuse', 1);
INSERT INTO spending VALUES ('project', 250022500000, 3);
INSERT INTO scores (session, event, name, kind, number, text, author, at_us) VALUES
    (1, NULL, 'helpful', 'number', 0.75, 'almost', 'me', 4),
    (1, (SELECT id FROM events WHERE session = 1 ORDER BY seq LIMIT 1), 'thumb', 'thumb', 0, NULL, NULL, 5),
    (1, NULL, 'note', 'text', NULL, 'look again', NULL, 6);
INSERT INTO reservations (pid, started, boot, at_us, pusd) VALUES (1, 'a start', 'a boot', 3, 1000000000);
"""


def fixture(version: str) -> Path:
    """Where the fixture of a version is."""
    return FOLDER / f"{version}.sql"


def load(dump: Path, db: Path) -> None:
    """Makes the database that a fixture tells of, in WAL mode, as our programs leave it."""
    db.parent.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(db)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.executescript(dump.read_text(encoding="utf-8"))
    db.chmod(0o600)


def dump(db: Path) -> str:
    """A database as SQL, with the marks in its header."""
    with closing(sqlite3.connect(db)) as connection:
        application = connection.execute("PRAGMA application_id").fetchone()[0]
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        lines = [*connection.iterdump(), f"PRAGMA application_id = {application};", f"PRAGMA user_version = {version};"]
    return "\n".join(lines) + "\n"


def fill(folder: Path) -> Path:
    """A database with a row of every kind; its path."""
    with AgentOpsAPI(actions_work=True) as server:
        machine = Machine(folder, server)
        try:
            _record(machine)
            server.poison("poison", 400, "22P02")
            machine.steps(12)
            _leave_uncertain(machine)
        finally:
            machine.close()
    writer = SqliteWriter(machine.file)
    registry.add_key(writer, "team")
    revoked = registry.add_key(writer, "me", local=True)
    registry.revoke_key(writer, str(revoked))
    writer.close()
    with closing(sqlite3.connect(machine.file)) as connection:
        connection.executescript(PRICED)
    return machine.file


def _record(machine: Machine) -> None:
    done = machine.session(tags=["released", "änderung"])
    agent = done.create_agent("planner", new_id())
    done.record(llm(1, agent_id=agent, params={"temperature": 0.5}, returns={"a": [1, None]}))
    done.record(LLMEvent(prompt="as text", completion="as text too", model="m", thread_id=new_id()))
    history = [{"role": "system", "content": LONG}, {"role": "user", "content": "and then?"}]
    done.record(LLMEvent(prompt=history, completion={"role": "assistant", "content": LONG}, model="m", cost=0.25))
    done.record(tool(1, returns=[LONG.upper(), LONG], logs="a log"))
    done.record(ActionEvent(action_type="click", params="p", returns="r", screenshot="data:image/png;base64,AAAA"))
    done.record(Event(event_type="apis", params={"url": "https://example.com"}))
    failed = tool("that failed")
    done.record(ErrorEvent(trigger_event=failed, exception=ValueError("why"), code="E1", logs="trace"))
    done.record(ErrorEvent(error_type="Timeout", details="late"))
    done.end_session("Success", "all is done", video="https://example.com/v.mp4")
    machine.session(id=UUID(int=7)).record(tool("joined"))
    machine.session().record(tool("poison"))
    save_key(str(UUID(int=8)))
    machine.session(key=str(UUID(int=8))).record(tool("under a key that the server does not know"))
    machine.recorder.database.write(_Loss(3))


def _leave_uncertain(machine: Machine) -> None:
    """A batch whose answer never came, and one that was refused so that it will be tried again."""

    def silent(request: Request) -> Outcome | None:
        return Outcome(Verdict.UNKNOWN, words="no answer") if request.path.endswith("create_events") else None

    machine.session().record(error("once or twice"))
    machine.hooks.append(silent)
    machine.steps(3)
    machine.hooks[:] = [lambda request: _refused() if request.path.endswith("create_events") else None]
    machine.session().record(tool("tried again"))
    machine.run(600)
    machine.hooks.clear()
    machine.session().record(tool("not sent yet"))
    machine.uploader.refresh()
    machine.uploader.outbox.take()


def _refused() -> Outcome:
    return Outcome(Verdict.ANSWERED, 500, {"error": "out of memory"}, words="out of memory")


def main() -> None:
    """Writes the fixture of this version."""
    parser = argparse.ArgumentParser(description="Make the database that stands for a release, as SQL text.")
    parser.add_argument("--version", default=__version__, help=f"of the release; default: {__version__}")
    target = fixture(parser.parse_args().version)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["AGENTOPS_LOCAL_CREDENTIALS"] = f"{folder}/credentials"  # no key of ours into the user's file
        text = dump(fill(Path(folder)))
    FOLDER.mkdir(exist_ok=True)
    target.write_text(text, encoding="utf-8")
    print(f"{target}: {len(text):,} bytes")


if __name__ == "__main__":
    main()
