"""`python -m tests.fakes.agentops_api.ask URL rows SESSION`, or `... ask URL setup ACTION SESSION`: one question.

For programs that can start a command and cannot speak HTTP.
"""

from __future__ import annotations

import json
import sys
import urllib.request


def ask(url: str, question: str, *words: str) -> str:
    """The answer of the control route, as JSON."""
    body = None
    if question == "setup":
        action, session = words
        body, words = json.dumps({"action": action, "session": session}).encode(), ()
    path = "/".join(("_control", question, *words))
    request = urllib.request.Request(f"{url}/{path}", body)  # noqa: S310 - the caller's own server on loopback
    with urllib.request.urlopen(request) as answer:  # noqa: S310
        found: bytes = answer.read()
    return found.decode()


if __name__ == "__main__":
    print(ask(*sys.argv[1:]))
