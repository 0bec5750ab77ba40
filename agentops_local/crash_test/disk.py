"""What the system says of the disk below a folder, as far as it matters in a power cut. On Linux; elsewhere little.

A disk with a volatile cache ("write back") keeps a commit only if it is told to flush that cache. The kernel counts
these orders for each whole disk (the 16th field of its `stat`, since Linux 5.5; it counts none for partitions and for
what is put together from disks).
"""

from __future__ import annotations

import os
import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from agentops_local.store.filesystem import Mount

SYS = Path("/sys")
_FLUSHES = 15  # fields before it
_VIRTUAL = re.compile("vd|xvd|nbd|rbd")  # names that disks have in virtual machines and clusters
_VIRTUAL_MAKER = re.compile("qemu|vbox|vmware|virtual|msft|google|amazon elastic|xen", re.IGNORECASE)


@dataclass(frozen=True)
class Disk:
    """A whole disk.

    Attributes:
        volatile: whether it says that it has a cache which a power cut empties; None: it does not say.
        virtual: whether some other machine keeps what is written to it.
        rotating: whether it has platters, as far as that is known.
    """

    name: str
    volatile: bool | None
    virtual: bool
    rotating: bool
    folder: Path

    def flushes(self) -> int | None:
        """How many times it has been told to flush its cache; None: nobody counts."""
        fields = _read(self.folder / "stat").split()
        return int(fields[_FLUSHES]) if len(fields) > _FLUSHES else None


def disks_below(mount: Mount, sys: Path = SYS) -> list[Disk]:
    """The disks that hold a filesystem; none if that cannot be seen from here."""
    number = mount.device
    if number.startswith("0:"):  # made up by the kernel, as for btrfs
        with suppress(OSError):
            device = os.stat(mount.source).st_rdev if mount.source.startswith("/dev/") else 0  # noqa: PTH116 - a device
            number = f"{os.major(device)}:{os.minor(device)}"
    folder = sys / "dev" / "block" / number
    return _whole(folder.resolve()) if folder.exists() else []


def _whole(folder: Path) -> list[Disk]:
    if (folder / "partition").exists():
        return _whole(folder.parent)
    lower = sorted((folder / "slaves").iterdir()) if (folder / "slaves").is_dir() else []
    if lower:  # RAID, LVM, encryption
        return list(dict.fromkeys(disk for one in lower for disk in _whole(one.resolve())))
    backing = _read(folder / "loop" / "backing_file")
    if backing:  # a file on some other filesystem
        return []
    cache = _read(folder / "queue" / "write_cache")
    maker = f"{_read(folder / 'device' / 'vendor')} {_read(folder / 'device' / 'model')}"
    virtual = bool(_VIRTUAL.match(folder.name) or _VIRTUAL_MAKER.search(maker))
    return [
        Disk(
            folder.name,
            {"write back": True, "write through": False}.get(cache),
            virtual,
            not virtual and _read(folder / "queue" / "rotational") == "1",
            folder,
        )
    ]


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""
