"""What a test may turn while the server runs."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Settings:
    """The switches, each with what the real server does as its default."""

    actions_work: bool = False  # at the commit recorded, every batch that holds an action ends in 500
    export_limit: int | None = 1000  # rows of each kind in an export; None: all
    clock_shift: float = 0.0  # seconds by which the server's clock is ahead, as tokens see it
    token_life: float = 86400.0  # seconds
    seconds_per_event: float = 0.0  # how long the mirror takes for each event of a batch
    stats_window: float = 0.0  # seconds between reading the stats and writing them: long enough, updates are lost
    late: float = 1.0  # seconds after which a late request is committed, when the fault does not say

    def change(self, **values: object) -> None:
        """Set some of them by name."""
        for name, value in values.items():
            if not hasattr(self, name):
                raise ValueError(f"no setting is called {name}")
            setattr(self, name, value)


@dataclass(frozen=True)
class Poison:
    """A text that makes the batch of every event that holds it fail."""

    marker: str
    status: int = 500  # 500: before anything is stored; 400: the database refuses the rows of that kind
    code: str = "22P02"  # what the database says then
