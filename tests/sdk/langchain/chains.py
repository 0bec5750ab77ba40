"""Models, tools and retrievers that do as they are told, and what was recorded of them."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from langchain_core.callbacks import CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.language_models import SimpleChatModel
from langchain_core.language_models.fake_chat_models import (
    FakeMessagesListChatModel,
)
from langchain_core.messages import (
    AIMessage,
    BaseMessage,
)
from langchain_core.messages.ai import UsageMetadata
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import Runnable, RunnableConfig
from langchain_core.tools import tool

from agentops_local.partners.langchain_callback_handler import (
    AsyncLangchainCallbackHandler,
    LangchainCallbackHandler,
)
from tests.sdk.records import Records

Handler = LangchainCallbackHandler | AsyncLangchainCallbackHandler
Row = dict[str, Any]

# Whether the details of the counts may be left out differs from one version to the next.
USAGE = cast("UsageMetadata", {"input_tokens": 11, "output_tokens": 5, "total_tokens": 16})


def using(handler: Handler) -> RunnableConfig:
    """The configuration that a program passes to have its runs recorded."""
    return {"callbacks": [handler]}


def rows(view: str, order: str = "seq") -> list[Row]:
    """The rows of a view or table, in the order of commits."""
    return Records(Path.cwd() / ".agentops" / "agentops.db").rows(f"SELECT * FROM {view} ORDER BY {order}")


def only(view: str) -> Row:
    """The one row of a view."""
    [row] = rows(view)
    return row


def open_runs(handler: Handler) -> int:
    """The runs that the handler still remembers."""
    return len(handler._runs._open if isinstance(handler, AsyncLangchainCallbackHandler) else handler._open)


def says(*messages: str | BaseMessage) -> FakeMessagesListChatModel:
    """A chat model that says this, one after the other."""
    return FakeMessagesListChatModel(responses=[AIMessage(m) if isinstance(m, str) else m for m in messages])


class Overloaded(Exception):
    """What a provider's client raises."""

    status_code = 529
    response = SimpleNamespace(headers={"retry-after": "9"}, status_code=529, json=dict)


class Failing(SimpleChatModel):
    """A chat model that is overloaded."""

    _llm_type = "failing"

    def _call(self, *args: Any, **kwargs: Any) -> str:
        raise Overloaded("try again later")


class Shelf(BaseRetriever):
    """A retriever with one book."""

    def _get_relevant_documents(self, query: str, *, run_manager: CallbackManagerForRetrieverRun) -> list[Document]:
        if query == "missing":
            raise LookupError(query)
        return [Document(page_content=f"about {query}", metadata={"page": 7})]


@tool
def multiply(a: int, b: int) -> int:
    """Multiply two numbers."""
    return a * b


@tool
def divide(a: int, b: int) -> float:
    """Divide two numbers."""
    return a / b


def invoke(runnable: Runnable[Any, Any], given: Any, config: RunnableConfig) -> Any:
    """As a synchronous program runs it."""
    return runnable.invoke(given, config)


def ainvoke(runnable: Runnable[Any, Any], given: Any, config: RunnableConfig) -> Any:
    """As an asynchronous program runs it."""
    return asyncio.run(runnable.ainvoke(given, config))


def stream(runnable: Runnable[Any, Any], given: Any, config: RunnableConfig) -> Any:
    """As a synchronous program streams it."""
    return list(runnable.stream(given, config))


def astream(runnable: Runnable[Any, Any], given: Any, config: RunnableConfig) -> Any:
    """As an asynchronous program streams it."""

    async def read() -> list[Any]:
        return [chunk async for chunk in runnable.astream(given, config)]

    return asyncio.run(read())


def broken(*_: Any) -> None:
    """Stands in for a part of ours that has a fault."""
    raise ZeroDivisionError


every_way = pytest.mark.parametrize("way", [invoke, ainvoke, stream, astream])
