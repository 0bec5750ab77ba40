"""A collector for the tests of a module, and a client of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("uvicorn", reason="the extra `server` is not installed")

from tests.server.passing import House
from tests.server.running import Api, in_process


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of an open collector with a database of its own."""
    with in_process(tmp_path_factory.mktemp("collector") / "agentops.db") as found:
        yield found


@pytest.fixture
def api(url: str) -> Iterator[Api]:
    """A client of it."""
    with Api(url) as client:
        yield client


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where a database may be made."""
    return tmp_path / "agentops.db"


@pytest.fixture
def house(path: Path) -> Iterator[House]:
    """A collector with a time-out of a day."""
    found = House(path)
    yield found
    found.store.close()
