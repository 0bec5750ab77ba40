from __future__ import annotations

import re
from base64 import b64encode
from hashlib import sha256
from html.parser import HTMLParser
from typing import Any

from agentops_local import analytics
from agentops_local.analytics import filters
from agentops_local.event import ActionEvent, ErrorEvent, LLMEvent, ToolEvent
from agentops_local.exporting.markup import message
from tests.analytics.recording import SECRET, Book, secretive
from tests.exporting.exported import raw

_VOID = ("meta", "img")
_ALLOWED = set(
    """
    html head meta title style body section h1 ul li b time p span svg a rect div i article header details summary pre
    footer img
""".split()
)
EVIL = "</title></style><script>alert(1)</script><img src=x onerror=alert(2)>\" onload='alert(3)' javascript:alert(4)"


class Page(HTMLParser):
    """A page as a browser reads it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str | None]] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Counts a tag."""
        self.tags.append(tag)
        self.attributes += [(tag, name, value) for name, value in attrs]
        if tag not in _VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        """Every tag is closed in its order."""
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        """Gathers the text."""
        self.text += data

    def of(self, name: str) -> list[str | None]:
        """The values of an attribute."""
        return [value for _, known, value in self.attributes if known == name]


def html(book: Book, sessions: Any = "last", **how: Any) -> str:
    """The page."""
    return raw(book, sessions, "html", **how).decode()


def test_recorded_text_is_never_markup(book: Book) -> None:
    """Whatever was recorded, wherever it stands, the page has the elements and attributes that we write and no others,
    and shows the text as it was."""
    state = book.session(EVIL)
    state.agent_names["0197a1b2-0000-7000-8000-000000000001"] = EVIL
    talk = [{"role": EVIL, "name": EVIL, "content": EVIL, EVIL: EVIL},
            {"role": "user", "content": [{"type": "text", "text": EVIL}, {"type": EVIL},
                                         {"type": "image_url", "image_url": {"url": EVIL}}]},
            {"role": "assistant", "tool_calls": [{"id": EVIL, "function": {"name": EVIL, "arguments": EVIL}}, EVIL]},
            EVIL, 7]  # fmt: skip
    book.add(state, LLMEvent(prompt=talk, completion=EVIL, model=EVIL, params={EVIL: EVIL}, returns=EVIL))
    book.add(state, LLMEvent(prompt=EVIL, completion={"role": EVIL, "content": {EVIL: EVIL}}))
    tool = book.add(state, ToolEvent(name=EVIL, params=EVIL, returns=[EVIL], logs=EVIL))
    book.add(state, ActionEvent(action_type=EVIL, screenshot=EVIL), tool)
    book.add(state, ErrorEvent(trigger_event=tool, error_type=EVIL, code=EVIL, details=EVIL))
    book.change("UPDATE agents SET name = ?", EVIL)
    book.change("INSERT INTO agents VALUES (99, 1, ?, ?, 99)", EVIL, EVIL)
    book.change("INSERT INTO scores VALUES (1, 1, NULL, ?1, 'text', NULL, ?1, ?1, 5)", EVIL)
    analytics.score("last", "thumb", "up", event=str(tool.id), note=EVIL)
    book.end(state, "Fail", EVIL)
    page = Page(html(book))
    assert set(page.tags) <= _ALLOWED
    assert not [name for _, name, _ in page.attributes if name.startswith("on")]
    assert all(value is not None and value.startswith("#") for value in page.of("href"))
    assert page.of("src") == []
    assert page.text.count("<script>alert(1)</script>") > 10


def test_policy(book: Book) -> None:
    """The page's own policy forbids everything but its one style sheet, known by its hash, and pictures that lie in it;
    there is no script, no link to elsewhere and no style beside that sheet."""
    book.llm(book.session(), "hello")
    text = html(book)
    (style,) = re.findall("<style>(.*?)</style>", text, re.S)
    digest = b64encode(sha256(style.encode()).digest()).decode()
    policy = next(value for value in Page(text).of("content") if value is not None and "default-src" in value)
    assert policy.startswith(f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:;")
    assert Page(text).of("style") == []
    assert "http" not in text.replace("http-equiv", "")
    assert text.index("Content-Security-Policy") < text.index("<style>")
    assert "prefers-color-scheme: dark" in style
    assert "width=device-width" in text


def test_each_message_is_shown_once(book: Book) -> None:
    """Of a conversation each message is shown once, with the call that brought it, though each call repeats them all;
    a call that goes on from an earlier message points to it."""
    state = book.session()
    talk = [{"role": "system", "content": "the-system-prompt"}]
    for turn in range(20):
        talk.append({"role": "user", "content": f"question-{turn:02}"})
        book.add(state, LLMEvent(prompt=list(talk), completion=f"answer-{turn:02}", model="m"))
        talk.append({"role": "assistant", "content": f"answer-{turn:02}"})
    book.add(state, LLMEvent(prompt=[*talk[:2], {"role": "user", "content": "aside"}], completion="branch"))
    text = html(book)
    for word in ("the-system-prompt", *(f"{what}-{turn:02}" for what in ("question", "answer") for turn in range(20))):
        assert text.count(word) == 1, word
    page = Page(text)
    (link,) = [value for value in page.of("href") if value is not None and value.startswith("#m")]
    assert link[1:] in page.of("id")
    assert len(page.of("id")) == len(set(page.of("id")))


def test_what_a_reader_looks_for(book: Book) -> None:
    """The page tells how it ended, what it cost, which tools were called with what result, and which failed why."""
    state = book.session("nightly")
    book.llm(state, "ask", cost="0.25", model="big")
    tool = book.tool(state, "look", {"q": "where"}, ["found-it"])
    book.error(state, tool, "went wrong")
    book.end(state, "Fail", "gave up")
    analytics.score(state.id, "thumb", "down", event=str(tool.id), note="wrong city", author="ann")
    text = html(book)
    page = Page(text)
    for words in ("Fail gave up", "nightly", "$0.2500", "10 in, 2 out", "look", "where", "found-it", "went wrong",
                  "thumb down wrong city (ann) of look"):  # fmt: skip
        assert words in page.text, words
    seqs = dict(book.rows("SELECT kind, seq FROM events"))
    failed = [value for tag, name, value in page.attributes if (tag, name) == ("article", "class")]
    assert failed == ["llms", "tools failed", "errors"]
    for target in (f"#e{seqs['errors']}", f"#e{seqs['tools']}"):
        assert target in page.of("href")
    assert page.tags.count("rect") == 3


def test_many_events(book: Book) -> None:
    """The timeline of many events has stretches of time, not a bar for each."""
    state = book.session()
    for number in range(450):
        book.action(state, f"act {number}")
    page = Page(html(book))
    assert page.tags.count("article") == 450
    assert 0 < page.tags.count("rect") <= 250


def test_pictures() -> None:
    """A picture that lies in a message is shown; one elsewhere, or in a form that may hold a program, is text."""
    picture = "data:image/png;base64,iVBORw0KGgo="
    others = ("data:image/svg+xml;base64,AA==", "https://example.org/a.png")
    for url, shown in ((picture, True), *((other, False) for other in others)):
        text = f'{{"role":"user","content":[{{"type":"image_url","image_url":{{"url":"{url}"}}}}]}}'
        assert (f'src="{url}"' in message(text, "m1")) is shown
        assert ("<img" in message(text, "m1")) is shown


def test_without_content(book: Book) -> None:
    """Without content the page has times, names and numbers, and nothing that was said."""
    session = secretive(book)
    book.change("UPDATE sessions SET tags = '[]'")
    book.change("UPDATE events SET name = 'named', model = 'm'")
    book.change("UPDATE agents SET name = 'somebody'")
    analytics.note(session, SECRET)
    analytics.score(session, "helpful", 0.25, note=SECRET, author=SECRET)
    text = html(book, session, content=False)
    assert SECRET not in text
    assert "helpful 0.25" in Page(text).text
    assert "10 in, 2 out" in Page(text).text


def test_none(book: Book) -> None:
    """Where no session fits, the page says so."""
    book.session()
    assert "No session fits" in Page(html(book, filters.parse(tags="none"))).text
