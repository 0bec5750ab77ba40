"""`python -m tests.fakes.agentops_api`: the look-alike as a program; its first line is its URL."""

from __future__ import annotations

import argparse
import signal
from contextlib import ExitStack
from pathlib import Path

from tests.fakes.agentops_api.fake import AgentOpsAPI


def main() -> None:
    """Serve until a signal ends it."""
    parser = argparse.ArgumentParser(prog="python -m tests.fakes.agentops_api", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="0: a free one")
    parser.add_argument("--api-key", help="a UUID; made up if not given")
    parser.add_argument("--other-api-key", help="the key of another project")
    parser.add_argument("--jwt-secret", help="what tokens are signed with")
    parser.add_argument("--actions-work", action="store_true", help="store actions instead of answering 500")
    parser.add_argument("--late", type=float, default=1.0, metavar="SECONDS", help="when late requests are committed")
    parser.add_argument("--record", type=Path, metavar="FILE", help="append every request to this file, as JSON lines")
    options = parser.parse_args()
    # In the main thread both signals end the wait below.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with ExitStack() as stack:
        record = stack.enter_context(options.record.open("a", encoding="utf-8")) if options.record else None
        server = stack.enter_context(
            AgentOpsAPI(
                port=options.port,
                api_key=options.api_key,
                other_api_key=options.other_api_key,
                jwt_secret=options.jwt_secret,
                record=record,
                actions_work=options.actions_work,
                late=options.late,
            )
        )
        print(server.url, flush=True)
        print(f"api key {server.api_key}, other api key {server.other_api_key}", flush=True)
        try:
            server.api.stopping.wait()
        except KeyboardInterrupt:
            pass


if __name__ == "__main__":
    main()
