"""Curves as inline SVG: drawn by matplotlib, coloured by the page's style, so that they follow light, dark and print.

Text stays text in the page's own font. Category names never enter an SVG; the page writes (and escapes) them.
"""

from __future__ import annotations

import io
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup
from matplotlib import rc_context
from matplotlib.figure import Figure

from jobs.report.read.detection import CategoryScore

COLOURS = 8
"""Colours that the style sheet has for series, `--s1` and on; further series repeat them dashed."""

_DASHES: tuple[Any, ...] = ("-", (0, (4, 2)), (0, (1, 1.5)))
_INK, _RULE = "#fefe01", "#fefe02"  # stand-ins, replaced by the style's variables
_SERIES = tuple(f"#fefe{16 + i:02x}" for i in range(COLOURS))
_VARIABLES = {_INK: "--ink-2", _RULE: "--rule", **{colour: f"--s{i + 1}" for i, colour in enumerate(_SERIES)}}
_RC: dict[Any, Any] = {
    "font.size": 8.5,
    "svg.fonttype": "none",
    "text.parse_math": False,
    "axes.edgecolor": _RULE,
    "axes.labelcolor": _INK,
    "xtick.color": _RULE,
    "ytick.color": _RULE,
    "xtick.labelcolor": _INK,
    "ytick.labelcolor": _INK,
    "text.color": _INK,
    "grid.color": _RULE,
    "grid.linewidth": 0.6,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.formatter.use_mathtext": False,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "axes.formatter.limits": (-4, 5),
    "axes.unicode_minus": True,
}
_PANEL_INCHES = (2.5, 2.0)
_WIDE_INCHES = (4.2, 2.2)
_POINTS_AT_MOST = 100  # of a small panel's line


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a panel.

    Attributes:
        name: What it shows.
        places: Where it has values: training steps, overlaps, numbers of windows or scales.
        values: Its value at each of them.
    """

    name: str
    places: tuple[float, ...]
    values: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Panel:
    """A small plot with its caption."""

    title: str
    note: str
    plot: Markup
    legend: tuple[str, ...] = ()


def pr_panel(curves: Sequence[CategoryScore | None], label: str, chosen: int) -> Markup:
    """Draw precision over recall, one line per detector variant; a dot marks the chosen variant's best F1.

    Args:
        curves: A category's scores by variant, None where a variant lacks the category.
        label: What the picture shows, for screen readers.
        chosen: Place of the variant whose line is the strongest.
    """
    with rc_context({**_RC, "svg.hashsalt": label}):  # so that ids differ from figure to figure
        figure = Figure(figsize=_PANEL_INCHES, layout="constrained")
        axes = figure.subplots()
        for index, curve in enumerate(curves):
            if curve is not None and curve.recall:
                places = _thinned(len(curve.recall))
                recall, precision = ([values[i] for i in places] for values in (curve.recall, curve.precision))
                axes.plot(recall, precision, linewidth=2.0 if index == chosen else 1.3, **_style(index))
        _mark_best_f1(axes, curves, chosen)
        axes.set(xlim=(0, 1), ylim=(0, 1.03), xticks=(0, 0.5, 1), yticks=(0, 0.5, 1), xlabel="recall")
        axes.set_xticklabels(["0", "0.5", "1"])
        axes.set_yticklabels(["0", "0.5", "1"])
        axes.set_ylabel("precision")
        return _svg(figure, label)


def training_panel(lines: Sequence[Line], label: str, *, log: bool = False, stepped: bool = False) -> Markup:
    """Draw figures over training steps.

    Args:
        lines: What to draw, in the style's colours.
        label: What the picture shows, for screen readers.
        log: Whether the y axis is logarithmic.
        stepped: Whether a value holds from the point before (learning rates).
    """
    with rc_context({**_RC, "svg.hashsalt": label}):  # so that ids differ from figure to figure
        figure = Figure(figsize=_WIDE_INCHES, layout="constrained")
        axes = figure.subplots()
        _draw(axes, lines, drawstyle="steps-pre" if stepped else "default")
        if log:
            axes.set_yscale("log")
            axes.minorticks_off()
            axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.set_xlabel("step")
        axes.margins(x=0.02, y=0.08)
        axes.locator_params(axis="x", nbins=6, integer=True)
        return _svg(figure, label)


def recall_panel(lines: Sequence[Line], label: str, *, over: str, log: bool = False) -> Markup:
    """Draw recall, 0..1, over overlaps or numbers of windows.

    Args:
        lines: What to draw, in the style's colours; one without places is left out.
        label: What the picture shows, for screen readers.
        over: What the x axis is. It is drawn as it is: no text that comes from data.
        log: Whether the x axis is logarithmic; lines end in a dot then, since they end at different places.
    """
    with rc_context({**_RC, "svg.hashsalt": label}):  # so that ids differ from figure to figure
        figure = Figure(figsize=_WIDE_INCHES, layout="constrained")
        axes = figure.subplots()
        _draw(axes, lines, dotted=log)
        if log:
            axes.set_xscale("log")
            axes.minorticks_off()
            axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
        axes.margins(x=0.02)
        axes.set(ylim=(0, 1.03), yticks=(0, 0.5, 1), xlabel=over, ylabel="recall")
        axes.set_yticklabels(["0", "0.5", "1"])
        return _svg(figure, label)


def scale_panel(lines: Sequence[Line], label: str) -> Markup:
    """Draw figures in percent over the short side that images are resized to.

    Args:
        lines: What to draw, in the style's colours.
        label: What the picture shows, for screen readers.
    """
    with rc_context({**_RC, "svg.hashsalt": label}):  # so that ids differ from figure to figure
        figure = Figure(figsize=_WIDE_INCHES, layout="constrained")
        axes = figure.subplots()
        for index, line in enumerate(lines):
            axes.plot(line.places, line.values, linewidth=1.6, marker="o", markersize=3, **_style(index))
        axes.set_xticks(sorted({place for line in lines for place in line.places}))
        axes.set(xlabel="short side, pixels", ylabel="percent")
        axes.margins(x=0.03, y=0.12)
        return _svg(figure, label)


def best_f1(curve: CategoryScore) -> tuple[float, float] | None:
    """Return recall and precision where their harmonic mean is largest; None for an empty curve."""
    points = [(r, p) for r, p in zip(curve.recall, curve.precision, strict=True) if r + p > 0]
    return max(points, key=lambda point: point[0] * point[1] / (point[0] + point[1]), default=None)


def colour_and_dash(index: int) -> tuple[str, str]:
    """Return the CSS colour and `stroke-dasharray` of a series, for legends on the page."""
    dashes = ("none", "6 3", "2 2.5")
    return f"var(--s{index % COLOURS + 1})", dashes[index // COLOURS % len(dashes)]


def spans_decades(values: Sequence[float]) -> bool:
    """Tell whether values are positive and differ enough to need a logarithmic axis."""
    finite = [value for value in values if math.isfinite(value)]
    return bool(finite) and min(finite) > 0 and max(finite) / min(finite) >= 20


def _draw(axes: Any, lines: Sequence[Line], drawstyle: str = "default", *, dotted: bool = False) -> None:
    """Draw lines in the style's colours, in order; one of a single value, or whose end matters, has a dot there."""
    for index, line in enumerate(lines):
        if line.places:
            dot: dict[str, Any] = {"marker": "o", "markersize": 3, "markevery": [len(line.places) - 1]}
            end = dot if dotted or len(line.places) == 1 else {}
            axes.plot(line.places, line.values, linewidth=1.6, drawstyle=drawstyle, **end, **_style(index))


def _style(index: int) -> dict[str, Any]:
    return {
        "color": _SERIES[index % COLOURS],
        "linestyle": _DASHES[index // COLOURS % len(_DASHES)],
        "solid_joinstyle": "round",
    }


def _thinned(count: int) -> list[int]:
    """Return places of at most so many points as a small panel can show, evenly, with the first and the last."""
    if count <= _POINTS_AT_MOST:
        return list(range(count))
    return [round(i * (count - 1) / (_POINTS_AT_MOST - 1)) for i in range(_POINTS_AT_MOST)]


def _mark_best_f1(axes: Any, curves: Sequence[CategoryScore | None], chosen: int) -> None:
    curve = curves[chosen] if curves else None
    point = best_f1(curve) if curve is not None else None
    if point is not None:
        colour = _SERIES[chosen % COLOURS]
        axes.plot(*point, marker="o", markersize=5.5, clip_on=False, zorder=5, color=colour)


def _svg(figure: Figure, label: str) -> Markup:
    """Write the figure as an SVG element without size, outside names or fixed colours."""
    sink = io.StringIO()
    figure.savefig(sink, format="svg", transparent=True, metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    text = sink.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>\s*", "", text, flags=re.DOTALL)
    text = re.sub(r"<!--.*?-->\s*", "", text, flags=re.DOTALL)
    text = re.sub(r'<g id="[^"]*"', "<g", text)  # ids would repeat from figure to figure
    text = re.sub(r"<style.*?</style>\s*", "", text, flags=re.DOTALL)  # it would reach out of the SVG
    text = re.sub(r"font-family: [^;\"]*;?", "", text)
    text = re.sub(r"<[^>]+>", _shorter, text)
    for colour, variable in _VARIABLES.items():
        text = text.replace(colour, f"var({variable})")
    view = re.search(r'viewBox="([^"]*)"', text)
    body = text[text.index(">") + 1 :]
    head = Markup('<svg class="plot" viewBox="{}" role="img" aria-label="{}">').format(view[1] if view else "", label)
    return head + Markup(re.sub(r"\n\s*", "\n", body).strip())  # noqa: S704 - numbers and our own axis labels only


def _shorter(tag: re.Match[str]) -> str:
    """Write a tag with coordinates to a hundredth of a point; text between tags keeps its digits."""
    return re.sub(r"\d+\.\d{3,}", lambda number: f"{float(number[0]):.2f}".rstrip("0").rstrip("."), tag[0])
