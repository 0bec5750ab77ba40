"""Threads of one process."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.conftest import Spawn
from tests.faults.harness import DB, SESSION, acks, check, flat, query, scaled

SHAPES = {
    "long-lived": """
        def work(name):
            for index in range(amount):
                if index % 5:
                    me.tool(index)
                else:
                    me.llm(name, 1, index % 10)

        threads = [threading.Thread(target=work, args=(f"t{n}",)) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        say("expected", 8 * amount)
    """,
    "short-lived": """
        for index in range(amount // 8):
            threads = [threading.Thread(target=me.tool, args=(n,)) for n in range(8)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        say("expected", amount // 8 * 8)
    """,
    "one conversation": """
        def work():
            for index in range(amount // 4):
                me.llm("shared", 1, index % 12)

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        say("expected", amount // 4 * 4)
    """,
    "errors at one time": """
        from agentops_local.event import ErrorEvent

        def work():
            for index in range(amount // 8):
                me.record(ErrorEvent(error_type="E", init_timestamp="2026-01-01T00:00:00+00:00"))

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        say("expected", amount // 8 * 4)
    """,
    "some close": """
        def work(name):
            for index in range(amount // 8):
                me.llm(name, 1, index % 10)
                if index % 7 == 0:
                    me.recorder.close()

        threads = [threading.Thread(target=work, args=(f"t{n}",)) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        say("expected", amount // 8 * 4)
    """,
}


@pytest.mark.parametrize("shape", SHAPES)
def test_threads(project: Path, spawn: Spawn, shape: str) -> None:
    """However many threads record, and however short they live, every event is stored when `record` returns, once."""
    program = spawn(
        "import sys\nme = Actor(*sys.argv[1:3])\namount = int(sys.argv[3])\n" + flat(SHAPES[shape]) + "\nme.leave()\n",
        DB,
        SESSION,
        scaled(500),
    )
    assert program.finish() == ""
    truth = check(acks(program), DB)
    assert truth.events.total() == int(program.said("expected")[0][1]) == len(acks(program))
    assert len(truth.owners) == 1
    if shape == "errors at one time":
        times = query(DB, "SELECT count(DISTINCT init_us) FROM events")
        assert times == [(truth.events.total(),)]
    if shape == "one conversation":
        # 12 prompts that begin alike: each message of the longest once, and the branches' ends.
        contents = query(DB, "SELECT parent, content, count(*) FROM messages GROUP BY 1, 2 HAVING count(*) > 1")
        assert contents == []
