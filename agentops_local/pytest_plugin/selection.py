"""Events as a test looks at them: selected, counted, summed up.

A selection is what the database held when it was asked for, so the figures of one assertion fit together. It knows the
typed columns alone; what went in and came out of an event is read when it is looked at, for prompts whole are long.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, overload
from uuid import UUID

from agentops_local.analytics.reading import reading
from agentops_local.analytics.totals import dollars
from agentops_local.analytics.whole import whole_events
from agentops_local.errors import AgentOpsLocalError, WrongUse

_EVENTS = """
SELECT e.seq, e.id, e.kind, e.name, e.model, e.provider, a.name AS agent, e.init_us, e.end_us,
       e.prompt_tokens, e.completion_tokens, e.cost_pusd, e.trigger_id
FROM events e JOIN sessions s ON s.seq = e.session LEFT JOIN agents a ON a.seq = e.agent
WHERE s.id <> '' ORDER BY e.init_us, e.seq
"""
_SHOWN = 10  # events of a selection, where it stands in a message


class UnpricedCalls(AgentOpsLocalError):
    """What the calls cost is not known, for some of them have no price."""


@dataclass(frozen=True)
class RunEvent:
    """An event of the run.

    Attributes:
        kind: 'llms', 'tools', 'actions', 'errors' or 'apis'.
        name: of the tool, action or type of error; of an LLM call its model.
        failed: whether an error names it as what failed.
        cost: US dollars; None if it has no price.
    """

    seq: int
    id: UUID
    kind: str
    name: str
    provider: str | None
    agent: str | None
    prompt_tokens: int
    completion_tokens: int
    failed: bool = field(compare=False)  # what is learnt of an event later makes no other of it
    cost_pusd: int | None = field(repr=False, compare=False)
    init_us: int = field(repr=False)
    end_us: int | None = field(repr=False)
    database: Path = field(repr=False)

    @property
    def cost(self) -> float | None:
        """US dollars; None if it has no price."""
        return None if self.cost_pusd is None else float(dollars(self.cost_pusd))

    @property
    def tokens(self) -> int:
        """Tokens in and out."""
        return self.prompt_tokens + self.completion_tokens

    @property
    def duration(self) -> float:
        """Seconds that it took."""
        return 0.0 if self.end_us is None else (self.end_us - self.init_us) / 1e6

    @cached_property
    def data(self) -> dict[str, Any]:
        """All of it, as `agentops-local show --json` has it."""
        with reading(self.database) as connection:
            return next(whole_events(connection, [self.seq]))

    @property
    def params(self) -> Any:
        """What went in."""
        return self.data["params"]

    @property
    def returns(self) -> Any:
        """What came out."""
        return self.data["returns"]

    @property
    def prompt(self) -> Any:
        """Of an LLM call: the list of messages, or the one value that was given."""
        return self.data.get("prompt")

    @property
    def completion(self) -> Any:
        """Of an LLM call: the text, or the message."""
        return self.data.get("completion")

    @property
    def details(self) -> Any:
        """Of an error: its text."""
        return self.data.get("details")

    @property
    def messages(self) -> list[Any]:
        """Of an LLM call: its prompt, message by message, and what was answered."""
        prompt, completion = self.prompt, self.completion
        asked = prompt if isinstance(prompt, list) else [] if prompt is None else [_message("user", prompt)]
        return [*asked, *([] if completion is None else [_message("assistant", completion)])]

    def __str__(self) -> str:
        about = f": {self.details}" if self.kind == "errors" else " (failed)" if self.failed else ""
        return f"{self.kind.removesuffix('s')} {self.name or '?'}{about}"


class Selection:
    """Some events of a run, in the order in which they began. It is compared with a list, indexed and gone through as
    one, and called with a name it gives those of that name."""

    __hash__ = None  # type: ignore[assignment]  # it is equal to a list, which has none

    def __init__(self, events: Sequence[RunEvent], price: Callable[[], Selection]) -> None:
        self._events = list(events)
        self._price = price

    def __call__(self, name: str | None = None, *, agent: str | None = None) -> Selection:
        """Those of a name (for LLM calls, a model), or of an agent, or of both."""
        return self._where(lambda event: name in (None, event.name) and agent in (None, event.agent))

    def of_kind(self, kind: str) -> Selection:
        """Those of a kind."""
        return self._where(lambda event: event.kind == kind)

    @property
    def failed(self) -> Selection:
        """Those that an error names as what failed."""
        return self._where(lambda event: event.failed)

    @property
    def unpriced(self) -> Selection:
        """The LLM calls among them whose price is not known."""
        return self._priced()._where(_is_unpriced)

    @property
    def count(self) -> int:
        """How many there are."""
        return len(self._events)

    @property
    def names(self) -> list[str]:
        """The name of each."""
        return [event.name for event in self._events]

    @property
    def cost(self) -> float:
        """US dollars: the exact sum, as the nearest float.

        Raises:
            UnpricedCalls: if the price of any call is not known.
        """
        priced = self._priced()
        unpriced = [event for event in priced if _is_unpriced(event)]
        if unpriced:
            models = ", ".join(sorted({event.name or "(no model was named)" for event in unpriced}))
            raise UnpricedCalls(
                f"what the run costs is not known: {len(unpriced)} of {len(priced.of_kind('llms'))} LLM calls have no "
                f"price (models: {models}). Install 'agentops-local[prices]', name a price in prices.toml beside the "
                "project's database, or compare priced_cost, which leaves such calls out"
            )
        return priced._sum()

    @property
    def priced_cost(self) -> float:
        """US dollars of the calls whose price is known."""
        return self._priced()._sum()

    @property
    def prompt_tokens(self) -> int:
        """Tokens in."""
        return sum(event.prompt_tokens for event in self._events)

    @property
    def completion_tokens(self) -> int:
        """Tokens out."""
        return sum(event.completion_tokens for event in self._events)

    @property
    def tokens(self) -> int:
        """Tokens in and out."""
        return self.prompt_tokens + self.completion_tokens

    @property
    def duration(self) -> float:
        """Seconds from the beginning of the first to the end of the last."""
        if not self._events:
            return 0.0
        ends = [event.init_us if event.end_us is None else event.end_us for event in self._events]
        return (max(ends) - self._events[0].init_us) / 1e6

    def _where(self, wanted: Callable[[RunEvent], bool]) -> Selection:
        return Selection([event for event in self._events if wanted(event)], self._price)

    def _priced(self) -> Selection:
        """The same events, priced by now as far as prices can be had."""
        if not any(map(_is_unpriced, self._events)):
            return self
        chosen = {event.seq for event in self._events}
        return self._price()._where(lambda event: event.seq in chosen)

    def _sum(self) -> float:
        return float(dollars(sum(event.cost_pusd or 0 for event in self._events)))

    def __len__(self) -> int:
        return len(self._events)

    def __iter__(self) -> Iterator[RunEvent]:
        return iter(self._events)

    @overload
    def __getitem__(self, index: int) -> RunEvent: ...
    @overload
    def __getitem__(self, index: slice) -> Selection: ...
    def __getitem__(self, index: int | slice) -> RunEvent | Selection:
        if isinstance(index, slice):
            return Selection(self._events[index], self._price)
        return self._events[index]

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Selection):
            return self._events == other._events
        if isinstance(other, (list, tuple)):
            return self._events == list(other)
        if isinstance(other, int):  # `run.tools("search") == 2` would be false whatever happened
            raise WrongUse(f"a selection of events is not compared with {other}: compare its .count")
        return NotImplemented

    def __repr__(self) -> str:
        shown = [str(event) for event in self._events[:_SHOWN]]
        more = [f"and {self.count - _SHOWN} more"] if self.count > _SHOWN else []
        return f"[{', '.join(shown + more)}]"


def read_events(database: Path, price: Callable[[], None]) -> Selection:
    """Every event of a database.

    Args:
        price: prices the calls that are not priced yet.
    """

    def again() -> Selection:
        price()
        return read_events(database, price)

    with reading(database) as connection:
        rows = connection.execute(_EVENTS).fetchall()
    failed = {row["trigger_id"] for row in rows if row["kind"] == "errors"}
    return Selection([_event(row, row["id"] in failed, database) for row in rows], again)


def _event(row: sqlite3.Row, failed: bool, database: Path) -> RunEvent:
    return RunEvent(
        seq=row["seq"], id=UUID(bytes=row["id"]), kind=row["kind"],
        name=(row["model"] if row["kind"] == "llms" else row["name"]) or "",
        provider=row["provider"], agent=row["agent"], prompt_tokens=row["prompt_tokens"] or 0,
        completion_tokens=row["completion_tokens"] or 0, failed=failed, cost_pusd=row["cost_pusd"],
        init_us=row["init_us"], end_us=row["end_us"], database=database,
    )  # fmt: skip


def _is_unpriced(event: RunEvent) -> bool:
    return event.kind == "llms" and event.cost_pusd is None


def _message(role: str, content: Any) -> Any:
    return content if isinstance(content, dict) else {"role": role, "content": content}
