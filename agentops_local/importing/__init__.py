"""What comes in from elsewhere: files of other formats, databases of other machines, and packs made to be carried.

- `take_in(db, files)`: sessions out of files, whatever wrote them
- `merge(db, files)`: databases and packs into one
- `pack(db, out, sessions)`: sessions into a file of their own
"""

from __future__ import annotations

from agentops_local.importing.chat import Manner
from agentops_local.importing.intake import FORMATS, Refused, TakenIn, take_in
from agentops_local.importing.merging import Merged, merge
from agentops_local.importing.packing import Packed, pack

__all__ = ["FORMATS", "Manner", "Merged", "Packed", "Refused", "TakenIn", "merge", "pack", "take_in"]
