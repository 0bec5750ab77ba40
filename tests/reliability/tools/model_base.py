"""What the rules of the state machine are made of: processes that are given orders, beside the model that follows them.

Every number that a rule draws is taken modulo what there is, so each rule can always be followed: who asks for a
process or a session where there is none gets a new one. After each step the database is compared with the model, and
payloads and prompts at the end.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

from hypothesis import note
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine

from tests.reliability.tools.model import Model, Process
from tests.reliability.tools.model_check import check_whole, difference, misfits, seen, wanted
from tests.reliability.tools.model_stage import Player, Stage

MOST_PLAYERS = 4

ints = st.integers(0, 11)
# A recorder's single event takes some 30 calls of ours, the first of a process 500.
calls = st.integers(1, 600)
VALUES: dict[str, Any] = {
    "None": None, "True": True, "1": 1, "1.0": 1.0, "-3": -3, "empty": "", "text": "text", "awkward": 'ü\n"\\',
    "long": "x" * 3000, "nested": [1, [True, None]], "deep": {"a": {"b": [1.0]}}, "two long": ["é" * 2100, "x" * 3000],
    "long in a dict": {"long": "y" * 9000},
}  # fmt: skip
values = st.sampled_from(list(VALUES))
tags = st.lists(st.sampled_from(["a", "b", "c", "é"]), max_size=3)
kinds = st.sampled_from(["tools", "actions", "errors"])
stamps = st.sampled_from(["2026-01-01T00:00:00Z", "2026-01-01T00:00:00.000001Z"])
videos = st.none() | st.sampled_from(["https://example.org/1", "https://example.org/2"])

Change = Callable[[Model], object]


@dataclass
class Tally:
    """What all examples of a test came to."""

    examples: int = 0
    steps: int = 0
    processes: int = 0
    requests: int = 0
    uploaded: int = 0
    lost: int = 0
    doubled: int = 0


def step(function: Callable[..., None]) -> Callable[..., None]:
    """A rule that counts, and after which the database is compared with the model."""

    @functools.wraps(function)
    def counted(self: Base, **drawn: Any) -> None:
        self.tally.steps += 1
        self.is_sound = False
        function(self, **drawn)
        self.compare()
        self.is_sound = True

    return counted


class Base(RuleBasedStateMachine):
    """Processes, on one database."""

    def __init__(self, stage: Stage, folder: Path, tally: Tally) -> None:
        super().__init__()
        self.stage = stage
        self.tally = tally
        tally.examples += 1
        folder = folder / f"example{tally.examples}"
        folder.mkdir()
        self.db = folder / "agentops.db"
        self.model = Model()
        self.players: dict[int, Player] = {}
        self.conversations: list[list[dict[str, Any]]] = [[]]
        self.backup: Model | None = None  # what the backup holds
        self.is_sound = True
        self._numbers = 0

    # What rules are made of -------------------------------------------------------------------------------------------

    def compare(self) -> None:
        """The database equals the model."""
        if self.db.exists() or self.model.sessions:
            found, due = seen(self.db), wanted(self.model)
            if found != due:
                figures = misfits(self.db, self.model)
                self.tally.lost, self.tally.doubled = figures["lost"], figures["doubled"]
                raise AssertionError(difference(found, due))

    def player(self, number: int, new: bool = False) -> Player:
        """A process; a new one if there is none."""
        if not self.players or (new and len(self.players) < MOST_PLAYERS):
            self._enter(self.stage.player(self.db))
            self.model.processes[self._newest.pid] = Process(self._newest.pid)
            return self._newest
        return list(self.players.values())[number % len(self.players)]

    def _enter(self, player: Player) -> None:
        self.players[player.pid] = self._newest = player
        self.tally.processes += 1

    def session(self, player: Player, number: int) -> str:
        """A session that a process has not ended; a new one if there is none."""
        running = [id for id in self.model.sessions if id in self.model.processes[player.pid].running]
        if running:
            return running[number % len(running)]
        session: str = player.do("start", tags=["a"])
        self.model.start(player.pid, session, ["a"])
        return session

    def place(self, who: int, which: int) -> tuple[Player, str]:
        """A process and a session of it."""
        player = self.player(who)
        return player, self.session(player, which)

    def event(self, kind: str, name: str, **fields: Any) -> dict[str, Any]:
        """An event to be recorded, with one of the values."""
        self._numbers += 1
        number, value = self._numbers, VALUES[name]
        event: dict[str, Any] = {"kind": kind, "id": str(UUID(int=(0x0190A000 << 96) + (7 << 76) + (2 << 62) + number))}
        if kind == "errors":
            event |= {"error_type": f"Error{number}", "code": "7", "details": {"n": str(number), "value": value}}
            return event | {"init_timestamp": "2026-01-01T00:00:00Z", **fields}
        event |= {"params": {"n": number, "value": value}, "returns": value}
        if kind != "llms":
            event |= {"name" if kind == "tools" else "action_type": f"number {number}", "logs": f"log {number}"}
        return event | fields

    def order(self, player: Player, changes: Sequence[Change], do: str, die_at: int = 0, **order: Any) -> None:
        """Has a process do something that changes the database in so many transactions."""
        note(f"{player.pid}: {do} {_short(order)}{f', dies at call {die_at}' if die_at else ''}")
        player.tell(do, **order, **({"die_at": die_at} if die_at else {}))
        acks, _, lived = player.answer()
        if lived:
            for change in changes:
                change(self.model)
            return
        del self.players[player.pid]
        most = len(acks) + 1 if order.get("acks") else len(changes)  # acknowledged one by one, or as a whole
        self.model = self._fitting(
            [[*changes[:count], _die(player.pid)] for count in range(len(acks), min(most, len(changes)) + 1)]
        )

    def _fitting(self, possible: Sequence[Sequence[Change]]) -> Model:
        """The model after the first of several courses of things that the database agrees with, or after the last."""
        found = seen(self.db) if self.db.exists() else None
        model = self.model
        for changes in possible:
            model = copy.deepcopy(self.model)
            for change in changes:
                change(model)
            if found is None or not difference(found, wanted(model)):
                break
        return model

    def recorded(self, player: Player, session: str, events: Sequence[dict[str, Any]]) -> list[Change]:
        """What events change."""
        return [lambda m, event=event: m.record(player.pid, session, event) for event in events]  # type: ignore[misc]

    def dismiss(self, player: Player, how: str) -> None:
        """Ends a process in some way."""
        player.leave(how)
        del self.players[player.pid]
        if how == "os._exit":
            self.model.die(player.pid)
        else:
            self.model.leave(player.pid, how == "error")

    # The end ----------------------------------------------------------------------------------------------------------

    def teardown(self) -> None:
        """Everybody goes home, and everything is compared."""
        try:
            if self.is_sound:
                self.finish()
        finally:
            for player in self.players.values():
                player.kill()

    def finish(self) -> None:
        """The end of an example that has gone well so far."""
        for player in list(self.players.values()):
            self.dismiss(player, "return")
        self.compare()
        if self.model.sessions:
            check_whole(self.db, self.model)


def _die(pid: int) -> Change:
    return lambda model: model.die(pid)


def _short(order: dict[str, Any]) -> str:
    shown = {"events": [event["id"][-4:] for event in order["events"]]} if "events" in order else {}
    return ", ".join(f"{name}={value!r}" for name, value in {**order, **shown}.items())
