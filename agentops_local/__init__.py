"""A flight recorder for AI agents: `import agentops_local as agentops`.

The functions of the classic AgentOps SDK (0.3.x), recording to a database in the project: no account, no network. Each
event is committed before the call returns.

Importing this module loads nothing else; each name is fetched when it is first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from agentops_local.agent import track_agent as track_agent
    from agentops_local.client import Client as Client
    from agentops_local.config import Configuration as Configuration
    from agentops_local.decorators import record_action as record_action
    from agentops_local.decorators import record_function as record_function
    from agentops_local.decorators import record_tool as record_tool
    from agentops_local.enums import EndState as EndState
    from agentops_local.enums import EventType as EventType
    from agentops_local.errors import BudgetExceeded as BudgetExceeded
    from agentops_local.event import ActionEvent as ActionEvent
    from agentops_local.event import ErrorEvent as ErrorEvent
    from agentops_local.event import Event as Event
    from agentops_local.event import LLMEvent as LLMEvent
    from agentops_local.event import ToolEvent as ToolEvent
    from agentops_local.functions import add_tags as add_tags
    from agentops_local.functions import budget as budget
    from agentops_local.functions import configure as configure
    from agentops_local.functions import create_agent as create_agent
    from agentops_local.functions import end_all_sessions as end_all_sessions
    from agentops_local.functions import end_session as end_session
    from agentops_local.functions import get_api_key as get_api_key
    from agentops_local.functions import get_session as get_session
    from agentops_local.functions import init as init
    from agentops_local.functions import record as record
    from agentops_local.functions import set_api_key as set_api_key
    from agentops_local.functions import set_parent_key as set_parent_key
    from agentops_local.functions import set_tags as set_tags
    from agentops_local.functions import start_session as start_session
    from agentops_local.functions import stop_instrumenting as stop_instrumenting
    from agentops_local.partners.langchain_callback_handler import (
        AsyncLangchainCallbackHandler as AsyncLangchainCallbackHandler,
    )
    from agentops_local.partners.langchain_callback_handler import LangchainCallbackHandler as LangchainCallbackHandler
    from agentops_local.session import Session as Session

__version__ = "0.1.0"

_FUNCTIONS = (
    "add_tags budget configure create_agent end_all_sessions end_session get_api_key get_session init record "
    "set_api_key set_parent_key set_tags start_session stop_instrumenting"
)
_HOMES = {
    "functions": _FUNCTIONS,
    "decorators": "record_action record_function record_tool",
    "agent": "track_agent",
    "client": "Client",
    "config": "Configuration",
    "enums": "EndState EventType",
    "errors": "BudgetExceeded",
    "event": "ActionEvent ErrorEvent Event LLMEvent ToolEvent",
    "session": "Session",
    "partners.langchain_callback_handler": "AsyncLangchainCallbackHandler LangchainCallbackHandler",
}
_HOME = {name: module for module, names in _HOMES.items() for name in names.split()}

# Without the LangChain handlers: `from agentops_local import *` must work where LangChain is not installed.
__all__ = sorted(name for name in _HOME if "Langchain" not in name)  # noqa: PLE0605 - from the one list above

# The classic's modules, which are there without an import of their own: `agentops.event.ActionEvent`.
_MODULES = frozenset({"client", "config", "decorators", "enums", "event", "partners", "session"})


def __getattr__(name: str) -> object:
    """Fetches a public name from the module it lives in (PEP 562), or one of the modules."""
    home = _HOME.get(name)
    if home is None and name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    if home is None:
        return import_module(f"{__name__}.{name}")
    value = getattr(import_module(f"{__name__}.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*_HOME, "__version__"]
