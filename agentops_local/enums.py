"""The closed sets of words: event types and end states."""

from __future__ import annotations

from enum import Enum

from agentops_local.errors import WrongUse


class EventType(str, Enum):
    """The kind of an event, under the name it has in the tables."""

    LLM = "llms"
    ACTION = "actions"
    API = "apis"
    TOOL = "tools"
    ERROR = "errors"


class EndState(str, Enum):
    """How a session ended."""

    SUCCESS = "Success"
    FAIL = "Fail"
    INDETERMINATE = "Indeterminate"

    @classmethod
    def parse(cls, word: object) -> EndState:
        """The end state a caller means; `Failure`, the documentation's word, is `Fail`.

        Raises:
            WrongUse: for any other word.
        """
        if isinstance(word, cls):
            return word
        if word == "Failure":
            return cls.FAIL
        for state in cls:
            if word == state.value:
                return state
        raise WrongUse(f"end_state {word!r} is not known: use 'Success', 'Fail' (or 'Failure') or 'Indeterminate'")
