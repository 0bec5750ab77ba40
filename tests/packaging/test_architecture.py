"""The shape of the house: the names it shows, the size of its rooms, the form of its laws."""

from __future__ import annotations

import ast
import importlib
from collections.abc import Iterator
from pathlib import Path

import pytest

import agentops_local

ROOT = Path(__file__).parents[2]
LONGEST_FILE = 400

FUNCTIONS = {
    "add_tags",
    "budget",
    "configure",
    "create_agent",
    "end_all_sessions",
    "end_session",
    "get_api_key",
    "get_session",
    "init",
    "record",
    "set_api_key",
    "set_parent_key",
    "set_tags",
    "start_session",
    "stop_instrumenting",
}
DECORATORS = {"record_action", "record_function", "record_tool", "track_agent"}
TYPES = {
    "ActionEvent",
    "AsyncLangchainCallbackHandler",
    "Client",
    "Configuration",
    "BudgetExceeded",
    "EndState",
    "ErrorEvent",
    "Event",
    "EventType",
    "LLMEvent",
    "LangchainCallbackHandler",
    "Session",
    "ToolEvent",
}
PUBLIC_NAMES = FUNCTIONS | DECORATORS | TYPES

# What programs written for AgentOps 0.3.x import from inside the package.
INNER_NAMES = [
    ("agentops_local.client", "Client"),
    ("agentops_local.config", "Configuration"),
    ("agentops_local.decorators", "record_action"),
    ("agentops_local.decorators", "record_function"),
    ("agentops_local.decorators", "record_tool"),
    ("agentops_local.event", "ActionEvent"),
    ("agentops_local.event", "ErrorEvent"),
    ("agentops_local.event", "Event"),
    ("agentops_local.event", "LLMEvent"),
    ("agentops_local.event", "ToolEvent"),
    ("agentops_local.partners.langchain_callback_handler", "AsyncLangchainCallbackHandler"),
    ("agentops_local.partners.langchain_callback_handler", "LangchainCallbackHandler"),
    ("agentops_local.session", "EndState"),
    ("agentops_local.session", "Session"),
]


def test_public_names_are_pinned() -> None:
    """The package shows the names users of AgentOps 0.3.x know, and no name gets in by accident."""
    assert set(dir(agentops_local)) - {"__version__"} == PUBLIC_NAMES


def test_star_import_needs_no_extra() -> None:
    """`from agentops_local import *` leaves out the names that need LangChain, and no other."""
    assert set(agentops_local.__all__) == PUBLIC_NAMES - {"AsyncLangchainCallbackHandler", "LangchainCallbackHandler"}


@pytest.mark.parametrize("name", sorted(PUBLIC_NAMES))
def test_public_name_is_callable(name: str) -> None:
    """Every public name leads to a function or a class."""
    assert callable(getattr(agentops_local, name))


def test_public_names_are_listed() -> None:
    """`dir()` shows every public name, whether it has been loaded or not."""
    assert set(dir(agentops_local)) >= PUBLIC_NAMES


def test_unknown_name_is_refused() -> None:
    """A name the package does not have is an AttributeError that names it, as for any module."""
    name = "no_such_name"
    with pytest.raises(AttributeError, match=name):
        getattr(agentops_local, name)


@pytest.mark.parametrize(("module", "name"), INNER_NAMES)
def test_inner_name_stays_in_its_module(module: str, name: str) -> None:
    """A program that imports from inside AgentOps 0.3.x ports by renaming the package."""
    assert hasattr(importlib.import_module(module), name)


def sources(*folders: str) -> Iterator[Path]:
    """The Python files of these folders of the checkout."""
    for folder in folders:
        yield from sorted((ROOT / folder).rglob("*.py"))


def test_no_file_is_too_long() -> None:
    """No file has more than 400 lines: past that it holds two subjects."""
    lengths = {
        str(path.relative_to(ROOT)): len(path.read_text(encoding="utf-8").splitlines())
        for path in sources("agentops_local", "sync", "tests", "benchmarks")
    }
    assert {name: length for name, length in lengths.items() if length > LONGEST_FILE} == {}


def test_every_test_states_its_law() -> None:
    """Every test has a docstring, and in it the law it proves."""
    silent = [
        f"{path.relative_to(ROOT)}:{node.lineno} {node.name}"
        for path in sources("tests")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.name.startswith("test")
        and not ast.get_docstring(node)
    ]
    assert silent == []
