from __future__ import annotations

import os
import sys
from collections import namedtuple
from pathlib import Path

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentops_local.store import filesystem
from agentops_local.store.filesystem import filesystem_type, is_unc, wal_is_safe

posix_only = pytest.mark.skipif(os.name != "posix", reason="paths of POSIX")

DESKTOP = """\
22 27 0:21 / /proc rw,relatime - proc proc rw
24 27 0:6 / /dev rw,relatime - devtmpfs devtmpfs rw,size=12334460k,mode=755
27 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw,discard
40 27 0:50 / /q-home rw,relatime shared:30 - autofs systemd-1 rw,fd=50,pgrp=1
41 40 0:51 / /q-home/ada rw,relatime shared:31 master:2 - nfs4 server:/export/ada rw,vers=4.2
42 27 8:17 / /q-media/My\\040Disk rw,nosuid - fuseblk /dev/sdb1 rw,user_id=0
43 27 0:60 / /q-mnt/box rw - cifs //server/share rw,vers=3.1.1
44 43 0:61 / /q-mnt/box/inner rw - btrfs /dev/sdc rw
45 27 0:62 /@work /q-work rw - btrfs /dev/sdd rw,subvol=/@work
46 27 0:63 / /q-ssh rw - fuse.sshfs me@server:/ rw
"""

# Of a container: the root comes last but for the folders shared with the host, and its parent is out of
# sight.
CONTAINER = """\
612 611 0:88 / /proc rw,nosuid - proc proc rw
611 402 0:85 / / rw,relatime - overlay overlay rw,lowerdir=/var/lib/docker
630 611 0:40 /Users/ada/project /q-app rw,relatime - fakeowner /run/host_mark/Users rw,fakeowner
631 611 254:1 /docker/volumes/data/_data /q-data rw,relatime master:30 - ext4 /dev/vda1 rw
632 611 0:41 / /q-share rw,relatime - virtiofs virtiofs0 rw
"""

WSL = """\
60 50 8:32 / / rw,relatime - ext4 /dev/sdc rw,discard,errors=remount-ro
70 60 0:70 / /q-mnt/c rw,noatime - 9p C:\\134 rw,dirsync,aname=drvfs;path=C:\\134;uid=1000,trans=fd
"""


@posix_only
@pytest.mark.parametrize(
    ("mounts", "path", "expected"),
    [
        (DESKTOP, "/", "ext4"),
        (DESKTOP, "/q-nothing/here", "ext4"),
        (DESKTOP, "/q-home/ada/project/.agentops", "nfs4"),
        (DESKTOP, "/q-home/bob/project", "autofs"),
        (DESKTOP, "/q-work/project", "btrfs"),
        (DESKTOP, "/q-ssh/x", "fuse.sshfs"),
        (CONTAINER, "/q-root/project", "overlay"),
        (CONTAINER, "/q-app/project", "fakeowner"),
        (CONTAINER, "/q-data", "ext4"),
        (CONTAINER, "/q-share/x", "virtiofs"),
        (WSL, "/q-mnt/c/Users/ada", "9p"),
        (WSL, "/q-home/ada", "ext4"),
    ],
)
def test_the_mount_that_holds_a_path_tells_its_type(mounts: str, path: str, expected: str) -> None:
    """On a desktop, in a container and in WSL, a path has the type of the mount it lies on."""
    assert filesystem_type(path, mounts) == expected


@posix_only
class TestMounts:
    def test_the_deepest_counts(self) -> None:
        """A disk that is mounted inside a share is a disk, and the folder beside it is on the share."""
        assert filesystem_type("/q-mnt/box/inner/x", DESKTOP) == "btrfs"
        assert filesystem_type("/q-mnt/box/other/x", DESKTOP) == "cifs"

    def test_a_longer_name_is_another_folder(self) -> None:
        """/q-mnt/box2 is not on what is mounted at /q-mnt/box."""
        assert filesystem_type("/q-mnt/box2/x", DESKTOP) == "ext4"

    def test_blanks_are_read(self) -> None:
        """A mount point with a blank, a tab, a line break or a backslash in its name is found."""
        assert filesystem_type("/q-media/My Disk/x", DESKTOP) == "fuseblk"
        for name, written in (("a\tb", "a\\011b"), ("a\nb", "a\\012b"), ("a\\b", "a\\134b")):
            mounts = f"{DESKTOP}50 27 0:90 / /q-{written} rw - nfs server:/ rw\n"
            assert filesystem_type(f"/q-{name}/x", mounts) == "nfs"

    def test_of_two_on_one_point_the_later_counts(self) -> None:
        """A mount on the point of another hides it, wherever the two stand in the list."""
        first = "50 27 0:90 / /q-same rw - ext4 /dev/a rw\n"
        second = "51 50 0:91 / /q-same rw - nfs server:/ rw\n"
        assert filesystem_type("/q-same/x", DESKTOP + first + second) == "nfs"
        assert filesystem_type("/q-same/x", second + DESKTOP + first) == "nfs"

    def test_a_mount_hides_what_was_mounted_below_its_point(self) -> None:
        """A share over a folder hides the disk that was mounted deeper in it, although that fits more."""
        below = "50 27 0:90 / /q-over/deep rw - ext4 /dev/a rw\n"
        over = "51 27 0:91 / /q-over rw - nfs server:/ rw\n"
        assert filesystem_type("/q-over/deep/x", DESKTOP + below + over) == "nfs"

    def test_the_first_root_is_its_own_parent(self) -> None:
        """With rootfs in the list, which is its own parent, the walk begins there and ends."""
        mounts = "1 1 0:2 / / rw - rootfs rootfs rw\n" + DESKTOP
        assert filesystem_type("/q-home/ada/x", mounts) == "nfs4"

    def test_in_a_chroot_without_a_root_mount(self) -> None:
        """Where the root is on no mount of the list, a path outside of all mounts has no type."""
        mounts = "43 27 0:60 / /q-mnt rw - cifs //server/share rw\n"
        assert filesystem_type("/q-mnt/x", mounts) == "cifs"
        assert filesystem_type("/q-other/x", mounts) is None

    def test_links_are_followed(self, tmp_path: Path) -> None:
        """A link in the project to a folder on a share is on the share."""
        (tmp_path / "link").symlink_to("/q-home/ada/data")
        assert filesystem_type(tmp_path / "link" / "agentops.db", DESKTOP) == "nfs4"


@given(st.text(), st.one_of(st.text(), st.lists(st.text(" -/a1\\0", max_size=30)).map("\n".join)))
def test_nothing_raises(path: str, mounts: str) -> None:
    """Whatever path and whatever list of mounts: there is a type or None, and no error."""
    assert isinstance(filesystem_type(path, mounts), str | None)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_this_machine_is_read_right(tmp_path: Path) -> None:
    """On this machine, the type of a path is that of the device the system names for it."""
    types = {}
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        left, _, right = line.partition(" - ")
        types[left.split(" ")[2]] = right.split(" ")[0]
    for path in (tmp_path, Path("/proc/self"), Path("/dev"), Path("/")):
        device = path.stat().st_dev
        expected = types.get(f"{os.major(device)}:{os.minor(device)}")
        if expected is not None:  # btrfs shows files under devices of their own
            assert filesystem_type(path / "not" / "there") == expected


Partition = namedtuple("Partition", "device mountpoint fstype opts")


class TestByPsutil:
    """The way of macOS and Windows."""

    @pytest.fixture(autouse=True)
    def mounted(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A Mac with a share, and a network drive as Windows tells it."""
        partitions = [
            Partition("/dev/disk3s1", os.sep, "apfs", "rw"),
            Partition("//ada@nas/share", str(Path(os.sep, "q-volumes", "share")), "smbfs", "rw,nodev"),
            Partition("Z:\\", str(Path(os.sep, "q-drive")), "NTFS", "rw,remote"),
        ]
        monkeypatch.setattr(psutil, "disk_partitions", lambda **_: partitions)

    @pytest.mark.parametrize(
        ("folder", "expected", "safe"),
        [("q-users", "apfs", True), ("q-volumes/share", "smbfs", False), ("q-drive", "remote", False)],
    )
    def test_the_nearest_partition_counts(self, folder: str, expected: str, safe: bool) -> None:
        """A path has the type of the deepest partition above it; a network drive of Windows is remote
        although its type is NTFS.
        """
        path = str(Path(os.sep, folder, "project"))
        assert filesystem._type_by_psutil(path) == expected
        assert wal_is_safe(expected) is safe


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (r"\\server\share\x.db", True),
        ("//server/share/x.db", True),
        (r"\\?\UNC\server\share\x.db", True),
        (r"\\?\unc\server\share\x.db", True),
        (r"\\wsl.localhost\Debian\home\ada", True),
        (r"\\?\C:\folder\x.db", False),
        (r"\\.\C:\folder\x.db", False),
        (r"C:\folder\x.db", False),
        (r"folder\x.db", False),
        ("", False),
    ],
)
def test_a_share_of_windows_is_known_by_its_path(path: str, expected: bool) -> None:
    """A path of Windows names a share if it begins with two separators that do not begin a device path."""
    assert is_unc(path) is expected


class TestSafety:
    @pytest.mark.parametrize(
        "name", ["ext4", "xfs", "btrfs", "zfs", "tmpfs", "overlay", "apfs", "NTFS", "fuseblk", "fuse.ntfs-3g"]
    )
    def test_disks_are_safe(self, name: str) -> None:
        """WAL is safe on the filesystems of local disks."""
        assert wal_is_safe(name)

    @pytest.mark.parametrize(
        "name",
        [
            "nfs",
            "nfs4",
            "cifs",
            "smb3",
            "smbfs",
            "afs",
            "ceph",
            "glusterfs",
            "lustre",
            "remote",
            "unc",
            "autofs",
        ],
    )
    def test_networks_are_not(self, name: str) -> None:
        """WAL is unsafe where another machine may open the same file."""
        assert not wal_is_safe(name)

    @pytest.mark.parametrize("name", ["9p", "virtiofs", "drvfs", "vboxsf", "prl_fs", "osxfs", "fakeowner"])
    def test_folders_shared_with_a_virtual_machine_are_not(self, name: str) -> None:
        """WAL is unsafe where the host of a virtual machine may open the same file."""
        assert not wal_is_safe(name)

    @pytest.mark.parametrize("name", ["fuse", "fuse.sshfs", "fuse.rclone", "fuse.grpcfuse", "fuse.new-thing"])
    def test_unknown_programs_behind_fuse_are_not(self, name: str) -> None:
        """WAL is unsafe behind a FUSE program that is not known to keep its files here."""
        assert not wal_is_safe(name)

    @pytest.mark.parametrize("name", [None, "", "bcachefs", "a-disk-of-tomorrow"])
    def test_the_unknown_is_safe(self, name: str | None) -> None:
        """A filesystem nobody has heard of is taken for a local disk."""
        assert wal_is_safe(name)

    def test_case_does_not_matter(self) -> None:
        """The names are known in any case, as Windows and macOS write them."""
        assert not wal_is_safe("NFS")
        assert not wal_is_safe("Fuse.SSHFS")
