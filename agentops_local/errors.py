"""The errors of agentops_local.

AgentOpsLocalError
├── WrongUse (also ValueError)      a value the caller gave cannot be accepted; the message names it and the remedy
├── DatabaseUnusable                this file cannot serve as the database; the message says why and what to do
│   ├── DatabaseTooNew              it was written by a newer version of agentops_local
│   └── ForeignDatabase             it is an SQLite file of another program, or no SQLite file at all
├── StoreFault                      the database could not be written now (disk full, lock held too long, ...)
└── BudgetExceeded                  a call would cost more than a budget has left; it is not made

None of them reaches the user's program from `record()`, a decorator or an LLM call, but for BudgetExceeded, which is
what a budget is for: a fault of ours is logged, counted and shown by `agentops-local doctor` (see
`agentops_local.faults`). Reading functions and the command line do raise them.
"""

from __future__ import annotations


class AgentOpsLocalError(Exception):
    """Base of every error this package raises."""


class WrongUse(AgentOpsLocalError, ValueError):
    """A value given by the caller cannot be accepted."""


class DatabaseUnusable(AgentOpsLocalError):
    """A file cannot serve as the database."""


class DatabaseTooNew(DatabaseUnusable):
    """The database was written by a newer version; it is left untouched."""


class ForeignDatabase(DatabaseUnusable):
    """The file belongs to another program; it is left untouched."""


class StoreFault(AgentOpsLocalError):
    """The database could not be written at this moment."""


class BudgetExceeded(AgentOpsLocalError):
    """An LLM call was not made: it may cost more than a budget has left, or nobody knows what it costs."""


def shown(value: object) -> str:
    """A value in a message: a hundred characters at most, and never a failure of its own."""
    try:
        text = repr(value)
    except Exception:  # noqa: BLE001 - a message must come out whatever the user's own code raises
        text = object.__repr__(value)
    return str.__getitem__(text, slice(0, 100))  # of a text that may lie about itself
