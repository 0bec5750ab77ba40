"""The closed sets of words: event types and end states."""

from __future__ import annotations

from enum import Enum
from typing import cast

from agentops_local.errors import WrongUse, shown


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
        if issubclass(type(word), str):  # never isinstance: a value's __class__ may raise, and its == as well
            text = str.__getitem__(cast("str", word), slice(None))
            for state in cls:
                if text in (state.value, "Failure" if state is cls.FAIL else None):
                    return state
        raise WrongUse(f"end_state {shown(word)} is not known: use 'Success', 'Fail' (or 'Failure') or 'Indeterminate'")
