"""What a session amounts to, over the events of every process, exactly."""

from __future__ import annotations

import sqlite3
from decimal import Decimal
from typing import NamedTuple

_TOTALS = """
SELECT count(CASE kind WHEN 'llms' THEN 1 END), count(CASE kind WHEN 'tools' THEN 1 END),
       count(CASE kind WHEN 'actions' THEN 1 END), count(CASE kind WHEN 'errors' THEN 1 END),
       count(CASE kind WHEN 'apis' THEN 1 END), coalesce(sum(cost_pusd), 0),
       count(CASE WHEN kind = 'llms' AND cost_pusd IS NULL THEN 1 END)
FROM events WHERE session = (SELECT seq FROM sessions WHERE id = ?)
"""


class Totals(NamedTuple):
    """Events by kind, the cost in US dollars, and the LLM calls that have no price."""

    llms: int
    tools: int
    actions: int
    errors: int
    apis: int
    cost: Decimal
    unpriced: int = 0


def totals(connection: sqlite3.Connection, session_id: str) -> Totals:
    """The totals of a session; zeros for one that has no events."""
    llms, tools, actions, errors, apis, pusd, unpriced = connection.execute(_TOTALS, (session_id,)).fetchone()
    return Totals(llms, tools, actions, errors, apis, dollars(pusd), unpriced)


def dollars(pusd: int) -> Decimal:
    """An amount in 1e-12 dollars as dollars, exactly."""
    return Decimal(pusd).scaleb(-12)


def cost_text(cost: Decimal) -> str:
    """A cost as the classic SDK writes it: "0.00" when zero, otherwise six decimals."""
    return f"{cost:.6f}" if cost else "0.00"


def duration_text(microseconds: int) -> str:
    """A duration as the classic SDK writes it: "1h 2m 3.4s", hours and minutes left out when zero."""
    tenths = max(0, round(microseconds / 100_000))
    hours, rest = divmod(tenths, 36_000)
    minutes, rest = divmod(rest, 600)
    parts = [f"{hours}h"] if hours else []
    if minutes:
        parts.append(f"{minutes}m")
    parts.append(f"{rest / 10:.1f}s")
    return " ".join(parts)
