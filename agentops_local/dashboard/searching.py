"""Searches under way. Most are done before a page could say so; where the index must be made first, or much is to be
looked through, one goes on in a thread of its own, and whoever asks the same again hears how far it has come.

The words that a search has left to the next one are taken up afterwards, in that thread.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from agentops_local.analytics.filters import Filter
from agentops_local.analytics.index import words
from agentops_local.analytics.index.progress import progress
from agentops_local.analytics.project import indexed
from agentops_local.analytics.questions.search import Hits, search
from agentops_local.errors import AgentOpsLocalError
from agentops_local.log import logger

_SOON = 0.8  # seconds in which a search may answer at once
_AT_ONCE = 4  # searches under way; more must wait for their turn
_KEPT = 120.0  # seconds after which nobody seems to want an answer any more

Choices = tuple[tuple[str, tuple[str, ...]], ...]


@dataclass(frozen=True)
class Question:
    """What is searched.

    Attributes:
        kind: of the events; None for any.
        choices: what narrows it down, as it stands in the URL: a time ago is another time each time it is asked.
    """

    db: Path
    text: str
    kind: str | None
    limit: int
    choices: Choices = ()


@dataclass
class Answer:
    """What there is to tell by now.

    Attributes:
        hits: None while the search goes on.
        waiting: how long it has gone on, seconds, and how many events the index knows, of how many.
    """

    hits: Hits | None
    waiting: dict[str, object] | None


@dataclass
class _Work:
    began: float
    done: threading.Event = field(default_factory=threading.Event)
    hits: Hits | None = None
    error: BaseException | None = None


class Searches:
    """The searches of a server.

    Args:
        soon: seconds in which a search may answer at once.
        find: the search itself.
    """

    def __init__(self, soon: float = _SOON, find: Callable[..., Hits] = search) -> None:
        self._soon = soon
        self._find = find
        self._lock = threading.Lock()
        self._works: dict[Question, _Work] = {}
        self._indexed: set[Path] = set()

    def ask(self, question: Question, where: Filter) -> Answer:
        """The hits, or how far the search has come; it is begun where it is not under way.

        Raises:
            AgentOpsLocalError, sqlite3.Error: what the search has met.
        """
        work = self._work(question, where)
        if work is not None and work.done.wait(self._soon):
            with self._lock:
                if self._works.get(question) is work:
                    del self._works[question]
            if work.error is not None:
                raise work.error
            return Answer(work.hits, None)
        come = progress(question.db)
        took = 0.0 if work is None else time.monotonic() - work.began
        return Answer(None, {"seconds": round(took, 1), "known": come.known, "counted": come.counted, "of": come.top})

    def _work(self, question: Question, where: Filter) -> _Work | None:
        """The work on a question; None where too many others are worked on."""
        now = time.monotonic()
        with self._lock:
            for old, work in list(self._works.items()):
                if work.done.is_set() and now - work.began > _KEPT:
                    del self._works[old]
            found = self._works.get(question)
            if found is None and sum(not work.done.is_set() for work in self._works.values()) < _AT_ONCE:
                found = self._works[question] = _Work(now)
                # It keeps nobody from leaving: what it has not written down is done again.
                threading.Thread(target=self._run, args=(question, where, found), daemon=True).start()
            return found

    def _run(self, question: Question, where: Filter, work: _Work) -> None:
        try:
            work.hits = self._find(question.text, question.limit, kind=question.kind, where=where, db=question.db)
        except BaseException as error:  # noqa: BLE001 - whoever asks hears of it
            work.error = error
        work.done.set()
        if work.error is None:
            self._learn(question.db)

    def _learn(self, db: Path) -> None:
        """Takes up the words that are not known yet; one thread for a database."""
        with self._lock:
            if db in self._indexed:
                return
            self._indexed.add(db)
        try:
            left = progress(db).left
            while left:
                with indexed(db, words.catch_up):
                    pass
                before, left = left, progress(db).left
                if left >= before:  # the index cannot be written here
                    return
        except (sqlite3.Error, OSError, AgentOpsLocalError) as error:
            logger.debug("agentops_local: the words of %s are left to the next search (%s)", db, error)
        finally:
            with self._lock:
                self._indexed.discard(db)


SEARCHES = Searches()
