"""A page to share: one HTML file that holds all it needs, runs no script and fetches nothing.

A conversation is shown as it grew: with each LLM call only the messages that were not shown before. What was recorded
is text on it, never markup (see `markup`), and the page's own policy forbids scripts, frames and the network in case
that we are wrong about that. It is written as it is read, so a long run makes a long page and no large program.
"""

from __future__ import annotations

import sqlite3
from base64 import b64encode
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import BinaryIO
from uuid import UUID

from agentops_local.analytics import ratings, story
from agentops_local.analytics.sessions import NoSuchSession, Summary, summary, tag_list
from agentops_local.exporting import v2
from agentops_local.exporting.choice import Choice, Progress
from agentops_local.exporting.markup import block, escaped, message
from agentops_local.exporting.seqs import Seqs
from agentops_local.exporting.source import SessionHead, Source
from agentops_local.exporting.texts import iso
from agentops_local.exporting.timeline import Bar, Timeline
from agentops_local.exporting.triggers import Triggers, triggers

_POLICY = "default-src 'none'; style-src '{}'; img-src data:; base-uri 'none'; form-action 'none'"
_HEAD = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="referrer" content="no-referrer">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
"""
_FOOT = "<footer>Exported by agentops_local {version}. This page runs no script and fetches nothing.</footer>\n"
_EVENT = "SELECT seq, kind, name, model FROM events WHERE session = ? AND id = ?"
_TOP_MESSAGE = "SELECT max(id) FROM messages"
_TOKENS = {"cache_read_tokens": "cached", "reasoning_tokens": "reasoning"}


def write(source: Source, sessions: Iterator[SessionHead], out: BinaryIO, choice: Choice, progress: Progress) -> None:
    """Writes the page."""
    from agentops_local import __version__

    style = Path(__file__).with_name("page.css").read_text(encoding="utf-8")
    digest = f"sha256-{b64encode(sha256(style.encode()).digest()).decode()}"
    begun = False
    for head in sessions:
        if not begun:
            title = f"Session {head.id}" if choice.single else "Sessions"
            out.write(_HEAD.format(policy=_POLICY.format(digest), title=escaped(title), style=style).encode())
            begun = True
        for markup in _Section(source, head, choice).parts(progress):
            out.write(markup.encode())
    if not begun:
        out.write(_HEAD.format(policy=_POLICY.format(digest), title="Sessions", style=style).encode())
        out.write(b"<p>No session fits.</p>\n")
    out.write(_FOOT.format(version=escaped(__version__)).encode() + b"</body>\n</html>\n")


class _Section:
    """A session on the page."""

    def __init__(self, source: Source, head: SessionHead, choice: Choice) -> None:
        self._source, self._head, self._content = source, head, choice.content
        self._begin_us: int = head.row["init_us"]
        self._shown = Seqs(1, source.connection.execute(_TOP_MESSAGE).fetchone()[0] or 1)
        self._last_shown: int | None = None

    def parts(self, progress: Progress) -> Iterator[str]:
        """Its markup, piece by piece."""
        try:
            found = summary(self._source.connection, self._head.id)
        except NoSuchSession:  # erased in between
            return
        yield self._header(found)
        yield self._timeline(found)
        with triggers(self._source, self._head) as named:
            for event in self._source.events(self._head, self._source.messages.ahead if self._content else None):
                progress.event()
                yield from self._event(event, named)
        yield "</section>\n"

    def _header(self, found: Summary) -> str:
        row, counts = self._head.row, found.counts
        tone = {"Success": "good", "Fail": "bad"}.get(found.state, "dim")
        reason = row["end_state_reason"] if self._content else None
        tags = "".join(f' <span class="tag">{escaped(tag)}</span>' for tag in tag_list(row["tags"]))
        agents = [name for _, name in self._head.agents.values()]
        facts = [
            f'<b class="{tone}">{escaped(found.state)}</b>{"" if reason is None else " " + escaped(reason)}',
            f"<time>{escaped(iso(self._begin_us))}</time>", _seconds(found.duration_s),
            *[f"{number:,} {kind[:-1] if number == 1 else kind}" for kind, number in counts.kinds.items() if number],
            f"{counts.prompt_tokens:,} tokens in, {counts.completion_tokens:,} out",
            _cost(float(counts.cost)) + (f" ({counts.unpriced:,} calls unpriced)" if counts.unpriced else ""),
        ]  # fmt: skip
        listed = "".join(f"<li>{fact}</li>" for fact in facts)
        more = f'<p class="dim">Agents: {escaped(", ".join(agents))}</p>\n' if len(agents) > 1 else ""
        where = f'<p class="dim">{escaped(self._host())}</p>\n' if self._content else ""
        return (
            f'<section id="s{self._head.seq}">\n<h1>Session {escaped(self._head.id)}{tags}</h1>\n'
            f'<ul class="facts">{listed}</ul>\n{more}{where}{"".join(self._given())}'
        )

    def _given(self) -> Iterator[str]:
        """The scores and notes of the session and of its events."""
        for one in ratings.of_session(self._source.connection, self._head.seq):
            if one.kind == "text" and not self._content:
                continue
            value = one.value if isinstance(one.value, str) else f"{one.value:.6g}"
            if one.kind == "thumb":
                value = "up" if one.value else "down"
            event = self._link("of", None if one.event_id is None else UUID(one.event_id).bytes)
            more = " ".join(filter(None, (one.remark, one.author and f"({one.author})"))) if self._content else ""
            yield f'<p class="dim">{escaped(one.name)} <b>{escaped(value)}</b> {escaped(more)} {event}</p>\n'

    def _host(self) -> str:
        try:
            return " · ".join(story.host(self._source.connection, self._head.seq))
        except (sqlite3.Error, ValueError):  # another program's text that is no JSON
            return ""

    def _timeline(self, found: Summary) -> str:
        end_us = found.end_us if found.end_us is not None else found.last_seen_us
        timeline = Timeline(self._begin_us, max(end_us, found.counts.last_us or 0))
        for event in self._source.glance(self._head):
            begin = event["init_us"]
            end = begin if event["end_us"] is None else event["end_us"]
            timeline.add(Bar(event["seq"], v2.group(event["kind"]), _title(event), begin, end))
        return timeline.svg()

    def _event(self, event: sqlite3.Row, named: Triggers) -> Iterator[str]:
        kind = event["kind"]
        errors = [] if kind == "errors" else named.errors_of(event["id"])
        yield f'<article class="{v2.group(kind)}{" failed" if errors else ""}" id="e{event["seq"]}">\n'
        yield f"<header>{''.join(self._facts(event, errors))}</header>\n"
        if self._content:
            yield from self._conversation(event)
            for name in ("params", "returns", "details", "logs", "extra"):
                yield block(name, self._source.texts.raw(event[name]))
            if event["screenshot"] is not None:
                yield message(f'{{"role":"screenshot","content":[{{"type":"image_url","image_url":'
                              f'{self._source.texts.raw(event["screenshot"])}}}]}}', f"p{event['seq']}")  # fmt: skip
        yield "</article>\n"

    def _facts(self, event: sqlite3.Row, errors: list[int]) -> Iterator[str]:
        _, agent = self._head.agent(event["agent"])
        yield f"<b>{escaped(_title(event))}</b>"
        yield f'<span class="dim">{escaped(event["kind"])}</span>'
        yield f"<time>+{(event['init_us'] - self._begin_us) / 1e6:,.3f} s</time>"
        if event["end_us"] is not None and event["kind"] != "errors":
            yield f"<span>{_seconds((event['end_us'] - event['init_us']) / 1e6)}</span>"
        if event["kind"] == "llms":
            yield from _figures(event)
        if agent is not None and len(self._head.agents) > 1:
            yield f"<span>{escaped(agent)}</span>"
        if event["code"] is not None:
            yield f"<span>code {escaped(event['code'])}</span>"
        yield self._link("in", event["parent"])
        yield self._link("of", event["trigger_id"])
        for error in errors[:5]:
            yield f'<a class="bad" href="#e{error}">failed</a>'

    def _link(self, word: str, event_id: bytes | None) -> str:
        if event_id is None:
            return ""
        row = self._source.connection.execute(_EVENT, (self._head.seq, event_id)).fetchone()
        return "" if row is None else f'<span>{word} <a href="#e{row["seq"]}">{escaped(_title(row))}</a></span>'

    def _conversation(self, event: sqlite3.Row) -> Iterator[str]:
        """The messages of an LLM call that were not shown before, and where they go on from."""
        for last in (event["prompt"], event["completion"]):
            new = []
            before: int | None = None
            for number, node in self._source.messages.back(last):
                if not self._shown.add(number):
                    before = number
                    break
                new.append((number, node))
            if before is not None and before != self._last_shown:
                words = "goes on after" if new else "the same as"
                yield f'<p class="dim">{words} <a href="#{self._anchor(before)}">an earlier message</a></p>\n'
            for number, node in reversed(new):
                yield message(node.text, self._anchor(number))
            self._last_shown = last if last is not None else self._last_shown

    def _anchor(self, number: int) -> str:
        return f"m{self._head.seq}-{number}"


def _title(event: sqlite3.Row) -> str:
    return str(event["name"] or event["model"] or event["kind"])


def _figures(event: sqlite3.Row) -> Iterator[str]:
    tokens = [f"{event[name]:,} {word}" for name, word in
              (("prompt_tokens", "in"), ("completion_tokens", "out"), *_TOKENS.items()) if event[name]]  # fmt: skip
    if tokens:
        yield f"<span>{', '.join(tokens)}</span>"
    if event["cost_pusd"] is not None:
        yield f'<span title="{escaped(event["cost_source"])}">{_cost(event["cost_pusd"] / 1e12)}</span>'


def _cost(dollars: float) -> str:
    return f"${dollars:,.4f}" if not dollars or dollars >= 0.01 else f"${dollars:.6f}"


def _seconds(seconds: float) -> str:
    return f"{seconds:,.3f} s" if seconds < 60 else f"{int(seconds // 60):,} min {seconds % 60:.0f} s"
