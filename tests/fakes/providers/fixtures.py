"""The providers as a fixture, registered for all tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.fakes.providers import Providers


@pytest.fixture
def providers() -> Iterator[Providers]:
    """LLM providers on loopback."""
    with Providers() as running:
        yield running
