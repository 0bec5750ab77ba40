"""A program of a thousand tasks that records from all of them: `main(count)`. What each event should have around it
(session, decorated call, number of the task) stands in its own params."""

from __future__ import annotations

import asyncio
import sys

import agentops_local as agentops
from tests.reliability.programs.telling import act, say

SESSIONS = 3
_sessions: list[agentops.Session] = []
_never: asyncio.Event


def note(number: int, inside: str, place: int) -> None:
    """Records an event that says where it belongs."""
    act("note", number=number, inside=inside, wanted=str(_sessions[place].session_id))


@agentops.record_tool("inner")
async def inner(number: int, place: int) -> None:
    """A tool, in the course of a task."""
    note(number, "inner", place)
    await asyncio.sleep(0)
    note(number, "inner", place)


@agentops.record_action("outer")
async def outer(number: int, place: int) -> None:
    """A task: it calls a tool, lets threads and tasks of its own record, and looks into another session."""
    note(number, "outer", place)
    await inner(number, place)
    note(number, "outer", place)
    other = (place + 1) % SESSIONS
    with _sessions[other]:
        await asyncio.sleep(0)
        note(number, "outer", other)
        with _sessions[place]:
            await inner(number, place)
        note(number, "outer", other)
    await asyncio.to_thread(note, number, "outer", place)
    if number % 5 == 0 and sys.version_info >= (3, 11):
        async with asyncio.TaskGroup() as group:
            for _ in range(3):
                group.create_task(inner(number, place))
    if number % 7 == 0:
        say("waits", number)
        await _never.wait()
    note(number, "outer", place)


async def task(number: int) -> None:
    """A task in one of the sessions."""
    place = number % SESSIONS
    with _sessions[place]:
        await outer(number, place)
    # Out of any session, a thread of the loop's pool records into one by its own method.
    loop = asyncio.get_running_loop()
    await loop.run_in_executor(None, lambda: act("plain", _sessions[place]))


async def tasks(count: int) -> None:
    """All of them at once; one in seven is cancelled where it waits for ever."""
    global _never  # noqa: PLW0603 - an event belongs to a loop
    _never = asyncio.Event()
    all_tasks = [asyncio.create_task(task(number)) for number in range(count)]
    await asyncio.gather(*(running for number, running in enumerate(all_tasks) if number % 7))
    for running in all_tasks:
        running.cancel()  # those that have ended do not mind
    results = await asyncio.gather(*all_tasks, return_exceptions=True)
    cancelled = [number for number, result in enumerate(results) if isinstance(result, asyncio.CancelledError)]
    assert cancelled == list(range(0, count, 7))
    say("cancelled", len(cancelled))


def main(count: int) -> None:
    """The program."""
    agentops.init(auto_start_session=False)
    for _ in range(SESSIONS):
        session = agentops.start_session()
        assert session is not None
        _sessions.append(session)
    asyncio.run(tasks(count))
    for session in _sessions:
        assert session.end_session("Success") is not None
