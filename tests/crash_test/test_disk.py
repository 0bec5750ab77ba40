"""The disks of a /sys made up for the test: no machine has all of them."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from agentops_local.crash_test.disk import Disk, disks_below
from agentops_local.store.filesystem import Mount, find_mount

STAT = "1 2 3 4 5 6 7 8 9 10 11 12 13 14 15"


class Machine:
    """A /sys."""

    def __init__(self, root: Path) -> None:
        self.root = root
        (root / "dev" / "block").mkdir(parents=True)

    def disk(self, name: str, number: str, cache: str = "write back", flushes: int | None = 77, **facts: str) -> Path:
        """A whole disk."""
        folder = self.root / "devices" / name
        (folder / "queue").mkdir(parents=True)
        (folder / "device").mkdir()
        (folder / "stat").write_text(STAT + ("\n" if flushes is None else f" {flushes} 4\n"))
        (folder / "queue" / "write_cache").write_text(cache + "\n")
        (folder / "queue" / "rotational").write_text(facts.pop("rotational", "0") + "\n")
        for fact, value in facts.items():
            (folder / "device" / fact).write_text(value + "\n")
        self._number(number, folder)
        return folder

    def partition(self, disk: Path, name: str, number: str) -> Path:
        """A part of a disk."""
        folder = disk / name
        folder.mkdir()
        (folder / "partition").write_text("1\n")
        self._number(number, folder)
        return folder

    def mapped(self, name: str, number: str, *below: Path) -> Path:
        """What is put together from others."""
        folder = self.disk(name, number, "write through", None)
        (folder / "slaves").mkdir()
        for one in below:
            (folder / "slaves" / one.name).symlink_to(one)
        return folder

    def names(self, number: str) -> list[str]:
        """The disks below a filesystem on a device."""
        return [disk.name for disk in self.below(number)]

    def below(self, number: str, source: str = "none") -> list[Disk]:
        """The same, whole."""
        return disks_below(Mount("1", "0", number, "/", "ext4", source, ("rw",)), self.root)

    def _number(self, number: str, folder: Path) -> None:
        (self.root / "dev" / "block" / number).symlink_to(folder)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """A machine without disks."""
    return Machine(tmp_path / "sys")


def test_the_whole_disk_counts(machine: Machine) -> None:
    """The flushes of a partition are those of its disk: the kernel counts no others."""
    disk = machine.disk("nvme0n1", "259:0", flushes=412)
    machine.partition(disk, "nvme0n1p2", "259:2")
    (found,) = machine.below("259:2")
    assert (found.name, found.volatile, found.virtual, found.flushes()) == ("nvme0n1", True, False, 412)


def test_what_lies_below_counts(machine: Machine) -> None:
    """Below LVM, RAID and encryption, down to any depth, each disk counts once."""
    sda, sdb = machine.disk("sda", "8:0"), machine.disk("sdb", "8:16", "write through")
    parts = [machine.partition(sda, "sda1", "8:1"), machine.partition(sda, "sda2", "8:2")]
    raid = machine.mapped("md0", "9:0", parts[0], sdb)
    machine.mapped("dm-0", "253:0", raid, parts[1])
    assert machine.names("253:0") == ["sda", "sdb"]
    assert [disk.volatile for disk in machine.below("253:0")] == [True, False]


def test_what_cannot_be_seen(machine: Machine) -> None:
    """A filesystem on no device, on one that is not there, or in a file has no disk that can be seen; an old kernel
    counts no flushes, and a disk may not say what cache it has."""
    assert machine.below("0:42") == machine.below("8:0") == []
    loop = machine.disk("loop0", "7:0")
    (loop / "loop").mkdir()
    (loop / "loop" / "backing_file").write_text("/disk.img\n")
    assert machine.below("7:0") == []
    machine.disk("sda", "8:0", cache="", flushes=None)
    (old,) = machine.below("8:0")
    assert (old.flushes(), old.volatile) == (None, None)


def test_virtual_disks(machine: Machine) -> None:
    """A disk of a virtual machine is known by its name or its maker, and has no platters whatever it says."""
    machine.disk("vda", "254:0", rotational="1")
    machine.disk("sda", "8:0", rotational="1", vendor="VMware", model="Virtual disk")
    machine.disk("sdb", "8:16", rotational="1", vendor="ATA", model="ST4000")
    found = [disk for number in ("254:0", "8:0", "8:16") for disk in machine.below(number)]
    assert [(disk.virtual, disk.rotating) for disk in found] == [(True, False), (True, False), (False, True)]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has /proc/self/mountinfo")
def test_this_machine(tmp_path: Path) -> None:
    """Of the machine at hand, the filesystem is found, and what is said of its disks can be read."""
    mount = find_mount(tmp_path)
    assert mount is not None
    for disk in disks_below(mount):
        count = disk.flushes()
        assert count is None or count >= 0
