"""The collector: a server that takes what AgentOps clients send, and keeps it in databases of ours.

- `body` JSON as it arrives, `session_fields` and `event_fields` what it says, checked
- `store` what the collector asks of a store, `sqlite_store` the store on our databases: `sqlite_writer` a transaction
  at a time and readers beside it, `sqlite_sessions` and `sqlite_events` the writes, `sqlite_totals`
  and `exporting.v2` the reads
- `idle` when a session is over because nothing more comes, `sqlite_idle` which are, in our databases
- `registry` projects and their keys, `tokens` the JWTs
- `collector` each request's work, knowing nothing of HTTP; `app` and `gate` the HTTP around it; `openapi` its
  description; `serve` the process

It needs the extra `server`; `registry`, and with it the command `keys`, does not.
"""
