"""Who has to know of a fork, and what no fork may fall into: the one global state of the process's forks."""

from __future__ import annotations

import os
import threading
import weakref
from importlib import import_module
from types import ModuleType
from typing import Protocol


class Forkable(Protocol):
    """What must not be in the midst of something when the process forks."""

    def before_fork(self) -> None:
        """In the parent, before: comes to rest, and stays there."""

    def after_fork_in_parent(self) -> None:
        """In the parent, after: goes on."""

    def after_fork_in_child(self) -> None:
        """In the child: begins a life of its own."""


# How long a fork waits for an import of ours, in seconds. An end is needed: a `__del__` that records may interrupt the
# import and wait for a connection that the forking thread holds already.
_IMPORT_PATIENCE = 5.0

_known: weakref.WeakSet[Forkable] = weakref.WeakSet()
_turn = threading.RLock()  # two threads that fork at once would wait for each other
_importing = threading.RLock()
_forking: list[tuple[list[Forkable], bool]] = []
_hooked = False


def announce_to(thing: Forkable) -> None:
    """From now on a fork is announced to it, for as long as it lives."""
    _known.add(thing)
    _hook()


def import_whole(name: str) -> ModuleType:
    """Imports a module at its first use, which may be in any thread, without letting a fork of another thread fall into
    the import: the child would inherit the module's lock from a thread it does not have, and hang at its own first use.

    Raises:
        ImportError: there is no such module.
    """
    _hook()
    with _importing:
        return import_module(name)


def _hook() -> None:
    global _hooked  # noqa: PLW0603 - the process has one set of fork hooks, and they cannot be taken back
    if not _hooked and hasattr(os, "register_at_fork"):  # Windows has no fork
        _hooked = True
        os.register_at_fork(before=_before, after_in_parent=_after_in_parent, after_in_child=_after_in_child)


def _before() -> None:
    _turn.acquire()
    things = list(_known)  # held strongly: one collected in between would leave its lock taken
    for thing in things:
        thing.before_fork()
    _forking.append((things, _importing.acquire(timeout=_IMPORT_PATIENCE)))


def _after_in_parent() -> None:
    things, alone = _forking.pop()
    if alone:
        _importing.release()
    for thing in things:
        thing.after_fork_in_parent()
    _turn.release()


def _after_in_child() -> None:
    global _turn, _importing  # noqa: PLW0603 - the child's are new ones
    _turn = threading.RLock()
    _importing = threading.RLock()
    for thing in _forking.pop()[0]:
        thing.after_fork_in_child()
