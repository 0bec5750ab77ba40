from __future__ import annotations

from tests.analytics.recording import book
from tests.sync.conftest import api, machine, machines

__all__ = ["api", "book", "machine", "machines"]
