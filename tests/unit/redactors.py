"""What the tests of redaction hide, and with what."""

from __future__ import annotations

import dataclasses
import re

from agentops_local.redact import Redactor, make_redactor

CANARY = "CANARY7315"
REDACTED = "[redacted]"


def redactor(rules: object) -> Redactor:
    """The redactor of rules that are some."""
    made = make_redactor(rules)
    assert made is not None
    return made


SECRETS = redactor("secrets")
BY_PATTERN = redactor(re.compile(r"CANARY\d+"))


@dataclasses.dataclass
class Login:
    user: str
    password: str


class Config:
    def __init__(self, password: object) -> None:
        self.password = password

    def __repr__(self) -> str:
        return f"Config(user='me', password={self.password!r}, retries=3)"
