from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from agentops_local.errors import DatabaseUnusable
from agentops_local.store.location import (
    fallback_database,
    find_database,
    prepare_folder,
)
from tests.store.places import BESIDE, linux_only, posix_only


class TestFinding:
    def test_the_argument_comes_first(self, project: Path) -> None:
        """The argument wins over the variable, and the variable over what the folders say."""
        (project / ".agentops").mkdir()
        environ = {"AGENTOPS_LOCAL_DB": str(project / "b.db")}
        assert find_database("a.db", environ) == project / "a.db"
        assert find_database(None, environ) == project / "b.db"
        assert find_database(None, {}) == project / BESIDE

    @pytest.mark.parametrize("given", [None, ""])
    def test_what_is_empty_is_not_given(self, given: str | None, project: Path) -> None:
        """An empty argument and an empty variable count as none."""
        assert find_database(given, {"AGENTOPS_LOCAL_DB": ""}) == project / BESIDE

    def test_the_environment_is_read_when_asked(self, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """By default the variable is read from the environment as it is at the call."""
        monkeypatch.setenv("AGENTOPS_LOCAL_DB", "later.db")
        assert find_database() == project / "later.db"

    def test_the_nearest_agentops_folder(self, project: Path) -> None:
        """Of several folders that hold `.agentops/` the nearest upwards is used, before any that only look
        like a project.
        """
        inner = project / "a" / "b"
        inner.mkdir(parents=True)
        (project.parent / ".agentops").mkdir()
        (inner / "pyproject.toml").touch()
        assert find_database(cwd=inner, environ={}) == project.parent / BESIDE
        (project / ".agentops").mkdir()
        assert find_database(cwd=inner, environ={}) == project / BESIDE
        (inner / ".agentops").mkdir()
        assert find_database(cwd=inner, environ={}) == inner / BESIDE

    @pytest.mark.parametrize("marker", ["pyproject.toml", ".git"])
    def test_the_nearest_project(self, marker: str, project: Path) -> None:
        """Without an `.agentops/` the nearest folder with `pyproject.toml` or `.git`, which may be a file, is
        used.
        """
        inner = project / "a" / "b"
        inner.mkdir(parents=True)
        (project / marker).touch()
        assert find_database(cwd=inner, environ={}) == project / BESIDE
        (inner / ".git").mkdir()
        assert find_database(cwd=inner, environ={}) == inner / BESIDE

    def test_the_home_directory_serves_who_has_none(self, project: Path) -> None:
        """An `.agentops/` in the home directory serves projects below it, but not one with its own."""
        home = project.parent / "home"
        (home / ".agentops").mkdir()
        ours, others = home / "ours", home / "others"
        (ours / ".agentops").mkdir(parents=True)
        others.mkdir()
        assert find_database(cwd=ours, environ={}) == ours / BESIDE
        assert find_database(cwd=others, environ={}) == home / BESIDE

    def test_a_file_called_agentops_is_no_sign(self, project: Path) -> None:
        """A file called `.agentops` does not make a folder the one of the database."""
        inner = project / "inner"
        inner.mkdir()
        (project / ".agentops").touch()
        assert find_database(cwd=inner, environ={}) == inner / BESIDE

    def test_a_planted_folder_is_passed_over(self, project: Path, foreign: Callable[[Path], None]) -> None:
        """An `.agentops/` of another user above the project does not get its recordings."""
        (project.parent / ".agentops").mkdir()
        foreign(project.parent / ".agentops")
        assert find_database(cwd=project, environ={}) == project / BESIDE

    def test_nothing_is_made(self, project: Path) -> None:
        """Finding makes no file and no folder."""
        find_database("new/", {})
        find_database(environ={})
        assert list(project.iterdir()) == []

    def test_a_folder_holds_the_file(self, project: Path) -> None:
        """A path that is a folder, ends in a separator or is called `.agentops` means `agentops.db` in it;
        any other path is the file.
        """
        (project / "folder").mkdir()
        for given, expected in (
            ("folder", "folder/agentops.db"),
            ("new/", "new/agentops.db"),
            (".agentops", ".agentops/agentops.db"),
            ("new", "new"),
            ("new.db", "new.db"),
            (".agentops/other.db", ".agentops/other.db"),
        ):
            assert find_database(given, {}) == project / expected

    def test_a_path_object_is_as_good(self, project: Path) -> None:
        """A Path means the same as its text."""
        assert find_database(project / "x.db", {}) == find_database(str(project / "x.db"), {})

    def test_home_is_expanded(self, project: Path) -> None:
        """`~` is the home directory, in the argument and in the variable."""
        expected = project.parent / "home" / "runs.db"
        assert find_database("~/runs.db", {}) == expected
        assert find_database(None, {"AGENTOPS_LOCAL_DB": "~/runs.db"}) == expected

    def test_the_path_stays_when_the_program_moves(self, project: Path, tmp_path: Path) -> None:
        """The answer is absolute and without `..`: a later chdir does not change its meaning."""
        found = find_database("x/../y.db", {})
        assert found == project / "y.db"
        assert find_database("../y.db", {}, cwd=project) == tmp_path / "y.db"

    @posix_only
    def test_two_names_of_one_database_are_one_path(self, project: Path) -> None:
        """A database named through a link, of the file or of a folder, has the path it really has."""
        (project / "real").mkdir()
        (project / "real" / "x.db").touch()
        (project / "folder").symlink_to("real")
        (project / "file.db").symlink_to("real/x.db")
        assert find_database("folder/x.db", {}) == find_database("file.db", {}) == project / "real" / "x.db"

    @pytest.mark.parametrize("name", [":memory:", "file:x.db?mode=memory", "x\0y"])
    def test_names_with_another_meaning_are_refused(self, name: str, project: Path) -> None:
        """What would not be a file that processes share is refused by its name."""
        with pytest.raises(DatabaseUnusable, match="no file"):
            find_database(name, {})

    @posix_only
    def test_a_loop_of_links_is_refused(self, project: Path) -> None:
        """A path that leads back to itself is refused, or left for `prepare_folder` to refuse."""
        (project / "loop").symlink_to("loop")
        with pytest.raises((DatabaseUnusable, OSError)):
            prepare_folder(find_database("loop/x.db", {}))

    @posix_only
    def test_a_working_directory_that_is_gone(self, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Where the working directory was removed an absolute path is found, and the search says what is
        wrong.
        """
        gone = project / "gone"
        gone.mkdir()
        monkeypatch.chdir(gone)
        gone.rmdir()
        assert find_database(project / "x.db", {}) == project / "x.db"
        for given in (None, "x.db"):
            with pytest.raises(DatabaseUnusable, match="working directory"):
                find_database(given, {})
        monkeypatch.chdir(project)

    @posix_only
    def test_a_parent_that_may_not_be_searched(self, as_nobody: Callable[..., str]) -> None:
        """A folder above that may not be searched holds no database for us, and raises nothing."""

        def find(folder: Path) -> object:
            (folder / "closed" / "inner").mkdir(parents=True)
            os.chdir(folder / "closed" / "inner")
            (folder / "closed").chmod(0o000)
            return find_database(environ={})

        answer = as_nobody(find)
        assert "PermissionError" not in answer
        assert "agentops.db" in answer or "DatabaseUnusable" in answer


class TestFallback:
    def environ(self, home: Path) -> dict[str, str]:
        """The variables of a user who has a home and nothing else."""
        return {"HOME": str(home), "USERPROFILE": str(home)}

    def test_it_is_in_the_data_folder(self, project: Path, tmp_path: Path) -> None:
        """The other place is in the user's data folder, under the project's name and eight hex digits."""
        found = fallback_database(project / BESIDE, self.environ(tmp_path / "home"))
        assert found.is_relative_to(tmp_path / "home")
        assert found.name == "agentops.db"
        assert found.parent.parent.name == "agentops-local"
        name, _, digits = found.parent.name.rpartition("-")
        assert name == "project"
        assert len(bytes.fromhex(digits)) == 4

    @linux_only
    def test_xdg_is_followed(self, project: Path, tmp_path: Path) -> None:
        """XDG_DATA_HOME is the data folder if it is absolute; else it is ~/.local/share."""
        environ = self.environ(tmp_path / "home")
        standard = tmp_path / "home" / ".local" / "share"
        for value, expected in (
            ("", standard),
            ("relative", standard),
            (str(tmp_path / "xdg"), tmp_path / "xdg"),
        ):
            found = fallback_database(project / BESIDE, {**environ, "XDG_DATA_HOME": value})
            assert found.parents[2] == expected

    @pytest.mark.parametrize(("platform", "folder"), [("darwin", "Library/Application Support"), ("win32", "D")])
    def test_other_systems_have_other_folders(
        self, platform: str, folder: str, project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """On macOS it is ~/Library/Application Support, on Windows %LOCALAPPDATA%; XDG is for neither."""
        monkeypatch.setattr(sys, "platform", platform)
        environ = {"LOCALAPPDATA": str(tmp_path / "home" / "D"), "XDG_DATA_HOME": str(tmp_path / "xdg")}
        found = fallback_database(project / BESIDE, {**self.environ(tmp_path / "home"), **environ})
        assert found.parents[2] == tmp_path / "home" / folder

    def test_a_project_finds_it_again_and_has_it_alone(self, project: Path, tmp_path: Path) -> None:
        """One database always has the same other place; two, be it in one folder, never share one."""
        environ = self.environ(tmp_path / "home")
        paths = [
            project / BESIDE,
            project / "a.db",
            project / "b.db",
            tmp_path / "other" / "project" / BESIDE,
        ]
        found = [fallback_database(path, environ) for path in paths]
        assert found == [fallback_database(path, environ) for path in paths]
        assert len(set(found)) == len(paths)
        assert fallback_database(Path("a.db"), environ) == fallback_database(project / "x" / ".." / "a.db", environ)

    @pytest.mark.parametrize("name", ["/", "x" * 255, "é" * 127, "Z:"])
    def test_any_folder_has_one(self, name: str, tmp_path: Path) -> None:
        """The root and folders with the longest names have another place that can be made."""
        found = fallback_database(Path(os.sep, name, ".agentops", "agentops.db"), self.environ(tmp_path))
        prepare_folder(found)
        assert found.exists()

    def test_without_a_home_there_is_none(self, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A user without a home directory is told to name a path."""

        def homeless() -> Path:
            raise RuntimeError

        monkeypatch.setattr(Path, "home", homeless)
        with pytest.raises(DatabaseUnusable, match="AGENTOPS_LOCAL_DB"):
            fallback_database(project / BESIDE, {})
        with pytest.raises(DatabaseUnusable, match="AGENTOPS_LOCAL_DB"):
            fallback_database(project / BESIDE, {"HOME": "relative", "USERPROFILE": "relative"})
