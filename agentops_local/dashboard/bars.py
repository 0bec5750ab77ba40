"""Horizontal bars as SVG, made of numbers alone: a name in front of each, an axis with its unit below."""

from __future__ import annotations

from collections.abc import Mapping

from agentops_local.dashboard.charts import WIDTH, ticks

_NAMES = 190  # units of the picture for the names
_LINE = 20  # a bar's height, with the space around it
_BELOW = 20  # for the axis
_RIGHT = 78  # for the number behind the longest bar
_LETTERS = 28  # of a name


def bars(values: Mapping[str, float | None], unit: str) -> dict[str, object]:
    """A picture of numbers by name, from top to bottom in their order; None has no bar."""
    most = max((value or 0.0 for value in values.values()), default=0.0)
    lines = ticks(most)
    wide = WIDTH - _NAMES - _RIGHT
    high = len(values) * _LINE
    return {
        "width": WIDTH, "height": high + _BELOW, "left": _NAMES, "bottom": high, "unit": unit,
        "bars": [
            {
                "y": place * _LINE + 3, "middle": place * _LINE + _LINE - 6, "height": _LINE - 6,
                "width": round(max(0.0, value or 0.0) / lines[-1] * wide, 2), "name": name, "value": value,
                "short": name if len(name) <= _LETTERS else f"{name[: _LETTERS - 1]}…",
            }
            for place, (name, value) in enumerate(values.items())
        ],
        "lines": [{"x": round(_NAMES + line / lines[-1] * wide, 2), "value": line} for line in lines],
    }  # fmt: skip
