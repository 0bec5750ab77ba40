"""What may travel: the upload policy of a project, a tag, a session or an API key.

| policy | what the server gets |
|---|---|
| full | everything that was recorded |
| masked | everything, with the redaction rules applied to every payload and every name once more (default: "secrets") |
| metadata | ids, times, kinds, names (tools, action types, agents, tags), models, thread ids, token counts, costs, error types, error codes, triggers, end states; no prompt, completion, params, returns, logs, details, screenshot, video, end state reason or host environment |
| never | nothing, not even that the session exists |

It stands in `sync.toml` beside the database:

    [upload]
    policy = "full"                           # where no rule matches
    redact = ["secrets", "regex CUST-[0-9]+"] # for "masked": names of keys as in init(redact=...), or "regex ..."

    [[upload.rule]]                           # of the rules that match, the strictest holds
    tag = "private"                           # or session = "UUID", or key = "8 hex digits" (8 to 16 of the key's hash)
    policy = "never"

A rule with several criteria matches where all of them do. A rule may be looser than the policy of the project: that is
how only what is tagged is uploaded. AGENTOPS_LOCAL_UPLOAD names a policy that nothing is looser than.

A file that cannot be understood raises `WrongPolicy`, and then nothing may be uploaded at all: a slip in the rule that
says "never" must not open the door.
"""  # noqa: E501 - a table

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

from agentops_local.errors import AgentOpsLocalError
from agentops_local.redact import Redactor, make_redactor

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

FILE = "sync.toml"
VARIABLE = "AGENTOPS_LOCAL_UPLOAD"
POLICIES = ("full", "masked", "metadata", "never")  # the strictest comes last

_CRITERIA = ("tag", "session", "key")
_KEY = re.compile("[0-9a-f]{8,16}")
_REGEX = re.compile(r"regex[ :]\s*(?=\S)")

Stamp = tuple[int, int, int] | None


class WrongPolicy(AgentOpsLocalError):
    """The upload policy cannot be understood; the message names the place and the remedy. Nothing may be uploaded."""


@dataclass(frozen=True, slots=True)
class Policy:
    """What may travel of a session.

    Attributes:
        name: 'full', 'masked', 'metadata' or 'never'.
        redactor: for 'masked', what replaces that which must not travel; else None.
    """

    name: str
    redactor: Redactor | None = None

    @property
    def uploads(self) -> bool:
        """Whether anything travels."""
        return self.name != "never"

    def payload(self, value: object) -> object:
        """What travels of a payload, given as plain data: itself, a redacted copy, or None."""
        if self.name == "full":
            return value
        return self.redactor(value) if self.name == "masked" and self.redactor and value is not None else None

    def label(self, text: object) -> object:
        """What travels of a name, a model, a tag or a code: itself, or a redacted copy."""
        return self.redactor(text) if self.name == "masked" and self.redactor and text is not None else text


FULL = Policy("full")


@dataclass(frozen=True, slots=True)
class _Rule:
    """A policy for the sessions that meet every criterion that is given."""

    policy: str
    tag: str | None
    session: str | None
    key: str | None

    def matches(self, session_id: str, tags: Iterable[str], key_hash: str | None) -> bool:
        return (
            (self.tag is None or self.tag in tags)
            and (self.session is None or self.session == session_id)
            and (self.key is None or (key_hash or "").lower().startswith(self.key))
        )


class Policies:
    """The policies of a database. Made by `load`.

    Attributes:
        stamp: tells this edition of the file from another; compare it with `stamp_of`.
    """

    def __init__(self, default: str, floor: str, rules: list[_Rule], redactor: Redactor | None, stamp: Stamp) -> None:
        self._default = default
        self._floor = floor
        self._rules = rules
        self._policies = {name: Policy(name, redactor if name == "masked" else None) for name in POLICIES}
        self.stamp = stamp

    @classmethod
    def load(cls, path_of_database: Path, environ: Mapping[str, str] = os.environ) -> Policies:
        """The policies for a database, from the file beside it and the environment. Without either all is 'full'.

        Raises:
            WrongPolicy: then nothing may be uploaded, until it can be understood.
        """
        file = path_of_database.with_name(FILE)
        stamp = cls.stamp_of(path_of_database)  # before reading: an edit meanwhile is noticed
        floor = environ.get(VARIABLE) or POLICIES[0]
        if floor not in POLICIES:
            raise WrongPolicy(f"{VARIABLE}={floor!r} is no upload policy: use {_words(POLICIES)}")
        upload = _table(_parsed(file).get("upload", {}), f"{file}: [upload]", ("policy", "redact", "rule"))
        default = _policy(upload.get("policy", POLICIES[0]), f"{file}: [upload]")
        redactor = _redactor(upload.get("redact", ["secrets"]), f"{file}: [upload] redact")
        given = upload.get("rule", [])
        if not isinstance(given, list):
            raise WrongPolicy(f"{file}: [upload.rule] is one table where a list is wanted: write [[upload.rule]]")
        rules = [_rule(rule, f"{file}: rule {number}") for number, rule in enumerate(given, 1)]
        return cls(default, floor, rules, redactor, stamp)

    @staticmethod
    def stamp_of(path_of_database: Path) -> Stamp:
        """The edition of the file beside a database: its inode, time of change in nanoseconds and size in bytes; None
        if there is none. It is not read."""
        try:
            info = path_of_database.with_name(FILE).stat()
        except OSError:
            return None
        return info.st_ino, info.st_mtime_ns, info.st_size

    def for_session(self, id: str, tags: Iterable[str], key_hash: str | None) -> Policy:
        """The policy of a session: the strictest of the rules that match, else that of the project; never looser than
        the environment's.

        Args:
            id: UUID text.
            tags: its tags as they are now: a tag that is added later holds for what has not been sent yet.
            key_hash: of its API key, 16 hex digits; None if it was recorded without one.
        """
        has = frozenset(tags)
        matching = [rule.policy for rule in self._rules if rule.matches(id.lower(), has, key_hash)]
        return self._policies[_strictest([self._floor, *(matching or [self._default])])]


def _strictest(names: Iterable[str]) -> str:
    return max(names, key=POLICIES.index)


# Reading the file --------------------------------------------------------------------------------------------------


def _parsed(file: Path) -> Mapping[str, Any]:
    try:
        return _table(tomllib.loads(file.read_text(encoding="utf-8")), f"{file}", ("upload",))
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise WrongPolicy(f"{file} cannot be read ({error.strerror}): make it readable, or remove it") from error
    except ValueError as error:  # TOMLDecodeError tells the line; UnicodeDecodeError is one as well
        raise WrongPolicy(f"{file} is not TOML ({error}): correct that line") from error


def _table(value: object, place: str, known: tuple[str, ...]) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise WrongPolicy(f"{place} is no table: it holds {_words(known)}")
    if unknown := [name for name in value if name not in known]:
        raise WrongPolicy(f"{place}: there is no setting {unknown[0]!r}: it holds {_words(known)}")
    return value


def _policy(value: object, place: str) -> str:
    if not isinstance(value, str) or value not in POLICIES:
        raise WrongPolicy(f"{place}: policy {value!r} is not known: use {_words(POLICIES)}")
    return value


def _redactor(rules: object, place: str) -> Redactor | None:
    if not isinstance(rules, list) or not rules:
        raise WrongPolicy(f'{place}: {rules!r} is no list of rules: write ["secrets"], or leave it out')
    if not all(isinstance(rule, str) for rule in rules):
        raise WrongPolicy(f'{place}: a rule is a text: the name of a key, "secrets", or "regex ..."')
    try:
        return make_redactor([_redaction(rule) for rule in rules])
    except (TypeError, ValueError, re.error) as error:
        raise WrongPolicy(f"{place}: {error}") from error


def _redaction(rule: str) -> object:
    """A rule as init(redact=...) takes it: TOML has no patterns, so a text that begins with "regex" is one."""
    found = _REGEX.match(rule)
    return re.compile(rule[found.end() :]) if found else rule


def _rule(value: object, place: str) -> _Rule:
    table = _table(value, place, ("policy", *_CRITERIA))
    if "policy" not in table:
        raise WrongPolicy(f"{place} names no policy: add policy = and one of {_words(POLICIES)}")
    criteria = {name: table[name] for name in _CRITERIA if name in table}
    if not criteria:
        raise WrongPolicy(f"{place} matches nothing: add {_words(_CRITERIA)}, or set the policy in [upload]")
    for name, text in criteria.items():
        if not isinstance(text, str) or not text:
            raise WrongPolicy(f"{place}: {name} = {text!r} is no text: write it in quotes")
    return _Rule(
        _policy(table["policy"], place),
        criteria.get("tag"),
        _session(criteria["session"], place) if "session" in criteria else None,
        _key(criteria["key"], place) if "key" in criteria else None,
    )


def _session(text: str, place: str) -> str:
    try:
        return str(UUID(text))
    except ValueError:
        raise WrongPolicy(f"{place}: session {text!r} is no UUID: write the whole id of the session") from None


def _key(text: str, place: str) -> str:
    if not _KEY.fullmatch(text.lower()):
        # The text is not shown: it may be the key itself.
        raise WrongPolicy(
            f"{place}: key is no beginning of a key's hash: write 8 to 16 hex digits, never the key itself"
        )
    return text.lower()


def _words(names: tuple[str, ...]) -> str:
    quoted = [repr(name) for name in names]
    return quoted[0] if len(quoted) == 1 else f"{', '.join(quoted[:-1])} or {quoted[-1]}"
