"""Charts as SVG, made of numbers alone; a template draws them. Each has axes with units, and its numbers as a table
beside it, for those who cannot see it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

WIDTH, HEIGHT = 720, 200  # of the picture, in its own units
_LEFT, _BOTTOM, _TOP = 56, 22, 8
_WIDEST = 56  # a bar
_TICKS = 4  # lines across, about
_LABELS = 7  # below, at most


def ticks(most: float, about: int = _TICKS) -> list[float]:
    """Round numbers from 0 to at least the largest value."""
    if most <= 0 or not math.isfinite(most):
        return [0.0, 1.0]
    raw = most / about
    scale = 10.0 ** math.floor(math.log10(raw))
    step = next(scale * factor for factor in (1, 2, 2.5, 5, 10) if scale * factor >= raw * 0.999)
    return [step * number for number in range(math.ceil(most / step - 1e-9) + 1)]


def stacked(names: Sequence[str], series: Mapping[str, Sequence[float]], unit: str) -> dict[str, object]:
    """Bars, each of several parts.

    Args:
        names: of the bars, from left to right.
        series: of the parts, from the bottom: a value for each bar.
    """
    totals = [sum(values[place] for values in series.values()) for place in range(len(names))]
    lines = ticks(max(totals, default=0.0))
    high, wide = HEIGHT - _BOTTOM - _TOP, WIDTH - _LEFT
    pitch = wide / max(1, len(names))
    wide_of_bar = min(max(0.5, pitch * 0.8), _WIDEST)
    bars = []
    for place, name in enumerate(names):
        below = 0.0
        for part, values in enumerate(series.values()):
            value = values[place]
            if value <= 0:
                continue
            tall = value / lines[-1] * high
            bars.append({
                "x": round(_LEFT + (place + 0.5) * pitch - wide_of_bar / 2, 2), "width": round(wide_of_bar, 2),
                "y": round(_TOP + high - (below + value) / lines[-1] * high, 2), "height": round(max(0.3, tall), 2),
                "part": part, "bar": name, "of": list(series)[part], "value": value,
            })  # fmt: skip
            below += value
    every = max(1, math.ceil(len(names) / _LABELS))
    return {
        "width": WIDTH, "height": HEIGHT, "left": _LEFT, "bottom": HEIGHT - _BOTTOM, "unit": unit, "bars": bars,
        "lines": [{"y": round(_TOP + high - line / lines[-1] * high, 2), "value": line} for line in lines],
        "labels": [
            {"x": round(_LEFT + (place + 0.5) * pitch, 2), "text": names[place]}
            for place in range(0, len(names), every)
        ],
        "parts": list(series),
    }  # fmt: skip
