from __future__ import annotations

import importlib
import importlib.util
import inspect
from dataclasses import is_dataclass
from enum import Enum

import pytest

import agentops_local
from tests.sdk.records import Programs

# The parameters of agentops 0.3.26, as inspect.signature told them: a name, and its default if it has one.
CLASSIC = {
    "init": "api_key=None parent_key=None endpoint=None max_wait_time=None max_queue_size=None tags=None "
    "default_tags=None instrument_llm_calls=None auto_start_session=None inherited_session_id=None "
    "skip_auto_end_session=None",
    "configure": "api_key=None parent_key=None endpoint=None max_wait_time=None max_queue_size=None "
    "default_tags=None instrument_llm_calls=None auto_start_session=None skip_auto_end_session=None",
    "start_session": "tags=None inherited_session_id=None",
    "end_session": "end_state end_state_reason=None video=None is_auto_end=False",
    "record": "event",
    "add_tags": "tags",
    "set_tags": "tags",
    "create_agent": "name agent_id=None",
    "get_session": "session_id",
    "get_api_key": "",
    "set_api_key": "api_key",
    "set_parent_key": "parent_key",
    "stop_instrumenting": "",
    "end_all_sessions": "",
    "record_action": "event_name=None",
    "record_tool": "tool_name=None",
    "record_function": "event_name",
    "track_agent": "name=None",
    "Session.record": "event flush_now=False",
    "Session.end_session": "end_state='Indeterminate' end_state_reason=None video=None",
    "Session.add_tags": "tags",
    "Session.set_tags": "tags",
    "Session.get_analytics": "",
    "Session.create_agent": "name agent_id",
    "Session.set_video": "video",
    "Session.patch": "func",
    "Configuration.configure": "client api_key=None parent_key=None endpoint=None max_wait_time=None "
    "max_queue_size=None default_tags=None instrument_llm_calls=None auto_start_session=None "
    "skip_auto_end_session=None env_data_opt_out=None",
}
COMMON = (
    "params=None returns=None init_timestamp=<factory> end_timestamp=None agent_id=<factory> id=<factory> "
    "session_id=None"
)
CLASSIC_EVENTS = {
    "Event": f"event_type {COMMON}",
    "ActionEvent": f"event_type='actions' {COMMON} action_type=None logs=None screenshot=None",
    "LLMEvent": f"event_type='llms' {COMMON} thread_id=None prompt=None prompt_tokens=None completion=None "
    "completion_tokens=None cost=None model=None",
    "ToolEvent": f"event_type='tools' {COMMON} name=None logs=None",
    "ErrorEvent": f"event_type='errors' {COMMON} trigger_event=None exception=None error_type=None code=None "
    "details=None logs=<factory>",
}
CLASSIC_HANDLERS = {
    "LangchainCallbackHandler": "api_key=None endpoint=None max_wait_time=None max_queue_size=None "
    "default_tags=['langchain', 'sync']",
    "AsyncLangchainCallbackHandler": "api_key=None endpoint=None max_wait_time=None max_queue_size=None "
    "default_tags=['langchain', 'async']",
}
MODULES = {
    "event": "Event ActionEvent LLMEvent ToolEvent ErrorEvent EventType",
    "session": "Session EndState",
    "decorators": "record_action record_tool record_function track_agent",
    "client": "Client",
    "config": "Configuration",
}


def split(parameters: str) -> list[str]:
    """The parameters of a line of the tables above: a default may hold a blank, a name may not."""
    return parameters.replace("', '", "','").split()


def told(parameter: inspect.Parameter) -> str:
    """A parameter as the tables write it."""
    if parameter.default is parameter.empty:
        return parameter.name
    return f"{parameter.name}={parameter.default!r}".replace("', '", "','")


def check(target: object, classic: str) -> None:
    """Whether every call that the classic signature takes is taken, and means the same."""
    assert callable(target)
    parameters = [p for p in inspect.signature(target).parameters.values() if p.name != "self"]
    ours = [told(p) for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]
    expected = split(classic)
    assert [name.partition("=")[0] for name in ours] == [name.partition("=")[0] for name in expected]
    for mine, theirs in zip(ours, expected, strict=True):
        if theirs.endswith("=<factory>"):  # a default that is worked out: how and when is nobody's business
            assert "=" in mine
        elif "=" in theirs:  # where the classic demands a value, ours may have a default
            assert mine == theirs
    for parameter in parameters:
        if parameter.kind is not parameter.POSITIONAL_OR_KEYWORD:
            assert parameter.kind is parameter.KEYWORD_ONLY
            assert parameter.default is not parameter.empty, f"{parameter.name} of ours must be optional"


def public(name: str) -> object:
    """What a dotted name of the package means."""
    found: object = agentops_local
    for part in name.split("."):
        found = getattr(found, part)
    return found


@pytest.mark.parametrize("name", CLASSIC)
def test_functions_take_the_classic_calls(name: str) -> None:
    """Functions and methods have the classic's parameters in its order with its defaults; ours are keyword-only."""
    check(public(name), CLASSIC[name])


@pytest.mark.parametrize("name", CLASSIC_EVENTS)
def test_events_have_the_classic_fields(name: str) -> None:
    """Events are dataclasses with the classic's fields, in its order and with its defaults."""
    event = public(name)
    assert is_dataclass(event)
    check(event, CLASSIC_EVENTS[name])


@pytest.mark.parametrize("name", CLASSIC_HANDLERS)
def test_langchain_handlers_take_the_classic_calls(name: str) -> None:
    """The LangChain handlers are made with the classic's parameters."""
    pytest.importorskip("langchain_core")
    check(public(name), CLASSIC_HANDLERS[name])


def test_new_settings_are_named_as_documented() -> None:
    """`init` and `configure` take the settings of ours, by keyword only."""
    for function in (agentops_local.init, agentops_local.configure):
        ours = {p.name for p in inspect.signature(function).parameters.values() if p.kind is p.KEYWORD_ONLY}
        assert ours >= {"db", "durability", "redact"}


@pytest.mark.parametrize("module", MODULES)
def test_classic_modules_hold_the_classic_names(module: str) -> None:
    """An import from a module of the classic ports by renaming the package, and finds the same object there."""
    found = importlib.import_module(f"agentops_local.{module}")
    for name in MODULES[module].split():
        assert getattr(found, name) is public(name)


@pytest.mark.parametrize("module", MODULES)
def test_modules_are_attributes_of_the_package(programs: Programs, module: str) -> None:
    """The classic's modules are there after `import agentops_local` alone, as `agentops.event.ActionEvent` needs."""
    programs.run(f"import agentops_local as agentops\nagentops.{module}.{MODULES[module].split()[0]}")


def test_langchain_module_is_where_it_was() -> None:
    """The LangChain handlers live in the module that users of the classic import them from."""
    assert importlib.util.find_spec("agentops_local.partners.langchain_callback_handler") is not None


def test_exported_names_are_pinned() -> None:
    """The package has the classic's functions, decorators and types, and exports all that does not need LangChain."""
    flat = {name for name in CLASSIC if "." not in name}
    types = {*CLASSIC_EVENTS, "Client", "Session", "Configuration", "EndState", "EventType"}
    assert set(agentops_local.__all__) >= flat | types
    assert set(dir(agentops_local)) >= {*agentops_local.__all__, *CLASSIC_HANDLERS, "__version__"}
    for name in agentops_local.__all__:
        assert getattr(agentops_local, name) is public(name)


def test_unknown_names_are_refused() -> None:
    """A name the package does not have is an AttributeError that says so, not a failed import."""
    with pytest.raises(AttributeError, match="no attribute 'recrod'"):
        agentops_local.recrod  # noqa: B018


def test_end_states_are_the_classic_ones() -> None:
    """`EndState` has the three words of the classic, as text and as names."""
    assert {state.name: state.value for state in agentops_local.EndState} == {
        "SUCCESS": "Success",
        "FAIL": "Fail",
        "INDETERMINATE": "Indeterminate",
    }
    assert issubclass(agentops_local.EndState, Enum)


def test_event_types_are_the_classic_ones() -> None:
    """`EventType` has the five words of the classic, as text and as names."""
    assert {kind.name: kind.value for kind in agentops_local.EventType} == {
        "LLM": "llms",
        "ACTION": "actions",
        "API": "apis",
        "TOOL": "tools",
        "ERROR": "errors",
    }


def test_every_event_is_an_event() -> None:
    """Every type of event, errors included, is an `Event`."""
    for name in CLASSIC_EVENTS:
        event = public(name)
        assert isinstance(event, type)
        assert issubclass(event, agentops_local.Event)
