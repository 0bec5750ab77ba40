"""The fixtures of replays."""

from __future__ import annotations

from tests.analytics.recording import book
from tests.replay.agent import agent

__all__ = ["agent", "book"]
