"""The fixtures of exports."""

from __future__ import annotations

from tests.analytics.recording import book

__all__ = ["book"]
