"""Bugs of the kind that the battery exists for, each a small change of the text of one file.

The first six are the ones every battery of this sort should find; the others are ours. `mutate.py` seeds them, one at a
time, into a copy of the project.
"""

from __future__ import annotations

from typing import NamedTuple


class Mutation(NamedTuple):
    """A bug.

    Attributes:
        name: what it breaks.
        file: of the project.
        before: text that stands in the file exactly once.
        after: what takes its place.
        rows: rows of the scorecard of which at least one must turn red; they are tried in this order.
    """

    name: str
    file: str
    before: str
    after: str
    rows: tuple[int, ...]


MUTATIONS = (
    Mutation(
        "NORMAL where FULL was asked for",
        "agentops_local/store/file.py",
        "self._connection.execute(f\"PRAGMA synchronous = {'FULL' if power else 'NORMAL'}\")",
        'self._connection.execute("PRAGMA synchronous = NORMAL")',
        (2,),
    ),
    Mutation(
        "the connection stays open through a fork",
        "agentops_local/store/database.py",
        "        self._release_file(for_fork=True)\n",
        "",
        (3,),
    ),
    Mutation(
        "PASSIVE checkpoints",
        "agentops_local/store/file.py",
        'connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]',
        'connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()[0]',
        (14, 7),
    ),
    Mutation(
        "marked as uploaded before the proof",
        "sync/agentops_sync/batches.py",
        "UPDATE uploads SET state = 'flying', batch = ?\n",
        "UPDATE uploads SET state = 'done', batch = ?\n",
        (16,),
    ),
    Mutation(
        "times compared as text",
        "sync/agentops_sync/comparison.py",
        '        at if at is not None else _plain(body.get("timestamp")),\n',
        '        _plain(body.get("timestamp")),\n',
        (16,),
    ),
    Mutation(
        "sent again after a 400",
        "sync/agentops_sync/uploader.py",
        "        if verdict in (Verdict.NOT_SENT, Verdict.SLOW_DOWN,",
        "        if outcome.status == 400 or verdict in (Verdict.NOT_SENT, Verdict.SLOW_DOWN,",
        (16,),
    ),
    Mutation(
        "no fork hooks at all",
        "agentops_local/forks.py",
        'if not _hooked and hasattr(os, "register_at_fork"):',
        'if not _hooked and hasattr(os, "no_such_function"):',
        (3,),
    ),
    Mutation(
        "an error that is there is not recognised, and sent again",
        "sync/agentops_sync/reconcile.py",
        'names = dict(zip(batch.events, batch.keys, strict=False)) if batch.kind == "errors" else ids',
        "names = ids",
        (16,),
    ),
    Mutation(
        "a change that raises no revision",
        "agentops_local/recorder/ground.py",
        "UPDATE sessions SET {{}}, revision = {_NEXT_SESSION_REVISION} WHERE seq = ?",
        "UPDATE sessions SET {{}}, revision = revision + 0 * {_NEXT_SESSION_REVISION} WHERE seq = ?",
        (13, 16),
    ),
    Mutation(
        "a prompt that hangs on the nodes of another life",
        "agentops_local/recorder/writes.py",
        "if epoch != self._epoch and self._common:",
        "if epoch < 0 and self._common:",
        (10, 3, 13),
    ),
    Mutation(
        "the lock is a lock on the database itself",
        "agentops_local/store/file.py",
        'WritersLock(self.path.with_name(f"{self.path.name}.lock"))',
        "WritersLock(self.path)",
        (6, 1),
    ),
    Mutation(
        "the key itself where its hash belongs",
        "agentops_local/session.py",
        "key_hash=key_hash(config.api_key),",
        "key_hash=config.api_key,",
        (23,),
    ),
)
