from __future__ import annotations

import json
import logging
import re
from typing import Any

import pytest

from agentops_local.redact import make_redactor
from agentops_local.serialize import dump
from tests.unit.redactors import BY_PATTERN, CANARY, REDACTED, SECRETS, Login, redactor

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
