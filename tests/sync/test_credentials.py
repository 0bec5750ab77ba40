from __future__ import annotations

import logging
import os
import stat
import subprocess
import sys
from pathlib import Path
from uuid import UUID, uuid4

import pytest

import agentops_local as agentops
from agentops_local.client import Client
from agentops_local.config import Configuration, key_hash
from agentops_local.credentials import WrongCredentials, credentials_file, read_keys, remember_key, save_key
from agentops_local.errors import WrongUse
from agentops_sync.credentials import Keys
from tests.clients import forget_client

ONE, TWO, THREE, FOUR = (str(UUID(int=number, version=4)) for number in range(1, 5))
posix = pytest.mark.skipif(os.name != "posix", reason="Windows has no modes")


@pytest.fixture
def file() -> Path:
    """The file of keys of this test."""
    return Path(os.environ["AGENTOPS_LOCAL_CREDENTIALS"]).resolve()


def keep(file: Path, text: str, mode: int = 0o600) -> None:
    """A file of keys with this text."""
    file.parent.mkdir(mode=0o700, exist_ok=True)
    file.write_text(text, encoding="utf-8")
    file.chmod(mode)


def chosen(hash: str | None = None, explicit: str | None = None, **environ: str) -> str | None:
    """The key for a session."""
    return Keys.load(explicit, {**os.environ, **environ}).for_hash(hash)


# Choosing ------------------------------------------------------------------------------------------------------------


def test_a_session_goes_under_its_own_key_or_not_at_all(file: Path) -> None:
    """A session that was recorded with a key gets that key, wherever it is known from, and never another."""
    keep(file, f"{ONE} default\n{TWO}\n")
    environ = {"AGENTOPS_API_KEY": THREE.upper()}
    for key in (ONE, TWO, THREE, FOUR):
        assert chosen(key_hash(key), explicit=FOUR, **environ) == key
    assert chosen(key_hash(str(uuid4())), explicit=FOUR, **environ) is None


def test_a_session_without_a_key_goes_under_the_nearest(file: Path) -> None:
    """A session that was recorded without a key gets the explicit one, else the environment's, else the one marked as
    the default; a key that is only known is given to none."""
    keep(file, f"{TWO}\n{ONE} default\n")
    assert chosen(explicit=FOUR, AGENTOPS_API_KEY=THREE) == FOUR
    assert chosen(AGENTOPS_API_KEY=THREE) == THREE
    assert chosen() == ONE
    keep(file, f"{TWO}\n")
    assert chosen() is None
    file.unlink()
    assert chosen() is None


def test_a_parent_key_is_given_to_no_other_session(file: Path) -> None:
    """A parent key goes with the sessions that were recorded with it alone."""
    keep(file, f"{ONE} default\n")
    keys = Keys.load(TWO, {**os.environ, "AGENTOPS_PARENT_KEY": THREE})
    assert keys.parent_for_hash(key_hash(THREE)) == THREE
    assert keys.parent_for_hash(key_hash(ONE)) == ONE
    assert keys.parent_for_hash(None) is None
    assert keys.for_hash(None) == TWO


def test_a_new_key_is_noticed_without_reading(file: Path) -> None:
    """The stamp changes when a key is kept, and with nothing else."""
    before = Keys.load()
    assert before.stamp is Keys.stamp_of() is None
    save_key(ONE)
    after = Keys.load()
    assert after.stamp == Keys.stamp_of() != before.stamp
    save_key(ONE)
    assert Keys.stamp_of() == after.stamp
    save_key(TWO)
    assert Keys.stamp_of() != after.stamp


def test_keys_are_never_shown(file: Path) -> None:
    """Neither the repr of keys nor an error about them shows a key."""
    keep(file, f"{ONE} default\n")
    assert ONE not in repr(Keys.load())
    keep(file, f"{ONE} defalt\n")
    with pytest.raises(WrongCredentials, match="line 1") as told:
        Keys.load()
    assert ONE not in str(told.value)


@pytest.mark.parametrize("given", [{"explicit": "abc"}, {"AGENTOPS_API_KEY": "abc"}, {"AGENTOPS_PARENT_KEY": "abc"}])
def test_what_is_no_key_is_told_at_once(given: dict[str, str]) -> None:
    """A key that is no UUID would never upload anything, so it is refused, and not shown."""
    with pytest.raises(WrongUse) as told:
        chosen(**given)
    assert "abc" not in str(told.value)


# The file ------------------------------------------------------------------------------------------------------------


def test_a_saved_key_is_read_back(file: Path) -> None:
    """A key that was saved is known by every spelling, once, and the second time nothing is written."""
    assert save_key(ONE.upper())
    assert not save_key(ONE.replace("-", ""))
    assert read_keys(file) == [(ONE, False)]
    assert save_key(TWO, default=True)
    assert not save_key(TWO)
    assert read_keys(file) == [(ONE, False), (TWO, True)]


def test_there_is_one_default(file: Path) -> None:
    """The key that was saved last as the default is the default; the others are kept."""
    keep(file, f"# mine\n\n{ONE} default # work\n{TWO}\n")
    save_key(TWO, default=True)
    assert read_keys(file) == [(ONE, False), (TWO, True)]
    assert file.read_text(encoding="utf-8") == f"# mine\n\n{ONE} # work\n{TWO} default\n"


@posix
def test_the_file_is_the_users_alone(file: Path) -> None:
    """The file is 0600 in a folder of 0700, whatever the umask, and nothing else is left behind but the lock."""
    before = os.umask(0)
    try:
        save_key(ONE)
    finally:
        os.umask(before)
    assert [stat.S_IMODE(path.stat().st_mode) for path in (file.parent, file)] == [0o700, 0o600]
    assert {path.name for path in file.parent.iterdir()} == {"credentials", "credentials.lock"}


@posix
@pytest.mark.parametrize("mode", [0o640, 0o604, 0o666, 0o610])
def test_a_file_that_others_can_read_is_refused(file: Path, mode: int) -> None:
    """Keys that others may have read are not used; the error says how to close the file."""
    keep(file, f"{ONE} default\n", mode)
    with pytest.raises(WrongCredentials, match="chmod 600"):
        Keys.load()
    with pytest.raises(WrongCredentials, match="chmod 600"):
        save_key(TWO)


@posix
def test_a_link_stays_a_link(file: Path, tmp_path: Path) -> None:
    """A file of keys that is kept elsewhere is written there."""
    keep(tmp_path / "kept" / "keys", f"{ONE}\n")
    file.parent.mkdir()
    Path(os.environ["AGENTOPS_LOCAL_CREDENTIALS"]).symlink_to(tmp_path / "kept" / "keys")
    save_key(TWO)
    assert Path(os.environ["AGENTOPS_LOCAL_CREDENTIALS"]).is_symlink()
    assert read_keys(tmp_path / "kept" / "keys") == [(ONE, False), (TWO, False)]


def test_only_a_uuid_is_kept(file: Path) -> None:
    """What is no UUID is refused, and no file is made."""
    with pytest.raises(WrongUse):
        save_key("secret")
    assert not file.exists()


def test_two_processes_lose_no_key(file: Path) -> None:
    """Keys that many processes save at once are all kept."""
    keys = [str(uuid4()) for _ in range(6)]
    code = "import sys; from agentops_local.credentials import save_key; save_key(sys.argv[1])"
    started = [subprocess.Popen([sys.executable, "-c", code, key]) for key in keys]
    assert [child.wait(60) for child in started] == [0] * len(keys)
    assert sorted(key for key, _ in read_keys(file)) == sorted(keys)


def test_the_file_lies_in_the_users_configuration(tmp_path: Path) -> None:
    """Without a variable of ours, the file is in the folder for configuration; a relative one is passed over."""
    if sys.platform != "linux":
        pytest.skip("the folders of Linux")
    home = {"HOME": str(tmp_path)}
    assert credentials_file(home) == tmp_path / ".config" / "agentops-local" / "credentials"
    assert credentials_file({**home, "XDG_CONFIG_HOME": "here"}) == credentials_file(home)
    elsewhere = tmp_path / "elsewhere"
    assert credentials_file({**home, "XDG_CONFIG_HOME": str(elsewhere)}).parent.parent == elsewhere
    assert credentials_file({**home, "AGENTOPS_LOCAL_CREDENTIALS": str(elsewhere)}) == elsewhere


# The recorded program ------------------------------------------------------------------------------------------------


def test_the_daemon_knows_the_key_that_a_program_gave(project: Path, file: Path) -> None:
    """After init(api_key=...) another process can upload the session under its key; no key is made the default."""
    forget_client()
    try:
        session = agentops.init(api_key=ONE, parent_key=TWO)
        assert session is not None
        session.end_session("Success")
    finally:
        forget_client()
    assert chosen(key_hash(ONE)) == ONE
    assert Keys.load().parent_for_hash(key_hash(TWO)) == TWO
    assert chosen() is None


def test_a_key_is_kept_once(file: Path) -> None:
    """A key that is kept already costs one read: the file is left as it is."""
    keep(file, f"{ONE} default # mine\n")
    Configuration().configure(api_key=ONE)
    assert file.read_text(encoding="utf-8") == f"{ONE} default # mine\n"
    assert not file.with_name("credentials.lock").exists()


@pytest.mark.parametrize("key", ["", "abc", ONE.upper()])
def test_a_key_of_the_environment_is_not_kept(file: Path, monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    """What is no key is not kept, nor one that stands in the environment, where the daemon finds it too."""
    monkeypatch.setenv("AGENTOPS_API_KEY", ONE)
    Client()
    Configuration().configure(api_key=key)
    assert not file.exists()
    forget_client()


@pytest.mark.parametrize("word", ["0", "false", "No"])
def test_keeping_can_be_forbidden(file: Path, monkeypatch: pytest.MonkeyPatch, word: str) -> None:
    """With AGENTOPS_LOCAL_SAVE_KEY=0 no key is kept."""
    monkeypatch.setenv("AGENTOPS_LOCAL_SAVE_KEY", word)
    Configuration().configure(api_key=ONE)
    assert not file.exists()


def test_who_opts_out_has_no_key_kept(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who opts out of the environment leaves nothing in the user's configuration either."""
    Configuration().configure(api_key=ONE, env_data_opt_out=True)
    monkeypatch.setenv("AGENTOPS_ENV_DATA_OPT_OUT", "1")
    Configuration().configure(api_key=ONE)
    assert not file.exists()


def test_a_key_that_cannot_be_kept_is_a_line_in_the_log(
    file: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the file cannot be written the program goes on; the log says so, without the key."""
    file.parent.write_text("in the way")
    with caplog.at_level(logging.WARNING, "agentops_local"):
        Configuration().configure(api_key=ONE)
    (record,) = caplog.records
    assert "is not kept" in record.getMessage()
    assert ONE not in record.getMessage()
    remember_key(None)
