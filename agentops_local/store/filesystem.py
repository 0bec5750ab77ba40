"""Which filesystem holds a path, and whether SQLite's write-ahead log is safe on it.

In WAL mode every process maps one file (-shm) into memory and trusts that a write of one is seen by all.
That holds on a disk of this machine. On a network filesystem, and in a folder that a virtual machine shares
with its host, two kernels keep two copies of that memory: rows are lost and pages damaged without an error.
A rollback journal is right there: it needs nothing but file locks.
"""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import NamedTuple

_UNSAFE = frozenset(
    [
        # One folder, several machines, each with its own copy of the shared memory.
        *("nfs", "nfs4", "cifs", "smb2", "smb3", "smbfs", "afpfs", "afs", "ncp", "ncpfs", "coda", "webdav"),
        *("davfs", "ftp", "remote", "unc"),
        # Cluster filesystems: some keep mapped memory the same everywhere, but not all versions and not with
        # every mount option, and we cannot see which; a rollback journal is right on all of them.
        *("ceph", "glusterfs", "lustre", "beegfs", "gpfs", "orangefs", "pvfs2", "gfs", "gfs2", "ocfs2"),
        # A folder of the host in a virtual machine; host and guest both open the database. 9p and drvfs are
        # /mnt/c in WSL, fakeowner is a bind mount in Docker Desktop on macOS. WAL on virtiofs was damaged
        # within a minute of concurrent writing, NousResearch/hermes-agent#110848.
        *("9p", "virtiofs", "drvfs", "vboxsf", "prl_fs", "vmhgfs", "hgfs", "osxfs", "grpcfuse", "fakeowner"),
        "hostfs",
        # Not mounted yet, and what will be is nearly always NFS.
        "autofs",
        # Without a subtype nobody can tell which program answers.
        *("fuse", "macfuse", "osxfuse"),
    ]
)
# Programs behind FUSE that keep every file on this machine. Any other (sshfs, rclone, s3fs, glusterfs) may be
# remote, and may refuse the shared mapping that WAL begins with.
_LOCAL_FUSE = frozenset(["fuse-overlayfs", "ntfs", "ntfs-3g", "exfat", "ext2", "gocryptfs", "encfs", "bindfs"])


class Mount(NamedTuple):
    """A mounted filesystem: one line of Linux' mountinfo.

    Attributes:
        device: its number, such as "254:0"; of a filesystem without one of its own, the kernel makes it up.
        options: of the mount and of the filesystem.
        source: what is mounted, such as "/dev/vda".
    """

    id: str
    parent: str
    device: str
    point: str
    type: str
    source: str
    options: tuple[str, ...]


def wal_is_safe(fs_type: str | None) -> bool:
    """Whether WAL works on a filesystem of this type; an unknown one (or None) is taken for a local disk."""
    name = (fs_type or "").lower()
    if name.startswith("fuse."):
        return name.removeprefix("fuse.") in _LOCAL_FUSE
    return name not in _UNSAFE


def filesystem_type(path: str | os.PathLike[str], mounts: str | None = None) -> str | None:
    r"""The type of the filesystem that holds a path, such as "ext4"; None if it cannot be told. Never raises.

    Args:
        path: it need not exist yet; symbolic links in it are followed.
        mounts: text of the form of Linux' /proc/self/mountinfo. By default that file is read, and elsewhere
            psutil is asked; on Windows "unc" stands for \\server\share and "remote" for a network drive.
    """
    try:
        real = os.path.realpath(path)  # a folder in the project may be a link to a network drive
        if mounts is None and sys.platform != "linux":
            return _type_by_psutil(real)
        found = _find(real, _read_mountinfo() if mounts is None else mounts)
        return found.type if found else None
    except Exception:  # noqa: BLE001 - an unknown filesystem is taken for a local disk; recording goes on
        return None


def find_mount(path: str | os.PathLike[str], mounts: str | None = None) -> Mount | None:
    """The mounted filesystem that holds a path, where the system is Linux; None if it cannot be told. Never raises.

    Args:
        path, mounts: as for `filesystem_type`.
    """
    try:
        return _find(os.path.realpath(path), _read_mountinfo() if mounts is None else mounts)
    except (OSError, ValueError):
        return None


def is_unc(path: str) -> bool:
    r"""Whether a Windows path is on a share: \\server\share and \\?\UNC\server\share are, \\?\C:\x is not."""
    path = path.replace("/", "\\")
    if path[:4] in ("\\\\?\\", "\\\\.\\"):
        return path[4:8].upper() == "UNC\\"
    return path.startswith("\\\\")


def _read_mountinfo() -> str:
    return Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="surrogateescape")


def _find(path: str, text: str) -> Mount | None:
    """Walks down the tree of mounts, as the kernel does when it looks `path` up.

    The longest mount point that fits is not enough: of two mounts on one point the later counts, and a mount
    over a folder hides those that were made below it before.
    """
    mounts = [mount for mount in map(_parse, text.splitlines()) if mount]
    ids = {mount.id for mount in mounts}
    found: Mount | None = None
    # It begins where the parent is out of sight (a container, a chroot) or, for rootfs, the mount itself.
    below = [mount for mount in mounts if mount.parent not in ids or mount.parent == mount.id]
    while below := [mount for mount in below if _covers(mount.point, path)]:
        found = min(below, key=lambda mount: len(mount.point))
        below = [mount for mount in mounts if mount.parent == found.id != mount.id]
    return found


def _parse(line: str) -> Mount | None:
    # id parent major:minor root point options [tag ...] - type source options
    left, dash, right = line.partition(" - ")
    fields = left.split(" ")
    if not dash or len(fields) < 6:
        return None
    kind, _, rest = right.partition(" ")
    source, _, more = rest.partition(" ")
    options = (*fields[5].split(","), *more.strip().split(","))
    return Mount(fields[0], fields[1], fields[2], _unescape(fields[4]), kind, _unescape(source), options)


def _unescape(point: str) -> str:
    # The kernel writes blank, tab, newline and backslash as three octal digits.
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), point)


def _covers(point: str, path: str) -> bool:
    # With the separator: /mnt/nfs does not hold /mnt/nfs2.
    return path == point or path.startswith(point.rstrip(os.sep) + os.sep)


def _type_by_psutil(path: str) -> str | None:
    import psutil

    if sys.platform == "win32" and is_unc(path):  # a network drive, too, once its path is resolved
        return "unc"
    nearest, longest = None, 0
    for part in psutil.disk_partitions(all=True):
        point = os.path.normcase(part.mountpoint)
        if len(point) > longest and _covers(point, os.path.normcase(path)):
            nearest, longest = part, len(point)
    if nearest is None:
        return None
    # The network drive Z: of Windows has the type of the server's disk, NTFS; only its options say remote.
    return "remote" if "remote" in nearest.opts.split(",") else nearest.fstype or None
