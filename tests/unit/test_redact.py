from __future__ import annotations

import base64
import copy
import dataclasses
import json
import logging
import re
from collections import UserDict
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentops_local.redact import Redactor, make_redactor
from agentops_local.serialize import FIELD_LIMIT, dump

CANARY = "CANARY7315"
REDACTED = "[redacted]"


def redactor(rules: object) -> Redactor:
    """The redactor of rules that are some."""
    made = make_redactor(rules)
    assert made is not None
    return made


SECRETS = redactor("secrets")
BY_PATTERN = redactor(re.compile(r"CANARY\d+"))


@dataclasses.dataclass
class Login:
    user: str
    password: str


class Config:
    def __init__(self, password: object) -> None:
        self.password = password

    def __repr__(self) -> str:
        return f"Config(user='me', password={self.password!r}, retries=3)"


# ---------------------------------------------------------------------------------------------------------------- rules


@pytest.mark.parametrize("rules", [None, [], (), {}, {"keys": [], "patterns": []}, {"defaults": False}, [None][:0]])
def test_no_rules_make_no_redactor(rules: object) -> None:
    """Without rules nothing stands in the way of recording."""
    assert make_redactor(rules) is None


def test_a_redactor_is_a_rule() -> None:
    """What was made may be given again, alone or among others."""
    assert make_redactor(SECRETS) is SECRETS
    assert redactor([SECRETS, "mine"])({"mine": 1, "password": 2}) == {"mine": REDACTED, "password": REDACTED}


@pytest.mark.parametrize(
    ("key", "rule", "hidden"),
    [
        ("password", "password", True),
        ("PassWord", "PASSWORD", True),
        ("api_key", "api-key", True),
        ("apiKey", "api_key", True),
        ("API-KEY", "apiKey", True),
        ("password2", "password", False),
        ("my_token_2", "*token*", True),
        ("max_tokens", "*_token", False),
        ("monkey", "*_key", False),
        ("my_key", "*_key", True),
        ("anything\nat all", "*", True),
        ("a.c", "a.c", True),
        ("abc", "a.c", False),
        ("größe", "GRÖSSE", False),
        ("größe", "GRÖßE", True),
    ],
)
def test_a_text_is_the_name_of_a_key(key: str, rule: str, hidden: bool) -> None:
    """Case, hyphens and capitals inside do not count; `*` stands for any letters; all else for itself."""
    assert redactor(rule)({key: 1, "other ": 2}) == {
        key: REDACTED if hidden else 1,
        "other ": REDACTED if rule == "*" else 2,
    }


def test_a_hidden_value_is_hidden_whole() -> None:
    """Whatever stands under the key, number, list or dict, is hidden; None tells nothing and stays."""
    hide = redactor("secret")
    assert hide({"secret": {"a": [1]}}) == {"secret": REDACTED}
    assert hide([{"secret": 0}, {"secret": None}]) == [{"secret": REDACTED}, {"secret": None}]


def test_a_pattern_reaches_texts_and_keys() -> None:
    """Each match in a text or a key is replaced, and two keys that become one keep both values."""
    value = {f"a {CANARY} b {CANARY}": 1, "CANARY1": 2, "CANARY2": [f"x{CANARY}y"]}
    assert BY_PATTERN(value) == {
        "a [redacted] b [redacted]": 1,
        "[redacted]": 2,
        "[redacted] (3)": ["x[redacted]y"],
    }


def test_a_function_gets_the_whole_payload() -> None:
    """It sees plain data, after the other rules, and its answer is what is stored."""
    seen: list[object] = []

    def call(payload: object) -> object:
        seen.append(payload)
        return {"kept": payload}

    both = redactor([call, "password"])
    assert json.loads(dump({"login": Login("me", "x")}, redact=both)) == {
        "kept": {"login": {"user": "me", "password": REDACTED}}
    }
    assert seen == [{"login": {"user": "me", "password": REDACTED}}]


def test_functions_are_called_in_their_order() -> None:
    """Each gets what the one before it returned."""
    assert redactor([lambda value: [value], lambda value: {"a": value}])(1) == {"a": [1]}


def test_a_mapping_holds_all_kinds() -> None:
    """Names, patterns, a function and the common credentials, each one or several."""
    hide = redactor(
        {
            "keys": "mine",
            "patterns": [re.compile("x+"), re.compile("y")],
            "call": lambda value: [value],
            "defaults": True,
        }
    )
    assert hide({"mine": 1, "password": 2, "a": "axxby"}) == [
        {"mine": REDACTED, "password": REDACTED, "a": "a[redacted]b[redacted]"}
    ]


@pytest.mark.parametrize(
    ("rules", "error", "says"),
    [
        (3, TypeError, "3 is no rule"),
        (b"password", TypeError, "is no rule"),
        (["password", 3.5], TypeError, "3.5 is no rule"),
        ("", ValueError, "names no key"),
        (["a", " "], ValueError, "names no key"),
        (re.compile(b"x"), TypeError, "for bytes"),
        (re.compile("x*"), ValueError, "empty text"),
        ({"key": "a"}, ValueError, "there is no 'key'; a mapping of rules may hold keys, patterns, call, defaults"),
        ({"keys": [1]}, TypeError, "1 is no name of a key"),
        ({"patterns": ["a+"]}, TypeError, r"give re.compile\('a\+'\)"),
        ({"call": "a"}, TypeError, "cannot be called"),
        ({"defaults": "yes"}, TypeError, "True or False, not 'yes'"),
    ],
)
def test_a_wrong_rule_is_told(rules: object, error: type[Exception], says: str) -> None:
    """The message names the value and the remedy, when the rules are given and not at the first event."""
    with pytest.raises(error, match=says):
        make_redactor(rules)


def test_an_asynchronous_function_is_told() -> None:
    """Its coroutine would be stored instead of its answer."""

    async def call(payload: object) -> object:
        return payload

    with pytest.raises(TypeError, match="asynchronous"):
        make_redactor(call)


# ------------------------------------------------------------------------------------------------------------- failing


def test_what_fails_is_not_stored_and_told_once(caplog: pytest.LogCaptureFixture) -> None:
    """A function that raises costs the payload; the log says so once, without the payload."""

    def call(payload: object) -> object:
        raise LookupError(f"no idea about {payload}")

    hide = redactor(call)
    with caplog.at_level(logging.WARNING):
        assert hide({"a": CANARY}) == "[redaction failed: LookupError]"
        assert hide.text(CANARY) == "[redaction failed: LookupError]"
        assert dump({"a": CANARY}, redact=hide) == b'"[redaction failed: LookupError]"'
    assert len(caplog.records) == 1
    assert CANARY not in caplog.text
    assert "LookupError" in caplog.text


def test_a_value_too_deep_to_redact_is_not_stored() -> None:
    """A cycle cannot be redacted to its end, so nothing of it is kept."""
    value: list[Any] = [CANARY]
    value.append(value)
    assert SECRETS(value) == "[redaction failed: RecursionError]"


@pytest.mark.parametrize("signal", [KeyboardInterrupt, SystemExit])
def test_a_request_to_stop_passes_through(signal: type[BaseException]) -> None:
    """Ctrl-C is not a failure of the redaction."""

    def call(payload: object) -> object:
        raise signal

    with pytest.raises(signal):
        dump(1, redact=redactor(call))


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
