"""The replay in each Python process of the program: begun before its first line, by `site/sitecustomize.py`.

Nothing is loaded here that a process without LLM calls would not need: each library is seen to when it is imported.
"""

from __future__ import annotations

import os
import sys
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from agentops_local.instrumentation.imports import Imports

if TYPE_CHECKING:
    from agentops_local.replay.player import Player

VARIABLE = "AGENTOPS_LOCAL_REPLAY"  # the tape; as in `tape`, which is not loaded for it
_HTTPX = ("httpx", "httpx2")

_imports = Imports()


def begin() -> None:
    """From now on the requests of this process are answered."""
    for name in _HTTPX:
        _imports.wait(name, _httpx)
    _imports.wait("requests.adapters", _requests)
    _imports.wait("urllib.request", _urllib)
    _imports.wait("agentops_local.config", _configuration)
    _imports.wait("agentops_local.instrumentation.bridge", _bridge)
    sys.addaudithook(_audited)


@cache
def player() -> Player:
    """That of this process, or of the one that it was forked from: it holds nothing open."""
    from agentops_local.replay.player import Player

    return Player(Path(os.environ[VARIABLE]))


def _audited(event: str, args: tuple[Any, ...]) -> None:
    if event.startswith("socket."):
        from agentops_local.replay import interception

        interception.network(event, args, player())


def _httpx(module: ModuleType) -> None:
    from agentops_local.replay import interception

    interception.httpx(module, player())


def _requests(module: ModuleType) -> None:
    from agentops_local.replay import interception

    interception.requests(module, player())


def _urllib(module: ModuleType) -> None:
    from agentops_local.replay import interception

    interception.urllib(module, player())


def _configuration(module: ModuleType) -> None:
    """Sessions that begin meanwhile say what they are."""
    begin_settings = module.Configuration.__init__

    def begin_tagged(self: Any, *args: Any, **kwargs: Any) -> None:
        begin_settings(self, *args, **kwargs)
        self.default_tags.update(player().tags)

    module.Configuration.__init__ = begin_tagged


def _bridge(module: ModuleType) -> None:
    module.amend = player().amend  # type: ignore[attr-defined]  # of this one module
