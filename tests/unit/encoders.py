"""The two encoders of payloads, with orjson and without it, and a strict reader of what they write."""

from __future__ import annotations

import importlib.util
import json
import sqlite3
import sys
import types
import unittest.mock
from collections.abc import Callable
from typing import Any, NoReturn

import pytest

from agentops_local import serialize
from agentops_local.serialize import FIELD_LIMIT, dump

DATABASE = sqlite3.connect(":memory:")


def without_orjson() -> types.ModuleType:
    """The module as it is where orjson cannot be imported, beside the ordinary one."""
    spec = importlib.util.spec_from_file_location("serialize_without_orjson", serialize.__file__)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    with unittest.mock.patch.dict(sys.modules, {"orjson": None}):
        module.dump(object())
    assert module._encode is not serialize._encode
    return module


dump_by_json: Callable[..., bytes] = without_orjson().dump
both = pytest.mark.parametrize("dump", [dump, dump_by_json], ids=["orjson", "json"])


def read(raw: bytes, limit: int = FIELD_LIMIT) -> Any:
    """What the JSON holds, after making sure that it is strict, short and usable in a database."""
    assert len(raw) <= limit
    text = raw.decode("utf-8")
    assert "\0" not in text
    assert "\\u0000" not in text.replace("\\\\", "")
    assert DATABASE.execute("SELECT json_valid(?), json_type(json_extract(?, '$'))", (text, "[]")).fetchone()[0] == 1
    DATABASE.execute("SELECT json_extract(?, '$'), json_extract(?, '$.a')", (text, text)).fetchone()

    def refuse(constant: str) -> NoReturn:
        raise AssertionError(f"{constant} is no JSON")

    return json.loads(text, parse_constant=refuse)
