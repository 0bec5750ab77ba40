"""The events: what an agent did, as the program describes it.

These are plain data, the classic SDK's fields in the classic order. Nothing is looked up when one is made: no stack is
walked, no process asked. What a field may hold is open (params, returns, prompts); it is turned into JSON when the
event is recorded.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, ClassVar
from uuid import UUID

from agentops_local import context
from agentops_local.clock import new_id, now_iso
from agentops_local.enums import EventType

_agent_in_context = context.agent_id.get


@dataclass
class Event:
    """What all events have.

    Attributes:
        event_type: one of `EventType`, or its text.
        params: what went in, any value.
        returns: what came out, any value.
        init_timestamp: when it began, ISO 8601; now, if not given.
        end_timestamp: when it ended; set when it is recorded, if not given.
        agent_id: whose it is; the agent in the course of whose method it was made, else the session's default agent.
        id: a time-ordered UUID of its own.
        session_id: set when it is recorded.
    """

    event_type: EventType | str
    params: Any = None
    returns: Any = None
    init_timestamp: str = field(default_factory=now_iso)
    end_timestamp: str | None = None
    agent_id: UUID | None = field(default_factory=_agent_in_context)
    id: UUID = field(default_factory=new_id)
    session_id: UUID | None = None

    # The session it was recorded in: the same event twice would be two rows of one id, which no server takes.
    _recorded_in: ClassVar[str | None] = None


@dataclass
class ActionEvent(Event):
    """Something the agent did.

    Attributes:
        action_type: a name for what was done.
        logs: text or anything else worth keeping.
        screenshot: an image of the moment: a URL or base64 text.
    """

    event_type: EventType | str = EventType.ACTION.value
    action_type: str | None = None
    logs: str | Sequence[Any] | None = None
    screenshot: str | None = None


@dataclass
class LLMEvent(Event):
    """A call of a language model.

    Attributes:
        thread_id: groups calls, if the program has such groups.
        prompt: text, or the list of chat messages; each message is stored once however often it is sent.
        prompt_tokens: tokens in, all of them, cached ones included; None if nobody counted.
        completion: text, or the assistant's message.
        completion_tokens: tokens out, reasoning included.
        cost: US dollars; None if unknown: then it is looked up (see `agentops_local.pricing`).
        model: the model's name.
        provider: who answers, by OpenTelemetry's name for it ('openai', 'anthropic', ...).
        cache_read_tokens, cache_write_tokens: parts of prompt_tokens that came from, or went to, the provider's cache.
        reasoning_tokens: the part of completion_tokens that the model spent on thinking.
    """

    event_type: EventType | str = EventType.LLM.value
    thread_id: UUID | str | None = None
    prompt: str | list[Any] | None = None
    prompt_tokens: int | None = None
    completion: str | object = None
    completion_tokens: int | None = None
    cost: float | Decimal | None = None
    model: str | None = None
    provider: str | None = field(default=None, kw_only=True)
    cache_read_tokens: int | None = field(default=None, kw_only=True)
    cache_write_tokens: int | None = field(default=None, kw_only=True)
    reasoning_tokens: int | None = field(default=None, kw_only=True)


@dataclass
class ToolEvent(Event):
    """A call of a tool.

    Attributes:
        name: the tool's name.
        logs: text or anything else worth keeping.
    """

    event_type: EventType | str = EventType.TOOL.value
    name: str | None = None
    logs: str | dict[str, Any] | None = None


@dataclass
class ErrorEvent(Event):
    """Something that failed.

    Attributes:
        trigger_event: the event that failed; it is recorded as well, if it has not been.
        exception: fills error_type and details where they are not given.
        error_type, code, details: what failed, in the program's words.
        logs: the traceback of the exception, or of the one being handled, if nothing else is given.
        timestamp: when; the same as init_timestamp.
    """

    event_type: EventType | str = EventType.ERROR.value
    trigger_event: Event | None = None
    exception: BaseException | None = None
    error_type: str | None = None
    code: str | None = None
    details: str | dict[str, str] | None = None
    logs: str | None = None

    def __post_init__(self) -> None:
        if self.exception is not None:
            if self.error_type is None or (type(self.error_type) is str and not self.error_type):
                self.error_type = type.__dict__["__name__"].__get__(type(self.exception))  # whatever its metaclass says
            if self.details is None:
                try:
                    self.details = str(self.exception)
                except Exception:  # noqa: BLE001 - a __str__ that fails must not hide the exception
                    self.details = object.__repr__(self.exception)
        if self.logs is None:
            self.logs = _traceback_of(self.exception)

    @property
    def timestamp(self) -> str:
        """When it happened."""
        return self.init_timestamp


def _traceback_of(exception: BaseException | None) -> str | None:
    """The traceback of an exception, or of the one that is being handled if none is named. An exception that was never
    raised has none, and that of another one would mislead."""
    if exception is None:
        exception = sys.exc_info()[1]
    if not isinstance(exception, BaseException) or exception.__traceback__ is None:  # programs give a text, too
        return None
    try:
        return "".join(traceback.format_exception(exception))
    except Exception:  # noqa: BLE001 - an exception that cannot be printed is recorded all the same
        return None
