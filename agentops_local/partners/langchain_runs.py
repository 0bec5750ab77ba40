"""LangChain's runs as events.

| run | event |
|---|---|
| chat model, LLM | `LLMEvent`: the prompt as OpenAI's chat messages or as text; a stream is one event |
| tool | `ToolEvent` of the tool's name |
| chain, graph, any other runnable | `ActionEvent`, action_type is its name |
| retriever | `ActionEvent("retriever")`, its name and the query are the params; tools are built of it |
| what an agent decided | `ActionEvent("agent_action")`, `ActionEvent("agent_finish")` |
| a retry | `ActionEvent("retry")` |

A run is recorded when it ends, with its times from start to end, in the session and by the agent that surrounded
its start; its parent is the event of the run around it. A run that fails is recorded too. The `ErrorEvent` stands at
the innermost run that failed; those which the same exception passes through on its way up say so in their logs: one
failure counts once.
"""

from __future__ import annotations

import time
import traceback
from collections import deque
from collections.abc import Callable, Sequence
from contextvars import Context, copy_context
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from uuid import UUID

from agentops_local import context
from agentops_local.client import Client
from agentops_local.clock import now_us, to_iso
from agentops_local.event import ActionEvent, ErrorEvent, Event, LLMEvent, ToolEvent
from agentops_local.faults import contained
from agentops_local.partners import langchain_shapes as shapes

if TYPE_CHECKING:
    from langchain_core.agents import AgentAction, AgentFinish
    from langchain_core.documents import Document
    from langchain_core.messages import BaseMessage
    from langchain_core.outputs import LLMResult
    from tenacity import RetryCallState

    from agentops_local.session import Session

# LangChain tells no end of a model's run that is cancelled outside of any chain. Of more open runs than this the oldest
# is taken for such a one and recorded as it is.
MOST_OPEN = 10_000

_guarded = contained("recording a LangChain run")


@dataclass
class Run:
    """A run that has begun.

    Attributes:
        event: what it will be recorded as.
        parent: the run around it.
        session: the session that was active when it began.
        around: the event in the course of which the program's own code was, if any.
        surroundings: the context it began in, with its session and the event around it; it is recorded there.
        failures: exceptions of runs inside this one, told already; the last few.
        init_us, begun: when it began by the wall clock, and by the monotonic one, which nobody sets.
        frame: of a model's run: what is inside it that records the same call.
    """

    event: Event
    parent: UUID | None
    session: Session | None
    around: UUID | None
    surroundings: Context = field(default_factory=copy_context)
    failures: deque[BaseException] = field(default_factory=lambda: deque(maxlen=8))
    init_us: int = field(default_factory=now_us)
    begun: int = field(default_factory=time.perf_counter_ns)
    frame: context.Frame | None = None

    @property
    def is_told(self) -> bool:
        """Whether the call is recorded from nearer."""
        return self.frame is not None and bool(self.frame.nearer)

    def record(self, event: Event) -> None:
        """Records an event where the run began, unless it is recorded from nearer."""
        if not self.is_told:
            self.surroundings.run(Client().record, event)


class Runs:
    """The callbacks, as plain functions, called from any thread.

    The open runs are a plain dict, touched by single operations only, each of them atomic: a lock might be held by
    another thread at the moment of a fork, and never be released in the child.
    """

    def __init__(self) -> None:
        self._open: dict[UUID, Run] = {}

    # Language models ----------------------------------------------------------------------------------------

    @_guarded
    def on_llm_start(self, serialized: dict[str, Any] | None, prompts: list[str], **run: Any) -> None:
        """A model is given text."""
        prompt = prompts[0] if len(prompts) == 1 else prompts
        self._begin_llm(_llm_event(serialized, prompt, **run), **run)

    @_guarded
    def on_chat_model_start(
        self, serialized: dict[str, Any] | None, messages: list[list[BaseMessage]], **run: Any
    ) -> None:
        """A model is given a conversation."""
        self._begin_llm(_llm_event(serialized, shapes.chat(messages), **run), **run)

    @_guarded
    def on_llm_end(self, response: LLMResult, *, run_id: UUID, **_: Any) -> None:
        """It has answered; a stream has been read to its end."""
        self._done(run_id, lambda event: shapes.answer(event, response))

    @_guarded
    def on_llm_error(self, error: BaseException, *, run_id: UUID, response: LLMResult | None = None, **_: Any) -> None:
        """It has failed, or its stream is no longer read; what it had said is kept."""
        run = self._open.get(run_id)
        try:
            if run is not None and response is not None and shapes.has_answer(response):
                shapes.answer(run.event, response)
        finally:
            self._fail(run_id, error)

    # Chains, tools, retrievers ------------------------------------------------------------------------------

    @_guarded
    def on_chain_start(self, serialized: dict[str, Any] | None, inputs: Any, **run: Any) -> None:
        """A chain, a graph or any other runnable begins."""
        name = shapes.name(serialized, run.get("name"), "chain")
        self._begin(ActionEvent(action_type=name, params=shapes.plain(inputs)), **run)

    @_guarded
    def on_tool_start(self, serialized: dict[str, Any] | None, input_str: str, **run: Any) -> None:
        """A tool is called."""
        name = shapes.name(serialized, run.get("name"), "tool")
        inputs = run.get("inputs")
        params = input_str if inputs is None else shapes.plain(inputs)
        self._begin(ToolEvent(name=name, params=params), **run)

    @_guarded
    def on_retriever_start(self, serialized: dict[str, Any] | None, query: str, **run: Any) -> None:
        """A retriever is asked."""
        params = {"retriever": shapes.name(serialized, run.get("name"), "retriever"), "query": query}
        self._begin(ActionEvent(action_type="retriever", params=params), **run)

    @_guarded
    def on_chain_end(self, outputs: Any, *, run_id: UUID, inputs: Any = None, **_: Any) -> None:
        """The chain is done. One that is fed by a stream knows its inputs only now."""
        if inputs is not None and (run := self._open.get(run_id)) is not None:
            run.event.params = shapes.plain(inputs)
        self._returned(run_id, outputs)

    @_guarded
    def on_tool_end(self, output: Any, *, run_id: UUID, **_: Any) -> None:
        """The tool has given its result."""
        self._returned(run_id, output)

    @_guarded
    def on_retriever_end(self, documents: Sequence[Document], *, run_id: UUID, **_: Any) -> None:
        """The retriever has found documents."""
        self._returned(run_id, list(documents))

    @_guarded
    def on_chain_error(self, error: BaseException, *, run_id: UUID, inputs: Any = None, **_: Any) -> None:
        """The chain has failed."""
        if inputs is not None and (run := self._open.get(run_id)) is not None:
            run.event.params = shapes.plain(inputs)
        self._fail(run_id, error)

    @_guarded
    def on_tool_error(self, error: BaseException, *, run_id: UUID, **_: Any) -> None:
        """The tool has failed."""
        self._fail(run_id, error)

    @_guarded
    def on_retriever_error(self, error: BaseException, *, run_id: UUID, **_: Any) -> None:
        """The retriever has failed."""
        self._fail(run_id, error)

    # Moments in the course of a run -------------------------------------------------------------------------

    @_guarded
    def on_agent_action(self, action: AgentAction, *, run_id: UUID, **_: Any) -> None:
        """An agent has decided to call a tool."""
        params = {"tool": action.tool, "tool_input": shapes.plain(action.tool_input)}
        self._note(run_id, ActionEvent(action_type="agent_action", params=params, logs=action.log or None))

    @_guarded
    def on_agent_finish(self, finish: AgentFinish, *, run_id: UUID, **_: Any) -> None:
        """An agent has come to its answer."""
        returns = shapes.plain(finish.return_values)
        self._note(run_id, ActionEvent(action_type="agent_finish", returns=returns, logs=finish.log or None))

    @_guarded
    def on_retry(self, retry_state: RetryCallState, *, run_id: UUID, **_: Any) -> None:
        """A model has failed and is asked again."""
        params = {
            "attempt": retry_state.attempt_number,
            "wait_s": getattr(retry_state.next_action, "sleep", None),
        }
        outcome = retry_state.outcome
        error = outcome.exception() if outcome is not None and outcome.failed else None
        self._note(run_id, ActionEvent(action_type="retry", params=params, logs=_told(error)))

    # What they have in common -------------------------------------------------------------------------------

    def _begin(self, event: Event, run_id: UUID, parent_run_id: UUID | None = None, **_: Any) -> None:
        parent = None if parent_run_id is None else self._open.get(parent_run_id)
        session = Client().active_session() or (None if parent is None else parent.session)
        run = Run(event, parent_run_id, session, context.event_id.get())
        event.init_timestamp = to_iso(run.init_us)
        if session is not None:
            run.surroundings.run(context.session.set, session)
        if session is not None and event.params is not None:
            event.params = session.encode(event.params)  # as it is now: the program may change it
        # A decorated function of the program's own, between the two runs, would be nearer than the outer run.
        if parent is not None and run.around in (None, parent.around):
            run.surroundings.run(context.event_id.set, parent.event.id)
        self._open[run_id] = run
        if len(self._open) > MOST_OPEN:
            try:
                oldest = self._open.pop(next(iter(self._open)), None)
            except RuntimeError:  # another thread changes it; the next run will look again
                oldest = None
            if oldest is not None:
                oldest.record(oldest.event)

    def _begin_llm(self, event: Event, run_id: UUID, **run: Any) -> None:
        """A model's run is recorded unless its provider's library tells of the call itself, from nearer."""
        self._begin(event, run_id, **run)
        begun = self._open.get(run_id)
        if begun is not None:
            parent = None if begun.parent is None else self._open.get(begun.parent)
            begun.frame = context.Frame(begun.around if parent is None else parent.event.id)
            context.frame.set(begun.frame)

    def _end(self, run_id: UUID) -> Run | None:
        run = self._open.pop(run_id, None)
        if run is not None:
            if run.frame is not None and context.frame.get() is run.frame:
                context.frame.set(None)
            run.event.end_timestamp = to_iso(run.init_us + (time.perf_counter_ns() - run.begun) // 1000)
        return run

    def _done(self, run_id: UUID, fill: Callable[[Event], None]) -> None:
        run = self._end(run_id)
        if run is not None:
            try:
                fill(run.event)
            finally:  # a result that we cannot read is no reason to lose the call
                run.record(run.event)

    def _returned(self, run_id: UUID, value: object) -> None:
        def fill(event: Event) -> None:
            event.returns = shapes.plain(value)

        self._done(run_id, fill)

    def _fail(self, run_id: UUID, error: BaseException) -> None:
        # Cancelled, interrupted: LangChain tells it to chains, but not to all that runs inside them.
        if not isinstance(error, (Exception, GeneratorExit)):
            for inner in [each for each, run in self._open.copy().items() if run.parent == run_id]:
                self._fail(inner, error)
        run = self._end(run_id)
        if run is None:
            return
        told = any(failure is error for failure in run.failures)
        if told and isinstance(run.event, (ActionEvent, ToolEvent)):
            run.event.logs = _told(error)
        run.record(run.event)
        if isinstance(error, GeneratorExit):  # a stream was read as far as it was wanted
            return
        if not told:
            status = getattr(error, "status_code", None)  # of a provider's answer
            # The traceback is asked of the exception: the one being handled just now may be another.
            logs = "".join(traceback.format_exception(error))
            code = str(status) if isinstance(status, int) else None
            failure = ErrorEvent(trigger_event=run.event, exception=error, code=code, logs=logs)
            failure.agent_id = run.event.agent_id
            run.record(failure)
        outer = None if run.parent is None else self._open.get(run.parent)
        if outer is not None:
            outer.failures.append(error)

    def _note(self, run_id: UUID, event: Event) -> None:
        """Records what has no duration, inside the run in which it happened."""
        event.end_timestamp = event.init_timestamp
        run = self._open.get(run_id)
        inside = copy_context() if run is None else run.surroundings.copy()
        if run is not None:
            inside.run(context.event_id.set, run.event.id)
        inside.run(Client().record, event)


def _llm_event(
    serialized: dict[str, Any] | None,
    prompt: str | list[Any],
    *,
    metadata: dict[str, Any] | None = None,
    invocation_params: dict[str, Any] | None = None,
    **_: Any,
) -> LLMEvent:
    named = {"model": (metadata or {}).get("ls_model_name")}
    model = shapes.model(invocation_params, named, (serialized or {}).get("kwargs"))
    return LLMEvent(prompt=prompt, params=shapes.settings(invocation_params), model=model)


def _told(error: BaseException | None) -> str | None:
    return None if error is None else "".join(traceback.format_exception_only(type(error), error)).strip()
