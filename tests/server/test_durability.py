from __future__ import annotations

import errno
import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import requests

from agentops_local.server.serve import Serving, Settings
from agentops_local.store.file import DatabaseFile
from tests.server.running import Api, Session, error, in_a_process, in_process, llm, tool

MAKERS: list[Callable[..., dict[str, Any]]] = [llm, tool, error]


def in_threads(works: list[Callable[[], None]]) -> None:
    """Runs functions at the same time, and raises what any of them raises."""
    failed: list[BaseException] = []
    together = threading.Barrier(len(works))

    def run(work: Callable[[], None]) -> None:
        together.wait(30)
        try:
            work()
        except BaseException as fault:  # noqa: BLE001 - it is raised below
            failed.append(fault)

    threads = [threading.Thread(target=run, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(110)
    if failed:
        raise failed[0]


def stored(session: Session) -> list[str]:
    """The ids of all events of a session."""
    found = session.export()
    return [row["id"] for kind in ("llms", "tools", "errors", "actions") for row in found[kind]]


def test_fifty_uploaders(path: Path) -> None:
    """Fifty clients that send at once, to sessions of their own and to one that all share, all proceed: nothing is lost
    and nothing is there twice, though each sends everything twice."""
    with in_a_process(path) as collector, Api(collector.url) as first:
        shared = first.create()
        sent: dict[str, list[str]] = {shared.id: []}

        def uploader(number: int) -> Callable[[], None]:
            def upload() -> None:
                with Api(collector.url, first.key) as api:
                    sessions = [api.create(), Session(api, shared.id, shared.token)]
                    for session in sessions:
                        batch = [MAKERS[(number + index) % 3]() for index in range(10)]
                        for _ in range(2):
                            assert session.events(*batch)[:2] == (200, "Success")
                        sent.setdefault(session.id, []).extend(event["id"] for event in batch)

            return upload

        in_threads([uploader(number) for number in range(50)])
        assert len(sent) == 51
        for session_id, ids in sent.items():
            assert sorted(stored(Session(first, session_id, ""))) == sorted(ids)


def test_what_was_answered_survives_the_kill(path: Path) -> None:
    """Whatever was answered with 200 before the collector is killed in the midst of its work is there afterwards, and a
    batch that was not answered is there whole or not at all."""
    acknowledged: list[tuple[str, list[str]]] = []
    begun: list[tuple[str, list[str]]] = []
    busy = threading.Semaphore(0)

    def client(url: str, key: str) -> Callable[[], None]:
        def upload() -> None:
            with Api(url, key) as api:
                try:
                    session = api.create()
                    while True:
                        batch = [MAKERS[index % 3](params={"x": "y" * 3000}) for index in range(12)]
                        entry = (session.id, [event["id"] for event in batch])
                        begun.append(entry)
                        if session.events(*batch).status == 200:
                            acknowledged.append(entry)
                            busy.release()
                except (requests.ConnectionError, AssertionError):
                    return

        return upload

    key = str(uuid4())
    with in_a_process(path) as collector:

        def kill() -> None:
            for _ in range(40):
                assert busy.acquire(timeout=60)
            collector.kill()

        in_threads([kill, *(client(collector.url, key) for _ in range(6))])
    assert len(acknowledged) >= 40
    with in_a_process(path) as collector, Api(collector.url, key) as api:
        there = {session_id: set(stored(Session(api, session_id, ""))) for session_id, _ in begun}
    assert [entry for entry in acknowledged if not set(entry[1]) <= there[entry[0]]] == []
    assert [entry for entry in begun if 0 < len(set(entry[1]) & there[entry[0]]) < 12] == []


def test_a_store_that_cannot_be_written(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the store cannot be written the answer is 503 with a time to try again after, and nothing of the request is
    written later; when it can be written again, everything goes on."""
    serving = Serving(Settings(path, port=0))
    started = threading.Event()
    thread = threading.Thread(target=serving.run, args=(started.set,))
    thread.start()
    try:
        assert started.wait(30)
        with Api(serving.url) as api:
            session = api.create()
            full = path.stat().st_size // 4096
            _limit(serving, full)
            refused = tool(params="x" * 500_000)
            answer = session.events(refused)
            assert answer.status == 503
            assert int(answer.headers["Retry-After"]) > 0
            assert set(answer.body) == {"path", "message"}
            assert session.stats()["events"] == 0, "what is there can be read all the same"
            _limit(serving, 1 << 30)
            kept = tool()
            assert session.events(kept).status == 200
            assert stored(session) == [kept["id"]]
            assert session.events(refused).status == 200
            assert sorted(stored(session)) == sorted([kept["id"], refused["id"]])
    finally:
        serving.stop()
        thread.join(30)


def _limit(serving: Serving, pages: int) -> None:
    """Makes the disk full, as far as SQLite is concerned."""
    serving.store.local.write(lambda connection, _: connection.execute(f"PRAGMA max_page_count = {pages}").fetchone())


def test_a_session_that_was_erased_begins_anew(path: Path) -> None:
    """Events for a session that was erased meanwhile are kept, under its id."""
    with in_process(path) as url, Api(url) as api:
        session = api.create()
        session.events(tool())
        with closing(sqlite3.connect(path)) as connection, connection:
            for table in ("events", "owners", "agents", "sessions"):
                connection.execute(f"DELETE FROM {table}")
        kept = tool()
        assert session.events(kept).status == 200
        assert stored(session) == [kept["id"]]


def test_a_database_put_in_its_place(path: Path) -> None:
    """Where another database takes the place of the one that is open, the collector goes on with that."""
    with in_process(path) as url, Api(url) as api:
        session = api.create()
        session.events(tool())
        path.rename(path.with_name("old.db"))
        kept = tool()
        assert session.events(kept).status == 200
        assert stored(session) == [kept["id"]]


def test_collectors_share_a_database(path: Path) -> None:
    """Two collectors on one database know each other's tokens, and store what is sent to both once."""
    with in_a_process(path) as one, in_a_process(path) as two, Api(one.url) as first, Api(two.url) as second:
        session = first.create()
        other = Session(second, session.id, session.token)
        events = [tool() for _ in range(100)]

        def send(client: Session) -> Callable[[], None]:
            def run() -> None:
                for start in range(0, 100, 5):
                    assert client.events(*events[start : start + 5]).status == 200

            return run

        in_threads([send(session), send(other)])
        assert sorted(stored(session)) == sorted(event["id"] for event in events)
        assert other.export() == session.export()


def test_a_database_that_is_taken_away(path: Path) -> None:
    """Where the database is taken away altogether, a new one is begun, by a request that reads as well."""
    with in_process(path) as url, Api(url) as api:
        session = api.create()
        for file in path.parent.glob("agentops.db*"):
            if not file.name.endswith("-secret"):
                file.unlink()
        assert api.by_key(f"/v2/sessions/{session.id}/stats", method="GET").status == 400
        assert api.create().events(tool()).status == 200


def test_the_place_is_kept(project: Path, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A database that may not be written is not left for another place, as a recorder would: clients are told 503."""

    def refuse(_file: DatabaseFile) -> None:
        raise PermissionError(errno.EACCES, "the folder cannot be written to", str(path))

    with in_process(path) as url, Api(url) as api:
        session = api.create()
        with monkeypatch.context() as patched:
            patched.setattr(DatabaseFile, "take_turn", refuse)
            assert session.events(tool()).status == 503
            assert session.update(tags=["x"]).status == 503
            assert session.stats()["events"] == 0
        assert session.events(tool()).status == 200
    assert list((project.parent / "data").iterdir()) == []
    assert list((project.parent / "home").iterdir()) == []
