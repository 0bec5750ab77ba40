"""The collector's API, asked for what its description forbids. That it keeps to what the description allows is in
tests/server/test_openapi.py."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import seed as starting

from tests.reliability.scorecard import Score
from tests.reliability.tools.crash import scaled, seed

pytest.importorskip("uvicorn", reason="the extra `server` is not installed")
schemathesis = pytest.importorskip("schemathesis")

from agentops_local.server.openapi import document  # noqa: E402 - after it is known to be there
from tests.server.running import Api, in_process, tool  # noqa: E402 - as above

PATHS: dict[str, Any] = document()["paths"]  # type: ignore[assignment]  # it is JSON
OPERATIONS = sorted(f"{method} {path}" for path, of in PATHS.items() for method in of if method in ("get", "post"))


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A collector."""
    with in_process(tmp_path_factory.mktemp("fuzz") / "agentops.db") as found:
        yield found


@pytest.mark.parametrize("operation", OPERATIONS)
def test_whatever_is_sent(url: str, operation: str, score: Score) -> None:
    """Whatever is sent to any path, of the described kind or not, the answer is no failure of the collector, and what
    was stored before is still there."""
    method, _, path = operation.partition(" ")
    schema = schemathesis.openapi.from_url(f"{url}/v2/openapi.json")
    chance = seed()
    print("seed", chance)
    statuses: Counter[int] = Counter()
    with Api(url) as api:
        session = api.create()
        assert session.events(tool()).status == 200
        headers = {"X-Agentops-Api-Key": api.key, "Authorization": f"Bearer {session.token}"}
        described = schema[path][method].as_strategy()
        forbidden = schema[path][method].as_strategy(generation_mode=schemathesis.GenerationMode.NEGATIVE)

        @starting(chance)
        @settings(max_examples=scaled(15), deadline=None, suppress_health_check=list(HealthCheck), database=None)
        @given(case=forbidden | described)
        def hold(case: Any) -> None:
            status = case.call(headers=headers).status_code
            statuses[status] += 1
            assert status < 500, f"{status}: {case.as_curl_command()}"

        try:
            hold()
        finally:
            score.add(sum(statuses.values()), lost=sum(count for status, count in statuses.items() if status >= 500))
        assert session.stats()["events"] >= 1
        assert api.send("GET", "/health").status == 200
