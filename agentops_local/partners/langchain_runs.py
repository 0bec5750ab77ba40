"""LangChain's runs as events.

| run | event |
|---|---|
| chat model, LLM | `LLMEvent`: the prompt as OpenAI's chat messages or as text, one event for a stream as well |
| tool | `ToolEvent` of the tool's name |
| chain, graph, any other runnable | `ActionEvent`, action_type is its name |
| retriever | `ActionEvent("retriever")`, params are its name and the query: most often it is the inside of a tool |
| what an agent decided | `ActionEvent("agent_action")`, `ActionEvent("agent_finish")` |
| a retry | `ActionEvent("retry")` |

A run is recorded when it ends, with its times from start to end, in the session and by the agent that surrounded its
start; its parent is the event of the run around it. A run that fails is recorded too. The `ErrorEvent` stands at the
innermost run that failed; the runs which the same exception passes through on its way up say so in their logs, and one
failure counts once.
"""

from __future__ import annotations

import traceback
from collections import deque
from collections.abc import Callable, Sequence
from contextvars import Context, copy_context
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from uuid import UUID

from agentops_local import context
from agentops_local.clock import now_iso
from agentops_local.event import ActionEvent, ErrorEvent, Event, LLMEvent, ToolEvent
from agentops_local.faults import contained
from agentops_local.partners import langchain_shapes as shapes

if TYPE_CHECKING:
    from langchain_core.agents import AgentAction, AgentFinish
    from langchain_core.documents import Document
    from langchain_core.messages import BaseMessage
    from langchain_core.outputs import LLMResult
    from tenacity import RetryCallState

# LangChain tells no end of a run that is cancelled outside of a chain; more open runs than this are taken for such.
MOST_OPEN = 10_000

_guarded = contained("recording a LangChain run")


@dataclass
class Run:
    """A run that has begun.

    Attributes:
        event: what it will be recorded as.
        parent: the run around it.
        surroundings: the context it began in, in which it is recorded: its session, its agent, the event around it.
        around: the event that the program's own code was in the course of, if any.
        failures: exceptions of runs inside this one, told already; the last few.
    """

    event: Event
    parent: UUID | None
    surroundings: Context
    around: UUID | None
    failures: deque[BaseException] = field(default_factory=lambda: deque(maxlen=8))


class Runs:
    """The callbacks, as plain functions. Nothing of LangChain's is kept after its run has ended.

    They are called from any thread. The open runs are a plain dict, touched by single operations only, each atomic: a
    lock might be held by another thread at the moment of a fork and never be released in the child.

    Args:
        record: what to do with an event.
    """

    def __init__(self, record: Callable[[Event], None]) -> None:
        self._record = record
        self._open: dict[UUID, Run] = {}

    # Language models -------------------------------------------------------------------------------------------------

    @_guarded
    def on_llm_start(
        self,
        serialized: dict[str, Any] | None,
        prompts: list[str],
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        **kwargs: Any,
    ) -> None:
        """A model is given text."""
        prompt = prompts[0] if len(prompts) == 1 else prompts
        self._begin(run_id, parent_run_id, _llm_event(serialized, prompt, **kwargs))

    @_guarded
    def on_chat_model_start(
        self,
        serialized: dict[str, Any] | None,
        messages: list[list[BaseMessage]],
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        **kwargs: Any,
    ) -> None:
        """A model is given a conversation."""
        self._begin(run_id, parent_run_id, _llm_event(serialized, shapes.chat(messages), **kwargs))

    @_guarded
    def on_llm_end(self, response: LLMResult, *, run_id: UUID, **_kwargs: Any) -> None:
        """It has answered; a stream has been read to its end."""
        if (run := self._end(run_id)) is not None:
            if isinstance(run.event, LLMEvent):
                shapes.answer(run.event, response)
            run.surroundings.run(self._record, run.event)

    @_guarded
    def on_llm_error(
        self, error: BaseException, *, run_id: UUID, response: LLMResult | None = None, **_kwargs: Any
    ) -> None:
        """It has failed, or its stream is no longer read; what it had said is kept."""
        run = self._open.get(run_id)
        if run is not None and isinstance(run.event, LLMEvent) and response is not None and shapes.has_answer(response):
            shapes.answer(run.event, response)
        self._fail(run_id, error)

    # Chains, tools, retrievers ---------------------------------------------------------------------------------------

    @_guarded
    def on_chain_start(
        self,
        serialized: dict[str, Any] | None,
        inputs: Any,
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        **kwargs: Any,
    ) -> None:
        """A chain, a graph or any other runnable begins."""
        name = shapes.name(serialized, kwargs.get("name"), "chain")
        self._begin(run_id, parent_run_id, ActionEvent(action_type=name, params=shapes.plain(inputs)))

    @_guarded
    def on_tool_start(
        self,
        serialized: dict[str, Any] | None,
        input_str: str,
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        inputs: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """A tool is called."""
        name = shapes.name(serialized, kwargs.get("name"), "tool")
        params = input_str if inputs is None else shapes.plain(inputs)
        self._begin(run_id, parent_run_id, ToolEvent(name=name, params=params))

    @_guarded
    def on_retriever_start(
        self,
        serialized: dict[str, Any] | None,
        query: str,
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        **kwargs: Any,
    ) -> None:
        """A retriever is asked."""
        params = {"retriever": shapes.name(serialized, kwargs.get("name"), "retriever"), "query": query}
        self._begin(run_id, parent_run_id, ActionEvent(action_type="retriever", params=params))

    @_guarded
    def on_chain_end(self, outputs: Any, *, run_id: UUID, inputs: Any = None, **_kwargs: Any) -> None:
        """The chain is done. One that is fed by a stream knows its inputs only now."""
        if (run := self._end(run_id)) is not None:
            run.event.returns = shapes.plain(outputs)
            run.event.params = run.event.params if inputs is None else shapes.plain(inputs)
            run.surroundings.run(self._record, run.event)

    @_guarded
    def on_tool_end(self, output: Any, *, run_id: UUID, **_kwargs: Any) -> None:
        """The tool has given its result."""
        if (run := self._end(run_id)) is not None:
            run.event.returns = shapes.plain(output)
            run.surroundings.run(self._record, run.event)

    @_guarded
    def on_retriever_end(self, documents: Sequence[Document], *, run_id: UUID, **_kwargs: Any) -> None:
        """The retriever has found documents."""
        if (run := self._end(run_id)) is not None:
            run.event.returns = shapes.plain(list(documents))
            run.surroundings.run(self._record, run.event)

    @_guarded
    def on_chain_error(self, error: BaseException, *, run_id: UUID, inputs: Any = None, **_kwargs: Any) -> None:
        """The chain has failed."""
        if inputs is not None and (run := self._open.get(run_id)) is not None:
            run.event.params = shapes.plain(inputs)
        self._fail(run_id, error)

    @_guarded
    def on_tool_error(self, error: BaseException, *, run_id: UUID, **_kwargs: Any) -> None:
        """The tool has failed."""
        self._fail(run_id, error)

    @_guarded
    def on_retriever_error(self, error: BaseException, *, run_id: UUID, **_kwargs: Any) -> None:
        """The retriever has failed."""
        self._fail(run_id, error)

    # Moments in the course of a run ----------------------------------------------------------------------------------

    @_guarded
    def on_agent_action(self, action: AgentAction, *, run_id: UUID, **_kwargs: Any) -> None:
        """An agent has decided to call a tool."""
        params = {"tool": action.tool, "tool_input": shapes.plain(action.tool_input)}
        self._note(run_id, ActionEvent(action_type="agent_action", params=params, logs=action.log or None))

    @_guarded
    def on_agent_finish(self, finish: AgentFinish, *, run_id: UUID, **_kwargs: Any) -> None:
        """An agent has come to its answer."""
        returns = shapes.plain(finish.return_values)
        self._note(run_id, ActionEvent(action_type="agent_finish", returns=returns, logs=finish.log or None))

    @_guarded
    def on_retry(self, retry_state: RetryCallState, *, run_id: UUID, **_kwargs: Any) -> None:
        """A model has failed and is asked again."""
        params = {
            "attempt": retry_state.attempt_number,
            "wait_s": getattr(retry_state.next_action, "sleep", None),
        }
        outcome = retry_state.outcome
        error = outcome.exception() if outcome is not None and outcome.failed else None
        self._note(run_id, ActionEvent(action_type="retry", params=params, logs=_told(error)))

    # What they have in common ----------------------------------------------------------------------------------------

    def _begin(self, run_id: UUID, parent_run_id: UUID | None, event: Event) -> None:
        surroundings = copy_context()
        around = context.event_id.get()
        parent = None if parent_run_id is None else self._open.get(parent_run_id)
        # A function of the program's own between the two runs, recorded by a decorator, is nearer than the outer run.
        if parent is not None and around in (None, parent.around):
            surroundings.run(context.event_id.set, parent.event.id)
        self._open[run_id] = Run(event, parent_run_id, surroundings, around)
        if len(self._open) > MOST_OPEN:
            oldest = self._end(next(iter(self._open.copy())))
            if oldest is not None:
                oldest.surroundings.run(self._record, oldest.event)

    def _end(self, run_id: UUID) -> Run | None:
        run = self._open.pop(run_id, None)
        if run is not None:
            run.event.end_timestamp = now_iso()
        return run

    def _fail(self, run_id: UUID, error: BaseException) -> None:
        if not isinstance(error, Exception):  # cancelled, interrupted: LangChain tells it to chains, not to all in them
            for inner in self._inside(run_id):
                self._fail(inner, error)
        run = self._end(run_id)
        if run is None:
            return
        told = any(failure is error for failure in run.failures)
        if told and isinstance(run.event, (ActionEvent, ToolEvent)):
            run.event.logs = _told(error)
        run.surroundings.run(self._record, run.event)
        if isinstance(error, GeneratorExit):  # somebody has read as much of a stream as he wanted
            return
        if not told:
            status = getattr(error, "status_code", None)  # of a provider's answer
            # The traceback is asked of the exception: the one being handled just now may be another.
            logs = "".join(traceback.format_exception(error))
            code = str(status) if isinstance(status, int) else None
            failure = ErrorEvent(trigger_event=run.event, exception=error, code=code, logs=logs)
            failure.agent_id = run.event.agent_id
            run.surroundings.run(self._record, failure)
        outer = None if run.parent is None else self._open.get(run.parent)
        if outer is not None:
            outer.failures.append(error)

    def _inside(self, run_id: UUID) -> list[UUID]:
        """The open runs inside a run, the innermost first."""
        runs = self._open.copy()
        inside = {run_id}
        for each, run in runs.items():  # in the order in which they began
            if run.parent in inside:
                inside.add(each)
        return [each for each in reversed(runs) if each in inside and each != run_id]

    def _note(self, run_id: UUID, event: Event) -> None:
        """Records what has no duration, inside the run in which it happened."""
        event.end_timestamp = event.init_timestamp
        run = self._open.get(run_id)
        if run is None:
            self._record(event)
            return
        inside = run.surroundings.copy()
        inside.run(context.event_id.set, run.event.id)
        inside.run(self._record, event)


def _llm_event(
    serialized: dict[str, Any] | None,
    prompt: str | list[Any],
    *,
    metadata: dict[str, Any] | None = None,
    invocation_params: dict[str, Any] | None = None,
    **_kwargs: Any,
) -> LLMEvent:
    named = {"model": (metadata or {}).get("ls_model_name")}
    model = shapes.model(invocation_params, named, (serialized or {}).get("kwargs"))
    return LLMEvent(prompt=prompt, params=shapes.settings(invocation_params), model=model)


def _told(error: BaseException | None) -> str | None:
    return None if error is None else "".join(traceback.format_exception_only(type(error), error)).strip()
