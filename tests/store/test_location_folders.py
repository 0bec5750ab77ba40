from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from agentops_local.store.location import (
    exposure,
    find_database,
    is_writable,
    prepare_folder,
)
from tests.store.places import BESIDE, linux_only, mode, posix_only, umask


class TestAnExistingFolder:
    @posix_only
    @pytest.mark.parametrize("rights", [0o755, 0o777, 0o770, 0o701])
    def test_ours_is_closed(self, rights: int, project: Path) -> None:
        """An `.agentops/` of ours that others may enter is closed to them."""
        (project / ".agentops").mkdir()
        (project / ".agentops").chmod(rights)
        prepare_folder(project / BESIDE)
        assert mode(project / ".agentops") == 0o700

    @posix_only
    def test_a_chosen_one_is_left_as_it_is(self, project: Path) -> None:
        """A folder that the user named keeps its rights, and `exposure` has a word on those that endanger
        it.
        """
        for rights, expected in ((0o700, None), (0o777, "replace"), (0o775, "replace"), (0o755, None)):
            project.chmod(rights)
            prepare_folder(project / "x.db")
            assert mode(project) == rights
            told = exposure(project / "x.db")
            assert (told is None) if expected is None else (told is not None and expected in told)
        (project / "x.db").chmod(0o644)
        assert "open" in (exposure(project / "x.db") or "")
        project.chmod(0o700)
        assert exposure(project / "x.db") is None

    @posix_only
    def test_one_of_our_own_making_is_not_exposed(self, project: Path) -> None:
        """What is made here is never exposed, under whatever umask; a database that is not there neither."""
        assert exposure(project / BESIDE) is None
        with umask(0o000):
            prepare_folder(project / BESIDE)
        assert exposure(project / BESIDE) is None

    def test_a_strangers_is_refused(self, project: Path, foreign: Callable[[Path], None]) -> None:
        """An `.agentops/` of another user is refused: he could read what is recorded."""
        (project / ".agentops").mkdir()
        foreign(project / ".agentops")
        with pytest.raises(PermissionError, match="another user"):
            prepare_folder(project / BESIDE)

    @posix_only
    def test_a_strangers_is_good_enough_for_root(self, project: Path) -> None:
        """Root, as containers run, records into the folder of a user, and leaves its rights alone."""
        if os.geteuid() != 0:
            pytest.skip("only root can give a folder away")
        (project / ".agentops").mkdir()
        (project / ".agentops").chmod(0o755)
        os.chown(project / ".agentops", 12345, 12345)
        assert find_database(environ={}) == project / BESIDE
        prepare_folder(project / BESIDE)
        assert mode(project / ".agentops") == 0o755

    @posix_only
    def test_a_link_to_a_closed_folder_of_ours(self, project: Path, tmp_path: Path) -> None:
        """An `.agentops` that links to a folder of ours, which others cannot write to, is used and left as it
        is.
        """
        store = tmp_path / "large-disk"
        store.mkdir()
        store.chmod(0o750)
        (project / ".agentops").symlink_to(store)
        prepare_folder(find_database(environ={}))
        assert (store / "agentops.db").exists()
        assert (store / ".gitignore").exists()
        assert mode(store) == 0o750

    @posix_only
    def test_a_link_to_an_open_folder(self, project: Path, tmp_path: Path) -> None:
        """An `.agentops` that links to a folder others can write to is refused, and nothing is put there."""
        trap = tmp_path / "trap"
        trap.mkdir()
        trap.chmod(0o777)
        (project / ".agentops").symlink_to(trap)
        with pytest.raises(PermissionError, match="link"):
            prepare_folder(find_database(environ={}))
        assert list(trap.iterdir()) == []

    def test_a_link_to_a_strangers_folder(self, project: Path, tmp_path: Path, foreign: Callable[[Path], None]) -> None:
        """An `.agentops` that links to a folder of another user is passed over by the search and refused."""
        (tmp_path / "trap").mkdir()
        (project / ".agentops").symlink_to(tmp_path / "trap")
        foreign(tmp_path / "trap")
        with pytest.raises(PermissionError, match="link"):
            prepare_folder(project / BESIDE)

    @pytest.mark.parametrize("kind", ["file", "dangling link"])
    def test_what_is_no_folder(self, kind: str, project: Path) -> None:
        """A file or a dangling link called `.agentops` is refused, and stays."""
        if kind == "file":
            (project / ".agentops").write_text("mine")
        else:
            (project / ".agentops").symlink_to("nowhere")
        with pytest.raises(NotADirectoryError):
            prepare_folder(find_database(environ={}))
        assert (project / ".agentops").is_symlink() == (kind != "file")
        assert not (project / "nowhere").exists()

    def test_a_parent_that_is_a_file(self, project: Path) -> None:
        """A path that leads through a file is refused."""
        (project / "file").touch()
        with pytest.raises(OSError, match=r"[Nn]ot a|exists"):
            prepare_folder(project / "file" / "deeper" / "x.db")


class TestReadOnly:
    @posix_only
    @pytest.mark.parametrize("there", [False, True])
    def test_a_folder_that_cannot_be_written(self, there: bool, as_nobody: Callable[..., str]) -> None:
        """A folder that may not be written to is refused with an OSError, whether or not a database is in
        it.
        """

        def prepare(folder: Path) -> object:
            if there:
                prepare_folder(folder / BESIDE)
                (folder / ".agentops").chmod(0o500)
            folder.chmod(0o500)
            assert not is_writable(folder / ".agentops")
            prepare_folder(folder / BESIDE)
            return None

        assert as_nobody(prepare).startswith("PermissionError")

    @posix_only
    def test_a_database_that_cannot_be_written(self, as_nobody: Callable[..., str]) -> None:
        """A database that may not be written to, as one that root has made, is refused with an OSError."""

        def prepare(folder: Path) -> object:
            prepare_folder(folder / BESIDE)
            (folder / BESIDE).chmod(0o400)
            prepare_folder(folder / BESIDE)
            return None

        assert as_nobody(prepare).startswith("PermissionError")

    @linux_only
    def test_a_disk_that_is_read_only(self, tmp_path: Path) -> None:
        """On a read-only disk root is refused, too, and `is_writable` says so beforehand."""
        code = """
from pathlib import Path
import sys
from agentops_local.store.location import is_writable, prepare_folder
db = Path(sys.argv[1], "project", ".agentops", "agentops.db")
print(is_writable(db.parent))
try:
    prepare_folder(db)
except OSError as error:
    print(error.errno)
"""
        mount = f"mount -t tmpfs none {tmp_path} && mkdir {tmp_path}/project && mount -o remount,ro {tmp_path}"
        unshare = ["unshare", "--mount", "sh", "-c"]
        probe = subprocess.run([*unshare, mount], check=False, capture_output=True)
        if probe.returncode:
            pytest.skip("no right to mount")
        run = f'{mount} && exec "$0" -c "$1" {tmp_path}'
        done = subprocess.run([*unshare, run, sys.executable, code], capture_output=True, text=True, check=True)
        assert done.stdout.split() == ["False", "30"]

    def test_writable(self, project: Path) -> None:
        """A folder of ours is writable, and so is one that could be made in it; one below a file is not."""
        assert is_writable(project)
        assert is_writable(project / "a" / "b")
        (project / "file").touch()
        assert not is_writable(project / "file")
        assert not is_writable(project / "file" / "a")
