"""What a test may ask of its run. Everything is read from the database at the moment it is asked, so it covers every
thread and process that took part, up to now."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from agentops_local.analytics.reading import reading
from agentops_local.client import Client
from agentops_local.pricing.access import OfProgram
from agentops_local.pytest_plugin.selection import Selection, read_events
from agentops_local.session import Session

_SESSIONS = "SELECT id FROM sessions WHERE id <> '' ORDER BY seq"
_AGENTS = "SELECT DISTINCT name FROM agents WHERE session IN (SELECT seq FROM sessions WHERE id <> '') ORDER BY seq"


class AgentRun:
    """The run of a test: all that its database holds, be it of the fixture's session or of others that the program has
    started.

    Attributes:
        database: the file. It is there until the test is over.
    """

    def __init__(self, database: Path, session: Session, client: Client) -> None:
        self.database = database
        self._own = session
        self._client = client

    # What happened ---------------------------------------------------------------------------------------------------

    @property
    def events(self) -> Selection:
        """Every event, in the order in which they began."""
        return read_events(self.database, self._price)

    @property
    def llms(self) -> Selection:
        """The LLM calls; `run.llms("gpt-4o")` are those of a model."""
        return self.events.of_kind("llms")

    @property
    def tools(self) -> Selection:
        """The calls of tools; `run.tools("search")` are those of one."""
        return self.events.of_kind("tools")

    @property
    def actions(self) -> Selection:
        """The actions; `run.actions("plan")` are those of one type."""
        return self.events.of_kind("actions")

    @property
    def errors(self) -> Selection:
        """The errors; `run.errors("ValueError")` are those of one type."""
        return self.events.of_kind("errors")

    @property
    def messages(self) -> list[Any]:
        """The conversation: the prompt of the last LLM call, message by message, and what was answered."""
        calls = self.llms
        return calls[-1].messages if calls else []

    # What it amounts to ----------------------------------------------------------------------------------------------

    @property
    def cost(self) -> float:
        """US dollars: the exact sum, as the nearest float.

        Raises:
            UnpricedCalls: if the price of any call is not known.
        """
        return self.llms.cost

    @property
    def priced_cost(self) -> float:
        """US dollars of the calls whose price is known, whatever the others cost."""
        return self.llms.priced_cost

    @property
    def unpriced(self) -> Selection:
        """The LLM calls whose price is not known."""
        return self.llms.unpriced

    @property
    def tokens(self) -> int:
        """Tokens in and out."""
        return self.llms.tokens

    @property
    def prompt_tokens(self) -> int:
        """Tokens in."""
        return self.llms.prompt_tokens

    @property
    def completion_tokens(self) -> int:
        """Tokens out."""
        return self.llms.completion_tokens

    @property
    def duration(self) -> float:
        """Seconds from the beginning of the first event to the end of the last."""
        return self.events.duration

    @property
    def models(self) -> list[str]:
        """The models that were called, each once, in the order of their first calls."""
        return list(dict.fromkeys(self.llms.names))

    @property
    def agents(self) -> list[str]:
        """The names of the agents that took part."""
        with reading(self.database) as connection:
            return [row["name"] for row in connection.execute(_AGENTS).fetchall()]

    # Whose it is -----------------------------------------------------------------------------------------------------

    @property
    def session(self) -> Session:
        """The session of this test, as the program has it, if it has joined it."""
        return self._client.get_session(self._own.session_id) or self._own

    @property
    def session_ids(self) -> list[str]:
        """The sessions of this run: that of the fixture, and those that the program has started beside it."""
        with reading(self.database) as connection:
            return [row["id"] for row in connection.execute(_SESSIONS).fetchall()]

    def _price(self) -> None:
        from agentops_local.pricing.catch_up import catch_up

        catch_up(OfProgram(self._own._recorder.database))

    def __repr__(self) -> str:
        return f"<AgentRun {self.events!r}>"
