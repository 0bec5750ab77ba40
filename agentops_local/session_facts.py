"""What a session says of itself: its row as this process knows it, and its totals over all processes, read from the
database whenever they are asked for."""

from __future__ import annotations

import json
import time
from decimal import Decimal
from typing import TYPE_CHECKING, Any, cast
from uuid import UUID

from agentops_local import clock, faults
from agentops_local.analytics.totals import Totals, cost_text, duration_text, totals
from agentops_local.forks import import_whole
from agentops_local.recorder import rows, writes

if TYPE_CHECKING:
    from agentops_local.recorder.recorder import Recorder
    from agentops_local.recorder.state import SessionState

# Seconds after which the host environment is looked at, with the next event: reading the packages and the load takes
# tens of milliseconds, which neither init() nor the first event should pay.
_ENVIRONMENT_AFTER = 1.0
_MERGE = "SELECT json_patch(?, ?)"  # as any reader of the tables would merge the two
# Of a session: what was told of where it runs.
_TOLD = """
SELECT n.fingerprint, n.host_env, coalesce(s.moment, '{}')
FROM sessions s JOIN environments n ON n.id = s.environment WHERE s.id = ?
"""
_NOTHING = Totals(0, 0, 0, 0, 0, Decimal(0))


class SessionFacts:
    """The readable side of a `Session`.

    Args:
        session_id: its id.
        state: its row, which the session changes.
        recorder: where it records.
    """

    def __init__(self, session_id: UUID, state: SessionState, recorder: Recorder) -> None:
        self.session_id = session_id
        self._state = state
        self._recorder = recorder
        self._environment_due = time.monotonic() + _ENVIRONMENT_AFTER
        self._last = _NOTHING  # what it amounted to when that was last read

    @property
    def init_timestamp(self) -> str:
        """When it began, ISO 8601."""
        return clock.to_iso(self._state.init_us)

    @property
    def end_timestamp(self) -> str | None:
        """When it was ended, ISO 8601; None while it runs."""
        return None if self._state.end_us is None else clock.to_iso(self._state.end_us)

    @property
    def end_state(self) -> str:
        """'Success', 'Fail' or 'Indeterminate'."""
        return self._state.end_state

    @property
    def end_state_reason(self) -> str | None:
        """Why it ended so."""
        return self._state.end_state_reason

    @property
    def tags(self) -> list[str]:
        """Its tags, as this process knows them."""
        return list(self._state.tags)

    @property
    def video(self) -> str | None:
        """URL or path of a recording of it."""
        return self._state.video

    @video.setter
    def video(self, video: str | None) -> None:
        self._state.video_due = True
        self._state.video = None if video is None else self._recorder.text(rows.words(video))

    @property
    def host_env(self) -> dict[str, Any]:
        """The host environment in the classic shape; looked at now if it has not been. Empty, with a line in the log,
        if the database cannot be read."""
        self._look_at_environment()
        if self._state.environment is not None:
            values = self._state.environment[1:]
            with faults.contained("reading the host environment"):
                merged = self._recorder.read(lambda connection: connection.execute(_MERGE, values).fetchone()[0])
                return cast("dict[str, Any]", json.loads(merged))
        return {}

    def _totals(self) -> Totals:
        counted = self._recorder.read(lambda connection: totals(connection, self._state.id))
        if counted.unpriced:
            with faults.contained("pricing LLM calls"):
                self._recorder.price(self._state.id)
                counted = self._recorder.read(lambda connection: totals(connection, self._state.id))
        self._last = counted
        return counted

    def _known_totals(self) -> Totals:
        with faults.contained("reading what a session amounts to"):
            return self._totals()
        return self._last

    @property
    def token_cost(self) -> Decimal:
        """US dollars over all processes of the session, exactly; unpriced calls count nothing. If the database cannot
        be read, what it was when that was last done, and a line in the log."""
        return self._known_totals().cost

    @property
    def event_counts(self) -> dict[str, int]:
        """Events by type, over all processes of the session; as `token_cost` if the database cannot be read."""
        counted = self._known_totals()
        return {kind: getattr(counted, kind) for kind in ("llms", "tools", "actions", "errors", "apis")}

    @property
    def session_url(self) -> str:
        """Where the AgentOps dashboard shows the session once it is uploaded."""
        return f"https://app.agentops.ai/drilldown?session_id={self.session_id}"

    def get_analytics(self) -> dict[str, Any] | None:
        """What the session amounts to, over the events of all its processes, computed here and now.

        Returns:
            "LLM calls", "Tool calls", "Actions", "Errors" (int), "Duration" ("1h 2m 3.4s"), "Cost" (US dollars, "0.00"
            when zero, else six decimals). None if the database cannot be read.
        """
        with faults.contained("get_analytics()"):
            counted = self._totals()
            end = self._state.end_us if self._state.end_us is not None else clock.now_us()
            return {
                "LLM calls": counted.llms,
                "Tool calls": counted.tools,
                "Actions": counted.actions,
                "Errors": counted.errors,
                "Duration": duration_text(end - self._state.init_us),
                "Cost": cost_text(counted.cost),
            }
        return None

    def _look_at_environment(self) -> None:
        """Looks at the host, once; the packages are listed only if no earlier session of this database has done it."""
        self._environment_due = 0.0
        if self._state.environment is not None:
            return
        with faults.contained("looking at the host environment"):
            told = self._recorder.read(lambda connection: connection.execute(_TOLD, (self._state.id,)).fetchone())
            if told is not None:  # another process of the session was faster; a forked one would look once more
                self._state.environment = told
                return
            import_whole("agentops_local.host_env")
            from agentops_local import __version__, host_env

            opt_out = self._state.opt_out
            fingerprint = host_env.fingerprint(__version__, opt_out)
            known = self._recorder.read(
                lambda connection: connection.execute(
                    "SELECT host_env FROM environments WHERE fingerprint = ?", (fingerprint,)
                ).fetchone()
            )
            lasting = known[0] if known else json.dumps(host_env.stable(__version__, opt_out))
            self._state.environment = (fingerprint, lasting, json.dumps(host_env.momentary(opt_out)))
            self._recorder.change(writes.set_environment(self._state))
