"""The plugin of pytest: a fixture that records the run of a test, and lets the test assert what it did.

pytest loads it wherever agentops-local is installed, also for those who record nothing: so this module imports the
standard library and pytest alone, and nothing is touched before the fixture is asked for.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import pytest

if TYPE_CHECKING:
    from pluggy import Result

    from agentops_local.pytest_plugin.run import AgentRun
    from agentops_local.pytest_plugin.trial import Trial

_MARK = "agent_run(**settings): settings of agentops_local.init() for the fixture agent_run, such as redact='secrets'"

# Not the stash of the item: a pytest that has none would fail to load us, and with us every test there is.
_trials: WeakKeyDictionary[pytest.Item, Trial] = WeakKeyDictionary()


def pytest_addoption(parser: pytest.Parser) -> None:
    """What may be said on the command line."""
    group = parser.getgroup("agentops", "recorded runs of agents")
    group.addoption(
        "--agentops-keep",
        metavar="DIR",
        help="Keep the databases of tests with the fixture agent_run in this folder, one file a test.",
    )
    group.addoption(
        "--agentops-keep-policy",
        choices=("all", "failed"),
        default="all",
        help="Which of them are kept: of all tests, or of those that failed.  [default: all]",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Makes the marker known, and the folder absolute: the workers of pytest-xdist may begin elsewhere."""
    config.addinivalue_line("markers", _MARK)
    if config.option.agentops_keep:
        config.option.agentops_keep = os.path.abspath(config.option.agentops_keep)  # noqa: PTH100 - `..` is taken out


@pytest.fixture
def agent_run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[AgentRun]:
    """The run of this test: recorded into a database of its own, and read from it whenever something is asked."""
    from agentops_local.pytest_plugin.trial import Trial

    with Trial(request.node, tmp_path_factory) as trial:
        _trials[request.node] = trial
        yield trial.run


@pytest.hookimpl(hookwrapper=True)  # the older manner, which every pytest understands
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, Result[pytest.TestReport], None]:
    """Tells the trial how its test came out, and the report of a failure what had been recorded."""
    outcome = yield
    trial = _trials.get(item)
    if trial is not None:
        trial.hear(outcome.get_result(), call)
