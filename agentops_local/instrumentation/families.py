"""Which family's names a span speaks."""

from __future__ import annotations

from typing import Protocol

from agentops_local.instrumentation import openinference, openllmetry, semconv
from agentops_local.instrumentation.reading import Attributes, Reading


class _Family(Protocol):
    def kind(self, attributes: Attributes) -> str | None: ...

    def read(self, attributes: Attributes, name: str) -> Reading: ...


_FAMILIES: tuple[_Family, ...] = (openinference, semconv, openllmetry)


def kind(attributes: Attributes) -> str | None:
    """Which kind of event a span is: 'llms', 'tools' or 'actions'; None if it tells of nothing that is recorded."""
    for family in _FAMILIES:
        found = family.kind(attributes)
        if found is not None:
            return found
    return None


def read(attributes: Attributes, name: str) -> Reading | None:
    """A span as what it says; None as above."""
    for family in _FAMILIES:
        if family.kind(attributes) is not None:
            return family.read(attributes, name)
    return None


def agent(attributes: Attributes, name: str) -> str | None:
    """The name of the agent whose span it is; None if it is none of an agent."""
    found = read(attributes, name)
    return None if found is None else found.agent
