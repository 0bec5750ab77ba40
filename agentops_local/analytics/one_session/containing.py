"""Which events of a session hold a text: in their payloads, in the last message of their prompts, in their answers.

Of a prompt the last message alone, for the ones before it stand in the events before it. A session is looked through as
it is, without an index of words: it is small beside the whole, and what is typed need not be a word.
"""

from __future__ import annotations

import json
import sqlite3

MOST = 50_000  # events that are told

HOLDING = r"""
SELECT p.seq FROM payloads p
WHERE p.session = :session AND (p.params LIKE :text ESCAPE '\' OR p.returns LIKE :text ESCAPE '\'
      OR p.logs LIKE :text ESCAPE '\' OR p.details LIKE :text ESCAPE '\' OR p.code LIKE :text ESCAPE '\')
UNION
SELECT e.seq FROM events e JOIN message_texts t ON t.id IN (e.prompt, e.completion)
WHERE e.session = :session AND e.kind = 'llms' AND t.text LIKE :text ESCAPE '\'
LIMIT :most
"""


def containing(connection: sqlite3.Connection, session: int, text: str) -> list[int]:
    """The numbers of the events that hold a text; of letters of ASCII it does not matter whether they are large."""
    if not text.strip():
        return []
    # As it stands in JSON, where a quote and the end of a line are written otherwise.
    written = json.dumps(text.strip(), ensure_ascii=False)[1:-1]
    for special in "\\%_":
        written = written.replace(special, f"\\{special}")
    values = {"session": session, "text": f"%{written}%", "most": MOST}
    return [row["seq"] for row in connection.execute(HOLDING, values).fetchall()]
