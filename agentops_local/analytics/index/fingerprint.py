"""What makes two errors the same: their type, their code, and their words without what changes from one to the next."""

from __future__ import annotations

import re
from hashlib import blake2b
from typing import NamedTuple

_LONGEST = 2000  # characters that are looked at
_SHOWN = 400
# In this order: what is left of a longer thing must not be taken for a shorter one.
_CHANGING = (
    (re.compile(r"(?i)\b[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}\b"), "<id>"),
    (re.compile(r"\b\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}(?::\d{2}(?:[.,]\d+)?)?(?:Z|[+-]\d{2}:?\d{2})?"), "<time>"),
    (re.compile(r"\b\d{4}-\d{2}-\d{2}\b"), "<date>"),
    (re.compile(r"(?i)\bhttps?://[^\s'\"<>]+"), "<url>"),
    (re.compile(r"(?<![\w.])(?:[A-Za-z]:\\|~?/)[^\s'\":,;()\[\]{}]+"), "<path>"),
    (re.compile(r"(?i)\b0x[0-9a-f]+\b"), "<hex>"),
    (re.compile(r"(?i)\b(?=[a-z_-]*\d)(?=\d*[a-z_-])[a-z0-9_-]{16,}\b"), "<id>"),
    (re.compile(r"(?i)\b(?=[0-9a-f]*\d)[0-9a-f]{8,}\b"), "<hex>"),
    (re.compile(r"(?<![\w.])[-+]?\d+(?:[.,]\d+)*|\d+(?:[.,]\d+)*"), "<n>"),
)
_SPACE = re.compile(r"\s+")


class Fingerprint(NamedTuple):
    """What errors that are alike have in common.

    Attributes:
        hash: 16 bytes.
        text: their words, with what changes as `<n>`, `<id>`, `<path>` and the like.
    """

    hash: bytes
    error_type: str
    code: str | None
    text: str


def fingerprint(error_type: str | None, code: str | None, words: str | None) -> Fingerprint:
    """The fingerprint of an error.

    Args:
        words: its message, as text. Only the last line of a traceback counts, for the lines of a program move.
    """
    text = (words or "").strip()
    if text.startswith("Traceback (most recent call last)"):
        text = text.rsplit("\n", 1)[-1]
    text = text[:_LONGEST]
    for pattern, name in _CHANGING:
        text = pattern.sub(name, text)
    text = _SPACE.sub(" ", text)[:_SHOWN]
    known = "\x00".join((error_type or "", code or "", text))
    return Fingerprint(
        blake2b(known.encode("utf-8", "surrogatepass"), digest_size=16).digest(), error_type or "", code, text
    )
