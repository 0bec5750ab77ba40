"""Laws of waiting for the import of a library."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib import import_module, resources
from pathlib import Path
from types import ModuleType

import pytest

from agentops_local.instrumentation.imports import Imports


@pytest.fixture
def imports() -> Iterator[Imports]:
    """What waits for imports, until the end of the test."""
    waiting = Imports()
    yield waiting
    waiting.stop()


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A package that tells how far it was loaded, and holds a file of its own."""
    name = f"library_{tmp_path.name}".replace("-", "_")
    package = tmp_path / "path" / name
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("state = 'half'\nimport sys\nstate = 'whole'\n")
    (package / "part.py").write_text("value = 1\n")
    (package / "file.txt").write_text("text")
    monkeypatch.syspath_prepend(str(tmp_path / "path"))
    yield name
    for loaded in [loaded for loaded in sys.modules if loaded.partition(".")[0] == name]:
        del sys.modules[loaded]


def test_before_its_import(imports: Imports, library: str) -> None:
    """A module that is imported later is called back for once, when it is whole."""
    told: list[str] = []
    imports.wait(library, lambda module: told.append(module.state))
    assert told == []
    import_module(library)
    import_module(library)
    assert told == ["whole"]


def test_after_its_import(imports: Imports, library: str) -> None:
    """A module that is imported already is called back for at once."""
    import_module(library)
    told: list[ModuleType] = []
    imports.wait(library, told.append)
    assert told == [sys.modules[library]]


def test_a_part_of_a_package(imports: Imports, library: str) -> None:
    """The import of a package does not stand for that of its part."""
    told: list[str] = []
    imports.wait(f"{library}.part", lambda module: told.append(module.__name__))
    import_module(library)
    assert told == []
    import_module(f"{library}.part")
    assert told == [f"{library}.part"]


def test_the_module_is_as_without(imports: Imports, library: str) -> None:
    """A module that was waited for has the loader that it would have had, and finds the files beside it."""
    imports.wait(library, lambda _: None)
    module = import_module(library)
    assert module.__spec__ is not None
    assert type(module.__loader__).__name__ == type(module.__spec__.loader).__name__ == "SourceFileLoader"
    assert resources.files(library).joinpath("file.txt").read_text() == "text"


def test_a_module_that_fails(imports: Imports, library: str, tmp_path: Path) -> None:
    """An import that fails raises what it would raise without us, and is not called back for."""
    (tmp_path / "path" / library / "part.py").write_text("raise RuntimeError('its own')\n")
    told: list[ModuleType] = []
    imports.wait(f"{library}.part", told.append)
    with pytest.raises(RuntimeError, match="its own"):
        import_module(f"{library}.part")
    assert told == []


def test_a_module_that_is_not_there(imports: Imports) -> None:
    """A module that cannot be found is missing in the same words."""
    imports.wait("no_such_library_at_all", lambda _: None)
    with pytest.raises(ModuleNotFoundError, match="No module named 'no_such_library_at_all'"):
        import_module("no_such_library_at_all")


def test_stopped(imports: Imports, library: str) -> None:
    """After the end nothing is waited for, and the import system is as it was."""
    before = list(sys.meta_path)
    told: list[ModuleType] = []
    imports.wait(library, told.append)
    assert sys.meta_path != before
    imports.stop()
    assert sys.meta_path == before
    import_module(library)
    assert told == []


def test_two_that_wait(imports: Imports, library: str) -> None:
    """Two that wait for the same module are both called back, once each."""
    others = Imports()
    heard: list[ModuleType] = []
    imports.wait(library, heard.append)
    others.wait(library, heard.append)
    try:
        module = import_module(library)
    finally:
        others.stop()
    assert heard == [module, module]
