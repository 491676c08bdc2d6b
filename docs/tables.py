"""Write the tables of docs/results.md from what runs said, so that neither drifts from the other.

`sppnet run NAME --json | python docs/tables.py keep NAME` puts what tables need of the line that a run ends with into
`docs/figures/NAME.json`. A table stands between two comments:

    <!-- table: classes NAME STEP METRIC [BUT] --> rows by sets of views, percent, with the deviation where there is
                                                  one; without those whose names begin with BUT
    <!-- table: comparisons NAME -->              differences and their intervals, points
    <!-- table: detectors NAME -->                detectors by mean and categories, percent
    <!-- table: gpu NAME PART -->                 a part of `bench gpu`'s report, kept as NAME.json, beside its peers
    <!-- /table -->

`python docs/tables.py` writes them; `python docs/tables.py --check` tells whether they are up to date.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

DOCS = Path(__file__).parent
PAGE = DOCS / "results.md"
KEPT = ("steps", "classes", "comparisons")
"""What is kept of a run's line."""
_TABLE = re.compile(r"(<!-- table: (.*?) -->\n\n).*?(\n?<!-- /table -->)", re.DOTALL)

Result = Mapping[str, Any]


def write_tables(page: str, results: Callable[[str], Result]) -> str:
    """Return a page with its tables written anew, given what a run of some name said.

    Raises:
        ValueError: A comment asks for a table that isn't known.
    """

    def written(found: re.Match[str]) -> str:
        kind, name, *options = found[2].split()
        if kind not in _KINDS:
            raise ValueError(f"table '{kind}' is none of {', '.join(_KINDS)}")
        rows = _KINDS[kind](results(name), *options)
        return found[1] + _markdown(rows) + "\n<!-- /table -->"

    return _TABLE.sub(written, page)


def read_result(name: str) -> Result:
    """Read what a run of that name said."""
    found: Result = json.loads((DOCS / "figures" / f"{name}.json").read_text(encoding="utf-8"))
    return found


def keep_result(name: str, lines: Sequence[str]) -> None:
    """Keep what a run of that name said last."""
    said = json.loads(lines[-1])
    text = json.dumps({part: said[part] for part in KEPT}, indent=1)
    (DOCS / "figures" / f"{name}.json").write_text(text + "\n", encoding="utf-8")


def _classes(result: Result, step: str, metric: str, but: str = "") -> list[list[str]]:
    rows = [row for row in result["classes"] if row["step"] == step and not (but and row["name"].startswith(but))]
    views = list(dict.fromkeys(row["views"] for row in rows))
    cells = {(row["name"], row["views"]): _percent(row["figures"].get(metric)) for row in rows}
    names = dict.fromkeys(row["name"] for row in rows)
    return [["", *views], *([name, *(cells.get((name, one), "-") for one in views)] for name in names)]


def _comparisons(result: Result) -> list[list[str]]:
    heading = ["difference in points", "of", "with", "mean", "each pair", "95 %, other seeds", "95 %, other images"]
    by_voc = any(found["voc07_map"] is not None for found in result["steps"].values())  # DET's rule has the area alone
    return [heading, *(_comparison(one, "voc07_map" if by_voc else "area_map") for one in result["comparisons"])]


def _comparison(one: Mapping[str, Any], figure: str) -> list[str]:
    if "by_pair" not in one:  # of detectors
        found = one[figure]
        bounds = [found["low"], found["high"]]
        return [one["name"], one["row"], one["over"], _points(found["difference"]), "-", "-", _interval(bounds)]
    return [
        one["name"],
        f"{one['row']}, {one['views']}",
        f"{one['over']}, {one['over_views']}",
        _points(one["difference"]),
        ", ".join(map(_points, one["by_pair"])),
        _interval(one["over_pairs"]),
        _interval(one["over_images"]),
    ]


def _detectors(result: Result) -> list[list[str]]:
    steps = result["steps"]
    names = list(dict.fromkeys(name for found in steps.values() for name in found["categories"]))
    rows = [["", "VOC07 mAP", "area mAP", *names]]
    for title, found in steps.items():
        aps = [found["categories"].get(name, {}).get("voc07_ap") for name in names]
        rows.append([title, *(_fraction(value) for value in (found["voc07_map"], found["area_map"], *aps))])
    return rows


def _gpu(result: Result, part: str) -> list[list[str]]:
    rows = [["what", "ours", "the peer", "ratio", "least to most, pairs"]]
    for row in result["parts"][part]["rows"]:
        if "ours_per_s" in row:
            ours, peer = (f"{row[key]:,.0f} images/s" for key in ("ours_per_s", "peer_per_s"))
        else:
            ours, peer = (f"{1000 * row[key]:.3g} ms" for key in ("ours_s", "peer_s"))
        name = f"{row['name']}, {row['dtype']}" if "dtype" in row else row["name"]
        spread = f"{row['ratio_least']:.3g} to {row['ratio_most']:.3g}, {row['pairs']}"
        rows.append([name, ours, f"{row['peer']}: {peer}", f"{row['ratio']:.3g}", spread])
    return rows


_KINDS: Mapping[str, Callable[..., list[list[str]]]] = {
    "classes": _classes,
    "comparisons": _comparisons,
    "detectors": _detectors,
    "gpu": _gpu,
}


def _fraction(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f}"


def _percent(figure: Mapping[str, float | None] | None) -> str:
    if figure is None:
        return "-"
    deviation = figure["deviation"]
    return _fraction(figure["mean"]) + ("" if deviation is None else f" ± {_fraction(deviation)}")


def _points(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:+.1f}"


def _interval(bounds: Sequence[float | None] | None) -> str:
    return "-" if bounds is None else f"{_points(bounds[0])} to {_points(bounds[1])}"


def _markdown(rows: Sequence[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([lines[0], f"|{' --- |' * len(rows[0])}", *lines[1:]]) + "\n"


def main(arguments: Sequence[str]) -> int:
    """Write the page, or tell whether it is up to date, or keep a run's figures first; return the exit code."""
    if arguments[:1] == ["keep"]:
        keep_result(arguments[1], sys.stdin.readlines())
    before = PAGE.read_text(encoding="utf-8")
    after = write_tables(before, read_result)
    if "--check" in arguments:
        return int(before != after)
    PAGE.write_text(after, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
