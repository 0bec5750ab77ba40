"""The outer side of the players: starts them, gives them orders, hears what they had said when they are killed."""

from __future__ import annotations

import json
import os
import signal
import socket
from pathlib import Path
from typing import Any

import psutil

from tests.reliability.tools.crash import PATIENCE, Program

_NURSERY = "from tests.reliability.tools.model_player import main; main()"


class Player:
    """A recording process, seen from outside."""

    def __init__(self, line: socket.socket) -> None:
        line.settimeout(PATIENCE)
        line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket = line
        self._line = line.makefile("rwb")
        hello = self._hear()
        assert hello is not None
        self.pid: int = hello["pid"]
        self._process = psutil.Process(self.pid)

    def tell(self, do: str, **order: Any) -> None:
        """Gives an order."""
        self._line.write(json.dumps({"do": do, **order}).encode() + b"\n")
        self._line.flush()

    def answer(self) -> tuple[list[str], Any, bool]:
        """What came of it: the events acknowledged meanwhile, the answer, and whether the process lived to give one."""
        acks: list[str] = []
        while (said := self._hear()) is not None:
            if "ack" in said:
                acks.append(said["ack"])
                continue
            answer = said["answer"]
            assert not (isinstance(answer, dict) and "fault" in answer), answer["fault"]
            return acks, answer, True
        self.gone()
        return acks, None, False

    def do(self, do: str, **order: Any) -> Any:
        """An order that it lives to answer."""
        self.tell(do, **order)
        _, answer, lived = self.answer()
        assert lived, f"the player died of {do}"
        return answer

    def leave(self, how: str) -> None:
        """Has it end, and waits for that."""
        self.tell("leave", how=how)
        assert self._hear() is None
        self.gone()

    def kill(self) -> None:
        """SIGKILL, and waits for its end."""
        os.kill(self.pid, signal.SIGKILL)
        self.gone()

    def gone(self) -> None:
        """Waits until the system knows the process no more."""
        self._process.wait(PATIENCE)
        self._line.close()
        self._socket.close()

    def _hear(self) -> dict[str, Any] | None:
        try:
            line = self._line.readline()
        except ConnectionResetError:
            return None
        return json.loads(line) if line.endswith(b"\n") else None


class Stage:
    """Where players come from: a nursery that forks them, and the port that they connect to."""

    def __init__(self) -> None:
        self._nursery = Program(_NURSERY)
        self._nursery.expect("ready")
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._socket.settimeout(PATIENCE)

    def player(self, db: Path) -> Player:
        """A new process."""
        self._nursery.tell(f"{self._socket.getsockname()[1]} {db}")
        return self.come()

    def come(self) -> Player:
        """The process that connects next: a child that a player forks."""
        return Player(self._socket.accept()[0])

    def errors(self) -> str:
        """What the players have written to standard error."""
        return self._nursery.errors()

    def close(self) -> None:
        """Ends the nursery."""
        self._nursery.close()
        self._socket.close()
