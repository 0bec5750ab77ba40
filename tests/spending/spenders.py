"""Processes that spend from one budget."""

from __future__ import annotations

import os
import sys
from typing import Any

import agentops_local
from agentops_local import BudgetExceeded


def spend(db: str, url: str) -> tuple[int, int]:
    """Calls until nothing is left. Returns how many calls were made, and how many of the asked for were refused."""
    import openai

    os.environ["AGENTOPS_LOCAL_STRICT"] = "1"
    agentops_local.init(db=db)
    made = refused = 0
    with openai.OpenAI(base_url=url, api_key="k", max_retries=0) as client:
        create: Any = client.chat.completions.create
        while refused < 3:
            try:
                create(model="gpt-4o", messages=[{"role": "user", "content": "hi"}], max_tokens=500)
                made += 1
            except BudgetExceeded:  # noqa: PERF203 - it is asked each time
                refused += 1
    agentops_local.end_session()
    return made, refused


def hang(db: str, url: str) -> None:
    """Is killed in the midst of a call, having said so."""
    import openai

    agentops_local.init(db=db)
    client = openai.OpenAI(base_url=url, api_key="k", max_retries=0)
    create: Any = client.chat.completions.create
    stream = create(model="gpt-4o", messages=[{"role": "user", "content": "hi"}], max_tokens=500, stream=True)
    next(iter(stream))
    print("under way", flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    if sys.argv[1] == "hang":
        hang(*sys.argv[2:])
    else:
        print(*spend(*sys.argv[2:]), flush=True)
