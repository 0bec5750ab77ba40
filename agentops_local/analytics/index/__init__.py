"""The index: what questions over many events are answered from, in a file of its own beside the database.

Sums of events by session, time, agent, host and name; which errors are alike; which words stand where. Nothing is
written there while something is recorded. Who asks brings the index up to the last event first, from the mark that the
one before has left, in the transactions of SQLite: so it is exact whoever records or asks at the same time, and who
comes second finds the work done.

Why another file: recording must not wait for those who ask, nor its database grow by three times the text; and an index
may be thrown away. `agentops.db-index` holds nothing that is not in the database, and is made again when it is gone,
of another database or version, or damaged. Where it cannot be written, it is made in a temporary file each time.
"""

from agentops_local.analytics.index.file import forget, opened

__all__ = ["forget", "opened"]
