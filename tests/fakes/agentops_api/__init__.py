"""A look-alike of the AgentOps REST v2 server, warts included, to try the daemon against.

It is a program with state and real HTTP on loopback, not a mock: it answers what the real routes answered in 156
recorded cases (`tests/reliability/test_22_lookalike.py` replays them), and it can be told to fail in every way a
network and a server can. State lives in memory.

Within a test::

    with AgentOpsAPI() as server:                      # or AgentOpsAPI(actions_work=True, export_limit=20, ...)
        run_the_daemon(server.url, server.api_key)     # server.other_api_key opens another project
        server.fault("lost_answer", path="create_events", nth=3, times=2)
        server.chaos(0.28, seed=3, faults=["reset_before", "502_after", {"fault": "hang", "seconds": 2}])
        server.settle()                                # until every late request is committed
        server.events(session, "llms")                 # the stored rows, in order of commit, doubles included
        server.rows(session)                           # their number, and the stats
        server.requests                                # all that came: path, headers, kinds, fault, done, answered

Other switches: `actions_work`, `settings` (see `settings.py`), `jwt_secret`, `expire_tokens()`, `revoke(key)`,
`rotate(key)`, `restore(key)`, `delete_session(id)`, `delete_stats_row(id)`, `poison(marker, status, code)`,
`refuse(seconds)`, `refuse(connections=n)`, `listen()`, `clear_faults()`.

As a program, which prints its URL on the first line::

    python -m tests.fakes.agentops_api --port 0 --api-key UUID --other-api-key UUID [--jwt-secret S]
        [--actions-work] [--late SECONDS] [--record FILE]

It takes orders below `/_control`, in JSON. GET tells, POST changes:

    GET   rows/SESSION      counts of rows, and the stats
    GET   store             every row of every table; "mirrored" counts the spans of the analytics mirror
    GET   requests          {"by_path": {...}, "requests": [...]}
    GET   waiting           {"late": requests yet to be committed, "faults": faults of the script yet to happen}
    GET   settings
    POST  settings          {"actions_work": true, "export_limit": 1000, "clock_shift": 0, "token_life": 86400,
                            "seconds_per_event": 0, "stats_window": 0, "late": 1}, or some of them
    POST  faults            {"faults": ["reset_after", {"fault": "429", "path": "create_events", "times": 2, ...}]}
    POST  chaos             {"rate": 0.28, "seed": 3, "faults": [...], "reads": false}; rate 0 ends it
    POST  clear_faults      {}
    POST  poison            {"marker": "text", "status": 500 or 400, "code": "22P02"}
    POST  refuse            {"seconds": 2} stops listening; {"connections": 3} resets the next three
    POST  tokens            {"expire": true} or {"secret": "another"}
    POST  keys              {"revoke": KEY}, {"restore": KEY} or {"rotate": KEY}, which answers {"key": the new one}
    POST  delete_session    {"session": ID}
    POST  setup             {"action": "delete_stats_row", "session": ID}

`python -m tests.fakes.agentops_api.ask URL rows SESSION` and `... ask URL setup ACTION SESSION` ask from a shell.

The faults; `faults.Fault` has the fields that say when (`path`, `kind`, `above` so many bytes, `nth`, `times`) and how:

    reset_before, reset_after    the connection is reset before or after the work
    lost_answer                  done, and the connection closed without a byte
    hang                         nothing done or said for `seconds`, then closed
    late                         closed without an answer (after `seconds`), and done after `delay`
    502_before, 502_after        a gateway's page, or `status` 503 or 504, before or after the work
    html_200                     nothing done, 200 with a page
    cut_body                     done, half of the answer sent
    413                          nothing done; with `early` before the body is read
    429                          nothing done; `retry_after` is the header
    redirect                     nothing done; `status` (307) to `location`
    refuse                       reset, and nobody listens for `seconds`
    slow                         done at once, answered after `seconds`

Unlike the real server it commits under one lock, so two requests never make two default agents; it counts no tokens,
prices three models, keeps no images, and knows nothing of the second row limit a hosted database may have. Nobody
recorded what `update_events`, `update_logs`, `create_thread` and actions that work answer: those follow the reading
of the routes only.
"""

from tests.fakes.agentops_api.fake import AgentOpsAPI
from tests.fakes.agentops_api.server import Received

__all__ = ["AgentOpsAPI", "Received"]
