"""One test and its recording: the database is made, the session begins, the test runs, the session ends as the test
did, and the database is kept or goes.

What a failed test has recorded stays in pytest's folder of temporary files, for as long as pytest keeps that.
"""

from __future__ import annotations

import io
import json
import re
import shutil
from contextlib import ExitStack, redirect_stdout
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from agentops_local import host_env
from agentops_local.analytics.reading import reading
from agentops_local.clock import new_id
from agentops_local.enums import EndState
from agentops_local.pytest_plugin.isolation import isolated, live_sessions
from agentops_local.pytest_plugin.run import AgentRun
from agentops_local.recorder import writes
from agentops_local.session import Session
from agentops_local.store.backup import back_up
from agentops_local.store.location import FILE, find_database, make_private

if TYPE_CHECKING:
    import pytest

MARKER = "agent_run"

_PRICES = "prices.toml"  # of the project: a price that the user has set holds in his tests as well
_TITLE = "recorded run"
_EVENTS = "40"  # shown of each session
_SESSIONS = 5
_REASON = 300  # characters of an end's reason
_NAME = 100  # characters of a file's name

# The lasting part of the host environment, with and without the opt-out: to list what is installed and loaded takes
# longer than the rest of a small test's recording, and every test has a database that does not know it yet.
_hosts: dict[bool, tuple[str, str]] = {}


class Trial:
    """The recording of one test. A context manager.

    Args:
        item: the test.
        folders: where temporary folders are made.

    Attributes:
        run: what the test may ask.
    """

    run: AgentRun

    def __init__(self, item: pytest.Item, folders: pytest.TempPathFactory) -> None:
        self._item = item
        self._folder = folders.mktemp(f"agent_run-{_file_name(item.name)[:40]}")
        self._stack = ExitStack()
        self._state, self._reason = EndState.INDETERMINATE.value, "the test was not run to its end"
        self._failed = False

    def __enter__(self) -> Trial:
        settings: dict[str, Any] = {}
        for marker in reversed(list(self._item.iter_markers(MARKER))):  # the nearest last: its word counts
            settings |= marker.kwargs
        path = self._folder / ".agentops" / FILE
        make_private(path.parent)
        prices = find_database().with_name(_PRICES)  # before the isolation: the project's own
        if prices.is_file():
            shutil.copy(prices, path.parent)
        session_id = new_id()
        try:
            self._client = self._stack.enter_context(isolated(path, str(session_id), settings))
            # Of our own, not the client's: the program that calls init() or start_session() has as many as without us.
            session = Session(session_id, self._client.config, [self._item.nodeid], recorder=self._client._recorder())
            _tell_host(session)
        except BaseException:
            self._stack.close()
            raise
        self.run = AgentRun(path, session, self._client)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._stack:
            for session in (*live_sessions(self._client), self.run._own):
                session.end_session(self._state, self._reason)
            _learn_host(self.run._own)
            keep = self._item.config.option.agentops_keep
            if keep and (self._failed or self._item.config.option.agentops_keep_policy == "all"):
                self._keep(Path(keep))
        if not self._failed:
            shutil.rmtree(self._folder, ignore_errors=True)

    def _keep(self, folder: Path) -> None:
        """Puts a copy into the folder; one that is there already, of an earlier run, stays as it is."""
        folder.mkdir(parents=True, exist_ok=True)
        name = _file_name(self._item.nodeid)
        for number in count(1):
            try:
                with reading(self.run.database) as connection:
                    back_up(connection, folder / f"{name}{'' if number == 1 else f'-{number}'}.db")
            except FileExistsError:
                continue
            return

    def hear(self, report: pytest.TestReport, call: pytest.CallInfo[None]) -> None:
        """How a phase of the test came out. The report of a failure is given what was recorded."""
        if report.failed:
            self._failed = True
            self._state, self._reason = EndState.FAIL.value, _reason(report, call)
            if report.when != "teardown":  # by then the run is over, and its database perhaps gone
                report.sections.append((_TITLE, self._shown()))
        elif report.when == "call":
            is_success = report.passed and not hasattr(report, "wasxfail")
            self._state = (EndState.SUCCESS if is_success else EndState.INDETERMINATE).value
            self._reason = f"the test passed: {report.nodeid}" if is_success else _reason(report, call)

    def _shown(self) -> str:
        """The run as `agentops-local show` prints it, and where it lies."""
        from agentops_local.cli.common import Settings
        from agentops_local.cli.show import show

        path = self.run.database
        said = io.StringIO()
        ids = self.run.session_ids
        try:
            with redirect_stdout(said):
                for session_id in ids[:_SESSIONS]:
                    show.main([session_id, "--events", _EVENTS], "show", standalone_mode=False, obj=Settings(str(path)))
        except Exception as error:  # noqa: BLE001 - the report of the test must come out, whatever is wrong with ours
            said.write(f"\nthe run cannot be shown: {type(error).__name__}: {error}\n")
        if len(ids) > _SESSIONS:
            said.write(f"\nand {len(ids) - _SESSIONS} more sessions\n")
        return f"{said.getvalue()}\ndatabase: {path}\n"


def _tell_host(session: Session) -> None:
    """Writes the host environment, if an earlier test has looked at it."""
    state = session._state
    if state.opt_out in _hosts:
        state.environment = (*_hosts[state.opt_out], json.dumps(host_env.momentary(state.opt_out)))
        session._recorder.change(writes.set_environment(state))


def _learn_host(session: Session) -> None:
    state = session._state
    if state.environment is not None:
        _hosts[state.opt_out] = state.environment[:2]


def _reason(report: pytest.TestReport, call: pytest.CallInfo[None]) -> str:
    """Why the test ended so, in a line."""
    when = "" if report.when == "call" else f" in its {report.when}"
    if call.excinfo is None:
        return f"the test {report.outcome}{when}"
    said = call.excinfo.exconly().partition("\n")[0]
    return f"the test {report.outcome}{when}: {said}"[:_REASON]


def _file_name(nodeid: str) -> str:
    """A test's id as a name for files: the end of it, where it is long."""
    return re.sub(r"[^\w.-]+", "-", nodeid, flags=re.ASCII).strip("-")[-_NAME:]
