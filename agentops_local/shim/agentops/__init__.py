"""`import agentops`, under `agentops-local run`: this module's place is taken by agentops_local (see the folder above).

It may be loaded by a Python of any version, in an environment that knows nothing of us.
"""

import sys

# Under its full name, agentops_local.shim.agentops, it is only being looked at: by pydoc, or a packager.
if __name__ == "agentops":
    try:
        from agentops_local import shim
    except ImportError as error:
        if error.name != "agentops_local":
            raise
        # Said once on stderr as well, for a framework that can do without agentops would go on without a word.
        if sys.stderr is not None and not hasattr(sys, "_agentops_local_is_missing"):
            sys._agentops_local_is_missing = True  # type: ignore[attr-defined]
            sys.stderr.write(
                f"agentops-local run: nothing is recorded, for {sys.executable} has no agentops_local; "
                f"install it there ({sys.executable} -m pip install agentops-local) or name a Python that has it\n"
            )
        raise ImportError("agentops_local is not installed in this environment", name="agentops") from None
    shim.install()
