"""Another agent of the demo: it begins, waits for an answer that never comes, and dies without a word.

`python -m agentops_local.demo.adrift FOLDER`
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import agentops_local as agentops
from agentops_local.demo import rules
from agentops_local.demo.ledger import Ledger


@agentops.record_tool("read_report")
def read_report(name: str) -> dict[str, str]:
    """The report of the log readers: what they found in which file."""
    report: dict[str, str] = json.loads(Path(name).read_text(encoding="utf-8"))
    return report


def main(folder: Path) -> None:
    """Reads the report and asks what to do about it."""
    session = agentops.init(default_tags=["demo", "repair"])
    if session is None:
        sys.exit("no session could be started")
    Ledger(folder / "acknowledged").watch(session)
    report = read_report("report.json")
    question = "\n".join(f"{name}: {finding}" for name, finding in report.items())
    messages = [{"role": "system", "content": rules.REPAIR_PROMPT}, {"role": "user", "content": question}]
    event = agentops.LLMEvent(prompt=messages, model=rules.MODEL)
    event.completion, event.prompt_tokens, event.completion_tokens, event.cost = rules.answer(messages)
    agentops.record(event)
    agentops.record(agentops.ActionEvent(action_type="ask_for_permission", params={"for": event.completion}))
    print("waits for permission", flush=True)  # noqa: T201 - a program that talks
    sys.stdin.readline()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
