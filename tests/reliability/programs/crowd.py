"""A program whose children, by `multiprocessing`, record into its session: in a `Pool`, in a `ProcessPoolExecutor`, or
as processes of which some are ended in the midst of it. `main(method, how, chance)`."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Any

import agentops_local as agentops
from tests.reliability.programs.telling import act, say, think

COUNT = 40


def join(session: str | None) -> None:
    """What a child begins with that was given the session's id."""
    if session is not None:
        agentops.init(inherited_session_id=session)


@agentops.record_tool("work")
def work(number: int) -> int:
    """What a pool does."""
    for turn in range(3):
        think(f"worker {number}", turn)
        act(number=number, turn=turn)
    return number


def toil(session: str | None, line: Connection) -> None:
    """What a child does until it is ended, or told to end."""
    join(session)
    while not line.poll():
        line.send(str(act("toil").id))


def _pool(context: Any, session: str | None) -> None:
    with context.Pool(3, join, (session,), maxtasksperchild=8) as pool:
        assert sorted(pool.imap_unordered(work, range(COUNT))) == list(range(COUNT))
        pool.close()
        pool.join()


def _executor(context: Any, session: str | None) -> None:
    with ProcessPoolExecutor(3, context, join, (session,)) as pool:
        assert list(pool.map(work, range(COUNT))) == list(range(COUNT))


def _ended(context: Any, session: str | None) -> None:
    children = []
    for _ in range(4):
        here, there = context.Pipe()
        child = context.Process(target=toil, args=(session, there))
        child.start()
        there.close()
        children.append((child, here))
    for number, (child, line) in enumerate(children):
        for _ in range(random.randrange(20, 60)):
            line.recv()
        if number < 3:
            say("ended", child.pid)
            (child.kill if number else child.terminate)()
            child.join()
            continue
        line.send("enough")
        try:
            while True:
                line.recv()
        except (EOFError, ConnectionResetError):
            child.join()
            assert child.exitcode == 0


HOWS: dict[str, Callable[[Any, str | None], None]] = {"pool": _pool, "executor": _executor, "ended": _ended}


def main(method: str, how: str, chance: str) -> None:
    """The parent. By chance the children that are not forked learn of the session by their environment, or they are
    told its id."""
    random.seed(int(chance))
    session = agentops.init()
    assert session is not None
    act("parent")
    told = None
    if method != "fork" and random.random() < 0.5:
        os.environ["AGENTOPS_LOCAL_SESSION"] = str(session.session_id)
    elif method != "fork":
        told = str(session.session_id)
    HOWS[how](get_context(method), told)
    act("parent again")
    agentops.end_session("Success")
    assert not act("after the end").session_id
