"""A database that somebody has recorded to."""

from __future__ import annotations

from tests.analytics.recording import book

__all__ = ["book"]
