"""The questions of `benchmarks.ask`: how each is asked of us and by hand, and how one sees that both say the same."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agentops_local import analytics
from agentops_local.analytics import Filter
from agentops_local.analytics.groups import TOKENS, Group
from agentops_local.analytics.index import opened, words
from agentops_local.analytics.project import price
from agentops_local.analytics.questions.search import Hit
from agentops_local.analytics.questions.slow import Slow
from agentops_local.analytics.questions.stats import Stats
from benchmarks.by_hand import ByHand
from benchmarks.million import DAY_US
from benchmarks.speech import ABSENT, ARABIC_WORD, CHINESE_WORD, FREQUENT, RARE, SHORT_ABSENT, SHORT_WORD

ONE_SESSION, PROJECT, SEARCH = 50.0, 300.0, 200.0  # milliseconds that an answer is to take at most
_NEAR = 1e-3  # a percentile of many events is right to this part
_TOP = 10
_HITS = 20
_TEXTS = {
    "a rare word": RARE, "a frequent one": FREQUENT, "Chinese": CHINESE_WORD, "two characters of it": SHORT_WORD,
    "Arabic": ARABIC_WORD, "without a hit": ABSENT, "two characters without a hit": SHORT_ABSENT,
}  # fmt: skip
_ALL = 1 << 30
_QUERY = (
    "SELECT name, count(*), min(init_us) FROM payloads WHERE session_id = '{session}' AND kind = 'tools' GROUP BY 1"
)


@dataclass(frozen=True)
class Question:
    """A question.

    Attributes:
        ours, by_hand: give the answer, in whatever shape.
        same: raises AssertionError if the two are not the same.
    """

    name: str
    target_ms: float
    ours: Callable[[Path], Any]
    by_hand: Callable[[ByHand], Any]
    same: Callable[[Any, Any], None]


def bring_prices(path: Path) -> None:
    """Prices the calls that have no price yet, as far as one is known: every question does so first."""
    price(path)


def bring_sums(path: Path) -> None:
    """Brings the sums of the index up to the last event."""
    with opened(path):
        pass


def bring_words(path: Path) -> None:
    """Brings the words of the index up to the last event, as searches do in the course of time. The sums come first,
    so they should be there already."""
    done = False
    while not done:
        with opened(path, words.catch_up) as connection:
            done = words.known(connection)[0] >= connection.execute("SELECT max(seq) FROM events").fetchone()[0]


def questions(path: Path) -> Iterator[Question]:
    """All of them, as they are asked of this database."""
    with closing(sqlite3.connect(path)) as connection:
        sizes = connection.execute("SELECT session, count(*) FROM events GROUP BY session ORDER BY 2 DESC").fetchall()
        ids = dict(connection.execute("SELECT seq, id FROM sessions").fetchall())
        (last,) = connection.execute("SELECT max(init_us) FROM events").fetchone()
    week = Filter(since_us=last - 7 * DAY_US)
    for place in (len(sizes) // 2, 0):
        session, events = sizes[place]
        yield _stats(f"stats, a session of {events:,}", ONE_SESSION, ids[session])
    yield _stats("stats, all", PROJECT, None)
    for by in ("model", "agent", "tag", "day", "session"):
        yield _cost(by, Filter())
        yield _cost(by, week)
    for by in ("cost", "tokens", "errors"):
        yield _most(by)
    yield Question(
        "errors", PROJECT,
        lambda path: {
            bytes.fromhex(one.fingerprint): (one.events, one.sessions, one.first_us, one.last_us)
            for one in analytics.errors(limit=_ALL, db=path)
        },
        lambda hand: hand.errors(), _equal,
    )  # fmt: skip
    largest, events = sizes[0]
    yield _slow(f"slow, a session of {events:,}", ONE_SESSION, ids[largest])
    yield _slow("slow, all", PROJECT, None)
    yield Question(
        "active", PROJECT,
        lambda path: {one.session.id for one in analytics.active(db=path)}, lambda hand: hand.active(), _equal,
    )  # fmt: skip
    for name, text in _TEXTS.items():
        yield _search(f"search, {name}", text)
    sql = _QUERY.format(session=ids[largest])
    yield Question(
        "query, tools of the largest session", ONE_SESSION,
        lambda path: [tuple(row.values()) for row in analytics.query(sql, db=path)],
        lambda hand: hand.query(sql), _equal,
    )  # fmt: skip


def _stats(name: str, target: float, session: str | None) -> Question:
    return Question(
        name, target,
        lambda path: analytics.stats(session, db=path),
        lambda hand: hand.stats(session),
        _same_stats,
    )  # fmt: skip


def _cost(by: str, where: Filter) -> Question:
    return Question(
        f"cost by {by}{', 7 days' if where.since_us else ''}", PROJECT,
        lambda path: analytics.cost(by, where=where, db=path, utc=True).groups,
        lambda hand: hand.cost(by, where.since_us or 0),
        lambda ours, hand: _equal({name: (group.calls, *_sums(group)[1:]) for name, group in ours.items()}, hand),
    )  # fmt: skip


def _most(by: str) -> Question:
    return Question(
        f"top by {by}", PROJECT,
        lambda path: [session.id for session in analytics.top(by, _TOP, db=path)],
        lambda hand: hand.top(by, _TOP),
        _equal,
    )  # fmt: skip


def _slow(name: str, target: float, session: str | None) -> Question:
    return Question(
        name, target,
        lambda path: analytics.slow(session, _TOP, db=path),
        lambda hand: hand.slow(_TOP, session),
        _same_slow,
    )  # fmt: skip


def _search(name: str, text: str) -> Question:
    return Question(
        name, SEARCH,
        lambda path: analytics.search(text, _HITS, db=path),
        lambda hand: hand.search(text, _HITS),
        _same_hits,
    )  # fmt: skip


# Whether both are the same -----------------------------------------------------------------------------------------


def _equal(ours: object, hand: object) -> None:
    assert ours == hand, f"ours {str(ours)[:1000]}\nby hand {str(hand)[:1000]}"


def _sums(group: Group) -> tuple[int, ...]:
    return (group.events, *(group.tokens[name] for name in TOKENS), group.cost_pusd, group.unpriced)


def _same_stats(ours: Stats, hand: dict[str, Any]) -> None:
    _equal(_sums(ours.all), hand["all"])
    for name in ("kinds", "models", "tools"):
        groups: dict[str, Group] = getattr(ours, name)
        assert groups.keys() == hand[name].keys()
        for what, (*sums, half, most) in hand[name].items():
            _equal(_sums(groups[what]), tuple(sums))
            for percent, us in ((50, half), (95, most)):
                found = groups[what].percentile(percent)
                if found is None or us is None:
                    assert found is us is None, what
                else:
                    assert abs(found * 1e6 - us) <= us * _NEAR, (what, percent, found, us)
    _equal(ours.errors, hand["errors"])
    _equal({name: group.failed for name, group in ours.tools.items() if group.failed}, hand["failed"])


def _same_slow(ours: Slow, hand: tuple[dict[Any, Any], list[int]]) -> None:
    _equal({(one.kind, one.name): (one.group.events, one.group.us) for one in ours.took}, hand[0])
    _equal([one.us for one in ours.longest], hand[1])


def _same_hits(ours: list[Hit], hand: tuple[list[int], list[str]]) -> None:
    """All of them where they are few; else as many as were asked for, and none that is not among the last ones."""
    messages, events = hand
    said = [hit for hit in ours if hit.field in ("prompt", "completion")]
    beside = [hit.event_id for hit in ours if hit.field not in ("prompt", "completion")]
    assert len(ours) == min(_HITS, len(messages) + len(events)), (len(ours), len(messages), len(events))
    assert len(said) <= len(messages)
    assert set(beside) <= set(events)
