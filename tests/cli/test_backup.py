from __future__ import annotations

import re
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import filelock
import pytest

from agentops_local.analytics.uploading import lock_file
from tests.analytics.recording import Book, run, start
from tests.cli.calling import call, execute, on_terminal

posix = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no pseudo-terminals")


SESSION = """
s = ao.init()
s.record(ao.ToolEvent(name="search"))
s.record(ao.LLMEvent(prompt="ask", completion="yes", model="m"))
s.end_session("Success")
"""


def recorded(book: Book) -> None:
    """A session with two events, of a process that is gone."""
    run(SESSION)


def saved(book: Book) -> Path:
    """A backup of it, and another session since."""
    recorded(book)
    backup = Path(call("backup", "--json").json["path"])
    recorded(book)
    return backup


class TestBackup:
    def test_it_says_where_and_what(self, book: Book) -> None:
        """`backup` prints the path on a line of its own, for scripts, and how much the backup holds."""
        recorded(book)
        said = execute("backup")
        path, told = said.lines
        assert (said.code, said.err) == (0, "")
        assert re.fullmatch(r"agentops-\d{8}T\d{6}\.db", Path(path).name)
        assert told.startswith("1 session, 2 events, ")
        assert len(call("sessions", "--db", path, "--json").json) == 1

    def test_json(self, book: Book) -> None:
        """With --json it tells the rows of each table as well, and which older backups were removed."""
        recorded(book)
        first = call("backup", "--json").json
        second = call("backup", "--keep", 1, "--json").json
        assert (first["sessions"], first["events"], first["tables"]["events"], first["removed"]) == (1, 2, 2, [])
        assert second["removed"] == [first["path"]]
        assert not Path(first["path"]).exists()

    def test_a_folder_that_is_not_there(self, book: Book, tmp_path: Path) -> None:
        """A target that ends like a folder, and is none, is refused: a disk that is not mounted gets no file of its
        name."""
        recorded(book)
        said = call("backup", f"{tmp_path}/disk/")
        assert said.code == 1
        assert f"there is no folder {tmp_path}/disk" in said.err
        assert not (tmp_path / "disk").exists()

    @pytest.mark.skipif(sys.platform != "linux", reason="the disk is a tmpfs of Linux")
    def test_a_full_disk(self, book: Book, tmp_path: Path) -> None:
        """Where there is no room for the copy it is said of which folder; nothing is left there."""
        state = book.session()
        for number in range(20):
            book.tool(state, params={"text": f"{number} " * 20_000})
        disk = tmp_path / "disk"
        disk.mkdir()
        if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", disk], capture_output=True).returncode:
            pytest.skip("a tmpfs cannot be mounted here")
        try:
            said = call("backup", disk)
            left = list(disk.iterdir())
        finally:
            subprocess.run(["umount", disk], check=True)
        assert said.code == 1
        assert said.err == f"Error: database or disk is full: there is no room for a copy in {disk}\n"
        assert not left

    @posix
    def test_a_terminal_sees_how_far_it_is(self, book: Book) -> None:
        """On a terminal a bar shows how much is copied."""
        recorded(book)
        assert "100%" in on_terminal("backup").out

    @pytest.mark.parametrize(
        ("line", "code"),
        [
            (["backup", "there.db"], 1), (["backup", "no/folder/x.db"], 1), (["backup", "--keep", "0"], 2),
            (["backup", "x.db", "--keep", "1"], 2), (["backup", ".agentops/agentops.db", "--force"], 2),
            (["--db", "none.db", "backup"], 1), (["restore"], 2), (["restore", "none.db"], 2),
            (["restore", ".agentops/agentops.db", "--yes"], 2), (["restore", "there.db", "--yes"], 1),
        ],
    )  # fmt: skip
    def test_exit_codes(self, book: Book, line: list[str], code: int) -> None:
        """What cannot be done ends with 1, wrong use with 2; in a line, and with nothing changed."""
        recorded(book)
        book.close()
        Path("there.db").write_text("mine")
        before = {file: file.read_bytes() for file in Path().rglob("*.db")}
        said = execute(*line)
        assert (said.code, said.out) == (code, "")
        assert "Traceback" not in said.err
        assert {file: file.read_bytes() for file in Path().rglob("*.db")} == before

    def test_others_know_of_it(self, book: Book) -> None:
        """`doctor` lists backups and what they have replaced, without finding fault; `rm` says that they may hold what
        was erased."""
        backup = saved(book)
        call("restore", backup, "--yes")
        found = {one["about"]: one for one in call("doctor", "--json").json}
        assert found["backups"]["data"] == [str(backup)]
        assert "replaced by a backup" in found["beside it"]["text"]
        assert call("doctor").code == 0
        told = call("rm", "last").err
        assert f"backups/{backup.name} lies beside" in told
        assert ".replaced-" in told


class TestRestore:
    def test_it_asks_first(self, book: Book) -> None:
        """`restore` shows what the backup holds and what it would replace; without a yes nothing is done."""
        backup = saved(book)
        before = book.path.read_bytes()
        said = call("restore", backup)
        assert said.code == 1
        assert f"restores  {backup}: 1 session, 2 events" in said.out
        assert f"replaces  {book.path}: 2 sessions, 4 events" in said.out
        assert book.path.read_bytes() == before

    def test_it_says_what_it_did(self, book: Book) -> None:
        """Then it says what is there now, and where the other one is."""
        backup = saved(book)
        said = call("restore", backup, "--yes")
        assert said.code == 0
        assert f"{book.path} holds 1 session, 2 events; " in said.out
        replaced = said.lines[-1].rpartition(" ")[2]
        assert len(call("sessions", "--db", replaced, "--json").json) == 2
        assert len(call("sessions", "--json").json) == 1

    def test_json(self, book: Book) -> None:
        """With --json it tells the same to programs, and nothing else on standard output."""
        backup = saved(book)
        done = call("restore", backup, "--yes", "--json").json
        assert (done["path"], done["sessions"], done["events"]) == (str(book.path), 1, 2)
        assert Path(done["replaced"]).exists()

    @pytest.mark.parametrize(
        ("contents", "reason"),
        [
            ("text", "is no backup: file is not a database"),
            ("", "is no backup: it holds nothing"),
            (None, "is no backup: it is the database of another program"),
        ],
    )
    def test_what_is_no_backup(self, book: Book, tmp_path: Path, contents: str | None, reason: str) -> None:
        """A file that is no backup is refused, with the reason, and with no advice that is about the database."""
        recorded(book)
        file = tmp_path / "file"
        if contents is None:
            with closing(sqlite3.connect(file)) as other:
                other.execute("CREATE TABLE notes (text)")
        else:
            file.write_text(contents * 1000)
        said = call("restore", file, "--yes")
        assert said.code == 1
        assert said.err == f"Error: {file} {reason}\n"

    def test_nothing_to_replace(self, book: Book, tmp_path: Path) -> None:
        """Where an empty file stands, as an attempt that was interrupted leaves it, there is nothing to replace."""
        backup = saved(book)
        (tmp_path / "other.db").touch()
        said = call("restore", backup, "--yes", "--db", tmp_path / "other.db")
        assert said.code == 0
        assert "replaces  nothing: there is no database yet" in said.out

    def test_not_while_a_process_records(self, book: Book) -> None:
        """While a process records it is refused, with its number; with --force it is done, and the process goes on in
        the restored database."""
        backup = saved(book)
        code = """
        s = ao.init()
        s.record(ao.ToolEvent(name="first"))
        print(flush=True)
        input()
        s.record(ao.ToolEvent(name="then"))
        s.end_session("Success")
        """
        with start(code, stdin=-1, stdout=-1) as program:
            assert program.stdout is not None
            program.stdout.readline()
            said = call("restore", backup, "--yes")
            assert said.code == 1
            assert f"process {program.pid} records" in said.err
            assert call("restore", backup, "--yes", "--force").code == 0
            program.communicate("\n", timeout=60)
        assert program.returncode == 0
        assert [name for (name,) in book.rows("SELECT name FROM tools ORDER BY seq")] == ["search", "then"]
        book.check()

    def test_not_while_it_is_uploaded(self, book: Book) -> None:
        """While agentops-sync serves the database it is refused, with --force as well."""
        backup = saved(book)
        before = book.path.read_bytes()
        with filelock.FileLock(lock_file(book.path)):
            said = call("restore", backup, "--yes", "--force")
        assert said.code == 1
        assert "agentops-sync serves" in said.err
        assert book.path.read_bytes() == before

    def test_a_damaged_backup(self, book: Book) -> None:
        """A damaged backup is refused in a sentence, before anything is asked."""
        backup = saved(book)
        broken = Path("broken.db")
        shutil.copy(backup, broken)
        with broken.open("r+b") as file:
            file.seek(3 * 4096)
            file.write(b"\xff" * 4096)
        said = execute("restore", broken)
        assert (said.code, said.out) == (1, "")
        assert "damaged" in said.err or "malformed" in said.err
        assert len(said.err.splitlines()) == 1
