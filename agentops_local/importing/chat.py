"""Runs of agents as lists of chat messages, in the shape of OpenAI's: trajectories, and the lines that models are
fine-tuned with.

Each message of the assistant is an LLM call whose prompt is all that came before it; each result of a tool is a call of
that tool, with the arguments that the assistant gave. Such a run has no ids and mostly no times. Its id is made of its
place in the file and of all it says, those of its events of that and of the places of their messages: the same file
taken in again is known. Its messages are a millisecond apart, beginning with the time of the run or, where it tells
none, that of the file; a call takes no time, for nobody knows how long it took.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from agentops_local.enums import EndState
from agentops_local.importing import checks
from agentops_local.importing.checks import Wrong
from agentops_local.importing.parsing import Bad, Found, parse
from agentops_local.importing.told import Event, Session, Told, Whole, said
from agentops_local.recorder.ground import DEFAULT_AGENT

MESSAGES = ("messages", "traj", "trajectory", "conversation")  # where a run may hold them
_TIMES = ("init_timestamp", "started_at", "created_at", "timestamp")
_STEP = 1000  # microseconds between two messages
_TOKENS = ("prompt_tokens", "completion_tokens")

Message = Mapping[str, Any]


@dataclass(frozen=True)
class Manner:
    """How runs are understood.

    Attributes:
        outcome: the field that tells how a run ended: 1, or true, is a success, anything less is none.
        model: of runs that do not name theirs.
        tags: the fields that become tags, as "task_id:7".
    """

    outcome: str = "reward"
    model: str | None = None
    tags: Sequence[str] = ("task_id", "trial")


def is_one(value: object) -> bool:
    """Whether a value looks like a run."""
    return _messages(value) is not None


def read(found: Iterator[Found], manner: Manner, begin_us: int) -> Iterator[Told]:
    """The runs of a file.

    Args:
        begin_us: when the first of those began that do not say it; each of the others follows the one before it.
    """
    for number, one in enumerate(found):
        if isinstance(one, Bad):
            yield one
            continue
        try:
            run = _Run(one.value, number, manner, begin_us)
            session = run.session()
        except Wrong as error:
            yield Bad(one.place, str(error))
            continue
        begin_us = max(begin_us, run.end_us + _STEP) if run.is_timeless else begin_us
        wrong: list[Bad] = []
        yield Whole(session, list(run.events(one.place, wrong)), wrong)


def _messages(value: object) -> list[Any] | None:
    """The messages of a run; None if it has none."""
    lists = [value] if isinstance(value, list) else []
    if isinstance(value, dict):
        lists = [value[name] for name in MESSAGES if isinstance(value.get(name), list)]
    for found in lists:
        if found and isinstance(found[0], dict) and "role" in found[0]:
            return list(found)
    return None


class _Run:
    """One run.

    Attributes:
        end_us: the time of its last message.
        is_timeless: whether it does not tell when it was.
    """

    def __init__(self, value: object, number: int, manner: Manner, begin_us: int) -> None:
        found = _messages(value)
        if found is None:
            raise Wrong(f"it holds no list of chat messages under {', '.join(MESSAGES)}")
        self._found = found
        self._fields: Mapping[str, Any] = value if isinstance(value, dict) else {}
        self._manner = manner
        self._id = _id(self._fields) or checks.derived(number, checks.encode(value))
        told = next((self._fields[name] for name in _TIMES if isinstance(self._fields.get(name), str)), None)
        self.is_timeless = told is None
        self._begin_us = begin_us if told is None else checks.the_time_us(told, "its time")
        self.end_us = self._begin_us + _STEP * len(found)
        self._agent = str(checks.derived(self._id, "agent"))
        self._asked: dict[str | None, tuple[UUID, Message]] = {}  # by the id of the call, or by its function's name

    def session(self) -> Session:
        """The session that it becomes."""
        state, reason = self._end()
        fields = self._fields
        tags = [f"{name}:{checks.text(fields[name])}" for name in self._manner.tags if fields.get(name) is not None]
        return Session(
            str(self._id), self._begin_us, self.end_us, end_state=state, end_state_reason=reason, tags=tags,
            agents=[(self._agent, DEFAULT_AGENT)],
        )  # fmt: skip

    def events(self, place: str, wrong: list[Bad]) -> Iterator[Event]:
        """Its calls of the model and of tools."""
        raws: list[bytes] = []
        for number, message in enumerate(self._found):
            raws.append(checks.encode(message))
            try:
                given = checks.mapping(message, "a message")
                role = given.get("role")
                if role == "assistant":
                    yield self._call(number, given, raws)
                elif role in ("tool", "function"):
                    yield self._tool(number, given)
            except Wrong as error:
                wrong.append(Bad(f"{place}, message {number}", str(error)))

    def _end(self) -> tuple[str, str | None]:
        outcome = self._fields.get(self._manner.outcome)
        if outcome is None:
            return EndState.INDETERMINATE.value, None
        if not isinstance(outcome, (bool, int, float)):
            raise Wrong(f"{self._manner.outcome} {outcome!r} is no number: 1 is a success, anything less is none")
        state = EndState.SUCCESS if outcome >= 1 else EndState.FAIL
        return state.value, f"{self._manner.outcome} {checks.text(outcome)}"

    def _event(self, number: int, kind: str, **more: Any) -> Event:
        at = self._begin_us + _STEP * number
        columns = {"end_us": at, **more.pop("columns")}
        return Event(self._event_id(number).bytes, kind, at, columns, agent=self._agent, **more)

    def _event_id(self, number: int) -> UUID:
        return checks.derived(self._id, number)

    def _call(self, number: int, message: Message, raws: list[bytes]) -> Event:
        for call in checks.items(message.get("tool_calls"), "tool_calls"):
            asked = checks.mapping(call, "a tool call")
            self._asked[checks.text(asked.get("id"))] = (
                self._event_id(number),
                checks.mapping(asked.get("function"), "function"),
            )
        if isinstance(message.get("function_call"), dict):
            function = message["function_call"]
            self._asked[checks.text(function.get("name"))] = self._event_id(number), function
        usage = message.get("usage") if isinstance(message.get("usage"), dict) else {}
        model = message.get("model") or self._fields.get("model") or self._manner.model
        columns = {
            "model": checks.text(model), "prompt_form": 0, "completion_form": 1,
            **{name: checks.count((usage or {}).get(name), name) for name in _TOKENS},
        }  # fmt: skip
        return self._event(number, "llms", columns=columns, messages=said(tuple(raws[:-1]), raws[-1]))

    def _tool(self, number: int, message: Message) -> Event:
        named = message.get("name")
        parent, function = self._asked.get(checks.text(message.get("tool_call_id", named)), (None, {"name": named}))
        columns = {
            "name": checks.text(function.get("name")), "parent": None if parent is None else parent.bytes,
        }  # fmt: skip
        payloads = checks.payloads({"params": _arguments(function), "returns": message.get("content")},
                                   "params", "returns")  # fmt: skip
        return self._event(number, "tools", columns=columns, payloads=payloads)


def _arguments(function: Message) -> Any:
    """What a tool was called with: what the text says that the model wrote, or that text where it is no JSON."""
    arguments = function.get("arguments")
    if isinstance(arguments, str):
        try:
            return parse(arguments.encode("utf-8", "replace"))
        except ValueError:
            pass
    return arguments


def _id(fields: Mapping[str, Any]) -> UUID | None:
    """The id of a run that has one."""
    for name in ("session_id", "id"):
        try:
            found = checks.uuid(fields.get(name), name)
        except Wrong:  # an id of another kind
            continue
        if found is not None:
            return found
    return None
