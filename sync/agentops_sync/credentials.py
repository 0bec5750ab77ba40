"""Which API key a session travels under.

A session that was recorded with a key is known by the hash of it, and goes under that key or not at all: another key
means another project, and what is there cannot be taken back. A session that was recorded without one goes under the
key that this process was given: explicitly, by AGENTOPS_API_KEY, or as the default of the file of keys (see
`agentops_local.credentials`).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from uuid import UUID

from agentops_local.config import key_hash
from agentops_local.credentials import WrongCredentials, credentials_file, read_keys, save_key
from agentops_local.errors import WrongUse

Stamp = tuple[int, int, int] | None

__all__ = ["Keys", "WrongCredentials", "credentials_file", "save_key"]


class Keys:
    """The keys that this process knows. Made by `load`; its repr shows none of them.

    Args:
        keys: as UUID text.
        default: the one for sessions that were recorded without a key, or None.
        stamp: of the file they were read from.

    Attributes:
        stamp: tells this edition of the file from another; compare it with `stamp_of`.
    """

    __slots__ = ("_by_hash", "_default", "stamp")

    def __init__(self, keys: list[str], default: str | None = None, stamp: Stamp = None) -> None:
        self._by_hash = {str(key_hash(key)): key for key in keys}
        self._default = default
        self.stamp = stamp

    @classmethod
    def load(cls, explicit: str | None = None, environ: Mapping[str, str] = os.environ) -> Keys:
        """All keys, of `explicit` (`--api-key`), the environment (AGENTOPS_API_KEY, AGENTOPS_PARENT_KEY) and the file.

        Raises:
            WrongUse: if a key that was given is no UUID: the server would refuse it, so it would never upload.
            WrongCredentials: if the file cannot be trusted or understood.
        """
        first = _uuid(explicit, "--api-key")
        second = _uuid(environ.get("AGENTOPS_API_KEY"), "AGENTOPS_API_KEY")
        parent = _uuid(environ.get("AGENTOPS_PARENT_KEY"), "AGENTOPS_PARENT_KEY")
        stamp = cls.stamp_of(environ)  # before reading: an edit meanwhile is noticed
        kept = read_keys(credentials_file(environ))
        marked = next((key for key, is_default in reversed(kept) if is_default), None)
        keys = [*(key for key, _ in kept), *(key for key in (first, second, parent) if key)]
        return cls(keys, first or second or marked, stamp)

    @staticmethod
    def stamp_of(environ: Mapping[str, str] = os.environ) -> Stamp:
        """The edition of the file of keys: its inode, time of change in nanoseconds and size in bytes; None if there is
        none. It is not read. It changes when a program that is recorded keeps its key, and a session that waits for
        that key can go."""
        try:
            info = credentials_file(environ).stat()
        except OSError:
            return None
        return info.st_ino, info.st_mtime_ns, info.st_size

    def for_hash(self, hash: str | None) -> str | None:
        """The key for a session.

        Args:
            hash: of the key that it was recorded with, 16 hex digits; None: it was recorded without one.

        Returns:
            UUID text. None if there is no such key: then the session waits.
        """
        return self._default if hash is None else self._by_hash.get(hash)

    def parent_for_hash(self, hash: str | None) -> str | None:
        """The parent key for a session, as `for_hash`; none for a session that was recorded without a parent key."""
        return None if hash is None else self._by_hash.get(hash)

    def __len__(self) -> int:
        return len(self._by_hash)

    def __repr__(self) -> str:
        return f"<Keys: {len(self)}, {'one' if self._default else 'none'} for sessions without a key>"


def _uuid(text: str | None, name: str) -> str | None:
    try:
        return str(UUID(text)) if text else None
    except ValueError:
        raise WrongUse(f"{name} is no API key: give the UUID that the project's settings on the server show") from None
