"""What makes a copy that is put in place another database, and not the old one with a gap in its memory.

- It gets an id of its own (`generation`): numbers of rows that a process learnt in the one mean others in the other.
- Its ledger of uploads is older than what the servers have received since. Whatever it takes for not yet sent may be
  there, and an error that is sent again is there twice. So every session with something to send is marked as found on
  the server, where the daemon looks at what that holds before it sends anything. `restored_seq` tells it up to which
  event that holds, where an answer leaves a doubt.
- An error count that was taken before a request proves nothing any more once other requests have followed it.
"""

from __future__ import annotations

import sqlite3

from agentops_local import clock

_FOUND = """
INSERT INTO deliveries (target, session, found)
SELECT t.id, s.seq, 1
FROM targets t CROSS JOIN sessions s LEFT JOIN deliveries d ON d.target = t.id AND d.session = s.seq
WHERE s.id <> '' AND (
    d.session IS NULL OR NOT d.ended_sent OR d.revision_sent < s.revision
    OR EXISTS (SELECT 1 FROM uploads u
               WHERE u.target = t.id AND u.session = s.seq AND u.state IN ('pending', 'flying'))
    OR EXISTS (SELECT 1 FROM events e WHERE e.session = s.seq AND e.seq > t.taken_seq))
ON CONFLICT DO UPDATE SET found = 1, work = work + 1, retry_us = 0, next_us = 0
"""
_NOTES = """
INSERT OR REPLACE INTO about (key, value)
VALUES ('generation', :generation), ('restored_us', :now),
       ('restored_seq', (SELECT coalesce(max(seq), 0) FROM events))
"""
# A project of the collector that is the database itself bears its id.
_PROJECT = """
UPDATE projects SET id = :generation WHERE id = (SELECT value FROM about WHERE key = 'generation')
"""
_KEYS = """
UPDATE api_keys SET project = :generation WHERE project = (SELECT value FROM about WHERE key = 'generation')
"""


def renew(connection: sqlite3.Connection) -> str:
    """Makes a copy another database, in one transaction; returns its new id.

    Args:
        connection: to the copy, in autocommit mode.
    """
    values = {"generation": str(clock.new_id()), "now": clock.now_us()}
    connection.execute("BEGIN IMMEDIATE")
    try:
        connection.execute("PRAGMA defer_foreign_keys = ON")
        connection.execute(_KEYS, values)
        connection.execute(_PROJECT, values)
        connection.execute(_NOTES, values)
        connection.execute(_FOUND)
        connection.execute("UPDATE batches SET errors_before = NULL WHERE state = 'sent'")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    return str(values["generation"])
