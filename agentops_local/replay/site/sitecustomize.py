"""Loaded by every Python that `agentops-local replay` starts, before its program: this folder is on its PYTHONPATH.

Python looks for one module of this name; one that stands further down the path is loaded afterwards, as it would be
without us. It may be loaded by a Python of any version, in an environment that knows nothing of us. There nothing can
be answered, and so nothing may be asked: the first connection ends it.
"""

import os
import sys


def _refuse(event: str, args: tuple) -> None:  # type: ignore[type-arg]  # of any Python
    """Ends a process that speaks to others; sockets of this machine's own files are none of it."""
    if event == "socket.getaddrinfo" or (event == "socket.connect" and isinstance(args[1], tuple)):
        sys.stderr.write(
            f"agentops-local replay: nothing can be answered, for {sys.executable} has no agentops_local; install it "
            f"there ({sys.executable} -m pip install agentops-local) or name a Python that has it\n"
        )
        sys.stderr.flush()
        os._exit(3)


def _load_next() -> None:
    from importlib.machinery import PathFinder
    from importlib.util import module_from_spec

    here = os.path.realpath(os.path.dirname(__file__))  # noqa: PTH120 - pathlib is not loaded for every Python
    others = [entry for entry in sys.path if os.path.realpath(entry) != here]
    spec = PathFinder.find_spec("sitecustomize", others)
    if spec is not None and spec.loader is not None:
        module = module_from_spec(spec)
        sys.modules["sitecustomize"] = module
        spec.loader.exec_module(module)


if __name__ == "sitecustomize" and os.environ.get("AGENTOPS_LOCAL_REPLAY"):
    try:
        from agentops_local.replay import hooks
    except ImportError as error:
        if (error.name or "").partition(".")[0] != "agentops_local":
            raise
        sys.addaudithook(_refuse)
    else:
        hooks.begin()

if __name__ == "sitecustomize":
    _load_next()
