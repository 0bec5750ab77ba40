"""Sessions out of a database, as files for other programs and people.

- `source` reads: sessions as of one moment, their events in pieces; `texts`, `prompts` and `seqs` serve it.
- A module for each format writes them: `v2`; `jsonl`; `tables` as CSV by `spreadsheet` and as `parquet`; `page` (HTML)
  with its `markup` and `timeline`; `otlp` with messages in the shape of `genai`. `triggers` knows which errors tell of
  which event.
- `target` is where they go: files that are there whole or not at all. `work` is all of it, from beginning to end.
"""

from __future__ import annotations

from agentops_local.exporting.work import FORMATS, Exported, export

__all__ = ["FORMATS", "Exported", "export"]
