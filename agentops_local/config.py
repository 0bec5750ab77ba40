"""Settings: what they are called, which environment variable gives them, what holds without either.

| setting | environment variable | default |
|---|---|---|
| api_key | AGENTOPS_API_KEY | none; recording needs none, uploading does |
| parent_key | AGENTOPS_PARENT_KEY | none |
| endpoint | AGENTOPS_API_ENDPOINT | https://api.agentops.ai, used by the upload only |
| max_wait_time, max_queue_size | | accepted and kept; nothing is queued, so they change nothing |
| default_tags | | none |
| instrument_llm_calls | | True |
| auto_start_session | | True |
| skip_auto_end_session | | False: a framework's own end of the session is heeded |
| env_data_opt_out | AGENTOPS_ENV_DATA_OPT_OUT | False |
| db | AGENTOPS_LOCAL_DB | `.agentops/agentops.db` of the project |
| durability | AGENTOPS_LOCAL_DURABILITY | "process": survives the end of the process; "power": a power cut as well |
| | AGENTOPS_LOCAL_BUDGET | none: '5', '5/day', '5/project/allow' (see `agentops_local.budget`) |
| | AGENTOPS_LOCAL_SAVE_KEY | True: a key given to `init()` is kept for the upload; 0, or env_data_opt_out: it is not |
| | AGENTOPS_LOCAL_CREDENTIALS | where it is kept: a file of the user's (see `agentops_local.credentials`) |
| redact | | none: a callable, names of keys, patterns (see `agentops_local.redact`) |
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from hashlib import blake2b
from itertools import islice
from typing import TYPE_CHECKING, cast
from uuid import UUID

from agentops_local.errors import WrongUse, shown
from agentops_local.log import logger

if TYPE_CHECKING:
    from agentops_local.redact import Redactor

ENDPOINT = "https://api.agentops.ai"
SESSION_VARIABLE = "AGENTOPS_LOCAL_SESSION"
DURABILITIES = ("process", "power")


class Configuration:
    """The settings in force. Each may be read and set as an attribute; `configure` sets those that are given."""

    def __init__(self) -> None:
        env = os.environ
        self.api_key: str | None = env.get("AGENTOPS_API_KEY") or None
        self.parent_key: str | None = env.get("AGENTOPS_PARENT_KEY") or None
        self.endpoint: str | None = env.get("AGENTOPS_API_ENDPOINT") or ENDPOINT
        self.max_wait_time: int | None = 5000
        self.max_queue_size: int | None = 512
        self.default_tags: set[str] = set()
        self.instrument_llm_calls: bool | None = True
        self.auto_start_session: bool | None = True
        self.skip_auto_end_session: bool | None = False
        self.env_data_opt_out: bool | None = env.get("AGENTOPS_ENV_DATA_OPT_OUT", "").lower() in ("true", "1", "yes")
        self.db: str | os.PathLike[str] | None = None  # None: AGENTOPS_LOCAL_DB, else the project's
        self.durability: str = "process"
        try:
            self.durability = _durability(env.get("AGENTOPS_LOCAL_DURABILITY") or "process")
        except WrongUse as error:  # a slip in the environment must not stop the program
            logger.warning("agentops_local: AGENTOPS_LOCAL_DURABILITY: %s", error)
        self.redact: object = None

    def configure(
        self,
        client: object = None,  # noqa: ARG002 - the classic SDK passes its client here
        api_key: str | None = None,
        parent_key: str | None = None,
        endpoint: str | None = None,
        max_wait_time: int | None = None,
        max_queue_size: int | None = None,
        default_tags: Iterable[str] | None = None,
        instrument_llm_calls: bool | None = None,
        auto_start_session: bool | None = None,
        skip_auto_end_session: bool | None = None,
        env_data_opt_out: bool | None = None,
        *,
        db: str | os.PathLike[str] | None = None,
        durability: str | None = None,
        redact: object = None,
    ) -> None:
        """Sets what is given; None leaves a setting as it is.

        Args:
            client: accepted for the classic SDK's sake, and ignored.

        Raises:
            WrongUse: for a value that cannot be accepted; what was set before it stays. Redaction rules that cannot be
                understood leave every payload out until there are some that can.
        """
        if default_tags is not None:
            self.default_tags.update(tag_list(default_tags))
        for name, key in (("api_key", api_key), ("parent_key", parent_key)):
            if key is not None:
                setattr(self, name, key)
                if _uuid(key) is None:  # the key itself is never shown
                    logger.warning("agentops_local: the %s is no UUID; recording goes on, an upload will fail", name)
        given: Mapping[str, object] = {
            "endpoint": endpoint,
            "max_wait_time": max_wait_time,
            "max_queue_size": max_queue_size,
            "instrument_llm_calls": instrument_llm_calls,
            "auto_start_session": auto_start_session,
            "skip_auto_end_session": skip_auto_end_session,
            "env_data_opt_out": env_data_opt_out,
            "db": db,
        }
        for name, value in given.items():
            if value is not None:
                setattr(self, name, value)
        self._keep_for_upload(api_key, parent_key)
        # Last, for they may be refused: whatever else was given is in force by now.
        if redact is not None:
            self.redact = _withhold  # until the rules are understood: a slip in them must not open the door
            make_redactor(redact)
            self.redact = redact
        if durability is not None:
            self.durability = _durability(durability)

    def _keep_for_upload(self, *keys: str | None) -> None:
        """Keeps keys that the program has given, for the daemon: another process, that could not know them."""
        given = [key for key in keys if key is not None]
        if given and not self.env_data_opt_out:
            from agentops_local.credentials import remember_key

            for key in given:
                remember_key(key)

    @property
    def power(self) -> bool:
        """Whether every event survives a power cut."""
        return self.durability == "power"

    def redactor(self) -> Redactor | None:
        """The redaction in force."""
        return make_redactor(self.redact)

    def __repr__(self) -> str:
        shown = {name: ("***" if name.endswith("_key") and value else value) for name, value in vars(self).items()}
        return f"Configuration({', '.join(f'{name}={value!r}' for name, value in shown.items())})"


def _withhold(payload: object) -> object:  # noqa: ARG001 - that is its purpose
    return "[left out: the rules given to redact= were refused]"


def make_redactor(rules: object) -> Redactor | None:
    """A redactor from rules; its module is loaded only if there are any."""
    if rules is None:
        return None
    from agentops_local import redact

    try:
        return redact.make_redactor(rules)
    except (TypeError, ValueError) as error:
        raise WrongUse(str(error)) from error


def key_hash(key: str | None) -> str | None:
    """The name under which the database knows an API key: 16 hex digits of its BLAKE2b hash, the same for every
    spelling of one UUID. A key has 122 random bits, so the hash gives nothing away."""
    if not key:
        return None
    parsed = _uuid(key)
    return blake2b(str(parsed or key).encode(), digest_size=8).hexdigest()


_MOST_TAGS = 10_000  # an iterator may have no end


def tag_list(tags: object) -> list[str]:
    """Tags as a list: a bare text counts as one, each stands once, in the order given."""
    if tags is None:
        return []
    if issubclass(type(tags), str):
        return [_tag(tags)]
    try:
        listed = list(islice(cast("Iterable[object]", tags), _MOST_TAGS + 1))
    except Exception:  # noqa: BLE001 - whatever the user's own iteration raises
        raise WrongUse(f"tags {shown(tags)} are no list of text: use ['a', 'b'] or 'a'") from None
    if len(listed) > _MOST_TAGS:
        raise WrongUse(f"tags {shown(tags)} are more than {_MOST_TAGS}")
    return list(dict.fromkeys(map(_tag, listed)))


def _tag(tag: object) -> str:
    try:
        return "".join(str(tag))
    except Exception:  # noqa: BLE001 - a tag that cannot tell its text is told by its type
        return object.__repr__(tag)


def _uuid(text: object) -> UUID | None:
    try:
        return UUID(str(text))
    except ValueError:
        return None


def _durability(word: str) -> str:
    if word not in DURABILITIES:
        raise WrongUse(f"durability {shown(word)} is not known: use 'process' (default) or 'power'")
    return word
