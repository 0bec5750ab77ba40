"""The description of the API, held against the running server."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agentops_local.server.openapi import document
from tests.server.running import Api, error, llm, tool

schemathesis = pytest.importorskip("schemathesis")

from schemathesis.checks import CheckFunction  # noqa: E402 - after it is known to be there
from schemathesis.specs.openapi import checks  # noqa: E402

TRUE: list[CheckFunction] = [
    schemathesis.checks.not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_headers_conformance,
    checks.response_schema_conformance,
    checks.unsupported_method,
]


@pytest.fixture(scope="module")
def known(url: str) -> Iterator[dict[str, str]]:
    """A session with events in it, and what opens it."""
    with Api(url) as api:
        session = api.create(host_env={"OS": {}})
        session.events(llm(), llm(prompt="x", completion=None), tool(), error(), {**tool(), "event_type": "apis"})
        yield {"id": session.id, "token": session.token, "key": api.key}


PATHS: dict[str, Any] = document()["paths"]  # type: ignore[assignment]  # it is JSON
# What the description allows is accepted, where that does not depend on what is there.
ACCEPTED = {f"post /v2/{name}" for name in ("create_session", "update_session", "create_agent", "create_events")}


@pytest.mark.parametrize(
    "operation",
    sorted(f"{method} {path}" for path, of in PATHS.items() for method in of if method in ("get", "post")),
)
def test_the_description_is_true(url: str, known: dict[str, str], operation: str) -> None:
    """Whatever is sent to any path, there is an answer that the description foretells, and never a 5xx."""
    method, _, path = operation.partition(" ")
    held = [*TRUE, checks.positive_data_acceptance] if operation in ACCEPTED else TRUE
    schema = schemathesis.openapi.from_url(f"{url}/v2/openapi.json")
    headers = {"X-Agentops-Api-Key": known["key"], "Authorization": f"Bearer {known['token']}"}

    @settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
    @given(case=schema[path][method].as_strategy(), ours=st.booleans())
    def hold(case: Any, ours: bool) -> None:
        if case.path_parameters and ours:
            case.path_parameters = {"id": known["id"]}
        case.call_and_validate(headers=headers, checks=held)

    hold()


def test_every_path_is_described(url: str) -> None:
    """Every path that the server answers is in the description, and no other."""
    with Api(url) as api:
        described = api.send("GET", "/v2/openapi.json").body
        assert described == document()
        assert described["openapi"] == "3.1.0"
        for path, operations in described["paths"].items():
            known = {method.upper() for method in operations} - {"PARAMETERS"}
            for method in ("GET", "POST"):
                status = api.send(method, path.replace("{id}", str(uuid4())), "{}").status
                assert (status == 405) is (method not in known), (method, path)
