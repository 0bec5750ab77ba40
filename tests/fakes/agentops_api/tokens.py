"""Tokens of the kind the server hands out: HS256, a session and an expiry, nothing else."""

from __future__ import annotations

import base64
import binascii
import hmac
import json
from typing import Any

from tests.fakes.agentops_api.values import Crash


class Expired(Exception):
    """The signature is right and the time is over."""


def _part(raw: bytes) -> bytes:
    return base64.urlsafe_b64encode(raw).rstrip(b"=")


def _raw(part: bytes) -> bytes:
    return base64.urlsafe_b64decode(part + b"=" * (-len(part) % 4))


def sign(claims: dict[str, Any], secret: str) -> str:
    """A token over these claims."""
    payload = _part(json.dumps(claims, separators=(",", ":")).encode())
    head = _part(b'{"alg":"HS256","typ":"JWT"}') + b"." + payload
    return (head + b"." + _part(hmac.digest(secret.encode(), head, "sha256"))).decode()


def session_of(token: str, secret: str, now: float, dead_until: float = 0.0) -> str | None:
    """The session a token is for; None for a token that cannot be read or that somebody else has signed.

    The real server goes on with that None until something breaks.
    """
    try:
        head, signature = token.encode().rsplit(b".", 1)
        if not hmac.compare_digest(_raw(signature), hmac.digest(secret.encode(), head, "sha256")):
            return None
        claims = json.loads(_raw(head.split(b".")[1]))
    except (ValueError, IndexError, binascii.Error):
        return None
    # The library looks at whole seconds; what was expired by hand has to be told apart from the next token.
    if "exp" in claims and (int(claims["exp"]) <= now or claims["exp"] <= dead_until):
        raise Expired
    if "session_id" not in claims:
        raise Crash("no session in the token")
    return str(claims["session_id"])
