from __future__ import annotations

import importlib.metadata
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest

from agentops_local import host_env
from agentops_local.host_env import fingerprint, stable
from tests.unit.host import posix_only, section


def install(folder: Path, name: str, version: str, **files: str) -> None:
    """Put a distribution into a folder of packages."""
    info = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n\nName: liar\n")
    for file, text in files.items():
        (info / file.replace("_", ".")).write_text(text)


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of packages, the only one on the path."""
    folder = tmp_path / "site-packages"
    folder.mkdir()
    monkeypatch.setattr(sys, "path", [str(folder)])
    return folder


@pytest.fixture
def load(packages: Path) -> Iterator[Callable[[str], None]]:
    """Makes it look as if a module of `packages` had been imported."""
    names = []

    def as_loaded(name: str) -> None:
        module = ModuleType(name)
        module.__file__ = str(packages / name / "__init__.py")
        sys.modules[name] = module
        names.append(name)

    yield as_loaded
    for name in names:
        del sys.modules[name]


class TestPackages:
    def test_as_importlib_sees_them(self) -> None:
        """The installed packages are those of importlib.metadata, with its names and versions."""
        installed = section(stable("1"), "Installed Packages", "Installed Packages")
        folders = {str(folder) for folder in host_env._package_folders()}
        expected = {
            distribution.metadata["Name"]: distribution.version
            for distribution in importlib.metadata.distributions()
            if str(Path(str(distribution.locate_file(""))).resolve()) in folders
        }
        assert expected
        assert installed == expected

    def test_the_first_on_the_path_counts(
        self, packages: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Of a package that is installed twice, under whatever spelling, the one is told that is imported."""
        install(packages, "some-thing", "2.0")
        install(tmp_path / "later", "Some.Thing", "1.0")
        monkeypatch.setattr(sys, "path", [str(packages), str(tmp_path / "later")])
        assert section(stable("1"), "Installed Packages", "Installed Packages") == {"some-thing": "2.0"}

    def test_what_is_broken_is_left_out(self, packages: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Remains of a package, a path that is no folder and an entry of the path that is no text break
        nothing.
        """
        install(packages, "sound", "1.0")
        (packages / "empty-1.0.dist-info").mkdir()
        (packages / "cut-1.0.egg-info").write_text("Name: cut\n")
        (packages / "archive.zip").write_bytes(b"PK")
        path: list[object] = [b"bytes", packages / "archive.zip", packages / "none", str(packages)]
        monkeypatch.setattr(sys, "path", path)
        assert section(stable("1"), "Installed Packages", "Installed Packages") == {"sound": "1.0"}
        assert fingerprint("1")

    def test_eggs_count(self, packages: Path) -> None:
        """The older .egg-info, as a file and as a folder, is a package, too."""
        (packages / "old-1.0.egg-info").write_text("Name: old\nVersion: 1.0\n")
        (packages / "older.egg-info").mkdir()
        (packages / "older.egg-info" / "PKG-INFO").write_text("Name: older\nVersion: 0.1\n")
        installed = section(stable("1"), "Installed Packages", "Installed Packages")
        assert installed == {"old": "1.0", "older": "0.1"}

    def test_the_loaded_ones(self, packages: Path, load: Callable[[str], None]) -> None:
        """The system packages are those whose modules are loaded, by the name of the module or by the files
        they brought.
        """
        install(packages, "Same-Name", "1.0")
        install(packages, "beautiful-soup", "4.0", RECORD="bs_four/__init__.py,sha256=x,1\n")
        install(packages, "Snake", "6.0", top_level_txt="ignored", RECORD="snake_one.py,sha256=x,1\n")
        install(packages, "asleep", "1.0", RECORD="asleep/__init__.py,,\n")
        for name in ("same_name", "bs_four", "snake_one"):
            load(name)
        loaded = section(stable("1"), "SDK", "System Packages")
        assert loaded == {"beautiful-soup": "4.0", "Same-Name": "1.0", "Snake": "6.0"}

    def test_modules_of_the_program_are_no_packages(self, packages: Path, load: Callable[[str], None]) -> None:
        """A module of the program, and one that only looks like a module, are not taken for packages."""
        install(packages, "helpers", "1.0")
        load("helpers")
        sys.modules["helpers"].__file__ = "/home/me/project/helpers.py"
        assert section(stable("1"), "SDK", "System Packages") == {}


class TestFingerprint:
    def test_it_stays(self) -> None:
        """While nothing changes, so does the fingerprint; it is 32 hex digits."""
        assert fingerprint("1") == fingerprint("1")
        assert len(bytes.fromhex(fingerprint("1"))) == 16

    def test_it_follows_what_is_handed_in(self) -> None:
        """Another version of ours and the opt-out change it."""
        assert len({fingerprint("1"), fingerprint("2"), fingerprint("1", opt_out=True)}) == 3

    def test_it_follows_the_packages(self, packages: Path) -> None:
        """Installing, upgrading and removing a package change it."""
        seen = {fingerprint("1")}
        install(packages, "thing", "1.0")
        os.utime(packages, ns=(1, 1))
        seen.add(fingerprint("1"))
        (packages / "thing-1.0.dist-info").rename(packages / "thing-2.0.dist-info")
        os.utime(packages, ns=(2, 2))  # a filesystem may have coarse times
        seen.add(fingerprint("1"))
        assert len(seen) == 3

    def test_it_follows_what_is_loaded(self, packages: Path, load: Callable[[str], None]) -> None:
        """A program that loads another package has another fingerprint, for it has other system packages."""
        before = fingerprint("1")
        load("never_heard_of")
        assert fingerprint("1") != before

    def test_it_follows_the_working_directory(self, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Another working directory changes it."""
        before = fingerprint("1")
        monkeypatch.chdir(project.parent)
        assert fingerprint("1") != before

    def test_it_follows_the_environment(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Another virtual environment changes it."""
        before = fingerprint("1")
        monkeypatch.setattr(sys, "prefix", "/elsewhere")
        assert fingerprint("1") != before

    @posix_only
    def test_it_follows_the_host(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Another host name or kernel changes it."""
        before = fingerprint("1")
        kernel = os.uname_result(("Linux", "other", "6.18.4", "#1", "x86_64"))
        monkeypatch.setattr(os, "uname", lambda: kernel)
        assert fingerprint("1") != before

    def test_files_of_the_program_do_not_change_it(self, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """What a program writes into its own folder leaves it alone, though that folder is on the path."""
        monkeypatch.setattr(sys, "path", ["", str(project), *sys.path])
        before = fingerprint("1")
        (project / "result.txt").write_text("42")
        assert fingerprint("1") == before
