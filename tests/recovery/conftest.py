"""A database, and programs that record to it."""

from __future__ import annotations

from tests.analytics.recording import book
from tests.reliability.conftest import api, machine, machines, spawn

__all__ = ["api", "book", "machine", "machines", "spawn"]
