"""The demo's agent: it plans, starts three workers that share its session, copes with the death of one, and reports.

`python -m agentops_local.demo.planner FOLDER`

It is written as any program that uses AgentOps is. Only the kill is staged: one worker of the three is killed, from
here, in the midst of its work. Handing a dead worker's files to a new one is what the program would do anyway.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import agentops_local as agentops
from agentops_local.demo import rules
from agentops_local.demo.crew import Crew, Worker
from agentops_local.demo.ledger import Ledger

_VICTIM = "worker 2"
_KILLED_AT = 9  # acknowledged events: it is in the midst of its second file


@agentops.track_agent(name="planner")
class Planner:
    """Has the files of a folder read, whatever becomes of the readers."""

    def __init__(self, folder: Path, session: str) -> None:
        self._folder = folder
        self._session = session
        self._crew = Crew()
        self._workers: list[Worker] = []

    def work(self) -> None:
        """From the list of files to the report."""
        plan = self.plan(self.list_logs())
        _say("planner", os.getpid(), f"splits {sum(map(len, plan))} files into {len(plan)} parts")
        for files in plan:
            self._start(files, "reads")
        for worker, message in self._crew:
            if message is None:
                self._ended(worker)
                continue
            worker.heed(message)
            if worker.name == _VICTIM and worker.acknowledged == _KILLED_AT and "acknowledged" in message:
                worker.kill()
        self.report({name: found for worker in self._workers for name, found in worker.findings.items()})

    @agentops.record_tool("list_logs")
    def list_logs(self) -> dict[str, int]:
        """The log files and their sizes."""
        return {path.name: path.stat().st_size for path in sorted((self._folder / "logs").glob("*.log"))}

    @agentops.record_action("plan")
    def plan(self, sizes: dict[str, int]) -> list[list[str]]:
        """Splits the files into parts, as the model says."""
        question = "\n".join(["Bytes of each file:", *(f"{name}: {size}" for name, size in sizes.items())])
        messages = [{"role": "system", "content": rules.PLANNER_PROMPT}, {"role": "user", "content": question}]
        event = agentops.LLMEvent(prompt=messages, model=rules.MODEL)
        event.completion, event.prompt_tokens, event.completion_tokens, event.cost = rules.answer(messages)
        agentops.record(event)
        plan: list[list[str]] = json.loads(event.completion)
        return plan

    @agentops.record_tool("report")
    def report(self, findings: dict[str, str]) -> str:
        """Writes the report."""
        path = self._folder / "report.json"
        path.write_text(json.dumps(dict(sorted(findings.items())), indent=2), encoding="utf-8")
        return path.name

    def _start(self, files: list[str], doing: str) -> None:
        worker = Worker(self._folder, f"worker {len(self._workers) + 1}", files, self._session)
        self._workers.append(worker)
        self._crew.add(worker)
        _say(worker.name, worker.pid, f"{doing} {len(files)} files")

    def _ended(self, worker: Worker) -> None:
        code = worker.wait()
        if not worker.to_do and code == 0:
            _say(worker.name, worker.pid, f"is done; faults found: {len(worker.findings)}")
            return
        fate = f"killed by signal {-code}" if code < 0 else f"ended with code {code}"
        left = len(worker.to_do)
        _say(worker.name, worker.pid, f"{fate}: {worker.acknowledged} events kept, {left} files left")
        agentops.record(agentops.ErrorEvent(error_type="WorkerDied", code=str(code), details=f"{worker.name} {fate}"))
        if worker.name != _VICTIM:
            raise RuntimeError(f"{worker.name} {fate}")  # nobody killed it: our fault
        self._start(worker.to_do, "takes its place and reads")


def _say(who: str, pid: int, what: str) -> None:
    print(f"{who:<9} pid {pid:<7} {what}", flush=True)  # noqa: T201 - a program that talks


def main(folder: Path) -> None:
    """Runs the agent in a session of its own."""
    session = agentops.init(default_tags=["demo", "log-readers"])
    if session is None:
        sys.exit("no session could be started")
    Ledger(folder / "acknowledged").watch(session)
    Planner(folder, str(session.session_id)).work()
    cost = agentops.end_session("Success", "every file was read")
    _say("planner", os.getpid(), f"all read; the session ends: Success, ${cost}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
