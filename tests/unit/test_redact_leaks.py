from __future__ import annotations

import base64
import copy
import json
from collections import UserDict
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentops_local.serialize import FIELD_LIMIT, dump
from tests.unit.redactors import BY_PATTERN, CANARY, REDACTED, SECRETS, Config, Login, redactor

# ------------------------------------------------------------------------------------------------------------- leaking

HIDDEN_BY_PATTERN: dict[str, Any] = {
    "text": f"before {CANARY} after",
    "key": {CANARY: 1},
    "key that is a tuple": {(1, CANARY): 1},
    "deep": [[{"a": ({"b": [CANARY]},)}]],
    "bytes": f"x{CANARY}".encode(),
    "bytes that are no text": b"\xff\0" + CANARY.encode() + b"\xfe",
    "bytearray": bytearray(b"\x00" + CANARY.encode()),
    "set": {CANARY},
    "dataclass": Login("me", CANARY),
    "object": Config(CANARY),
    "exception": ValueError(CANARY),
    "exception in an exception": ValueError(OSError(CANARY)),
    "class": type(CANARY, (), {}),
    "object of a class": type(CANARY, (), {})(),
    "JSON in a text": json.dumps({"a": CANARY}),
    "JSON with escapes": '{"a": "\\u0043ANARY7315"}',
    "JSON in JSON": json.dumps({"a": json.dumps({"b": [CANARY]})}),
    "mapping": UserDict({"a": CANARY}),
    "long text": "x" * 3_000_000 + CANARY,
    "text at the cut": "x" * (FIELD_LIMIT - 60) + CANARY * 20_000,
    "many texts": [CANARY] * 60_000,
}


@pytest.mark.parametrize("name", HIDDEN_BY_PATTERN)
@pytest.mark.parametrize("limit", [FIELD_LIMIT, 3_000, 50])
def test_a_pattern_reaches_whatever_becomes_text(name: str, limit: int) -> None:
    """Wherever dump() makes text of something, the canary is gone from it, cut or not."""
    value = HIDDEN_BY_PATTERN[name]
    stored = dump(value, limit, BY_PATTERN)
    assert b"CANARY" not in stored
    assert base64.b64encode(CANARY.encode())[:8] not in stored


HIDDEN_BY_KEY: dict[str, Any] = {
    "dict": {"password": CANARY},
    "other spellings": [
        {"apiKey": CANARY},
        {"X-API-Key": CANARY},
        {"OPENAI_API_KEY": CANARY},
        {"clientSecret": CANARY},
    ],
    "header": {"headers": {"Authorization": f"Bearer {CANARY}", "Cookie": CANARY}},
    "dataclass": Login("me", CANARY),
    "repr of an object": Config(CANARY),
    "repr with bytes": Config(CANARY.encode()),
    "repr with a quote": Config(f'it\'s "{CANARY}"'),
    "repr with a dict": Config({"a": {"b": CANARY}, "c": [CANARY]}),
    "repr of an object inside": Config(Config(CANARY)),
    "arguments of a tool call": {"arguments": json.dumps({"password": CANARY, "to": "me"})},
    "JSON with a dict": json.dumps([{"credentials": {"a": [CANARY]}}]),
    "JSON in the midst of a text": f'call with {{"password": "{CANARY}", "to": "me"}} now',
    "escaped JSON in a text": rf'"{{\"password\": \"{CANARY}\"}}"',
    "quote in the value": f'"password": "a\\"{CANARY}" etc',
    "assignment": f"export API_KEY={CANARY}; run",
    "query": f"https://example.org/?a=1&token={CANARY}&b=2",
    "YAML": f"user: me\npassword: {CANARY}\nport: 1",
    "header line": f"Authorization: Basic {CANARY}",
    "arrow": f"password => '{CANARY}'",
    "quote that is not closed": f"password='{CANARY}",
    "triple quotes": f'password = """\n{CANARY}\n"""',
    "call": f"password=SecretText('{CANARY}')",
    "exception": RuntimeError(f"login failed with password={CANARY}"),
    "bytes": f"password={CANARY}".encode(),
    "bytes that are no text": b"\xff password=" + CANARY.encode(),
}


@pytest.mark.parametrize("name", HIDDEN_BY_KEY)
def test_a_key_is_met_inside_texts_too(name: str) -> None:
    """The value of a secret key is hidden in a dict, in JSON inside a text, in a repr, in a line of a file."""
    stored = dump(HIDDEN_BY_KEY[name], redact=SECRETS)
    assert b"CANARY" not in stored
    assert REDACTED.encode() in stored


@pytest.mark.parametrize(
    "secret",
    [
        "sk-proj-CANARY0123456789abcd",
        "sk-ant-api03-CANARY-0123456789",
        "sk_live_CANARY0123456789",
        "AKIACANARY0123456789",
        "ghp_CANARY0123456789abcdef",
        "github_pat_CANARY0123456789abcdef",
        "glpat-CANARY0123456789",
        "xoxb-CANARY0123456789",
        "AIzaCANARY0123456789012345678901234567",
        "hf_CANARY0123456789abcdef",
        "eyJhbGciOiJI.eyJzdWIiOiIx.CANARY_12-3",
        "Bearer CANARY0123456789",
        "postgres://me:CANARY@host/db",
        "-----BEGIN RSA PRIVATE KEY-----\nCANARY\nCANARY\n-----END RSA PRIVATE KEY-----",
        "-----BEGIN PRIVATE KEY-----\nCANARY and no end",
    ],
)
def test_common_credentials_are_known(secret: str) -> None:
    """A credential of a known kind is hidden wherever it stands, without a key."""
    for value in (secret, f"before ({secret}) after", {"a": [secret]}, {secret: 1}, Config(secret), secret.encode()):
        stored = dump(value, redact=SECRETS)
        assert b"CANARY" not in stored
        assert REDACTED.encode() in stored


@pytest.mark.parametrize(
    "value",
    [
        {"max_tokens": 100, "prompt_tokens": 5, "token_count": 1, "stop_token": "x"},
        "the password is fine; a task-0123456789abcdefgh is no key, nor is monkey=banana",
        "at 12:30 he said: a => b, c=d, and https://example.org/a:b",
        '{"password": null, "n": 12345678901234567890.5, "a":   [1,2]}',
        "data:image/png;base64,iVBORw0KGgo=",
        {"key": "value", "author": "me", "secretary": "you"},
        [1, 2.5, True, None, "", "[", "{", '"'],
    ],
)
def test_what_is_no_secret_stays(value: object) -> None:
    """Ordinary texts and numbers are stored as they are."""
    assert SECRETS(value) == value
    assert json.loads(dump(value, redact=SECRETS)) == value


texts = st.text(max_size=20)
plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=15,
)


def plant(value: Any, wrap: Any) -> Any:
    """The same value with a canary around or inside every text and key."""
    if isinstance(value, str):
        return wrap(value)
    if isinstance(value, list):
        return [plant(item, wrap) for item in value]
    if isinstance(value, dict):
        return {wrap(key): plant(item, wrap) for key, item in value.items()}
    return value


wraps = st.sampled_from(
    [
        lambda text: text + CANARY,
        lambda text: CANARY + text,
        lambda text: f"{CANARY}{text}{CANARY}",
        lambda text: json.dumps({"a": text + CANARY}),
        lambda text: "{" + CANARY + text,
    ]
)
shapes = st.sampled_from(
    [
        lambda value: value,
        lambda value: Login("me", value),
        ValueError,
        Config,
        lambda value: (value, {1: value}),
        json.dumps,
        lambda value: json.dumps(value).encode(),
        lambda value: (
            json.dumps(value, ensure_ascii=False).encode("utf-16", "surrogatepass").replace(b"\0", b"") + b"\xff"
        ),
    ]
)


@given(plain, wraps, shapes, st.sampled_from([FIELD_LIMIT, 2_000, 300]))
def test_no_canary_is_ever_stored(value: object, wrap: Any, shape: Any, limit: int) -> None:
    """Wherever canaries are planted, in whatever shape, none is stored."""
    assert b"CANARY" not in dump(shape(plant(value, wrap)), limit, BY_PATTERN)


@given(plain)
def test_the_callers_data_is_not_changed(value: object) -> None:
    """A redactor returns a copy; without a secret in it, an equal one."""
    before = copy.deepcopy(value)
    assert BY_PATTERN(value) == before
    SECRETS(value)
    redactor(["*"])(value)
    assert value == before


@given(plain)
def test_redacting_twice_is_redacting_once(value: object) -> None:
    """What was redacted is left alone by the same rules."""
    once = SECRETS(value)
    assert SECRETS(once) == once


def test_text_redacts_a_plain_text() -> None:
    """For the fields that are text and not JSON: the same rules, and a text comes back."""
    assert SECRETS.text("failed: password=hunter2, sorry") == "failed: password=[redacted], sorry"
    assert redactor(lambda value: {"kept": value}).text("a") == "{'kept': 'a'}"


def test_a_redactor_alone_takes_any_object() -> None:
    """Called without dump(), it makes text of what is no plain data, and redacts that."""
    assert SECRETS(Config("x")) == "Config(user='me', password='[redacted]', retries=3)"
    assert SECRETS({("a",): b"password=x", "s": frozenset({1})}) == {("a",): "password=[redacted]", "s": [1]}
