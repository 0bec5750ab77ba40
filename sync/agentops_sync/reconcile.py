"""What has become of a request of which nothing clear was heard: a look at what the server holds.

An export gives at most 1000 rows of each kind and does not say when it cuts, so a table of 1000 rows or more proves
presence, never absence. Then an event with an id is sent again, alone: a server that has it refuses the id. An error
has no id there; the server's own count of errors may tell, else it is left for a person to decide.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b

from agentops_sync.batches import Batch, Batches
from agentops_sync.client import JSON
from agentops_sync.comparison import ErrorKey, error_key_of_row
from agentops_sync.timing import Moment

EXPORT_ROWS = 1000  # of a kind; more may be there
# An error is counted before and after only where the export may not show it: this many before the cut.
COUNTED_FROM = EXPORT_ROWS - 100
_ROUND = 50  # rows; a cut is at a multiple of it


@dataclass(frozen=True)
class Held:
    """What the server holds of one kind of a session.

    Attributes:
        ids: of the rows, in lower case; for errors the digests of their keys.
        is_whole: whether it is all, so that what is not among them is not there.
        rows: how many they were.
    """

    ids: frozenset[str]
    is_whole: bool
    rows: int = 0


def digest(key: ErrorKey) -> str:
    """The natural key of an error, in 16 hexadecimal digits."""
    return blake2b(repr(key).encode("utf-8", "backslashreplace"), digest_size=8).hexdigest()


def held(export: dict[str, JSON], kind: str, taken: int = 0) -> Held | None:
    """The rows of a kind in an export; None if it has no such list.

    Args:
        taken: how many the server has certainly taken: an export with fewer is cut, at whatever number it cuts.
    """
    rows = export.get(kind)
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        return None
    ids: set[str] = set()
    for row in rows:
        assert isinstance(row, dict)  # noqa: S101 - seen above; for the type checker
        ids.add(digest(error_key_of_row(row)) if kind == "errors" else str(row.get("id", "")).lower())
    return Held(frozenset(ids), taken <= len(rows) < EXPORT_ROWS, len(rows))


def wants_count(batch: Batch, found: Held | None) -> bool:
    """Whether the server's count of errors may tell more than an export: whether what it lacks is there, or whether it
    was cut just where everything that is certain ends. Only a round number of rows looks like a cut: the server counts
    refused errors as well, so its count alone would make every refusal a doubt."""
    if batch.kind != "errors":
        return False
    if found is None or not found.is_whole:
        return batch.errors_before is not None
    return found.rows > 0 and found.rows % _ROUND == 0 and not found.ids.issuperset(batch.keys)


def settle(
    batches: Batches, batch: Batch, ids: dict[int, str], found: Held | None, errors_now: int | None, now: Moment
) -> None:
    """Closes a batch by what the server holds.

    Args:
        ids: of the events of the batch, in lower case; those that were removed here meanwhile are missing.
        found: what the export showed; None if none was asked for, because it would be cut.
        errors_now: what the server counts now; None: not asked, or no statistics there.
    """
    names = dict(zip(batch.events, batch.keys, strict=False)) if batch.kind == "errors" else ids
    present = [event for event in batch.events if found is not None and names.get(event) in found.ids]
    missing = [event for event in batch.events if event not in present]
    if found is not None and found.is_whole and (errors_now is None or errors_now <= found.rows):
        batches.settle(batch, now, done=present, absent=missing)
    elif batch.kind == "errors":
        _settle_errors(batches, batch, present, missing, errors_now, now)
    else:
        _settle_by_id(batches, batch, present, missing, now)


def _settle_by_id(batches: Batches, batch: Batch, present: list[int], missing: list[int], now: Moment) -> None:
    alone = len(batch.events) == 1
    if alone and missing and batch.manner is not None:
        if "23505" in batch.manner and not batches.is_held_elsewhere(missing[0]):
            batches.settle(batch, now, done=missing)
        else:
            batches.settle(batch, now, absent=missing)
    else:
        batches.settle(batch, now, done=present, unclear=missing)


def _settle_errors(
    batches: Batches, batch: Batch, present: list[int], missing: list[int], errors_now: int | None, now: Moment
) -> None:
    before = batch.errors_before
    grown = None if before is None or errors_now is None else errors_now - before
    if grown == len(batch.events):
        batches.settle(batch, now, done=batch.events)
    elif grown == 0 and not present:
        batches.settle(batch, now, absent=missing)
    else:
        batches.settle(batch, now, done=present, uncertain=missing)
