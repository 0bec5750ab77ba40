"""What lets a program that says `import agentops` record here, unchanged: `agentops-local run` uses it.

This folder is put first on PYTHONPATH, so the package `agentops` beside this file is the one every Python below finds,
before an AgentOps SDK that is installed there. Imported, it puts `agentops_local` in its own place and asks `Finder` to
answer for what lies below: `agentops.event` is then the very module `agentops_local.event`, not a second copy of it, so
`isinstance`, pickles and module state agree whichever name was used. A module that we do not have is not found, as in
any package.

Whatever lies in this folder can be imported as a top-level module by the user's program: it holds that package and
nothing else. `importlib.metadata` is left alone: `version("agentops")` tells what the environment has installed, and
raises PackageNotFoundError where that is nothing. A claimed version would make frameworks call what we do not have.

Python started with -I or -E does not read PYTHONPATH, and a file `agentops.py` beside the program comes before it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

CLASSIC = "agentops"
OURS = "agentops_local"


def python_path(environ: Mapping[str, str]) -> str:
    """PYTHONPATH with this folder at its head, and all that it held behind it."""
    here = str(Path(__file__).resolve().parent)
    held = environ.get("PYTHONPATH")
    # An empty entry means the working directory, so the rest is kept to the letter.
    rest = [] if not held else [entry for entry in held.split(os.pathsep) if entry != here]
    return os.pathsep.join([here, *rest])


def install() -> None:
    """Makes `agentops` another name of `agentops_local` in this process."""
    sys.modules[CLASSIC] = import_module(OURS)
    if not any(isinstance(finder, Finder) for finder in sys.meta_path):
        # First: the usual finder would look into the folder of agentops_local, and load each module a second time.
        sys.meta_path.insert(0, Finder())


class Finder(MetaPathFinder):
    """Finds `agentops.X` where agentops_local has an X."""

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None = None,  # noqa: ARG002 - the import system gives three arguments
        target: ModuleType | None = None,  # noqa: ARG002 - as above
    ) -> ModuleSpec | None:
        """The spec of a module under its classic name; None for other packages, and for what we do not have."""
        package, dot, rest = fullname.partition(".")
        if package != CLASSIC or not dot:
            return None
        ours = find_spec(f"{OURS}.{rest}")
        if ours is None:
            return None
        spec = ModuleSpec(fullname, _Alias(ours.name), origin=ours.origin)
        spec.submodule_search_locations = ours.submodule_search_locations
        return spec


class _Alias(Loader):
    """Loads a module by putting another, that has its own name and spec, in its place."""

    def __init__(self, name: str) -> None:
        self._name = name

    def exec_module(self, module: ModuleType) -> None:
        """Replaces the empty module: the import system takes what it finds in `sys.modules` afterwards."""
        sys.modules[module.__name__] = import_module(self._name)
