"""Callback handlers for LangChain: pass one as a callback, and each of its runs becomes an event.

    chain.invoke(question, config={"callbacks": [LangchainCallbackHandler()]})

What becomes of a run is told in `agentops_local.partners.langchain_runs`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from agentops_local.client import Client
from agentops_local.faults import contained, strict

try:
    from langchain_core.callbacks.base import AsyncCallbackHandler, BaseCallbackHandler
    from typing_extensions import override

    from agentops_local.partners.langchain_runs import Runs
except ImportError as missing:
    raise ImportError(
        "the LangChain callback handlers need langchain-core 0.3.11 or newer: "
        f"pip install 'agentops-local[langchain]' ({missing})"
    ) from missing

if TYPE_CHECKING:
    from langchain_core.agents import AgentAction, AgentFinish
    from langchain_core.documents import Document
    from langchain_core.messages import BaseMessage
    from langchain_core.outputs import LLMResult
    from tenacity import RetryCallState

__all__ = ["AsyncLangchainCallbackHandler", "LangchainCallbackHandler"]


class LangchainCallbackHandler(Runs, BaseCallbackHandler):
    """Records LangChain's runs; starts a session if there is none. In asynchronous code it works as well.

    Args:
        api_key, endpoint, max_wait_time, max_queue_size: as in `init()`.
        default_tags: tags of the sessions, unless `init()` has been called.
    """

    # Else LangChain, in asynchronous code, gives each callback to a thread: out of order, a connection each.
    run_inline = True

    def __init__(
        self,
        api_key: str | None = None,
        endpoint: str | None = None,
        max_wait_time: int | None = None,
        max_queue_size: int | None = None,
        default_tags: list[str] = ["langchain", "sync"],  # noqa: B006 - the classic default; only read
    ) -> None:
        super().__init__()
        self.raise_error = strict()  # LangChain swallows what a callback raises
        _initialize(default_tags, api_key, endpoint, max_wait_time, max_queue_size)

    @property
    def current_session_ids(self) -> list[str]:
        """The ids of the live sessions."""
        return Client().current_session_ids


class AsyncLangchainCallbackHandler(AsyncCallbackHandler):
    """The same as an `AsyncCallbackHandler`; each event is committed when its callback is done.

    Args:
        api_key, endpoint, max_wait_time, max_queue_size: as in `init()`.
        default_tags: tags of the sessions, unless `init()` has been called.
    """

    run_inline = True  # one after the other, as they happened

    def __init__(
        self,
        api_key: str | None = None,
        endpoint: str | None = None,
        max_wait_time: int | None = None,
        max_queue_size: int | None = None,
        default_tags: list[str] = ["langchain", "async"],  # noqa: B006 - the classic default; only read
    ) -> None:
        super().__init__()
        self.raise_error = strict()
        self._runs = Runs()
        _initialize(default_tags, api_key, endpoint, max_wait_time, max_queue_size)

    @property
    def current_session_ids(self) -> list[str]:
        """The ids of the live sessions."""
        return Client().current_session_ids

    @override
    async def on_llm_start(self, serialized: dict[str, Any], prompts: list[str], **run: Any) -> None:
        self._runs.on_llm_start(serialized, prompts, **run)

    @override
    async def on_chat_model_start(
        self, serialized: dict[str, Any], messages: list[list[BaseMessage]], **run: Any
    ) -> None:
        self._runs.on_chat_model_start(serialized, messages, **run)

    @override
    async def on_llm_end(self, response: LLMResult, **run: Any) -> None:
        self._runs.on_llm_end(response, **run)

    @override
    async def on_llm_error(self, error: BaseException, **run: Any) -> None:
        self._runs.on_llm_error(error, **run)

    @override
    async def on_chain_start(self, serialized: dict[str, Any], inputs: dict[str, Any], **run: Any) -> None:
        self._runs.on_chain_start(serialized, inputs, **run)

    @override
    async def on_chain_end(self, outputs: dict[str, Any], **run: Any) -> None:
        self._runs.on_chain_end(outputs, **run)

    @override
    async def on_chain_error(self, error: BaseException, **run: Any) -> None:
        self._runs.on_chain_error(error, **run)

    @override
    async def on_tool_start(self, serialized: dict[str, Any], input_str: str, **run: Any) -> None:
        self._runs.on_tool_start(serialized, input_str, **run)

    @override
    async def on_tool_end(self, output: Any, **run: Any) -> None:
        self._runs.on_tool_end(output, **run)

    @override
    async def on_tool_error(self, error: BaseException, **run: Any) -> None:
        self._runs.on_tool_error(error, **run)

    @override
    async def on_retriever_start(self, serialized: dict[str, Any], query: str, **run: Any) -> None:
        self._runs.on_retriever_start(serialized, query, **run)

    @override
    async def on_retriever_end(self, documents: Sequence[Document], **run: Any) -> None:
        self._runs.on_retriever_end(documents, **run)

    @override
    async def on_retriever_error(self, error: BaseException, **run: Any) -> None:
        self._runs.on_retriever_error(error, **run)

    @override
    async def on_agent_action(self, action: AgentAction, **run: Any) -> None:
        self._runs.on_agent_action(action, **run)

    @override
    async def on_agent_finish(self, finish: AgentFinish, **run: Any) -> None:
        self._runs.on_agent_finish(finish, **run)

    @override
    async def on_retry(self, retry_state: RetryCallState, **run: Any) -> None:
        self._runs.on_retry(retry_state, **run)


def _initialize(
    default_tags: Iterable[str],
    api_key: str | None,
    endpoint: str | None,
    max_wait_time: int | None,
    max_queue_size: int | None,
) -> None:
    """Settles the settings; starts a session, unless there is one or the program wants to do that itself."""
    with contained("setting up the LangChain callback handler"):
        client = Client()
        client.configure(api_key=api_key, endpoint=endpoint, max_wait_time=max_wait_time, max_queue_size=max_queue_size)
        if not client.is_initialized:
            client.configure(default_tags=default_tags)
        client.leave("langchain-core")
        if not client.has_sessions:
            client.initialize()
