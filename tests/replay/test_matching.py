"""Which recorded call answers a request."""

from __future__ import annotations

import pytest

from agentops_local.errors import WrongUse
from tests.replay.agent import Agent


def test_equal_requests_in_order(agent: Agent) -> None:
    """Equal requests get their answers in the order in which they were recorded; others are asked for in any order."""
    for completion in ("one", "two", "three"):
        agent.recorded("count", completion)
    agent.recorded("last", "end")
    outcome, said = agent.replay("print(ask('last'), ask('count'), ask('count'), ask('count'))")
    assert said == ["end one two three"]
    assert (outcome.code, outcome.tally.answered, outcome.tally.left) == (0, 4, [])


def test_the_model_decides_between_equal_prompts(agent: Agent) -> None:
    """Of several calls with the same messages the one with the same model answers, wherever it stands."""
    for model in ("small", "big"):
        agent.recorded("vote", f"of {model}", model=model)
    outcome, said = agent.replay("print(ask('vote', model='big'), ask('vote', model='small'))")
    assert said == ["of big of small"]
    assert outcome.tally.remarks == []


def test_other_settings_are_told(agent: Agent) -> None:
    """Another model, temperature or tool is answered and told; with strict parameters it stops the program."""
    agent.recorded("hi", "hello", params={"temperature": 0.5, "tools": [{"name": "old"}]})
    code = "print(ask('hi', model='other', temperature=1, tools=[{'function': {'name': 'new'}}]))"
    outcome, said = agent.replay(code)
    assert said == ["hello"]
    assert outcome.tally.remarks == [
        "call 1: model other instead of m", "call 1: temperature 1 instead of 0.5", "call 1: tool new is new",
        "call 1: tool old is gone",
    ]  # fmt: skip
    outcome, said = agent.replay(code, is_strict=True)
    assert (outcome.code, said) == (3, [])
    assert outcome.tally.end is not None
    assert "model other instead of m" in outcome.tally.end["others"]


THREADS = """
from concurrent.futures import ThreadPoolExecutor
with ThreadPoolExecutor(4) as pool:
    print(sorted(pool.map(lambda number: ask(f"question {number % 2}"), range(12))))
"""


def test_threads(agent: Agent) -> None:
    """Threads that ask at the same time get each answer once."""
    for number in range(12):
        agent.recorded(f"question {number % 2}", f"answer {number:02}")
    _, said = agent.replay(THREADS)
    assert said == [str([f"answer {number:02}" for number in range(12)])]


FAMILY = """
import multiprocessing, subprocess
if __name__ == "__main__":
    if sys.argv[1:]:
        print(ask("q"), flush=True)
    else:
        print(ask("q"), flush=True)
        if os.name == "posix":
            pid = os.fork()
            if not pid:
                print(ask("q"), flush=True)
                os._exit(0)
            os.waitpid(pid, 0)
        subprocess.run([sys.executable, __file__, "child"], check=True)
        spawned = multiprocessing.get_context("spawn").Process(target=ask, args=("q",))
        spawned.start()
        spawned.join()
        print(spawned.exitcode, ask("q"))
"""


def test_processes_share_a_replay(agent: Agent) -> None:
    """A forked, a started and a spawned process go on where the replay stands: no answer is given twice."""
    for completion in "abcde":
        agent.recorded("q", completion)
    outcome, said = agent.replay(FAMILY)
    assert said == ["a", "b", "c", "0 e"]
    assert outcome.tally.left == []


@pytest.mark.parametrize("prompt", ["hi", ["hi"], [{"role": "user", "content": [{"type": "text", "text": "hi"}]}]])
def test_shapes_of_a_prompt(agent: Agent, prompt: object) -> None:
    """A prompt that the program recorded itself, as text, list or messages, fits the request that says the same."""
    agent.recorded(prompt, {"role": "assistant", "content": "hello"})
    assert agent.replay("print(ask('hi'))")[1] == ["hello"]


def test_what_may_differ(agent: Agent) -> None:
    """What fits a pattern that is to be ignored may differ within messages; all else may not."""
    agent.recorded("Today is 2026-01-02. Hi!", "hello")
    code = "print(ask('Today is 2026-03-04. {}!'))"
    assert agent.replay(code.format("Hi"))[0].code == 3
    assert agent.replay(code.format("Hi"), ignored=[r"\d{4}-\d\d-\d\d"])[1] == ["hello"]
    outcome, _ = agent.replay(code.format("Ho"), ignored=[r"\d{4}-\d\d-\d\d"])
    assert outcome.tally.end is not None
    assert outcome.tally.end["diff"][-2:] == ["-Today is .... Hi!", "+Today is .... Ho!"]
    with pytest.raises(WrongUse, match="no regular expression"):
        agent.replay(code, ignored=["("])
