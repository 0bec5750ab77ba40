"""Under what a session is uploaded: its key, and what may leave this machine. Both files are read again when they have
changed, so that a key which a program has just left, or a stricter policy, holds from the next request on."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from agentops_local.config import key_hash
from agentops_local.errors import AgentOpsLocalError
from agentops_local.log import logger
from agentops_sync.credentials import Keys
from agentops_sync.policy import Policies, Policy

_RESTED = 2_000_000  # µs
_GONE = 60_000_000
_CHANGING = "sync.toml or the file of keys is being changed"


@dataclass(frozen=True)
class Authority:
    """Under what a session is uploaded.

    Attributes:
        key: the API key.
        key_name: its hash, by which the ledger knows it.
        parent_key: of the session, if it has one and it is known.
    """

    key: str
    key_name: str
    parent_key: str | None
    policy: Policy


class Withheld(AgentOpsLocalError):
    """A session's policy is 'never'."""


class Unauthorized(AgentOpsLocalError):
    """A session cannot be uploaded now: its key is not known, or the files that would tell cannot be understood."""


class Authorities:
    """The keys and policies of a database.

    Args:
        path: the database.
        api_key: given for this run; None: none.

    Raises:
        WrongPolicy, WrongCredentials, WrongUse: a file or a key cannot be understood.
    """

    def __init__(self, path: Path, api_key: str | None = None, environ: Mapping[str, str] = os.environ) -> None:
        self._path = path
        self._api_key = api_key
        self._environ = environ
        self._trouble: str | None = None
        self._stamps = self._seen = self._look()
        self._seen_us = 0
        self._load()

    def refresh(self, now_us: int) -> bool:
        """Reads the files again once they have changed; whether it did.

        From the first sign of a change until they are read everything waits. An editor empties a file before it writes
        it, or renames it away: read in between, it would allow what it forbids. So a file must have rested for some
        seconds, and one that is gone for a minute. What cannot be understood lets everything wait, too.

        Args:
            now_us: by a clock that is never set.
        """
        stamps = self._look()
        if stamps != self._seen:
            self._seen, self._seen_us = stamps, now_us
        if self._seen == self._stamps:
            if self._trouble == _CHANGING:  # it was put back
                self._trouble = None
                return True
            return False
        rest = _GONE if self._seen[0] is None and self._stamps[0] is not None else _RESTED
        if now_us - self._seen_us < rest:
            self._trouble = _CHANGING
            return False
        self._stamps = stamps
        try:
            self._load()
            self._trouble = None
        except AgentOpsLocalError as error:
            self._trouble = f"nothing is uploaded: {error}"
            logger.error("agentops-sync: %s", self._trouble)
        return True

    def of(self, session_id: str, tags: Iterable[str], key: str | None, parent_key: str | None) -> Authority:
        """Under what a session is uploaded.

        Args:
            key, parent_key: the hashes of its keys.

        Raises:
            Withheld, Unauthorized: it is not, and why.
        """
        if self._trouble is not None:
            raise Unauthorized(self._trouble)
        policy = self.policy(session_id, tags, key)
        if not policy.uploads:
            raise Withheld("policy: never")
        found = self.key(key)
        if found is None:
            named = f"the API key {key}… of this session" if key else "an API key"
            raise Unauthorized(f"{named} is not known here: agentops-sync login, or AGENTOPS_API_KEY")
        return Authority(found, key_hash(found) or "", self._keys.parent_for_hash(parent_key), policy)

    def policy(self, session_id: str, tags: Iterable[str], key: str | None) -> Policy:
        """What may be uploaded of a session."""
        return self._policies.for_session(session_id, tags, key)

    def key(self, name: str | None) -> str | None:
        """The key of that hash; for None the one for sessions that were recorded without a key."""
        return self._keys.for_hash(name)

    def _look(self) -> tuple[object, object]:
        return Policies.stamp_of(self._path), Keys.stamp_of(self._environ)

    def _load(self) -> None:
        self._policies = Policies.load(self._path, self._environ)
        self._keys = Keys.load(self._api_key, self._environ)
