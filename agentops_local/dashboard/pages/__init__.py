"""The pages: which function makes the data of which, and which template shows it."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import NamedTuple

from agentops_local.dashboard.asking import Asked


class Page(NamedTuple):
    """A page.

    Attributes:
        place: the module here and its function, "module:function"; only the module where both have one name.
        template: what shows it; None for data alone.
    """

    place: str
    template: str | None

    def load(self) -> Callable[[Asked], dict[str, object]]:
        """The function that makes its data."""
        module, _, name = self.place.partition(":")
        function: Callable[[Asked], dict[str, object]] = getattr(import_module(f"{__name__}.{module}"), name or module)
        return function


PAGES = {
    "/": Page("overview", "overview.html"),
    "/sessions": Page("sessions", "sessions.html"),
    "/sessions/{id}": Page("session", "session.html"),
    "/sessions/{id}/columns.json": Page("session:event_columns", None),
    "/sessions/{id}/scores.json": Page("scores", None),
    "/sessions/{id}/matches.json": Page("session:matches", None),
    "/sessions/{id}/events/{event}.json": Page("session:event", None),
    "/errors": Page("errors", "errors.html"),
    "/errors/{fingerprint}": Page("error", "error.html"),
    "/breakdown": Page("breakdown", "breakdown.html"),
    "/search": Page("search", "search.html"),
    "/compare": Page("compare", "compare.html"),
    "/sync": Page("sync", "sync.html"),
    "/storage": Page("storage", "storage.html"),
}
