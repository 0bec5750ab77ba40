"""What `agentops-local doctor` finds."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Level(str, Enum):
    """How a finding is meant."""

    FINE = "fine"
    NOTE = "note"
    PROBLEM = "problem"


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        about: what was looked at, in a word or two.
        text: what was found.
        data: the same for programs.
    """

    level: Level
    about: str
    text: str
    data: object = None

    def to_json(self) -> dict[str, object]:
        """Its fields."""
        return {"level": self.level.value, "about": self.about, "text": self.text, "data": self.data}
