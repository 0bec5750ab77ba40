"""Takes what matches a pattern out of recorded text, and leaves valid JSON.

The pattern is held against each text and each number of a payload on its own, as the program gave it and not as JSON
spells it; keys are texts as well. A text that holds JSON itself, as the arguments of a tool call do, is gone through in
the same way, and then as it stands.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable

from agentops_local.errors import WrongUse, shown

MARKER = "[erased]"

# The texts and numbers of a JSON text, in order. A comma, a bracket or a word between them is never of interest.
_TOKEN = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"|-?\d[\d.eE+-]*', re.DOTALL)
# What makes a pattern look at what stands around its match: there, a text and the JSON that it is in may differ.
_LOOKS_AROUND = re.compile(r"[\^$]|\\[AbBZz]|\(\?[=!<>(]|[*+?}]\+")
_ROUNDS = 10  # what is put together by a replacement may match again
_DEPTH = 8  # JSON within a text within JSON


class Censor:
    """What is to be taken out, and what is put in its place.

    Args:
        pattern: a regular expression.
        replacement: a text, as it stands.

    Raises:
        WrongUse: if it is none, if it would match everything, or the replacement itself.

    Attributes:
        matches: how often it has matched so far.
    """

    def __init__(self, pattern: str, replacement: str = MARKER) -> None:
        try:
            self._pattern = re.compile(pattern)
        except (re.error, RecursionError, OverflowError) as error:
            raise WrongUse(f"{shown(pattern)} is no regular expression: {error}") from error
        if self._pattern.search(""):
            raise WrongUse(f"{shown(pattern)} matches the empty text, and so everything: say what must be there")
        if self._pattern.search(replacement):
            raise WrongUse(f"{shown(pattern)} matches {shown(replacement)}, which would take its place: use another")
        if any("\ud800" <= character <= "\udfff" or character == "\0" for character in replacement):
            raise WrongUse(f"{shown(replacement)} cannot be stored: use another replacement")
        self._replacement = replacement
        self._looks_around = _LOOKS_AROUND.search(pattern) is not None
        self.matches = 0

    def plain(self, text: str) -> str:
        """A text without what matches."""
        for _ in range(_ROUNDS):
            scrubbed, times = self._pattern.subn(self._put, text)
            if scrubbed == text:  # no match, or empty ones alone
                return text
            self.matches += times
            text = scrubbed
            if not self._pattern.search(text):
                return text
        return self._replacement  # each replacement makes a match anew with what stands beside it

    def _put(self, match: re.Match[str]) -> str:
        return self._replacement if match[0] else ""

    def json(self, text: str, depth: int = 0) -> str:
        """A JSON text, or a part of one that ends between two tokens, without what matches in its texts and numbers.
        What does not match stays as it is, to the letter."""
        if not (self._looks_around or "\\" in text or self._pattern.search(text)):
            return text  # without escapes, whatever matches in a text does so in its JSON

        def scrub(token: re.Match[str]) -> str:
            literal = token[0]
            if literal[0] != '"':
                scrubbed = self.plain(literal)
                return literal if scrubbed == literal else _literal(scrubbed)
            held = _text(literal)
            scrubbed = self._held(held, depth)
            return literal if scrubbed == held else _literal(scrubbed)

        return _TOKEN.sub(scrub, text)

    def _held(self, text: str, depth: int) -> str:
        if depth < _DEPTH and text[:1] in ("{", "[", '"') and _is_json(text):
            text = self.json(text, depth + 1)
        return self.plain(text)

    def column(self, is_json: bool) -> Callable[[str], str]:
        """What does it for a column of that kind."""
        return self.json if is_json else self.plain


def _text(literal: str) -> str:
    if "\\" not in literal:
        return literal[1:-1]
    try:
        return str(json.loads(literal, strict=False))
    except ValueError:
        return literal[1:-1]


def _literal(text: str) -> str:
    literal = json.dumps(text, ensure_ascii=False)
    try:
        literal.encode()
    except UnicodeEncodeError:  # half of a pair, which was written as an escape
        return json.dumps(text)
    return literal


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True
