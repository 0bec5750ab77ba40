from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from agentops_local.analytics.finding import Level
from agentops_local.crash_test.disk import Disk
from agentops_local.crash_test.power import Facts, judge, measure

NVME = Disk("nvme0n1", True, False, False, Path("nvme0n1"))
SSD = replace(NVME, name="sda", volatile=False)
PLATTERS = replace(NVME, name="sdb", rotating=True)
VIRTUAL = replace(NVME, name="vda", virtual=True)
SILENT = replace(NVME, name="sdc", volatile=None)
GOOD = Facts("linux", "ext4", ("rw", "relatime"), "", 400, 40e-6, 1500e-6, [NVME], [412])


def told(facts: Facts) -> tuple[Level, str, Level, str]:
    """What is said of the power cut, and of how long the commits took."""
    cut, commits = judge(facts)
    return cut.level, cut.text, commits.level, commits.text


@pytest.mark.parametrize(
    ("changes", "level", "words"),
    [
        ({}, Level.FINE, "every commit was flushed to nvme0n1 (412 flushes for 400 commits)"),
        ({"flushed": [200]}, Level.FINE, "only pulling its plug can show"),
        ({"flushed": [199]}, Level.PROBLEM, "not flushed to nvme0n1 (199 flushes for 400 commits)"),
        ({"flushed": [None]}, Level.NOTE, "does not count"),
        ({"disks": [SILENT], "flushed": [0]}, Level.PROBLEM, "not flushed to sdc"),
        ({"disks": [SSD], "flushed": [0]}, Level.FINE, "no volatile cache"),
        ({"disks": [SSD, NVME], "flushed": [0, 800]}, Level.FINE, "flushed to sda, nvme0n1"),
        ({"disks": [PLATTERS, NVME], "flushed": [3, 800]}, Level.PROBLEM, "not flushed to sdb"),
        ({"disks": [VIRTUAL]}, Level.FINE, "vda is a virtual disk, and passes on what its host does"),
        ({"disks": [], "flushed": []}, Level.NOTE, "cannot be seen from here"),
        ({"filesystem": "overlay", "disks": [], "flushed": []}, Level.NOTE, "below overlay"),
        ({"filesystem": None, "disks": [], "flushed": []}, Level.NOTE, "unknown filesystem"),
        ({"filesystem": "tmpfs"}, Level.PROBLEM, "tmpfs is memory"),
        ({"filesystem": "nfs4", "disks": [], "flushed": []}, Level.NOTE, "kept by another machine"),
        ({"options": ("rw", "nobarrier")}, Level.PROBLEM, "mounted with nobarrier"),
        ({"options": ("rw", "barrier=0")}, Level.PROBLEM, "mounted with barrier=0"),
        ({"filesystem": "overlay", "options": ("volatile",)}, Level.PROBLEM, "mounted with volatile"),
        ({"swallowed": "libeatmydata"}, Level.PROBLEM, "libeatmydata is loaded"),
        ({"platform": "darwin", "filesystem": "apfs", "fullfsync": True}, Level.NOTE, "F_FULLFSYNC"),
        ({"platform": "darwin", "filesystem": "apfs"}, Level.PROBLEM, "fullfsync is off"),
        ({"platform": "win32", "filesystem": "NTFS", "disks": [], "flushed": []}, Level.NOTE, "cannot be seen"),
    ],
)  # fmt: skip
def test_the_verdict(changes: dict, level: Level, words: str) -> None:
    """What is known to lose commits is wrong; what is seen to be flushed is fine; what cannot be seen is said to be
    so, and is neither."""
    found, text, *_ = told(replace(GOOD, **changes))
    assert words in text
    assert found is level


@pytest.mark.parametrize(
    ("disk", "power", "level"),
    [
        (NVME, 60e-6, Level.FINE), (NVME, 45e-6, Level.NOTE), (PLATTERS, 900e-6, Level.NOTE),
        (PLATTERS, 8e-3, Level.FINE), (SSD, 45e-6, Level.FINE),
    ],
)  # fmt: skip
def test_too_fast_to_be_true(disk: Disk, power: float, level: Level) -> None:
    """A commit that is faster than a disk of its kind can empty its cache is doubted; one on a disk without such a
    cache is not."""
    *_, found, text = told(replace(GOOD, disks=[disk], power=power))
    assert found is level
    assert ("answers early" in text) is (level is Level.NOTE)


def test_it_is_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commits of both kinds are made and timed where it is said; a library that swallows fsync is noticed."""
    monkeypatch.delenv("LD_PRELOAD", raising=False)
    facts = measure(tmp_path, 20)
    assert facts.commits == 20
    assert facts.process > 0
    assert facts.power > 0
    assert {file.name for file in tmp_path.iterdir()} >= {"power.db", "process.db"}
    assert len(list(judge(facts))) == 2
    assert facts.swallowed == ""
    monkeypatch.setenv("LD_PRELOAD", "/usr/lib/libeatmydata.so")
    assert measure(tmp_path, 1).swallowed == "libeatmydata"
