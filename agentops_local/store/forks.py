"""Who has to know of a fork: the one global state of the store."""

from __future__ import annotations

import os
import threading
import weakref
from typing import Protocol


class Forkable(Protocol):
    """What must not be in the midst of something when the process forks."""

    def before_fork(self) -> None:
        """In the parent, before: comes to rest, and stays there."""

    def after_fork_in_parent(self) -> None:
        """In the parent, after: goes on."""

    def after_fork_in_child(self) -> None:
        """In the child: begins a life of its own."""


_known: weakref.WeakSet[Forkable] = weakref.WeakSet()
_turn = threading.RLock()  # two threads that fork at once would wait for each other
_forking: list[list[Forkable]] = []
_hooked = False


def announce_to(thing: Forkable) -> None:
    """From now on a fork is announced to it, for as long as it lives."""
    global _hooked  # noqa: PLW0603 - the process has one set of fork hooks, and they cannot be taken back
    _known.add(thing)
    if not _hooked and hasattr(os, "register_at_fork"):  # Windows has no fork
        _hooked = True
        os.register_at_fork(before=_before, after_in_parent=_after_in_parent, after_in_child=_after_in_child)


def _before() -> None:
    _turn.acquire()
    things = list(_known)  # held strongly: one collected in between would leave its lock taken
    _forking.append(things)
    for thing in things:
        thing.before_fork()


def _after_in_parent() -> None:
    for thing in _forking.pop():
        thing.after_fork_in_parent()
    _turn.release()


def _after_in_child() -> None:
    global _turn  # noqa: PLW0603 - the child's is a new one
    _turn = threading.RLock()
    for thing in _forking.pop():
        thing.after_fork_in_child()
