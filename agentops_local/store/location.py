"""Where the database is, and how its folder is made.

Prompts hold secrets: the folder is 0700 and the database 0600 whatever the umask, and git is told to look
away. A folder that somebody else controls is refused, for he could read what is recorded or put a file of
his in place.

A database that exists is never opened here: on POSIX, closing any descriptor of a file drops all locks that
this process holds on it, SQLite's too, and with them commits that were acknowledged.
"""

from __future__ import annotations

import contextlib
import os
import stat
import sys
from collections.abc import Mapping
from errno import EACCES, ENOTDIR
from pathlib import Path

from agentops_local.errors import DatabaseUnusable
from agentops_local.log import logger

FOLDER = ".agentops"
FILE = "agentops.db"
VARIABLE = "AGENTOPS_LOCAL_DB"

_COMPANIONS = ("-wal", "-shm", "-journal", "-generation", ".lock")
_HAS_MODES = os.name == "posix"
_GITIGNORE = b"# Made by agentops-local: recordings hold prompts, and prompts hold secrets.\n*\n"
_DATA_IN_HOME = {"win32": "AppData/Local", "darwin": "Library/Application Support"}  # else the XDG one
# O_NOFOLLOW and O_CLOEXEC are not known on Windows, where O_EXCL alone refuses a link.
_NEW_FILE = os.O_CREAT | os.O_EXCL | os.O_WRONLY
_NEW_FILE |= getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)


# -------------------------------------------------------------------------------------------------- finding


def find_database(
    explicit: str | os.PathLike[str] | None = None,
    environ: Mapping[str, str] = os.environ,
    cwd: Path | None = None,
) -> Path:
    """The absolute path of the database; nothing is made.

    The first of: `explicit`, AGENTOPS_LOCAL_DB, the nearest folder upwards that holds `.agentops/`, the
    nearest with `pyproject.toml` or `.git`, the working directory. In the last three the file is
    `.agentops/agentops.db`.

    A path that is given names the file. If it ends in a separator, is a folder or is called `.agentops`,
    the file is `agentops.db` in it. `~` is expanded, links are followed, a relative path begins at `cwd`.

    The search passes over an `.agentops/` of another user (root's counts as ours, and to root all do): in a
    shared folder such as /tmp anybody can plant one above our project. One in the home directory serves
    every project below that has none of its own, which is how one database is kept for all.

    Args:
        explicit: the `db=` argument; None or an empty text if there is none.
        environ: where the variable is looked up.
        cwd: where to begin; default the working directory.

    Raises:
        DatabaseUnusable: for a name with a meaning of its own to SQLite (`:memory:`, `file:`), a path that
            cannot be resolved, or when the working directory is needed and is gone.
    """
    given = os.fspath(explicit) if explicit is not None else ""
    given = given or environ.get(VARIABLE, "")
    if given == ":memory:" or given.startswith("file:") or "\0" in given:
        raise DatabaseUnusable(f"{given!r} is no file: name one with db= or {VARIABLE}")
    try:
        if given:
            return _named(given, cwd, environ)
        return _searched((cwd or Path.cwd()).resolve())
    except FileNotFoundError as error:
        text = f"the working directory is gone: name an absolute path with db= or {VARIABLE}"
        raise DatabaseUnusable(text) from error
    except (OSError, RuntimeError) as error:  # a loop of links, or a ~ without a home directory
        raise DatabaseUnusable(f"{given or cwd} leads nowhere ({error})") from error


def fallback_database(db: Path, environ: Mapping[str, str] = os.environ) -> Path:
    """Where the database goes when its folder cannot be used; nothing is made.

    It is `agentops-local/PROJECT-HASH/agentops.db` in the user's data folder: XDG_DATA_HOME or
    ~/.local/share, ~/Library/Application Support on macOS, %LOCALAPPDATA% on Windows. HASH is eight hex
    digits that stand for the path of `db`, so a project finds the same place again.

    Raises:
        DatabaseUnusable: if the user has no home directory.
    """
    from hashlib import sha256

    path = Path(os.path.abspath(db))  # Path.absolute() leaves `..` in: another hash
    project = path.parent.parent if path.parent.name == FOLDER else path.parent
    # A name may have 255 bytes, and ours adds nine.
    name = os.fsencode(project.name or "root")[:200].decode("utf-8", "ignore")
    digest = sha256(os.fsencode(path)).hexdigest()[:8]
    return _data_folder(environ) / "agentops-local" / f"{name}-{digest}" / FILE


def _named(given: str, cwd: Path | None, environ: Mapping[str, str]) -> Path:
    path = Path(given).expanduser()
    if not path.is_absolute():
        path = (cwd or Path.cwd()) / path
    separators = (os.sep, os.altsep or os.sep)
    if given.endswith(separators) or path.name == FOLDER or _is_folder(path):
        path = path / FILE
    link = _lstat(path)
    if link and stat.S_ISLNK(link.st_mode) and _is_planted(link, path.parent.stat()):
        instead = fallback_database(path, environ)
        logger.warning(
            "agentops_local: %s is a link of another user, %d; %s is used instead", path, link.st_uid, instead
        )
        return instead
    # SQLite puts its -wal beside the file a link points to; so must we our lock, or two names of one database
    # would have two locks.
    return path.resolve()


def _searched(start: Path) -> Path:
    # The file is not resolved: a cloned repository may bring a link of that name, and it is not followed.
    folders = (start, *start.parents)
    for folder in folders:
        info, link = _stat(folder / FOLDER), _lstat(folder / FOLDER)
        if info and link and stat.S_ISDIR(info.st_mode) and _is_trusted(info) and _is_trusted(link):
            return folder / FOLDER / FILE
    for folder in folders:
        # .git is a file in a worktree.
        if _stat(folder / "pyproject.toml") or _stat(folder / ".git"):
            return folder / FOLDER / FILE
    return start / FOLDER / FILE


def _data_folder(environ: Mapping[str, str]) -> Path:
    # A relative one is ignored, as XDG has it: it would mean another folder in every working directory.
    chosen = Path(environ.get("LOCALAPPDATA" if sys.platform == "win32" else "XDG_DATA_HOME", ""))
    if chosen.is_absolute() and sys.platform != "darwin":
        return chosen
    return _home(environ) / _DATA_IN_HOME.get(sys.platform, ".local/share")


def _home(environ: Mapping[str, str]) -> Path:
    named = environ.get("USERPROFILE" if sys.platform == "win32" else "HOME")
    try:
        home = Path(named) if named else Path.home()
    except RuntimeError as error:
        raise DatabaseUnusable(f"there is no home directory to record into: set {VARIABLE}") from error
    if not home.is_absolute():
        raise DatabaseUnusable(f"the home directory {home} is no absolute path: set {VARIABLE}")
    return home


# --------------------------------------------------------------------------------------- making and checking


def prepare_folder(db: Path) -> None:
    """Makes the folder of `db` (0700) and an empty file `db` (0600) if they are missing, else checks them.

    Parents are made with the usual mode, but never so that others can write to them. A folder that is made here, or is
    called `.agentops`, gets a `.gitignore` for all in it. What was made has reached the disk. If nothing is
    missing it costs some stats.

    What happens to a folder that exists (not on Windows: it has no modes, a folder has its parent's rights):

    - `.agentops` of ours with rights for others: they are taken away;
    - `.agentops` of another user: refused, unless he or we are root (as containers are, on files of a user);
    - `.agentops` that is a link, as a cloned repository may bring one: refused unless it leads to a folder
      of ours or root's that others cannot write to; that folder is left as it is;
    - any that another user has put into a folder like /tmp, be it a link: refused, as it is with files there;
    - any other: the user chose it, so it is left as it is; `exposure` has a sentence for the log.

    Raises:
        OSError: the folder cannot be made, cannot be written to, or is refused; use `fallback_database`.
        DatabaseUnusable: `db` is a link or no file, or a stranger put it into a folder like /tmp.
    """
    folder = db.parent
    made = _make_folder(folder)
    _check_folder(folder, made)
    fresh = (made or folder.name == FOLDER) and _hide_from_git(folder)
    if _is_open_to_all(folder.stat()):
        _check_companions(db)
    if _lstat(db):
        _check_file(db)
    else:
        _make_file(db)
        fresh = True
    if fresh:
        sync_folder(folder)


def make_private(folder: Path) -> None:
    """Makes a folder for what the database holds (0700, hidden from git), if it is not there."""
    if _make_folder(folder):
        _check_folder(folder, made=True)
        _hide_from_git(folder)


def is_writable(folder: Path) -> bool:
    """Whether files can be made in a folder, or the folder itself if there is none yet.

    On a read-only filesystem it is False for root, too. On Windows only trying tells about rights.
    """
    existing = next((level for level in (folder, *folder.absolute().parents) if _lstat(level)), folder)
    return _is_folder(existing) and _may(existing, os.W_OK | os.X_OK)


def exposure(db: Path) -> str | None:
    """A sentence for the log if other users can replace or open the database, else None. None on Windows."""
    folder, file = _stat(db.parent), _stat(db)
    if not _HAS_MODES or not folder:
        return None
    if folder.st_mode & 0o022 and not folder.st_mode & stat.S_ISVTX:
        return f"other users can replace what is recorded in {db.parent}: chmod 700 prevents it"
    if folder.st_mode & 0o011 and file and file.st_mode & 0o066:
        return f"other users can open {db}: chmod 600 prevents it"
    return None


def _make_folder(folder: Path) -> bool:
    """Makes a folder and its parents; whether this call made it."""
    made = False
    missing = [level for level in (folder, *folder.parents) if not _lstat(level)]
    for level in reversed(missing):
        try:
            # Whoever could write to one above it could put another folder in its place, whatever the umask says.
            level.mkdir(0o700 if level == folder else 0o755)
        except FileExistsError:
            continue  # another process of the session was faster
        made = level == folder
        # Else a power cut may take the folder, and with it commits that were synced into its files.
        sync_folder(level.parent)
    if not _is_folder(folder):
        raise NotADirectoryError(ENOTDIR, f"not a folder: move it away, or set {VARIABLE}", str(folder))
    return made


def _check_folder(folder: Path, made: bool) -> None:
    if sys.platform != "win32":
        info = folder.stat()
        if made:
            _set_mode(folder, info, stat.S_IMODE(info.st_mode) & ~0o077 | 0o700)
        elif _is_planted(folder.lstat(), folder.parent.stat()):
            raise PermissionError(EACCES, "another user has put it there", str(folder))
        elif folder.is_symlink():
            if not _is_trusted(info) or info.st_mode & 0o022:
                raise PermissionError(EACCES, "a link to a folder that other users control", str(folder))
        elif folder.name == FOLDER:
            if not _is_trusted(info):
                raise PermissionError(EACCES, f"the folder of another user, {info.st_uid}", str(folder))
            if info.st_uid == os.geteuid():
                _set_mode(folder, info, stat.S_IMODE(info.st_mode) & ~0o077)
    if not _may(folder, os.W_OK | os.X_OK):
        raise PermissionError(EACCES, "the folder cannot be written to", str(folder))


def _check_file(db: Path) -> None:
    file, folder = db.lstat(), db.parent.stat()
    if not stat.S_ISREG(file.st_mode):
        kind = "a symbolic link" if stat.S_ISLNK(file.st_mode) else "not a file"
        raise DatabaseUnusable(f"{db} is {kind}: move it away, or name the file to use with {VARIABLE}")
    if _is_planted(file, folder):
        raise DatabaseUnusable(f"{db} was put there by another user, {file.st_uid}: name another file")
    if not _may(db, os.R_OK | os.W_OK):
        raise PermissionError(EACCES, "the database cannot be written to", str(db))


def _check_companions(db: Path) -> None:
    """In a folder like /tmp somebody may have put there what we would write into: the WAL, which he then reads, or
    another name of a file of ours, which we would overwrite."""
    folder = db.parent.stat()
    for suffix in _COMPANIONS:
        path = db.with_name(db.name + suffix)
        info = _lstat(path)
        if info and (not stat.S_ISREG(info.st_mode) or info.st_nlink > 1 or _is_planted(info, folder)):
            raise DatabaseUnusable(f"{path} is not what we would have made there: remove it, or name another file")


def _hide_from_git(folder: Path) -> bool:
    """Writes `.gitignore` unless there is one; whether it was written.

    It gets its name when it is whole and on the disk. One that a power cut or a full disk has left empty would never
    be written again, and git would take the recordings.
    """
    ignore, draft = folder / ".gitignore", folder / f".gitignore-{os.getpid()}"
    if _lstat(ignore):
        return False
    with contextlib.suppress(OSError):  # there may be none, which is no reason not to record
        descriptor = os.open(draft, _NEW_FILE, 0o600)
        try:
            written = os.write(descriptor, _GITIGNORE)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        if written == len(_GITIGNORE):
            os.replace(draft, ignore)
            return True
    with contextlib.suppress(OSError):
        draft.unlink()
    return False


def _make_file(db: Path) -> None:
    """Makes an empty file, 0600, unless there is one. SQLite gives its mode to the -wal and -shm."""
    try:
        if not _make_node(db):
            # Never without O_EXCL: to open and close the database of another thread would drop its locks.
            os.close(os.open(db, _NEW_FILE, 0o600))
    except FileExistsError:
        return  # another process of the session was faster
    info = db.lstat()
    if stat.S_ISREG(info.st_mode):
        _set_mode(db, info, 0o600)  # for a umask that takes rights from the owner, too


def _make_node(db: Path) -> bool:
    """Makes the file without a descriptor, as Linux can; False if that is not possible here.

    Between open and close another thread might open the new database and lock it, and our close would take
    the lock away. A node is made without being opened.
    """
    made = False
    if sys.platform == "linux":
        try:
            os.mknod(db, stat.S_IFREG | 0o600)
            made = True
        except FileExistsError:
            raise
        except OSError:
            pass  # some filesystems know no nodes; any other reason, open will tell
    return made


def _set_mode(path: Path, info: os.stat_result, mode: int) -> None:
    if stat.S_IMODE(info.st_mode) != mode:
        with contextlib.suppress(OSError):  # FAT and some shares have no modes; `exposure` tells
            path.chmod(mode)


def sync_folder(folder: Path) -> None:
    """Makes the names in a folder survive a power cut."""
    if sys.platform != "win32":  # Windows cannot open a folder; NTFS keeps a journal of names
        # Some filesystems cannot sync a folder, and one that we may not read can be written to all the same.
        with contextlib.suppress(OSError):
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)


def _is_open_to_all(folder: os.stat_result) -> bool:
    """Whether it is a folder like /tmp. In one that is open without the sticky bit (a volume of a container) nothing is
    protected anyway: `exposure` tells."""
    return _HAS_MODES and bool(folder.st_mode & stat.S_ISVTX and folder.st_mode & 0o002)


def _is_planted(info: os.stat_result, folder: os.stat_result) -> bool:
    """Whether another user has put it into a folder like /tmp, where he who makes a file first reads it all."""
    return sys.platform != "win32" and _is_open_to_all(folder) and info.st_uid not in (os.geteuid(), 0, folder.st_uid)


def _is_trusted(info: os.stat_result) -> bool:
    trusted = True
    if sys.platform != "win32":
        trusted = os.geteuid() == 0 or info.st_uid in (0, os.geteuid())
    return trusted


def _may(path: Path, how: int) -> bool:
    return os.access(path, how, effective_ids=os.access in os.supports_effective_ids)


def _is_folder(path: Path) -> bool:
    info = _stat(path)
    return info is not None and stat.S_ISDIR(info.st_mode)


def _stat(path: Path) -> os.stat_result | None:
    # Not Path.exists(): it raises where a folder above may not be searched.
    try:
        return path.stat()
    except OSError:
        return None


def _lstat(path: Path) -> os.stat_result | None:
    try:
        return path.lstat()
    except OSError:
        return None
