from __future__ import annotations

import json
import os
import subprocess
import sys
import timeit
from pathlib import Path

import psutil
import pytest

from agentops_local import host_env
from agentops_local.host_env import fingerprint, momentary, stable
from tests.unit.host import FOLDER, HOST, USER, linux_only, merged, posix_only, section


def test_the_parts_merge_into_the_classic_shape() -> None:
    """`momentary` merged into `stable` has the sections and keys that the classic SDK sends."""
    document = merged(stable("1.2.3"), momentary())
    assert list(document) == [
        "SDK",
        "OS",
        "CPU",
        "RAM",
        "Installed Packages",
        "Project Working Directory",
        "Virtual Environment",
        "Disk",
    ]
    assert list(section(document, "SDK")) == ["AgentOps SDK Version", "Python Version", "System Packages"]
    assert list(section(document, "OS")) == ["Hostname", "OS", "OS Version", "OS Release"]
    assert {*section(document, "CPU")} >= {"Total cores", "CPU Usage"}
    assert list(section(document, "RAM")) == ["Total", "Available", "Used", "Percentage"]
    for name in ("Installed Packages", "Project Working Directory", "Virtual Environment"):
        assert list(section(document, name)) == [name]
    for disk in section(document, "Disk").values():
        assert isinstance(disk, dict)
        assert list(disk) == ["Mountpoint", "Total", "Used", "Free", "Percentage"]
    assert json.loads(json.dumps(document)) == document


def test_stable_is_stable() -> None:
    """`stable` gives the same text twice, so that it is stored once."""
    assert json.dumps(stable("1.2.3")) == json.dumps(stable("1.2.3"))


def test_the_versions_are_told() -> None:
    """The SDK's version is the one handed in, Python's the one that runs."""
    sdk = section(stable("1.2.3"), "SDK")
    assert sdk["AgentOps SDK Version"] == "1.2.3"
    assert sdk["Python Version"] == sys.version.split()[0]


def test_the_numbers_are_those_of_psutil() -> None:
    """Cores and memory are what psutil says of this machine."""
    cpu, ram = section(stable("1"), "CPU"), section(stable("1"), "RAM")
    assert cpu["Total cores"] == psutil.cpu_count()
    assert cpu.get("Physical cores") == psutil.cpu_count(logical=False)
    assert ram["Total"] == f"{psutil.virtual_memory().total / 2**30:.2f} GB"


@posix_only
@pytest.mark.parametrize("points", [["/", "/tmp"], ["/tmp", "/"]])
def test_each_disk_is_told_once(points: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that is mounted in several places stands once, at the shortest of them."""
    monkeypatch.setattr(host_env, "_mounted_disks", lambda: [("/dev/sda", point) for point in points])
    disks = section(momentary(), "Disk")
    assert {name: section(disks, name)["Mountpoint"] for name in disks} == {"/dev/sda": "/"}


@linux_only
def test_only_disks_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Disks are what lies on a device: no memory, no network, no image; blanks in their names are read."""
    mounts = """\
proc /proc proc rw 0 0
/dev/sda1 / ext4 rw 0 0
tmpfs /run tmpfs rw 0 0
server:/export /home nfs4 rw 0 0
/dev/loop3 /snap/core/1 squashfs ro 0 0
/dev/fuse /run/portal fuse.portal rw 0 0
/dev/sdb1 /media/My\\040Disk fuseblk rw 0 0
"""
    monkeypatch.setattr(host_env, "_read", lambda _: mounts)
    assert list(host_env._mounted_disks()) == [("/dev/sda1", "/"), ("/dev/sdb1", "/media/My Disk")]


def test_the_working_directory_and_the_environment_are_told(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The working directory is the current one; the virtual environment is the one whose Python runs, else
    the one that was activated, else null.
    """

    def environment() -> object:
        return section(stable("1"), "Virtual Environment")["Virtual Environment"]

    assert section(stable("1"), "Project Working Directory") == {"Project Working Directory": str(Path.cwd())}
    monkeypatch.setattr(sys, "prefix", "/venv/that/runs")
    monkeypatch.setenv("VIRTUAL_ENV", "/venv/activated")
    assert environment() == "/venv/that/runs"
    monkeypatch.setattr(sys, "prefix", sys.base_prefix)
    assert environment() == "/venv/activated"
    monkeypatch.delenv("VIRTUAL_ENV")
    monkeypatch.delenv("CONDA_PREFIX", raising=False)
    assert environment() is None


class TestOptOut:
    @pytest.fixture(autouse=True)
    def named(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A host, a user, a home, a project and a kernel with names that can be found again."""
        folder = tmp_path / USER / FOLDER
        folder.mkdir(parents=True)
        monkeypatch.chdir(folder)
        for variable in ("HOME", "VIRTUAL_ENV", "USER", "LOGNAME", "USERNAME", "COMPUTERNAME"):
            monkeypatch.setenv(variable, f"/home/{USER}/{HOST}")
        monkeypatch.setattr(sys, "prefix", f"/home/{USER}/venv")
        if sys.platform != "win32":
            kernel = os.uname_result(("Linux", HOST, f"6.18.4-{USER}", f"#1 {USER}@{HOST}", "x86_64"))
            monkeypatch.setattr(os, "uname", lambda: kernel)

    def test_it_tells_the_sdk_and_the_system_only(self) -> None:
        """With the opt-out there are the versions of SDK and Python, the system's name and release number,
        and nothing else.
        """
        document = merged(stable("1.2.3", opt_out=True), momentary(opt_out=True))
        assert {name: list(section(document, name)) for name in document} == {
            "SDK": ["AgentOps SDK Version", "Python Version"],
            "OS": ["OS", "OS Release"],
        }

    def test_no_name_is_in_it(self) -> None:
        """With the opt-out no text holds the name of the host or the user, or the working directory."""
        text = json.dumps([stable("1.2.3", opt_out=True), momentary(opt_out=True)])
        for name in (HOST, USER, FOLDER, str(Path.cwd())):
            assert name not in text

    @posix_only
    def test_the_names_are_there_without_it(self) -> None:
        """Without the opt-out the same names are told: the test above would see them."""
        text = json.dumps(stable("1.2.3"))
        assert HOST in text
        assert FOLDER in text

    def test_the_fingerprint_does_not_depend_on_names(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """With the opt-out the fingerprint is made of nothing that names host, user or folder."""
        before = fingerprint("1.2.3", opt_out=True)
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "prefix", "/elsewhere")
        monkeypatch.setattr(sys, "path", ["/elsewhere"])
        monkeypatch.setenv("VIRTUAL_ENV", "/elsewhere")
        if sys.platform != "win32":
            kernel = os.uname_result(("Linux", "other", "6.18.4-other", "#2 other", "x86_64"))
            monkeypatch.setattr(os, "uname", lambda: kernel)
        assert fingerprint("1.2.3", opt_out=True) == before


@pytest.mark.parametrize("broken", ["_read", "_memory", "_physical_cores", "_mounted_disks", "_disk", "_cpu_usage"])
def test_a_part_that_fails_costs_itself_only(broken: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot be found out is left out, and all else is told."""
    whole = merged(stable("1"), momentary())

    def fail(*_: object) -> None:
        raise PermissionError(13, "denied")

    monkeypatch.setattr(host_env, broken, fail)
    rest = merged(stable("1"), momentary())
    assert rest != whole
    assert section(rest, "OS") == section(whole, "OS")
    assert section(rest, "Project Working Directory") == section(whole, "Project Working Directory")


@posix_only
def test_a_disk_that_denies_us_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk whose size may not be known is left out, and the others are told."""

    def mounted() -> list[tuple[str, str]]:
        return [("/dev/good", "/"), ("/dev/bad", "/no/such/point")]

    monkeypatch.setattr(host_env, "_mounted_disks", mounted)
    assert list(section(momentary(), "Disk")) == ["/dev/good"]


@posix_only
def test_a_working_directory_that_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a folder that was removed there is a document, without the folder, and a fingerprint."""
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert "Project Working Directory" not in stable("1")
    assert fingerprint("1")
    monkeypatch.chdir(tmp_path)


@linux_only
def test_no_third_party_module_is_loaded() -> None:
    """On Linux the whole document loads no third-party module, and neither pathlib nor importlib.metadata."""
    code = """
import sys
before = set(sys.modules)
from agentops_local import host_env
host_env.stable("1"), host_env.momentary(), host_env.fingerprint("1")
print(*set(sys.modules) - before)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert {name.partition(".")[0] for name in loaded} - sys.stdlib_module_names == {"agentops_local"}
    assert not loaded & {"pathlib", "importlib.metadata"}


def test_costs_are_told() -> None:
    """What the three parts cost is told (`pytest -rP` shows it), not judged."""
    for name, call in (
        ("fingerprint()", lambda: fingerprint("1")),
        ("stable()", lambda: stable("1")),
        ("momentary()", momentary),
    ):
        print(f"{name}: {min(timeit.repeat(call, number=10, repeat=5)) / 10 * 1e6:.0f} µs")
