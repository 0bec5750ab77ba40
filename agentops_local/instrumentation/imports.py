"""Waiting for the import of a module, so that it does not matter whether a library comes before or after `init()`.

`wrapt` has such hooks too, but costs 75 ms to import, in programs that may never make a call; and what is hooked there
stays so. This finder is taken away again.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

Then = Callable[[ModuleType], None]


class Imports(MetaPathFinder):
    """Calls back after the first import of each module that is waited for, in the thread that imports it."""

    def __init__(self) -> None:
        self._waiting: dict[str, Then] = {}

    def wait(self, name: str, then: Then) -> None:
        """Calls back once a module is imported, or now if it is.

        Args:
            then: is given the module. It must not raise: the import is the program's.
        """
        if name in sys.modules and not _is_being_imported(sys.modules[name]):
            then(sys.modules[name])
            return
        self._waiting[name] = then
        if self not in sys.meta_path:
            sys.meta_path.insert(0, self)

    def stop(self) -> None:
        """Waits for nothing any more."""
        self._waiting.clear()
        if self in sys.meta_path:
            sys.meta_path.remove(self)

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The spec that the other finders have for a module that is waited for, with a loader that calls back."""
        then = self._waiting.pop(fullname, None)  # now: another one of our kind asks all finders as well, us among them
        if then is None:
            return None
        for finder in list(sys.meta_path):
            find = getattr(finder, "find_spec", None)
            spec: ModuleSpec | None = find(fullname, path, target) if finder is not self and find is not None else None
            if spec is not None:
                if spec.loader is not None:  # a namespace package has none, and runs no code
                    spec.loader = _Loader(spec.loader, then)
                else:
                    self._waiting[fullname] = then
                return spec
        self._waiting[fullname] = then
        return None


class _Loader(Loader):
    """Loads a module as its own loader does, puts that back in its place, and calls back."""

    def __init__(self, loader: Loader, then: Then) -> None:
        self._loader = loader
        self._then = then

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        # Before it is executed: a module may look for its own resources by its loader.
        module.__loader__ = self._loader
        if module.__spec__ is not None:
            module.__spec__.loader = self._loader
        self._loader.exec_module(module)
        self._then(module)


def _is_being_imported(module: ModuleType) -> bool:
    return bool(getattr(getattr(module, "__spec__", None), "_initializing", False))
