from __future__ import annotations

import math
import re
from typing import Any

import pytest
from hypothesis import given

from agentops_local.serialize import FIELD_LIMIT, dump
from tests.unit.encoders import read
from tests.unit.hostile import Step
from tests.unit.zoo import plain


@given(plain)
def test_a_redactor_sees_plain_data_only(value: object) -> None:
    """What a redactor is given is made of JSON's own types, exactly."""
    seen: list[object] = []

    def look(data: object) -> object:
        todo = [data]
        for item in todo:
            seen.append(item)
            if type(item) is dict:
                todo += [*item.keys(), *item.values()]
            elif type(item) is list:
                todo += item
        return data

    assert read(dump({"odd": Step(), "value": value}, redact=look))["value"] == value
    assert {type(item) for item in seen} <= {dict, list, str, int, float, bool, type(None)}


def test_a_redactor_that_raises_stores_nothing() -> None:
    """What could not be redacted is not stored."""

    def fail(_: object) -> object:
        raise ValueError("canary")

    assert read(dump({"a": "canary"}, redact=fail)) == "[redaction failed: ValueError]"


def test_what_a_redactor_returns_is_made_json_too() -> None:
    """A redactor may return anything."""
    assert read(dump({"a": 1}, redact=lambda plain: [plain, object(), {1: math.nan}])) == [
        {"a": 1},
        "<object object>",
        {"1": "NaN"},
    ]


@pytest.mark.parametrize(("limit", "step"), [(2_000, 7), (FIELD_LIMIT, 60)])
def test_no_half_of_a_secret_is_stored_at_a_cut(limit: int, step: int) -> None:
    """A secret that the cut would halve is still redacted: it is met before the cut."""
    secret = re.compile("CANARY[0-9]{50}")

    def redact(data: Any) -> object:
        if isinstance(data, str):
            return secret.sub("[redacted]", data)
        return {key: redact(item) for key, item in data.items()} if isinstance(data, dict) else data

    seen = 2 * limit + 4 * (1 << 16)  # about as much as the redactor is shown
    for place in [*range(limit - 140, limit, step), *range(seen - 140, seen, step), seen + (1 << 16) - 30]:
        text = "a" * place + "CANARY" + "0" * 50 + "b" * 2 * limit
        assert b"CANARY" not in dump({"text": text, "n": 1}, limit, redact)


def test_many_secrets_before_the_cut_do_not_bring_the_cut_one_back() -> None:
    """Redaction shortens a text; what lay beyond the cut does not move into what is kept."""
    secret = re.compile("CANARY[0-9]{50}")
    text = ("CANARY" + "0" * 50) * 100_000
    assert b"CANARY" not in dump(text, redact=lambda data: secret.sub("", str(data)))
