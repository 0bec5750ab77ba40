"""Sessions out of a database, as files for other programs and people.

- `source` reads: sessions as of one moment, their events in pieces; `texts`, `prompts` and `seqs` serve it.
- A module for each format writes them: `v2`, `jsonl`, `tables` (CSV and Parquet), `page` (HTML), `otlp`.
- `target` is where they go: files that are there whole or not at all.
"""

from __future__ import annotations

from agentops_local.exporting.work import FORMATS, Exported, export

__all__ = ["FORMATS", "Exported", "export"]
