from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from agentops_local.analytics.sessions import NoSuchSession
from agentops_local.errors import AgentOpsLocalError, WrongUse
from agentops_local.exporting import FORMATS, export
from agentops_local.exporting.seqs import Seqs
from agentops_local.exporting.target import CannotWrite, writing
from tests.analytics.recording import Book


def mode(path: Path) -> int:
    """The rights of a file."""
    return path.stat().st_mode & 0o777


def test_a_file_is_whole_or_not_there(project: Path) -> None:
    """While a file is written, and when that fails, nothing stands at its name; when it is whole it is there, for its
    owner alone, and no draft is left."""
    path = project / "out.json"
    with writing(path) as stream:
        stream.write(b"half")
        assert not path.exists()
        (draft,) = project.glob(".out.json.*")
        assert mode(draft) == 0o600
    assert (path.read_bytes(), mode(path)) == (b"half", 0o600)
    with pytest.raises(ZeroDivisionError), writing(path, force=True) as stream:
        stream.write(b"%d" % (1 // 0))
    assert path.read_bytes() == b"half"
    assert list(project.iterdir()) == [path]


def test_a_file_that_is_there_stays(book: Book, project: Path) -> None:
    """A file is replaced only with force, also if it was made while the export ran; what is refused is named."""
    book.session()
    path = project / "out.json"
    path.write_bytes(b"mine")
    with pytest.raises(WrongUse, match=r"out\.json is there already.*--force"):
        export(book.path, "last", "v2", path)
    assert path.read_bytes() == b"mine"
    assert export(book.path, "last", "v2", path, force=True).files == (path,)
    assert json.loads(path.read_bytes())["session"]
    late = project / "late.json"
    with pytest.raises(WrongUse, match="is there already"), writing(late):
        late.write_bytes(b"mine")
    assert late.read_bytes() == b"mine"


def test_what_cannot_be_written_is_told(book: Book, project: Path) -> None:
    """A place that cannot be written is named with the reason, and nothing is left there."""
    book.session()
    with pytest.raises(CannotWrite, match="No such file or directory"):
        export(book.path, "last", "v2", project / "nowhere" / "out.json")
    with (
        pytest.raises(CannotWrite, match=r"out\.json could not be written \(No space left"),
        writing(project / "out.json"),
    ):
        raise OSError(28, "No space left on device")
    assert list(project.glob("*out*")) == []


def test_a_device_is_written_to_as_it_is(book: Book) -> None:
    """What is no file, such as a device, is written to and not replaced."""
    book.session()
    export(book.path, "last", "jsonl", os.devnull)
    assert not Path(os.devnull).is_file()


def test_a_folder_gets_a_file_for_each_session(book: Book, project: Path) -> None:
    """In a folder each session has a file of its own, named by its id, which holds it as if it had been named."""
    states = [book.session(), book.session()]
    done = export(book.path, None, "v2", f"{project / 'out'}/")
    assert done.sessions == 2
    assert sorted(done.files) == sorted(project / "out" / f"{state.id}.json" for state in states)
    assert mode(project / "out") == 0o700
    for state in states:
        assert json.loads((project / "out" / f"{state.id}.json").read_bytes())["session"]["id"] == state.id
    assert len(export(book.path, None, "csv", project / "out", force=True).files) == 2


def test_a_session_that_is_not_there(book: Book, project: Path) -> None:
    """An unknown session is refused before anything is written, in every format."""
    book.session()
    for form in FORMATS:
        with pytest.raises(NoSuchSession, match="'nothing'"):
            export(book.path, ["last", "nothing"], form, project / "out")
    assert list(project.glob("*out*")) == []
    assert issubclass(NoSuchSession, AgentOpsLocalError)


def test_how_far_it_is(book: Book, project: Path) -> None:
    """The caller hears of the events as they are written, and what was written at the end."""
    state = book.session()
    for _ in range(600):
        book.action(state)
    heard: list[int] = []
    done = export(book.path, None, "jsonl", project / "out", heard=heard.append)
    assert (done.sessions, done.events, heard) == (1, 600, [256, 512])


def test_seqs() -> None:
    """Numbers come back in their order, each once, and none beyond the ends."""
    found = Seqs(10, 21)
    assert [found.add(number) for number in (21, 12, 10, 12, 22, 9)] == [True, True, True, False, False, False]
    found.update(range(0, 100, 7))
    assert list(found) == [10, 12, 14, 21]
    assert list(Seqs(0, 0)) == []
