"""Numbers as people read them: money, tokens, durations, sizes."""

from __future__ import annotations

from decimal import Decimal


def money(cost: Decimal | None, unpriced: int = 0) -> str:
    """A cost in US dollars. Calls without a price make it a lower bound, or unknown altogether."""
    if cost is None or (not cost and unpriced):
        return "unpriced"
    if cost == 0:
        return "$0"
    places = 4 if abs(cost) >= Decimal("0.01") else min(12, 1 - cost.adjusted())
    return f"{'≥' if unpriced else ''}{'-' if cost < 0 else ''}${abs(cost):,.{max(places, 4)}f}"


def tokens(count: int) -> str:
    """A number of tokens, short."""
    for size, letter in ((10**9, "G"), (10**6, "M"), (10**3, "k")):
        if count >= 10 * size or (count >= size and letter != "k"):
            return f"{count / size:,.1f}{letter}" if count < 100 * size else f"{count / size:,.0f}{letter}"
    return f"{count:,}"


def seconds(value: float | None) -> str:
    """A duration, short."""
    if value is None:
        return ""
    if value < 0:
        return f"-{seconds(-value)}"
    if value < 0.0005:
        return "<1ms" if value else "0"
    if value < 0.9995:
        return f"{value * 1000:.0f}ms"
    if value < 59.95:
        return f"{value:.1f}s"
    minutes, rest = divmod(round(value), 60)
    if minutes < 60:
        return f"{minutes}m{rest:02d}s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes:02d}m" if hours < 48 else f"{hours // 24}d{hours % 24:02d}h"


def size(count: int) -> str:
    """A number of bytes, short."""
    value, unit = float(count), "B"
    for larger in ("kB", "MB", "GB", "TB"):
        if value < 1000:
            break
        value, unit = value / 1000, larger
    return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
