"""The description of the collector's API, OpenAPI 3.1. A test holds the running server to it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

_Part = Mapping[str, object]
_JSON = "application/json"
_TEXT_OR_NULL = {"type": ["string", "null"]}
_TIME = {"type": "string", "format": "date-time"}
_TIME_OR_NULL = {"type": ["string", "null"], "format": "date-time"}
_UUID = {"type": "string", "format": "uuid"}
_UUID_OR_NULL = {"type": ["string", "null"], "format": "uuid"}
_COUNT = {"type": "integer", "minimum": 0}
_ANYTHING: _Part = {}

_FAILURES = {
    "400": "Something in the request is wrong: the message names the field and the value, or the key, or the session.",
    "401": "The token is none of ours, was issued for a key that is revoked, or is over (`Expired Token`).",
    "403": "The server is not known by the name in the Host header.",
    "408": "The body was not here in time.",
    "413": "The body is too large.",
    "415": "The body is compressed.",
    "503": "The database cannot be used now. Nothing of the request is stored, or will be: send it again.",
}

_SESSION = {
    "type": "object",
    "description": "What is absent stays as it is, null is null; with `is_running: true` a null says nothing, and the "
    "end is no end. Unknown keys are ignored.",
    "properties": {
        "session_id": _UUID,
        "init_timestamp": _TIME_OR_NULL,
        "end_timestamp": _TIME_OR_NULL,
        "end_state": {"enum": ["Success", "Fail", "Failure", "Indeterminate", None]},
        "end_state_reason": _TEXT_OR_NULL,
        "tags": {"type": ["array", "null"], "items": {"type": "string"}},
        "video": _TEXT_OR_NULL,
        "host_env": {"type": ["object", "null"]},
        "is_running": {"type": ["boolean", "null"]},
    },
}
_EVENT = {
    "type": "object",
    "required": ["event_type"],
    "description": "Columns of its kind; other keys are kept. Where there is no id, a verbatim repeat is known by its "
    "content.",
    "anyOf": [
        {
            "required": ["event_type", "init_timestamp"],
            "properties": {"event_type": {"type": "string", "minLength": 1}, "init_timestamp": _TIME},
        },
        {
            "required": ["event_type", "timestamp"],
            "properties": {"event_type": {"const": "errors"}, "timestamp": _TIME},
        },
    ],
    "properties": {
        "id": _UUID_OR_NULL,
        "event_type": {"type": "string", "minLength": 1, "examples": ["llms", "tools", "actions", "errors", "apis"]},
        "init_timestamp": _TIME_OR_NULL,
        "end_timestamp": _TIME_OR_NULL,
        "timestamp": _TIME_OR_NULL,
        "agent_id": _UUID_OR_NULL,
        "parent_id": _UUID_OR_NULL,
        "params": _ANYTHING,
        "returns": _ANYTHING,
        "logs": _ANYTHING,
        "name": _ANYTHING,
        "model": _ANYTHING,
        "prompt": _ANYTHING,
        "completion": _ANYTHING,
        "prompt_tokens": {"type": ["integer", "null"], "minimum": 0, "maximum": 10**12},
        "completion_tokens": {"type": ["integer", "null"], "minimum": 0, "maximum": 10**12},
        "cost": {
            "type": ["number", "string", "null"],
            "minimum": -100_000,
            "maximum": 100_000,
            "pattern": r"^[0-9]{1,5}(\.[0-9]{1,12})?$",
        },
        "thread_id": _TEXT_OR_NULL,
        "action_type": _ANYTHING,
        "screenshot": _TEXT_OR_NULL,
        "error_type": _ANYTHING,
        "code": _ANYTHING,
        "details": _ANYTHING,
        "trigger_event_id": _UUID_OR_NULL,
        "trigger_event_type": _TEXT_OR_NULL,
    },
}


@cache
def document() -> _Part:
    """The description."""
    from agentops_local import __version__

    return {
        "openapi": "3.1.0",
        "info": {
            "title": "agentops_local collector",
            "version": __version__,
            "description": "Takes what AgentOps clients of version 0.3 send. Every request may be repeated: what is "
            "known by its id is stored once.",
        },
        "paths": _paths(),
        "components": {
            "securitySchemes": {
                "key": {"type": "apiKey", "in": "header", "name": "X-Agentops-Api-Key"},
                "token": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
            },
            "schemas": {"Failure": _object(path={"type": "string"}, message={"type": "string"}), **_rows()},
        },
    }


def _paths() -> _Part:
    url, jwt = {"type": "string"}, {"type": "string"}
    session = _body({"type": "object", "required": ["session"], "properties": {"session": _SESSION}})
    new = {**_SESSION, "required": ["session_id"]}
    # A change names an event that is there, by its id and its type.
    change = {**_EVENT, "required": ["id", "event_type"]}
    del change["anyOf"]
    new_session = _body({"type": "object", "required": ["session"], "properties": {"session": new}})
    events, changes = (
        _body({"type": "object", "required": ["events"], "properties": {"events": {"type": "array", "items": one}}})
        for one in (_EVENT, change)
    )
    agent = {"type": "object", "required": ["id"], "properties": {"id": _UUID, "name": _ANYTHING}}
    by_id = {"type": "object", "required": ["session_id"], "properties": {"session_id": _UUID}}
    anything = _body({"type": "object"})
    success = {"const": "Success"}
    status = {"type": "string"}
    columns = {"name": "columns", "in": "query", "schema": {"enum": ["v2", "all"]},
               "description": "`all` adds the columns that v2 does not know."}  # fmt: skip
    return {
        "/v2/create_session": {
            "post": _post(
                "Create a session, or fill in what the one of this id lacks", "key",
                _object(status=status, jwt=jwt, session_url=url), new_session,
            )
        },
        "/v2/reauthorize_jwt": {
            "post": _post("A new token for a session", "key", _object(status=status, jwt=jwt), _body(by_id))
        },
        "/v2/update_session": {
            "post": _post(
                "Replace what is said of the session of the token", "token",
                _object(status=status, token_cost={"type": "string"}, session_url=url), session,
            )
        },
        "/v2/create_agent": {"post": _post("Name an agent", "token", success, _body(agent))},
        "/v2/create_events": {"post": _post("Store events, all or none", "token", success, events)},
        "/v2/update_events": {"post": _post("Change events that are there, all or none", "token", success, changes)},
        "/v2/create_thread": {"post": _post("Accepted; events name their thread", "token", success, anything)},
        "/v2/developer_errors": {
            "post": _operation("A client reports a fault of its own", "key", None, anything)
        },
        "/v2/sessions/{id}/stats": {
            "parameters": [_ID], "get": _operation("What a session amounts to", "key", _ref("Stats"))
        },
        "/v2/sessions/{id}/export": {
            "parameters": [_ID, columns], "get": _operation("A session whole", "key", _ref("Export"))
        },
        "/health": {
            "get": _operation(
                "Whether the collector works", None,
                _object(status={"const": "ok"}, version={"type": "string"}, developer_errors=_COUNT),
            )
        },
        "/v2/openapi.json": {"get": _operation("This description", None, {"type": "object"})},
    }  # fmt: skip


_ID = {"name": "id", "in": "path", "required": True, "schema": _UUID, "description": "Of a session, in any spelling."}


def _rows() -> _Part:
    base = {"id": _UUID, "session_id": _UUID}
    span = {"params": _TEXT_OR_NULL, "returns": _TEXT_OR_NULL, "init_timestamp": _TIME, "end_timestamp": _TIME_OR_NULL}
    said = {"oneOf": [
        _object(type={"const": "chatml"}, messages={"type": ["array", "object"]}),
        _object(type={"const": "string"}, string={"type": "string"}),
        {"type": "null"},
    ]}  # fmt: skip
    tokens = {"type": ["integer", "null"]}
    return {
        "Stats": _object(
            session_id=_UUID, events=_COUNT, errors=_COUNT, prompt_tokens=_COUNT, completion_tokens=_COUNT,
            cost={"type": ["number", "null"]},
        ),
        "Session": _object(
            id=_UUID, project_id=_UUID, project_id_secondary={"type": "null"}, init_timestamp=_TIME,
            end_timestamp=_TIME_OR_NULL, tags={"type": "string", "description": "A JSON array of texts."},
            end_state={"enum": ["Success", "Fail", "Indeterminate"]}, end_state_reason=_TEXT_OR_NULL,
            video=_TEXT_OR_NULL, host_env={"type": ["object", "null"]},
        ),
        "Action": _object(
            **base, agent_id=_UUID_OR_NULL, action_type=_TEXT_OR_NULL, logs=_TEXT_OR_NULL, screenshot=_ANYTHING, **span
        ),
        "Llm": _object(
            **base, agent_id=_UUID_OR_NULL, thread_id=_TEXT_OR_NULL, prompt=said, completion=said,
            model=_TEXT_OR_NULL, prompt_tokens=tokens, completion_tokens=tokens, cost={"type": ["number", "null"]},
            promptarmor_flag={"type": "null"}, **span,
        ),
        "Tool": _object(**base, agent_id=_UUID_OR_NULL, name=_TEXT_OR_NULL, logs=_TEXT_OR_NULL, **span),
        "Error": _object(
            **base, trigger_event_id=_UUID_OR_NULL, trigger_event_type=_TEXT_OR_NULL, error_type=_TEXT_OR_NULL,
            code=_TEXT_OR_NULL, details=_TEXT_OR_NULL, logs=_TEXT_OR_NULL, timestamp=_TIME,
        ),
        "Export": _object(
            session=_ref("Session"), actions=_list("Action"), llms=_list("Llm"), tools=_list("Tool"),
            errors=_list("Error"),
        ),
    }  # fmt: skip


def _post(summary: str, security: str, answer: _Part, body: _Part) -> _Part:
    return _operation(summary, security, answer, body)


def _operation(summary: str, security: str | None, answer: _Part | None, body: _Part | None = None) -> _Part:
    done = {"description": "Done."} if answer is None else {"description": "Done.", "content": _content(answer)}
    responses: dict[str, object] = {"204" if answer is None else "200": done}
    for status, description in _FAILURES.items():
        headers = {"Retry-After": {"description": "Seconds.", "schema": {"type": "integer"}}} if status == "503" else {}
        responses[status] = {"description": description, "headers": headers, "content": _content(_ref("Failure"))}
    found: dict[str, object] = {"summary": summary, "responses": responses}
    if body is not None:
        found["requestBody"] = body
    if security is not None:
        # An open collector on loopback answers GET without a key.
        found["security"] = [{security: []}]
    return found


def _object(**properties: object) -> _Part:
    return {"type": "object", "required": sorted(properties), "properties": properties}


def _list(name: str) -> _Part:
    return {"type": "array", "items": _ref(name)}


def _ref(name: str) -> _Part:
    return {"$ref": f"#/components/schemas/{name}"}


def _content(schema: _Part) -> _Part:
    return {_JSON: {"schema": schema}}


def _body(schema: _Part) -> _Part:
    return {"required": True, "content": _content(schema)}
