"""A session: one run of an agent, in one process or in many.

The object belongs to one process; what it says of the run (counts, cost, tags at joining) is read from the database, so
it covers every process that shares the session.
"""

from __future__ import annotations

import inspect
import json
import math
import os
import threading
import time
from collections.abc import Callable, Iterable
from contextvars import ContextVar
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar, cast
from uuid import UUID, uuid5

from agentops_local import clock, context, faults, process
from agentops_local.analytics.totals import cost_text
from agentops_local.around import Bound, wrap
from agentops_local.config import Configuration, key_hash, tag_list
from agentops_local.enums import EndState
from agentops_local.errors import WrongUse
from agentops_local.event import ErrorEvent, Event
from agentops_local.log import logger
from agentops_local.recorder import rows, writes
from agentops_local.recorder.state import SessionState
from agentops_local.session_facts import SessionFacts

if TYPE_CHECKING:
    from agentops_local.recorder.recorder import Recorder

__all__ = ["EndState", "Session"]

F = TypeVar("F", bound=Callable[..., Any])

# What the blocks of `with session:` around the code that runs will give back, the innermost last.
_entered: ContextVar[tuple[Session | None, ...]] = ContextVar("agentops_local_entered", default=())
_NAMES = UUID("0190b2f6-7f6c-7c4b-8a6f-6d2f5f6a7c11")  # namespace for agent ids that are no UUIDs


class Session(SessionFacts):
    """A session of this process. Use `start_session()` or `init()` to get one.

    Args:
        session_id: its id.
        config: the settings it was started with.
        tags: its tags.
        recorder: where it records.
        inherited: whether another process has started it, or will.

    Attributes:
        session_id: UUID.
        project_id: the project on the server; None here, the key decides it there.
        init_timestamp, end_timestamp: ISO 8601; end_timestamp is None while it runs.
        end_state: 'Success', 'Fail' or 'Indeterminate'. end_state_reason: why, or None.
        tags: list of text. video: URL or path, or None.
        is_running: until it is ended in this process.
    """

    def __init__(
        self,
        session_id: UUID,
        config: Configuration,
        tags: list[str] | None = None,
        *,
        recorder: Recorder,
        inherited: bool = False,
    ) -> None:
        self.project_id: str | None = None
        self.config = config
        self.is_running = True
        self._ending = threading.Lock()  # taken once, by the thread that ends it
        self._pid = os.getpid()
        state = SessionState(
            id=str(session_id),
            tags=[recorder.text(_text(tag)) for tag in tags or []],
            key_hash=key_hash(config.api_key),
            parent_key_hash=key_hash(config.parent_key),
            inherited=inherited,
            opt_out=bool(config.env_data_opt_out),
        )
        super().__init__(session_id, state, recorder)
        if inherited:
            self._join(tags or [])
        else:
            recorder.change(writes.SessionWrite(self._state))

    def _join(self, tags: list[str]) -> None:
        write = writes.join(self._state)
        self._recorder.change(write)
        if write.result is not None:
            init_us, end_us, auto_ended, has, video = cast("tuple[int, int | None, int, str, str | None]", write.result)
            self._state.init_us = init_us
            self._state.tags = json.loads(has)
            self._state.video = video
            if end_us is not None and not auto_ended:
                logger.warning(
                    "agentops_local: session %s has been ended already; events are recorded all the same",
                    self.session_id,
                )
            if not set(tags) <= set(self._state.tags):
                self.add_tags(tags)

    # Recording -------------------------------------------------------------------------------------------------------

    def record(self, event: Event | ErrorEvent, flush_now: bool = False) -> None:  # noqa: ARG002 - the classic's
        """Records an event: when this returns it is committed to the database.

        An event is recorded once; a trigger event of an error is recorded with it. After the end of the session in
        this process an event is refused with a warning.

        Args:
            event: what happened. Its end_timestamp is set to now if it has none.
            flush_now: accepted for the classic SDK's sake; every event is stored at once.
        """
        try:
            if self.is_running:
                self._record(event)
            else:
                logger.warning("agentops_local: session %s has ended; the event is not recorded", self.session_id)
        except WrongUse as error:
            logger.warning("agentops_local: %s", error)
        except Exception as fault:  # noqa: BLE001 - a border: reported, never raised into the program
            faults.report(fault, "record()")

    def encode(self, value: object) -> object:
        """A value as it is now, for an event that is recorded later: what becomes of it meanwhile is not recorded."""
        return self._recorder.encode(value)

    def _record(self, event: Event) -> None:
        if not isinstance(event, Event):
            raise WrongUse(
                f"{type(event).__name__} is no event: record an ActionEvent, LLMEvent, ToolEvent or ErrorEvent"
            )
        state = self._state
        if event._recorded_in is not None:
            if event._recorded_in == state.id:
                raise WrongUse(f"event {event.id} is recorded already; make a new event for what happened since")
            event.id = clock.new_id()  # an id is unique over all sessions
        if isinstance(event, ErrorEvent) and event.trigger_event is not None:
            self._record_trigger(event)
        if event.end_timestamp is None:
            event.end_timestamp = event.init_timestamp if isinstance(event, ErrorEvent) else _end_now(event)
        event.session_id = self.session_id
        agent_id = None
        if event.agent_id is not None:
            agent_id = _agent_uuid(event.agent_id)
            if agent_id not in state.agent_names:
                self._adopt(agent_id)
        parent = context.event_id.get()
        around = None if parent is None or parent == event.id else parent.bytes
        self._recorder.record(state, event, agent_id, around)
        event._recorded_in = state.id  # type: ignore[misc]  # of the instance: an event is recorded once
        if self._environment_due and time.monotonic() > self._environment_due:
            self._look_at_environment()

    def _record_trigger(self, error: ErrorEvent) -> None:
        trigger = error.trigger_event
        if not isinstance(trigger, Event):
            logger.warning("agentops_local: trigger_event: %s is no event; left out", type(trigger).__name__)
            error.trigger_event = None
        elif not trigger._recorded_in:
            self._record(trigger)

    def _adopt(self, agent_id: str) -> None:
        """An agent made before the session, or for another one, takes part in this."""
        name = context.agent_names.get(agent_id)
        if name is not None:
            # It was given where nobody redacts, nor looks whether the database can take it.
            self._state.agent_names[agent_id] = self._recorder.text(_text(name))

    # Ending ----------------------------------------------------------------------------------------------------------

    def end_session(
        self,
        end_state: str = EndState.INDETERMINATE.value,
        end_state_reason: str | None = None,
        video: str | None = None,
    ) -> str | None:
        """Ends the session; power-durable.

        Args:
            end_state: 'Success', 'Fail' (or 'Failure') or 'Indeterminate'; any other word is refused with a warning
                and the session goes on.
            end_state_reason: why.
            video: URL or path of a recording of it.

        Returns:
            The cost in US dollars, "0.00" when zero, else with six decimals. None if it had ended before, here or in
            another process, or if the end state was refused.
        """
        try:
            state = EndState.parse(end_state)
        except WrongUse as error:
            logger.warning("agentops_local: %s; the session goes on", error)
            return None
        if not self.is_running or not self._ending.acquire(blocking=False):  # another thread is about to
            return None
        cost: str | None = None
        with faults.contained("end_session()"):
            self._look_at_environment()
            self._set_end(state, end_state_reason, video)
            write = writes.end(self._state)
            self._recorder.change(write)
            if write.result is False:
                self._learn_end()
            else:  # None: kept for now, the database cannot be written
                cost = cost_text(self.token_cost)
        self.is_running = False
        return cost

    def _learn_end(self) -> None:
        """Another process has ended it before: its word stands."""
        state = self._state
        state.end_us, state.end_state, state.end_state_reason, state.video = self._recorder.read(
            lambda connection: connection.execute(
                "SELECT end_us, end_state, end_state_reason, video FROM sessions WHERE id = ?", (state.id,)
            ).fetchone()
        )

    def _set_end(self, end_state: EndState, reason: str | None, video: str | None, auto: bool = False) -> None:
        state = self._state
        state.end_us = max(clock.now_us(), state.init_us)  # the wall clock may have been set back since
        state.end_state = end_state.value
        state.end_state_reason = None if reason is None else self._recorder.text(_text(reason))
        if video is not None:
            state.video, state.video_due = self._recorder.text(_text(video)), True
        state.auto_ended = auto

    def _exit_process(self, crash: BaseException | None) -> None:
        """What the end of this process means for the session. An uncaught exception in the process that started it
        fails it; otherwise it ends, indeterminate, with the last of its processes."""
        state = self._state
        # Not by the epoch: the database may have been opened anew, and this session have recorded nothing since.
        here = state.place is not None and state.place.pid == os.getpid()
        if not self.is_running or not here:
            return
        starter = self._pid == os.getpid() and not state.inherited
        if starter:
            self._look_at_environment()
        if crash is None:
            self._set_end(EndState.INDETERMINATE, "its process ended without end_session()", None, auto=True)
        else:
            said = _text(crash)
            self._set_end(EndState.FAIL, type(crash).__name__ + (said and f": {said}"), None, auto=True)
        self._recorder.change(
            writes.leave(
                state,
                "end" if crash is None else "error",
                lambda others: (crash is not None and starter) or not any(map(_may_live, others)),
            )
        )
        self.is_running = False

    # Changing --------------------------------------------------------------------------------------------------------

    def add_tags(self, tags: Iterable[str] | str) -> None:
        """Adds tags; a bare text counts as one. Power-durable."""
        self._change("add_tags()", lambda: writes.add_tags(self._state, self._texts(tag_list(tags))))

    def _texts(self, tags: list[str]) -> list[str]:
        """Tags as they may be stored."""
        return [self._recorder.text(_text(tag)) for tag in tags]

    def set_tags(self, tags: Iterable[str] | str | None) -> None:
        """Replaces the tags. Power-durable."""
        self._change("set_tags()", lambda: writes.set_tags(self._state, self._texts(tag_list(tags))))

    def set_video(self, video: str) -> None:
        """Sets the video: URL or path of a recording of the session."""
        self._state.video, self._state.video_due = self._recorder.text(_text(video)), False
        self._change("set_video()", lambda: writes.set_video(self._state))

    def create_agent(self, name: str, agent_id: str | UUID | None = None) -> str | None:
        """Makes an agent known to the session.

        Args:
            name: its name.
            agent_id: its id, a UUID; a new one if not given. A text that is no UUID stands for one made from it.

        Returns:
            The agent's id, UUID text; None if the session has ended.
        """
        known = str(clock.new_id()) if agent_id is None else _agent_uuid(agent_id)
        called = self._state.agent_names[known] = self._recorder.text(_text(name))
        context.name_agent(known, called)
        added = self._change("create_agent()", lambda: writes.add_agent(self._state, known, called))
        return known if added else None

    def _change(self, doing: str, change: Callable[[], writes.SessionWrite]) -> bool:
        if not self.is_running:
            logger.warning("agentops_local: session %s has ended; %s changes nothing", self.session_id, doing)
            return False
        try:
            self._recorder.change(change())
        except WrongUse as error:
            logger.warning("agentops_local: %s", error)
            return False
        except Exception as fault:  # noqa: BLE001 - a border, as in record()
            faults.report(fault, doing)
            return False
        return True

    # Being the session of the code that runs -------------------------------------------------------------------------

    def __enter__(self) -> Session:
        """Makes this the session of the code in the block (and of tasks it starts): the package's functions and the
        decorators act on it. The block's end does not end the session."""
        _entered.set((*_entered.get(), context.session.get()))
        context.session.set(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        outer = _entered.get()
        if outer:  # else it is left in another task than it was entered in, which has nothing to give back
            _entered.set(outer[:-1])
            context.session.set(outer[-1])

    def patch(self, func: F) -> F:
        """The function, bound to this session wherever it is called; its parameter `session` is filled in, if any."""
        place = _place_of_session(func)

        def begin(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Bound[Session | None]:
            if len(args) <= place:
                kwargs.setdefault("session", self)
            return Bound(context.session, self)

        return wrap(func, begin)  # type: ignore[return-value]  # it is called alike

    def __repr__(self) -> str:
        return f"<Session {self.session_id} {'running' if self.is_running else self.end_state}>"


def _end_now(event: Event) -> str:
    """Now, but not before the event began: the wall clock may have been set back in the meantime."""
    now, begin = clock.now_iso(), event.init_timestamp
    if type(begin) is str and begin > now:  # by the text first: nearly always that settles it
        begin_us, now_us = clock.parse_us(begin), clock.parse_us(now)
        if begin_us is not None and now_us is not None and begin_us > now_us:
            return begin
    return now


def _agent_uuid(agent_id: object) -> str:
    if issubclass(type(agent_id), UUID):  # never isinstance: a value's __class__ may raise
        return str(agent_id)
    given = _text(agent_id)
    try:
        return str(UUID(given))
    except ValueError:
        known = str(uuid5(_NAMES, given))
        if known not in context.agent_names:  # told once, not with every event
            context.name_agent(known, given)
            logger.warning("agentops_local: agent_id %r is no UUID; the agent is known as %s", given, known)
        return known


def _text(value: object) -> str:
    """A text as the database takes it: without NUL and lone surrogates."""
    try:
        text = str(value)
    except Exception:  # noqa: BLE001 - a session must end though its reason cannot be told
        text = object.__repr__(value)
    return rows.text(text, None) or ""


def _place_of_session(func: Callable[..., Any]) -> float:
    """Up to how many positional arguments leave a function's parameter `session` to be filled in; -1 if it has none."""
    try:
        parameters = inspect.signature(func).parameters
    except (TypeError, ValueError):
        return -1
    found = parameters.get("session")
    if found is None or found.kind is found.POSITIONAL_ONLY:
        return -1
    return math.inf if found.kind is found.KEYWORD_ONLY else list(parameters).index("session")


def _may_live(owner: writes.Owner) -> bool:
    identity = process.ProcessIdentity(owner.pid, owner.started, owner.boot)
    return process.liveness(identity, owner.host) is not process.Liveness.DEAD
