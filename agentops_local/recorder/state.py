"""What this process knows of a session: its row, and where in the database that row is."""

from __future__ import annotations

import os
from dataclasses import dataclass, field

from agentops_local import clock
from agentops_local.enums import EndState


@dataclass
class Place:
    """Row numbers of a session in the database, for as long as the epoch lasts, and the process that learnt them."""

    epoch: int
    session: int
    owner: int
    default_agent: int
    agents: dict[str, int] = field(default_factory=dict)  # agent id → row number
    pid: int = field(default_factory=os.getpid)


@dataclass
class SessionState:
    """The row of a session, whole: enough to write it again into another file if the first is taken away.

    Attributes:
        id: UUID text.
        inherited: whether another process has started it, or will.
        video_due: whether the video is still to be written, with the end: another process may have set a later one.
    """

    id: str
    init_us: int = field(default_factory=clock.now_us)
    tags: list[str] = field(default_factory=list)
    key_hash: str | None = None
    parent_key_hash: str | None = None
    inherited: bool = False
    opt_out: bool = False
    end_us: int | None = None
    end_state: str = EndState.INDETERMINATE.value
    end_state_reason: str | None = None
    video: str | None = None
    video_due: bool = False
    auto_ended: bool = False
    environment: tuple[str, str, str] | None = None  # fingerprint, stable JSON, momentary JSON
    default_agent_id: str = field(default_factory=lambda: str(clock.new_id()))
    agent_names: dict[str, str] = field(default_factory=dict)  # agent id → name, those made in this process
    place: Place | None = None
