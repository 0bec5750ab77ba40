"""What becomes of a request of the program: an answer from the recording, the provider, or the end.

A request that fits no recorded call ends the process, at once and without an exception. An exception would have to get
through whatever the program has around its calls: `except Exception` is common there, a bare `except` is seen, threads
and tasks keep what is raised in them to themselves. And from here on nothing that the program does, its clean-up
included, is a repetition of what it did. So what stands in its buffers is written, its sessions are ended as failed,
and the process ends; the command that started it tells why.
"""

from __future__ import annotations

import os
import sqlite3
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from agentops_local import faults
from agentops_local.event import Event, LLMEvent
from agentops_local.replay.answer import Answer
from agentops_local.replay.conversation import Item, items, masked
from agentops_local.replay.difference import compared
from agentops_local.replay.formats import is_provider, is_trace, may_be, recognised, reply
from agentops_local.replay.formats.asked import JSON, Asked, Reply
from agentops_local.replay.settings import differences
from agentops_local.replay.tape import Tape

DIFFERS = 3  # the exit code of a program that asks what was not recorded

_LOOPBACK = ("localhost", "127.", "::1", "0.0.0.0")  # noqa: S104 - addresses that are looked at, not listened to


class Player:
    """Answers the requests of one process.

    Args:
        path: of the tape.
    """

    def __init__(self, path: Path) -> None:
        self._tape = Tape(path)
        self._orders = self._tape.orders()
        self._patterns = self._orders.patterns

    @property
    def tags(self) -> Sequence[str]:
        """Those of sessions that begin in a replay."""
        return self._orders.tags

    def respond(self, method: str, url: str, headers: Mapping[str, str], body: Callable[[], bytes]) -> Reply | None:
        """What a request is answered; None if it goes where it was sent to.

        Args:
            body: reads it; it is not called for a request that is no LLM call by its address.
        """
        try:
            return self._respond(method, url, headers, body() if may_be(method, url) else b"")
        except Exception as fault:  # noqa: BLE001 - a border: what goes wrong here must not let a request through
            self.stop({"problem": f"the replay itself failed at {method} {url}: {type(fault).__name__}: {fault}"})

    def meets(self, host: object) -> None:
        """The program looks for an address, by whatever means."""
        name = host.decode("ascii", "replace") if isinstance(host, bytes) else str(host)
        if self._orders.is_offline and not name.startswith(_LOOPBACK):
            self.stop({"problem": f"the program connects to {name}, and --offline allows no connection"})
        if is_provider(name) and not self._may_pass():
            self.stop({"problem": f"the program speaks to {name} by a library that cannot be answered"})

    def amend(self, event: Event) -> None:
        """Says of the call that it costs nothing, if it was answered here: its tokens were paid when it was recorded.

        Known by what was asked: libraries make the request of a stream where it is first read, which may be anywhere.
        """
        if isinstance(event, LLMEvent) and (
            not self._is_branching or self._tape.has_answered(self._items(event.prompt))
        ):
            event.cost = 0

    def _items(self, prompt: object) -> list[Item]:
        found: list[Item] = masked(items(prompt), self._patterns)
        return found

    @property
    def _is_branching(self) -> bool:
        return self._orders.is_live or self._orders.start is not None

    def _respond(self, method: str, url: str, headers: Mapping[str, str], body: bytes) -> Reply | None:
        if is_trace(method, url):  # not worth the end of a program, and not to be sent
            return Reply(204, JSON, ())
        asked = recognised(method, url, {str(name).lower(): str(value) for name, value in headers.items()}, body)
        if asked is None:
            if self._orders.is_offline:
                self.stop({"problem": f"{method} {url} was asked for, and --offline allows no request"})
            return None
        if isinstance(asked, str):
            if self._may_pass():
                return None
            self.stop({"problem": asked})
        conversation = self._items(asked.prompt)
        settings = {"model": asked.model, **asked.settings, "tools": asked.tools}
        answer = self._answer(asked, conversation, settings)
        if answer is None:
            if not self._may_pass():
                self._differ(conversation, settings)
            self._tape.passes()
            return None
        if answer.problem is not None:
            self.stop({"problem": f"event {answer.event} cannot be answered: {answer.problem}"})
        return reply(answer, asked)

    def _answer(self, asked: Asked, conversation: list[Item], settings: Mapping[str, Any]) -> Answer | None:
        # These libraries obey when they are told not to try again, so what they tried several times is asked for once.
        obeys = "x-stainless-lang" in asked.headers
        if asked.headers.get("x-stainless-retry-count", "0") != "0":  # after a connection that failed, they do not ask
            again = self._tape.again(conversation)
            if again is not None:
                return again
        taken = self._tape.take(conversation, settings, self._orders, is_once=obeys)
        return None if taken is None else taken[1]

    def _may_pass(self) -> bool:
        orders = self._orders
        return orders.is_live or (orders.start is not None and self._tape.is_over(orders.start))

    def _differ(self, conversation: list[Item], settings: Mapping[str, Any]) -> NoReturn:
        nearest = self._tape.nearest(conversation)
        if nearest is None:
            asked = compared([], conversation)[2:]
            self.stop({"problem": "the program asks once more after all recorded calls were answered", "diff": asked})
        number, event, recorded, were = nearest
        others = differences(were, settings) if recorded == conversation else []
        self.stop({"number": number, "event": event, "diff": compared(recorded, conversation), "others": others})

    def stop(self, report: Mapping[str, Any]) -> NoReturn:
        """Ends this process; the command tells the report, and ends the program."""
        try:
            self._tape.end({**report, "pid": os.getpid()})
        except sqlite3.Error:  # the command is gone, and nobody else will tell
            sys.stderr.write(f"agentops-local replay: {report.get('problem') or 'this call was not recorded'}\n")
        try:
            _end_sessions()
            for stream in (sys.stdout, sys.stderr):
                stream.flush()
        finally:
            os._exit(DIFFERS)


def _end_sessions() -> None:
    """What was recorded of the replay until now is whole, and says why it ends."""
    module = sys.modules.get("agentops_local.client")
    with faults.contained("ending a replay"):
        for session_id in module.Client().current_session_ids if module is not None else ():
            session = module.Client().get_session(session_id)  # type: ignore[union-attr]  # looked at one line above
            session.end_session("Fail", "replay: the program asked what was not recorded")
