"""The planner's hold on its workers: processes that are handed one file at a time, and may die at any moment."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from agentops_local.config import SESSION_VARIABLE

Message = dict[str, Any]


class Worker:
    """One worker process.

    Args:
        folder: the demo's folder.
        name: its name.
        files: what it is to read.
        session: the id of the session it takes part in.

    Attributes:
        to_do: the files it has not finished; the first is the one it reads.
        findings: what it found, by file.
        acknowledged: how many events the recorder has acknowledged to it.
    """

    def __init__(self, folder: Path, name: str, files: list[str], session: str) -> None:
        self.name = name
        self.to_do = list(files)
        self.findings: dict[str, str] = {}
        self.acknowledged = 0
        self._killed = False
        self._process = subprocess.Popen(  # noqa: S603 - our own program
            [sys.executable, "-m", "agentops_local.demo.worker", str(folder), name],
            env={**os.environ, SESSION_VARIABLE: session},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            encoding="utf-8",
        )
        self._hand_out()

    @property
    def pid(self) -> int:
        """Its process."""
        return self._process.pid

    def kill(self) -> None:
        """Kills it, as `kill -9` does; nothing in it gets a chance to say anything."""
        self._killed = True
        self._process.kill()

    def heed(self, message: Message) -> None:
        """Takes note of what it said, and hands out the next file when it has finished one."""
        if "acknowledged" in message:
            self.acknowledged = message["acknowledged"]
            return
        self.to_do.remove(message["file"])
        if message["finding"]:
            self.findings[message["file"]] = message["finding"]
        if not self._killed:
            self._hand_out()

    def said(self) -> Iterator[Message]:
        """All that it says, until it is gone."""
        assert self._process.stdout is not None  # noqa: S101 - a pipe was asked for
        with self._process.stdout as lines:
            for line in lines:
                if line.endswith("\n"):  # else it died in the midst of the line
                    yield json.loads(line)

    def wait(self) -> int:
        """Its exit code, once it is gone."""
        self._close_stdin()
        return self._process.wait()

    def _hand_out(self) -> None:
        if not self.to_do:
            self._close_stdin()
            return
        assert self._process.stdin is not None  # noqa: S101 - a pipe was asked for
        try:
            self._process.stdin.write(f"{self.to_do[0]}\n")
            self._process.stdin.flush()
        except OSError:
            pass  # it is dead; the end of what it says will tell

    def _close_stdin(self) -> None:
        try:
            if self._process.stdin is not None:
                self._process.stdin.close()
        except OSError:
            pass  # as above


class Crew:
    """All workers, heard as one: `for worker, message in crew`; the message None is a worker's end."""

    def __init__(self) -> None:
        self._inbox: SimpleQueue[tuple[Worker, Message | None]] = SimpleQueue()
        self._at_work = 0

    def add(self, worker: Worker) -> None:
        """Listens to one more worker."""
        self._at_work += 1
        threading.Thread(target=self._listen, args=(worker,), daemon=True).start()

    def __iter__(self) -> Iterator[tuple[Worker, Message | None]]:
        while self._at_work:
            worker, message = self._inbox.get()
            if message is None:
                self._at_work -= 1
            yield worker, message

    def _listen(self, worker: Worker) -> None:
        try:
            for message in worker.said():
                self._inbox.put((worker, message))
        finally:
            self._inbox.put((worker, None))
