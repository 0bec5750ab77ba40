"""What a viewer asks: of which database, with which choices. All of it stands in the URL, so that it can be shared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote, urlencode

from agentops_local.analytics import filters
from agentops_local.analytics.filters import Filter
from agentops_local.errors import WrongUse, shown

RANGES = {"1h": "hour", "24h": "day", "7d": "week", "30d": "month", "all": "all time"}
_USUAL = {"/": "7d", "/index.json": "7d"}  # who comes to the overview asks of this week
FILTERS = ("range", "since", "until", "tag", "agent", "model", "state", "host", "score")


@dataclass(frozen=True)
class Asked:
    """A request for a page, without anything of HTTP.

    Attributes:
        db: the database that this viewer may see.
        query: the choices in the URL; path: what its path names.
        may_change: whether this viewer may change anything. token: what a change must bring with it.
        root: a prefix of all links.
        project: the name of the project, where a viewer has signed in; None on the own machine.
        here: the path of the page, without the prefix.
    """

    db: Path
    query: Mapping[str, Sequence[str]] = field(default_factory=dict)
    path: Mapping[str, str] = field(default_factory=dict)
    may_change: bool = False
    token: str = ""
    root: str = ""
    project: str | None = None
    here: str = "/"

    def one(self, name: str, default: str | None = None) -> str | None:
        """A choice; the last, where there are several."""
        found = self.query.get(name)
        return found[-1] if found and found[-1] != "" else default

    def all(self, name: str) -> list[str]:
        """All choices of a name."""
        return [value for value in self.query.get(name, ()) if value != ""]

    def number(self, name: str, default: int, most: int) -> int:
        """A choice that is a number, from 1.

        Raises:
            WrongUse: it is none, or larger than `most`.
        """
        text = self.one(name, str(default))
        if text is None or not text.isdecimal() or not 1 <= int(text) <= most:
            raise WrongUse(f"{name} must be a number from 1 to {most}, not {shown(text)}")
        return int(text)

    @property
    def range(self) -> str:
        """The choice of time: one of `RANGES`.

        Raises:
            WrongUse: it is none of them.
        """
        found = self.one("range") or _USUAL.get(self.here, "all")
        if found not in RANGES:
            raise WrongUse(f"range must be one of {', '.join(RANGES)}, not {shown(found)}")
        return found

    def where(self) -> Filter:
        """The choices that narrow a question down.

        Raises:
            WrongUse: one of them cannot be understood.
        """
        since = self.one("since")
        if since is None and self.range != "all":
            since = self.range
        return filters.parse(
            since=since, until=self.one("until"), tags=self.all("tag"), agent=self.one("agent"),
            model=self.one("model"), state=self.one("state"), host=self.one("host"), scores=self.all("score"),
        )  # fmt: skip

    def link(self, path: str, **changes: object) -> str:
        """The URL of a page of ours that keeps time and filters, with changes: None takes a choice away, a list gives
        several."""
        kept: dict[str, list[str]] = {name: self.all(name) for name in FILTERS if self.all(name)}
        for name, value in changes.items():
            if value is None:
                kept.pop(name, None)
            else:
                kept[name] = [str(one) for one in value] if isinstance(value, (list, tuple)) else [str(value)]
        query = urlencode([(name, value) for name, values in kept.items() for value in values])
        return f"{self.root}{quote(path)}" + (f"?{query}" if query else "")

    def same(self, **changes: object) -> str:
        """The URL of this page, with changes to any of its choices; of the whole page, also where only a part of it was
        asked for."""
        others = {name: list(values) for name, values in self.query.items() if name not in (*FILTERS, "part")}
        return self.link(self.here, **{**others, **changes})
