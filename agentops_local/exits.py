"""The ways in which a process comes to its end, and the hooks by which one gets to know of it.

Only `atexit` and its like: nobody's signal handler or excepthook is replaced.
"""

from __future__ import annotations

import atexit
import os
import sys
from collections.abc import Callable


class Exits:
    """The exits of this process and of those that are forked from it.

    Args:
        leave: called once in each process that comes to its end.
        after_fork: called in each forked child.
    """

    def __init__(self, leave: Callable[[], None], after_fork: Callable[[], None]) -> None:
        self._leave = leave
        self._after_fork = after_fork
        self._is_hooked = False
        self._is_worker_hooked = False
        self._is_celery_hooked = False

    def hook(self) -> None:
        """Waits for them, from now on."""
        if self._is_hooked:
            return
        self._is_hooked = True
        atexit.register(self._leave)
        self._hook_worker()
        self._hook_celery()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(before=self._before_fork, after_in_child=self._after_fork)

    def _before_fork(self) -> None:
        """A forked worker of `multiprocessing` leaves by os._exit, without atexit, but runs the finalizers that were
        registered after its start; the module is only used if the program has loaded it."""
        util = sys.modules.get("multiprocessing.util")
        if util is not None and not self._is_worker_hooked:
            self._is_worker_hooked = True
            util.register_after_fork(self, Exits._hook_worker)
        self._hook_celery()

    def _hook_celery(self) -> None:
        """The children of a celery pool leave by os._exit as well, and run nothing but those who listen to celery's
        signal: without it, each that is recycled would look as if it had been killed."""
        signals = sys.modules.get("celery.signals")
        shutdown = getattr(signals, "worker_process_shutdown", None)  # None too while another thread imports it
        if shutdown is not None and not self._is_celery_hooked:
            self._is_celery_hooked = True
            shutdown.connect(self._leave_pool, weak=False)

    def _leave_pool(self, **_: object) -> None:
        self._leave()

    def _hook_worker(self) -> None:
        util = sys.modules.get("multiprocessing.util")
        workers = sys.modules.get("multiprocessing.process")
        if util is not None and workers is not None and workers.parent_process() is not None:
            util.Finalize(None, self._leave, exitpriority=0)


def uncaught() -> BaseException | None:
    """The exception that ends this program, if one does. Python itself keeps it in `sys` when it prints it, so nobody's
    excepthook has to be replaced; an interactive session keeps its last error there as well, and goes on."""
    if hasattr(sys, "ps1") or sys.flags.interactive or "ipykernel" in sys.modules:
        return None
    error = getattr(sys, "last_exc", None) or getattr(sys, "last_value", None)
    return error if isinstance(error, BaseException) else None


def remember_ctrl_c() -> None:
    """Python forgets that Ctrl-C has ended the program whenever a text is evaluated, as a NamedTuple does in a module
    that is loaded at the exit; then the exit status would be 1, and a shell's loop would go on."""
    try:
        exec("raise KeyboardInterrupt")  # noqa: S102 - our own text
    except KeyboardInterrupt:
        pass
