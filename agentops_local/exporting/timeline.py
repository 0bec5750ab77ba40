"""A timeline as SVG: a lane for each kind of event, a bar for each event or, where they are many, for each stretch of
time in which there were any."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import accumulate
from typing import NamedTuple

from agentops_local.exporting.markup import escaped

LANES = ("llms", "tools", "actions", "errors")
WIDTH = 1000
_LANE = 18  # height
_LEAST = 3  # width of a bar
_MOST = 400  # events that get a bar each
_STRETCHES = 250


class Bar(NamedTuple):
    """An event on the timeline."""

    seq: int
    lane: str
    name: str
    begin_us: int
    end_us: int


class Timeline:
    """The bars of a session.

    Args:
        begin_us, end_us: what the width stands for.
    """

    def __init__(self, begin_us: int, end_us: int) -> None:
        self._begin = begin_us
        self._length = max(end_us - begin_us, 1)
        self._bars: list[Bar] = []
        # How many more there are in each stretch than in the one before it.
        self._changes: dict[str, list[int]] = {lane: [0] * (_STRETCHES + 1) for lane in LANES}
        self._events = 0

    def add(self, bar: Bar) -> None:
        """Puts an event on it."""
        self._events += 1
        if self._events <= _MOST:
            self._bars.append(bar)
        changes = self._changes[bar.lane]
        begin, end = self._place(bar.begin_us, _STRETCHES), self._place(bar.end_us, _STRETCHES)
        changes[begin] += 1
        changes[max(begin, end) + 1] -= 1

    def svg(self) -> str:
        """The picture; nothing without events."""
        if not self._events:
            return ""
        lanes = [lane for lane in LANES if any(self._changes[lane])]
        bars = self._each(lanes) if self._events <= _MOST else self._stretches(lanes)
        height = _LANE * len(lanes) + 6
        picture = "".join(bars)
        keys = "".join(f'<span><i class="key {lane}"></i> {lane}</span>' for lane in lanes)
        return (
            f'<svg class="time" viewBox="0 0 {WIDTH} {height}" role="img" aria-label="timeline">{picture}</svg>\n'
            f'<div class="legend">{keys}</div>\n'
        )

    def _place(self, us: int, places: int) -> int:
        return min(max((us - self._begin) * places // self._length, 0), places - 1)

    def _each(self, lanes: list[str]) -> Iterable[str]:
        for bar in self._bars:
            x = self._place(bar.begin_us, WIDTH)
            width = max(self._place(bar.end_us, WIDTH) - x, _LEAST)
            took = f"{(bar.end_us - bar.begin_us) / 1e6:,.3f} s"
            yield (
                f'<a href="#e{bar.seq}">{_rectangle(bar.lane, lanes, x, width)}'
                f"<title>{escaped(bar.name)} {took}</title></rect></a>"
            )

    def _stretches(self, lanes: list[str]) -> Iterable[str]:
        width = WIDTH // _STRETCHES
        for lane in lanes:
            for place, count in enumerate(accumulate(self._changes[lane])):
                if count:
                    yield f"{_rectangle(lane, lanes, place * width, width)}<title>{count:,} {lane}</title></rect>"


def _rectangle(lane: str, lanes: list[str], x: int, width: int) -> str:
    y = 3 + lanes.index(lane) * _LANE
    return f'<rect class="{lane}" x="{min(x, WIDTH - width)}" y="{y}" width="{width}" height="{_LANE - 4}">'
