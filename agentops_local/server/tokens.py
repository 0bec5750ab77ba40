"""The tokens that a session's requests carry: JWTs, signed with a secret of this collector.

A token names one session of one project and the key it was issued for. It lives for 30 days, because the classic client
never asks for another. The secret lies in a file of its own beside the database: who copies the database has no
tokens, and who removes the file ends them all.
"""

from __future__ import annotations

import os
import secrets
import sys
from contextlib import suppress
from dataclasses import dataclass
from errno import EACCES
from pathlib import Path

import jwt

from agentops_local.server.refusal import NotAuthentic

LIFE = 30 * 24 * 3600  # seconds

_ALGORITHM = "HS256"
_BYTES = 32


@dataclass(frozen=True)
class Claims:
    """What a token says.

    Attributes:
        session_id: UUID text.
        project: an id of the store.
        key: the tag of the key it was issued for; None if no key was needed.
    """

    session_id: str
    project: str
    key: str | None


class Tokens:
    """Issues tokens and reads them.

    Args:
        secret: 32 bytes or more.
    """

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def issue(self, claims: Claims, now: float) -> str:
        """A token.

        Args:
            now: Unix time in seconds.
        """
        said: dict[str, object] = {
            "session_id": claims.session_id, "project": claims.project, "exp": int(now) + LIFE,
        }  # fmt: skip
        if claims.key is not None:
            said["key"] = claims.key
        return jwt.encode(said, self._secret, algorithm=_ALGORITHM)

    def read(self, token: str) -> Claims:
        """What a token says.

        Raises:
            NotAuthentic: its time is over (`Expired Token`: clients know it by these words), or it is none of ours.
        """
        try:
            said = jwt.decode(
                token, self._secret, algorithms=[_ALGORITHM], options={"require": ["exp", "session_id", "project"]}
            )
        except jwt.ExpiredSignatureError as error:
            raise NotAuthentic("Expired Token") from error
        except (jwt.InvalidTokenError, ValueError) as error:
            raise NotAuthentic("Invalid Token") from error
        key = said.get("key")
        return Claims(str(said["session_id"]), str(said["project"]), None if key is None else str(key))


def load_secret(database: Path) -> bytes:
    """The secret beside a database, made with the first call; its file is 0600.

    Raises:
        OSError: it can be neither read nor made.
    """
    file = database.with_name(f"{database.name}-secret")
    with suppress(FileNotFoundError):
        return _read(file)
    # Whole or not at all: two collectors may begin at once, and the second must not read half of it.
    draft = file.with_name(f"{file.name}.{os.getpid()}.{secrets.token_hex(4)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        try:
            os.write(descriptor, secrets.token_hex(_BYTES).encode())
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        with suppress(FileExistsError):
            os.link(draft, file)
    finally:
        draft.unlink()
    return _read(file)


def _read(file: Path) -> bytes:
    """The secret in a file that only we can have written: whoever knows it can make tokens for every project."""
    descriptor = os.open(file, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0))
    with os.fdopen(descriptor, encoding="utf-8", errors="replace") as stream:
        if sys.platform != "win32":
            info = os.fstat(descriptor)
            if info.st_uid not in (0, os.geteuid()) or info.st_mode & 0o077:
                raise PermissionError(EACCES, "others may know the secret of the tokens: remove it", str(file))
        text = stream.read().strip()
    if len(text) < _BYTES:
        raise OSError(f"{file} holds no secret: remove it, and every token with it")
    return text.encode()
