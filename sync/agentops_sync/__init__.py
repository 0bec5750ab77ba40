"""The uploader's package.

A recording needs no network. This package is the place of `agentops-sync`, the separate daemon that will
read the outbox of a database and send to a server what the server lacks. The daemon comes with a later
release; until then the package holds its name and nothing else.

It may import `agentops_local`. The other way round is forbidden.
"""
