"""A session as the v2 API exports it: the beginning of it, as text."""

from __future__ import annotations

import io
import json
from typing import BinaryIO, cast

from agentops_local.analytics.one_session.why import Why
from agentops_local.analytics.sessions import Summary
from agentops_local.dashboard.asking import Asked
from agentops_local.exporting import export

MOST = 200_000  # bytes that are shown: the rest is in the file


class _Enough(Exception):
    """As much is there as is shown."""


class _Beginning(io.RawIOBase):
    """Takes what is written, up to a length."""

    def __init__(self) -> None:
        super().__init__()
        self.taken = bytearray()

    def write(self, piece: object) -> int:
        self.taken += cast("bytes", piece)
        if len(self.taken) > MOST:
            raise _Enough
        return len(cast("bytes", piece))


def raw(asked: Asked, found: Summary, reason: Why) -> dict[str, object]:
    """The data of the view."""
    del reason
    beginning = _Beginning()
    try:
        export(asked.db, found.id, "v2", cast("BinaryIO", beginning))
    except _Enough:
        return {"text": beginning.taken[:MOST].decode("utf-8", "ignore"), "whole": False}
    text = beginning.taken.decode("utf-8", "replace")
    return {"text": json.dumps(json.loads(text), indent=2, ensure_ascii=False), "whole": True}
