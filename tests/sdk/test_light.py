from __future__ import annotations

import json
import sys

import pytest

from tests.sdk.records import Programs

LIST = """
import json, sys
before = set(sys.modules)
import agentops_local as agentops
SOURCE
print(json.dumps(sorted(set(sys.modules) - before)))
"""
FIRST_EVENT = """
agentops.init()
agentops.record(agentops.LLMEvent(prompt=[{"role": "user", "content": "hi"}], completion="hello", cost=0.1))
"""
WHOLE_RUN = (
    FIRST_EVENT
    + """
@agentops.track_agent(name="agent")
class Agent:
    @agentops.record_tool()
    def work(self, number): return number
Agent().work(1)
agentops.record(agentops.ErrorEvent(exception=ValueError("x")))
agentops.add_tags(["a"])
agentops.Client().active_session().get_analytics()
agentops.end_session("Success")
"""
)


def loaded(programs: Programs, source: str) -> set[str]:
    """The modules that a program loads."""
    return set(json.loads(programs.run(LIST.replace("SOURCE", source)).out))


def foreign(modules: set[str]) -> set[str]:
    """Those of third parties."""
    return {name.partition(".")[0] for name in modules} - sys.stdlib_module_names - {"agentops_local"}


def test_the_import_loads_nothing(programs: Programs) -> None:
    """`import agentops_local` loads its own first module and little of the standard library."""
    modules = loaded(programs, "")
    assert foreign(modules) == set()
    assert {name for name in modules if name.startswith("agentops_local")} == {"agentops_local"}
    assert len(modules) < 40


def test_the_first_event_loads_little(programs: Programs) -> None:
    """`init` and the first event load one module of a third party, the JSON encoder: not psutil, sqlite_utils, click,
    requests or filelock."""
    modules = loaded(programs, FIRST_EVENT)
    assert foreign(modules) <= {"orjson"}


def test_a_whole_run_loads_little(programs: Programs) -> None:
    """A whole run, with agents, decorators, analytics and the host environment, loads no more than that on Linux."""
    modules = loaded(programs, WHOLE_RUN)
    allowed = {"orjson"} if sys.platform == "linux" else {"orjson", "psutil"}
    assert foreign(modules) <= allowed


def test_a_run_has_no_network(programs: Programs) -> None:
    """Nothing of ours loads what a network needs."""
    modules = loaded(programs, WHOLE_RUN)
    assert modules.isdisjoint({"socket", "ssl", "http.client", "urllib.request", "asyncio", "multiprocessing"})


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_run_has_no_thread(programs: Programs) -> None:
    """To record starts no thread and no process."""
    ended = programs.run(
        "import os\nimport agentops_local as agentops\n"
        + WHOLE_RUN
        + "print(len(os.listdir('/proc/self/task')), open('/proc/self/task/%d/children' % os.getpid()).read())"
    )
    assert ended.out.split() == ["1"]


def test_encoding_works_without_the_encoder(programs: Programs) -> None:
    """Without orjson, as where it has no wheel, events are recorded all the same."""
    ended = programs.run(
        "import sys\nsys.modules['orjson'] = None\nimport agentops_local as agentops\n"
        + WHOLE_RUN
        + "print(agentops.Client().session_count)"
    )
    assert ended.out == "0\n"
