"""Why a run failed: the error that decided it, what led there, and how the session came to its end.

What decided it is the first error that the run did not get over. Where it got over all of them, or there is none, what
came last says most. A session is asked through its index alone, and payloads are read of a handful of events, so the
answer to a session of 20,000 events takes no longer than its list takes to count.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass

from agentops_local.analytics.one_session.asked import Database, asked
from agentops_local.analytics.one_session.failures import Failure, ancestors, failures
from agentops_local.analytics.one_session.steps import Step, shown, steps
from agentops_local.analytics.owners import Owner, Status, owners_of
from agentops_local.analytics.reading import iso
from agentops_local.analytics.sessions import Summary

TRIES = 5  # earlier calls of the tool that failed, and errors of each sort, that are shown

# The LLM call before an event, of its agent and of any. It mostly stands near; where it does not, all are looked at.
_BEFORE = """
SELECT max(CASE WHEN agent IS :agent THEN seq END) AS own, max(seq) AS any_agent FROM events
WHERE kind = 'llms' AND seq < :before AND seq IS NOT :failed
"""
NEAR = f"{_BEFORE} AND seq > :before - 2000 AND +session = :session"
FAR = f"{_BEFORE} AND session = :session"
TRIED = "SELECT seq, id FROM events WHERE session = ? AND kind = ? AND name IS ? AND seq < ? ORDER BY +seq"
FAILED = "SELECT seq, kind, name, agent FROM events WHERE seq = ?"
# Tools often give their errors to the model as text, which no program has recorded as an error.
COMPLAINTS = r"""
SELECT seq FROM events WHERE session = ? AND kind = 'tools' AND typeof(returns) = 'text'
  AND (returns LIKE '"error%' OR returns LIKE '{"error%') ORDER BY +seq
"""
LOGS = "SELECT logs, agent_name FROM payloads WHERE seq = ?"


@dataclass(frozen=True)
class Tries:
    """Earlier calls of the tool that failed.

    Attributes:
        times, failed: how often it was called before, and how often of these in vain.
        last: the last of them, oldest first, each with whether it failed.
    """

    times: int
    failed: int
    last: tuple[tuple[Step, bool], ...]

    def to_json(self) -> dict[str, object]:
        """All of it."""
        last = [{**step.to_json(), "failed": failed} for step, failed in self.last]
        return {"times": self.times, "failed": self.failed, "last": last}


@dataclass(frozen=True)
class Cause:
    """The error that decided it, and what led there.

    Attributes:
        agent: whose error it is.
        logs: its traceback, or what else the program kept with it.
        trigger: the event that failed.
        chain: the events in whose course that happened, the nearest first.
        last_llm: the LLM call before it, of the same agent if there is one.
        tries: earlier calls of the same tool; None if no tool failed.
        follows: later errors that are this one again, passed on to what stands around.
        again: how often the same error happened afterwards.
    """

    error: Failure
    agent: str | None
    logs: str | None
    trigger: Step | None
    chain: tuple[Step, ...]
    last_llm: Step | None
    tries: Tries | None
    follows: tuple[Failure, ...]
    again: int

    def to_json(self) -> dict[str, object]:
        """All of it."""
        return {
            **self.error.to_json(),
            "agent_name": self.agent,
            "logs": self.logs,
            "trigger": self.trigger and self.trigger.to_json(),
            "chain": [step.to_json() for step in self.chain],
            "last_llm": self.last_llm and self.last_llm.to_json(),
            "tries": self.tries and self.tries.to_json(),
            "follows": [failure.to_json() for failure in self.follows],
            "same_after": self.again,
        }


@dataclass(frozen=True)
class Why:
    """The answer.

    Attributes:
        session: the session, with its end.
        owners: the processes that contributed.
        cause: the error that decided it; of a session that succeeded, None.
        errors: the first 500 errors, in the order in which they happened.
        last_llm, last_tool: the last LLM call and the last tool call.
        complaints: of a session that did not succeed and has no error, how many tool calls gave a text or an object
            that begins with "error", and the last of them, oldest first.
    """

    session: Summary
    owners: tuple[Owner, ...]
    cause: Cause | None
    errors: tuple[Failure, ...]
    last_llm: Step | None
    last_tool: Step | None
    complaints: tuple[int, tuple[Step, ...]] = (0, ())

    @property
    def verdict(self) -> str:
        """How the session stands in one word: success, fail, indeterminate, running, died or unknown."""
        return self.session.state.lower()

    @property
    def ended_by(self) -> str | None:
        """Who ended it: "program", "exit" (the end of its last process); None if nobody did."""
        if self.session.status is not Status.ENDED:
            return None
        return "exit" if self.session.auto_ended else "program"

    @property
    def recovered(self) -> tuple[Failure, ...]:
        """The errors that the run got over."""
        return tuple(failure for failure in self.errors if failure.recovered)

    @property
    def others(self) -> tuple[Failure, ...]:
        """The later errors that neither follow from the cause nor were got over."""
        if self.cause is None:
            return ()
        known = {self.cause.error.seq, *(failure.seq for failure in self.cause.follows)}
        return tuple(
            failure
            for failure in self.errors
            if failure.seq not in known and not failure.recovered and failure.init_us >= self.cause.error.init_us
        )

    @property
    def silent(self) -> tuple[Owner, ...]:
        """The processes that never said goodbye."""
        return tuple(owner for owner in self.owners if owner.end_us is None)

    def to_json(self) -> dict[str, object]:
        """All of it, for programs."""
        return {
            "session": self.session.to_json(),
            "verdict": self.verdict,
            "ended_by": self.ended_by,
            "processes": [
                {"pid": owner.identity.pid, "program": owner.program, "host": owner.host, "exit": owner.exit,
                 "end_timestamp": iso(owner.end_us),
                 "liveness": "left" if owner.end_us is not None else owner.life().value}
                for owner in self.owners
            ],
            "first_error": self.errors[0].to_json() if self.errors else None,
            "cause": self.cause and self.cause.to_json(),
            "errors": [failure.to_json() for failure in self.errors],
            "last_llm": self.last_llm and self.last_llm.to_json(),
            "last_tool": self.last_tool and self.last_tool.to_json(),
            "complaints": {
                "times": self.complaints[0], "last": [step.to_json() for step in self.complaints[1]],
            },
        }  # fmt: skip


def why(session: str, *, db: Database = None) -> Why:
    """Why a session failed; or how it stands, and the errors that it got over.

    Args:
        session: a whole id, a beginning that fits no other, or "last".
        db: the database; None for the project's.

    Raises:
        DatabaseUnusable: if there is no such database.
        NoSuchSession: if there is no such session.
        Ambiguous: if the beginning fits several.
    """
    with asked(db, session) as (connection, (found,)):
        return _answer(connection, found)


def _answer(connection: sqlite3.Connection, found: Summary) -> Why:
    succeeded = found.state == "Success"
    errors, last = failures(connection, found.seq, succeeded)
    told = steps(connection, (last.get("llms"), last.get("tools")))
    return Why(
        found,
        tuple(owners_of(connection, found.seq)),
        None if succeeded or not errors else _cause(connection, found.seq, errors),
        tuple(errors),
        told.get(last.get("llms", 0)),
        told.get(last.get("tools", 0)),
        (0, ()) if succeeded or errors else _complaints(connection, found.seq),
    )


def _complaints(connection: sqlite3.Connection, session: int) -> tuple[int, tuple[Step, ...]]:
    seqs = [row["seq"] for row in connection.execute(COMPLAINTS, (session,)).fetchall()]
    return len(seqs), tuple(steps(connection, seqs[-TRIES:]).values())


def _cause(connection: sqlite3.Connection, session: int, errors: Sequence[Failure]) -> Cause:
    error = next((failure for failure in errors if not (failure.recovered or failure.outer)), errors[0])
    failed = None if error.failed is None else connection.execute(FAILED, (error.failed,)).fetchone()
    above = ancestors(connection, session, error.above if failed is None else error.around)
    llm = _llm_before(connection, session, error)
    told = steps(connection, (error.failed, llm, *above))
    kept = connection.execute(LOGS, (error.seq,)).fetchone()
    later = [failure for failure in errors if failure.init_us > error.init_us and failure.likeness == error.likeness]
    return Cause(
        error,
        None if kept is None else kept["agent_name"],  # erased in this moment
        None if kept is None else shown(kept["logs"]),
        None if error.failed is None else told.get(error.failed),
        tuple(told[seq] for seq in above if seq in told),
        None if llm is None else told.get(llm),
        _tries(connection, session, failed, errors) if failed is not None and failed["kind"] == "tools" else None,
        tuple(failure for failure in later if failure.outer),
        sum(not failure.outer for failure in later),
    )


def _llm_before(connection: sqlite3.Connection, session: int, error: Failure) -> int | None:
    values = {"session": session, "before": error.seq, "failed": error.failed, "agent": error.doing[2]}
    row = connection.execute(NEAR, values).fetchone()
    if row["own"] is None:
        row = connection.execute(FAR, values).fetchone()
    found: int | None = row["any_agent"] if row["own"] is None else row["own"]
    return found


def _tries(connection: sqlite3.Connection, session: int, failed: sqlite3.Row, errors: Sequence[Failure]) -> Tries:
    rows = connection.execute(TRIED, (session, failed["kind"], failed["name"], failed["seq"])).fetchall()
    in_vain = {failure.trigger_id for failure in errors}
    told = steps(connection, [row["seq"] for row in rows[-TRIES:]])
    last = tuple((told[row["seq"]], row["id"] in in_vain) for row in rows[-TRIES:] if row["seq"] in told)
    return Tries(len(rows), sum(row["id"] in in_vain for row in rows), last)
