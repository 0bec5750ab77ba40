"""Redaction before storage: what must not be kept is replaced while it is still in memory.

Rules stand alone, in a sequence, or in {"keys": […], "patterns": […], "call": function, "defaults": True}:

| rule | what it does |
|---|---|
| "password", "*_token" | the value under such a key becomes "[redacted]"; `*` stands for any letters |
| re.compile("…") | each match in a text or a key becomes "[redacted]" |
| a function | is given the whole payload as plain data and returns what may be stored |
| "secrets" | the names and patterns of common credentials (`defaults` in a mapping) |

Case does not count in a key, and `api_key`, `api-key` and `apiKey` are one. Keys are met inside texts too: in JSON, in
`Config(password='…')`, in `password=…`. A redaction that fails stores nothing but "[redaction failed: ValueError]".
Nothing of the caller's is changed: a redactor returns copies.
"""

from __future__ import annotations

import binascii
import json
import logging
import re
from collections.abc import Callable, Iterable, Iterator, Mapping

_REDACTED = "[redacted]"
_log = logging.getLogger("agentops_local")

_SECRET_KEYS = """
    api_key apikey *_api_key *_apikey x_api_key api_token *_api_token api_secret
    authorization proxy_authorization auth_token *_auth_token bearer_token *_bearer_token bot_token *_bot_token
    token access_token *_access_token refresh_token *_refresh_token id_token session_token *_session_token jwt
    github_token gh_token gitlab_token hf_token npm_token
    secret *_secret secret_key *_secret_key secret_access_key *_secret_access_key access_key *_access_key
    password *_password passwd pwd passphrase *_passphrase private_key *_private_key credentials
    cookie set_cookie connection_string database_url
""".split()

# What a known kind of key begins with, and what follows. A pattern that begins with plain letters is searched for ten
# times as fast as one that begins with "no letter before".
_BEGINNINGS = {
    "sk-": r"[\w-]{16,}",
    "sk_live_": r"\w{16,}",
    "sk_test_": r"\w{16,}",
    "rk_live_": r"\w{16,}",
    "AKIA": r"[A-Z0-9]{16}",
    "ASIA": r"[A-Z0-9]{16}",
    "ghp_": r"\w{20,}",
    "gho_": r"\w{20,}",
    "ghu_": r"\w{20,}",
    "ghs_": r"\w{20,}",
    "ghr_": r"\w{20,}",
    "github_pat_": r"\w{20,}",
    "glpat-": r"[\w-]{16,}",
    "xox": r"[a-z]-[\w-]{10,}",
    "AIza": r"[\w-]{30,}",
    "hf_": r"\w{20,}",
    "eyJ": r"[\w-]{8,}\.[\w-]{8,}\.[\w-]*",  # a JSON Web Token
}
# With a text that each needs: most texts hold none of them.
_SECRET_PATTERNS = [(text, re.compile(rf"{text}(?<!\w{text}){rest}")) for text, rest in _BEGINNINGS.items()] + [
    ("earer", re.compile(r"[Bb]earer\s+[\w.~+/=-]{10,}")),
    ("BEARER", re.compile(r"BEARER\s+[\w.~+/=-]{10,}")),
    ("://", re.compile(r"(?<=://)[^\s/:@]*:[^\s/@]+(?=@)")),  # user:password@host
    ("PRIVATE KEY", re.compile(r"(?s)-----BEGIN [A-Z0-9 ]*PRIVATE KEY.*?(?:-----END [A-Z0-9 ]*KEY[A-Z -]*|\Z)")),
]

# A key in a text is looked for backwards from what follows it: an image in base64 holds few of these.
_SEPARATOR = re.compile(r"(?:=>|[:=])\s*")
_KEY_REVERSED = re.compile(r"""\s*(?:["']\\*)?([\w-]+)""")
_LONGEST_KEY = 64  # characters
_QUOTED = re.compile(
    r"""[bru]{0,2}(?P<quote>\\*(?:\"{3}|'{3}|["']))(?:(?:(?!(?P=quote))(?:\\.|.))*(?P=quote)|.*)""",
    re.DOTALL | re.IGNORECASE,
)
_OPENING = re.compile(r"[\w.]*[(\[{]")
_BRACKET = re.compile(r"[()\[\]{}]")
_WORD = re.compile(r"""(?:(?:bearer|basic|token|digest)\s+)?[^\s,;&"'()\[\]{}]+""", re.IGNORECASE)


def make_redactor(rules: object) -> Redactor | None:
    """The redactor that `rules` describe; None for no rules. A wrong rule: TypeError or ValueError."""
    if rules is None or isinstance(rules, Redactor):
        return rules
    redactor = Redactor()
    _add(redactor, rules)
    redactor.prepare()
    return redactor if redactor.keys or redactor.patterns or redactor.calls else None


def _add(redactor: Redactor, rule: object) -> None:
    if isinstance(rule, str):
        if rule.lower() == "secrets":
            redactor.keys.extend(_SECRET_KEYS)
            redactor.patterns.extend(_SECRET_PATTERNS)
        else:
            _add_key(redactor, rule)
    elif isinstance(rule, re.Pattern):
        _add_pattern(redactor, rule)
    elif isinstance(rule, Mapping):
        _add_mapping(redactor, rule)
    elif callable(rule):
        _add_call(redactor, rule)
    elif isinstance(rule, list | tuple | set | frozenset):
        for part in rule:
            _add(redactor, part)
    else:
        raise TypeError(
            f"redact: {rule!r} is no rule; give the name of a key, a pattern from re.compile(), a function, a list of "
            'these, or "secrets"'
        )


def _add_mapping(redactor: Redactor, rules: Mapping[object, object]) -> None:
    known = ("keys", "patterns", "call", "defaults")
    if unknown := [name for name in rules if name not in known]:
        raise ValueError(f"redact: there is no {unknown[0]!r}; a mapping of rules may hold {', '.join(known)}")
    for key in _several(rules.get("keys")):
        _add_key(redactor, key)
    for pattern in _several(rules.get("patterns")):
        _add_pattern(redactor, pattern)
    for call in _several(rules.get("call")):
        _add_call(redactor, call)
    if not isinstance(rules.get("defaults", False), bool):
        raise TypeError(f"redact: defaults must be True or False, not {rules['defaults']!r}")
    if rules.get("defaults"):
        _add(redactor, "secrets")


def _several(given: object) -> Iterable[object]:
    if given is None:
        return ()
    return given if isinstance(given, list | tuple | set | frozenset) else (given,)


def _add_key(redactor: Redactor, key: object) -> None:
    if not isinstance(key, str):
        raise TypeError(f"redact: {key!r} is no name of a key; give a text such as 'password' or '*_token'")
    if not key.strip():
        raise ValueError(f"redact: {key!r} names no key; leave it out, or give '*' to redact every value")
    redactor.keys.append(key.strip())


def _add_pattern(redactor: Redactor, pattern: object) -> None:
    if not isinstance(pattern, re.Pattern):
        raise TypeError(f"redact: {pattern!r} is no pattern; give re.compile({pattern!r})")
    if not isinstance(pattern.pattern, str):
        raise TypeError(f"redact: {pattern.pattern!r} is a pattern for bytes; compile it from a text")
    if pattern.search(""):
        raise ValueError(f"redact: {pattern.pattern!r} matches the empty text, so everywhere; have it match a letter")
    redactor.patterns.append(("", pattern))


def _add_call(redactor: Redactor, call: object) -> None:
    if not callable(call):
        raise TypeError(f"redact: {call!r} cannot be called; give a function from the payload to what may be stored")
    if getattr(getattr(call, "__code__", None), "co_flags", 0) & 0x80:  # CO_COROUTINE
        raise TypeError(f"redact: {call!r} is asynchronous; recording does not wait, so give an ordinary function")
    redactor.calls.append(call)


def _spellings(key: str) -> set[str]:
    """A key as it is compared: api_key for API-KEY and for apiKey; PassWord may be meant for one word or for two."""
    key = key.replace("-", "_")
    return {key.lower(), re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", key).lower()}


class Redactor:
    """Rules in force: call it with a payload, or `text` with a text. Made by `make_redactor`."""

    def __init__(self) -> None:
        self.keys: list[str] = []
        self.patterns: list[tuple[str, re.Pattern[str]]] = []
        self.calls: list[Callable[[object], object]] = []
        self._secret_key: Callable[[str], object] | None = None
        self._named: dict[str, bool] = {}  # keys seen, and whether they name a secret
        self._warned = False

    def prepare(self) -> None:
        """Compile the keys, when all are known."""
        if self.keys:
            names = sorted({name for key in self.keys for name in _spellings(key)})
            pattern = "|".join(re.escape(name).replace(r"\*", ".*") for name in names)
            self._secret_key = re.compile(pattern, re.DOTALL).fullmatch

    def __call__(self, value: object) -> object:
        """A redacted copy of `value`; a text that says so if that failed."""
        try:
            value = self._redacted(value)
            for call in self.calls:
                value = call(value)
            return value
        except Exception as exc:  # noqa: BLE001 - the user's code; and what could not be redacted must not be stored
            if not self._warned:
                self._warned = True
                _log.warning("redaction failed with %s: the payload is not stored", type(exc).__name__)
            return f"[redaction failed: {type(exc).__name__}]"

    def text(self, text: str) -> str:
        """A redacted copy of a plain text."""
        redacted = self(text)
        return redacted if type(redacted) is str else str(redacted)

    def _redacted(self, value: object) -> object:
        kind = type(value)
        if kind is str:
            return self._text(str(value))
        if value is None or kind is bool or kind is int or kind is float:
            return value
        if isinstance(value, Mapping):
            return dict(self._pairs(value))
        if isinstance(value, list | tuple | set | frozenset):
            return [self._redacted(item) for item in value]
        if isinstance(value, bytes | bytearray | memoryview):
            return self._text(bytes(value).decode(errors="backslashreplace"))
        return self._text(str(value) if isinstance(value, str) else repr(value))

    def _pairs(self, value: Mapping[object, object]) -> Iterator[tuple[object, object]]:
        taken: set[object] = set()
        for key, item in value.items():
            hidden = item is not None and self._names_secret(str(key))
            name = text = self._text(key) if isinstance(key, str) else key
            number = len(taken)
            while name in taken:  # two secret keys, both redacted: keep both values
                name = f"{text} ({(number := number + 1)})"
            taken.add(name)
            yield name, _REDACTED if hidden else self._redacted(item)

    def _text(self, text: str) -> str:
        if text.startswith("base64:") and self._finds_in_bytes(text):
            return _REDACTED
        if text.lstrip()[:1] in ("{", "[") and (inner := self._json(text)) is not None:
            text = inner
        elif self._secret_key is not None:
            text = self._hide_values(text)
        for literal, pattern in self.patterns:
            if literal in text:
                text = pattern.sub(_REDACTED, text)
        return text

    def _names_secret(self, key: str) -> bool:
        named = self._named.get(key)
        if named is None:
            if len(self._named) > 10_000:
                self._named.clear()
            secret = self._secret_key
            named = secret is not None and any(secret(name) for name in _spellings(key))
            self._named[key] = named
        return named

    def _json(self, text: str) -> str | None:
        """JSON in a text (the arguments of a tool call are that), redacted; None if it is none."""
        try:
            inner = json.loads(text)
        except (ValueError, RecursionError):
            return None
        redacted = self._redacted(inner)
        return text if redacted == inner else json.dumps(redacted, ensure_ascii=False)

    def _hide_values(self, text: str) -> str:
        """`text` without the values that follow secret keys in it."""
        parts: list[str] = []
        done = 0
        for separator in _SEPARATOR.finditer(text):
            at = separator.start()
            key = _KEY_REVERSED.match(text[max(done, at - _LONGEST_KEY) : at][::-1])
            if at >= done and key and self._names_secret(key[1][::-1]):
                end, quote = _value_end(text, separator.end())
                parts += text[done : separator.end()], quote, _REDACTED, quote
                done = end
        return "".join(parts) + text[done:] if parts else text

    def _finds_in_bytes(self, text: str) -> bool:
        """Whether there is something to redact in bytes that are no text, which arrive here as base64."""
        code = text[7:].partition("…")[0]
        try:
            inner = binascii.a2b_base64(code[: len(code) // 4 * 4]).decode("latin-1")
        except ValueError:
            return False
        return self._text(inner) != inner


def _value_end(text: str, start: int) -> tuple[int, str]:
    """Where a value in a text ends, and its quote, if any."""
    if quoted := _QUOTED.match(text, start):
        return quoted.end(), quoted["quote"]
    if opening := _OPENING.match(text, start):
        depth = 1
        for bracket in _BRACKET.finditer(text, opening.end()):
            depth += 1 if bracket[0] in "([{" else -1
            if depth == 0:
                return bracket.end(), ""
        return len(text), ""
    word = _WORD.match(text, start)
    return (word.end() if word else start), ""
