"""Numbers as a reader wants them: sensible digits, units that fit the size, a dash for what isn't there."""

from __future__ import annotations

import math
from datetime import UTC, datetime

NONE = "\u2013"
"""What stands for a number that doesn't exist."""


def percent(fraction: float | None) -> str:
    """Write a fraction 0..1 as percent with one decimal, as the paper's tables have it."""
    if fraction is None or not math.isfinite(fraction):
        return NONE
    return f"{100 * fraction:.1f}"


def with_deviation(fraction: float, deviation: float | None) -> str:
    """Write a fraction 0..1 in percent with its standard deviation, if there is one."""
    return percent(fraction) if deviation is None else f"{percent(fraction)} \u00b1 {percent(deviation)}"


def points(difference: float | None) -> str:
    """Write a difference of fractions in points of a percent, with its sign."""
    if difference is None or not math.isfinite(difference):
        return NONE
    return f"{100 * difference:+.1f}".replace("-", "\u2212")


def interval(bounds: tuple[float, float] | None) -> str:
    """Write an interval of such differences."""
    return NONE if bounds is None else f"{points(bounds[0])} to {points(bounds[1])}"


def count(value: int | float | None) -> str:
    """Write a whole number in groups of three digits."""
    return NONE if value is None else f"{round(value):,}"


def significant(value: float, digits: int = 3) -> str:
    """Write a number with that many significant digits and no exponent."""
    if value == 0 or not math.isfinite(value):
        return "0" if value == 0 else NONE
    exponent = int(f"{value:.{digits - 1}e}".split("e")[1])  # after rounding: 0.9999 counts as 1
    decimals = max(0, digits - 1 - exponent)
    return f"{value:,.{min(decimals, 6)}f}"


def size(octets: int) -> str:
    """Write bytes in decimal units."""
    if octets < 1000:
        return f"{octets} B"
    value = octets / 1000
    units = ["kB", "MB", "GB", "TB", "PB"]
    while value >= 999.5 and len(units) > 1:
        value /= 1000
        units.pop(0)
    return f"{significant(value)} {units[0]}"


def duration(seconds: float) -> str:
    """Write seconds as the two largest units that matter."""
    if seconds < 59.95:
        return f"{seconds:.0f} s" if seconds >= 10 or seconds == 0 else f"{significant(seconds, 2)} s"
    whole = round(seconds)
    days, rest = divmod(whole, 86400)
    hours, rest = divmod(rest, 3600)
    minutes, left = divmod(rest, 60)
    if days:
        return f"{days} d {hours:02d} h"
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {left:02d} s"


def rate(items: float, seconds: float, unit: str) -> str:
    """Write items a second; per hour where that is fewer than one in ten seconds."""
    if seconds <= 0 or items <= 0:
        return NONE
    value = items / seconds
    return f"{significant(value)} {unit}/s" if value >= 0.1 else f"{significant(value * 3600)} {unit}/h"


def when(seconds: float) -> str:
    """Write seconds since the epoch as a date and time in UTC."""
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M} UTC"
