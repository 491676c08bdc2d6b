"""`sppnet gc`: what belongs to nothing, how much it is, and taking it."""

from __future__ import annotations

import re
import time
from collections import Counter
from typing import Any

from rich.console import Console
from rich.table import Table

from jobs import formatting
from jobs.keep.target import Target, store_time
from pipelines.keeping.garbage import Garbage, find_garbage, unreferenced
from pipelines.keeping.lineage import inputs_of, unrecorded
from sppnet.errors import ConfigError

_AGE = re.compile(r"(\d+(?:\.\d+)?)(h|d)")
_HOUR = 3600.0
_SHOWN = 40


def parse_age(text: str) -> float:
    """Return an age such as `36h` or `7d` in seconds; raise `ConfigError` for others, and for less than an hour."""
    found = _AGE.fullmatch(text)
    seconds = float(found[1]) * (_HOUR if found[2] == "h" else 24 * _HOUR) if found else 0.0
    if seconds < _HOUR:
        raise ConfigError(f"--age {text}: expected hours or days, such as 36h or 7d, and no less than 1h")
    return seconds


def run_gc(
    target: Target, console: Console, fields: dict[str, Any], age: float, *, dry_run: bool, unreferenced: bool
) -> None:
    """Find garbage, tell what it is, and take it.

    Args:
        target: The workspace.
        console: Where it is told.
        fields: Takes the same as plain values.
        age: Seconds: what was written later is left.
        dry_run: Whether it is only told.
        unreferenced: Whether artifacts that no run refers to count.

    Raises:
        ConfigError: The workspace can't be written, or what runs refer to can't be told.
    """
    workspace = target.workspace
    before = (time.time() if dry_run else store_time(workspace.store)) - age
    found = list(find_garbage(workspace, before))
    if unreferenced:
        found += _unreferenced(target, before)
    for one in () if dry_run else found:
        one.take()
    _tell(found, console, fields, dry_run=dry_run)


def _unreferenced(target: Target, before: float) -> list[Garbage]:
    workspace = target.workspace
    names = workspace.artifact_names()
    if unknown := unrecorded(workspace, names):
        raise ConfigError(f"--unreferenced: what {unknown[0]} was made from can't be told; see sppnet verify")
    inputs = inputs_of(workspace, names)
    known = target.references  # read after the artifacts are listed: a run that begins meanwhile is among them
    if known.unknown:
        run, why = next(iter(known.unknown.items()))
        raise ConfigError(
            f"--unreferenced: what run {run} refers to can't be told ({why}); mend or remove runs/{run} first"
        )
    return list(unreferenced(workspace, known.artifacts, inputs, before))


def _tell(found: list[Garbage], console: Console, fields: dict[str, Any], *, dry_run: bool) -> None:
    total = sum(one.size for one in found)
    fields.update(
        dry_run=dry_run,
        bytes=total,
        taken=[{"kind": one.kind, "name": one.name, "bytes": one.size} for one in found],
    )
    if found:
        table = Table("kind", "name", "size")
        for one in found[:_SHOWN]:
            table.add_row(one.kind, one.name, formatting.size(one.size))
        console.print(table)
    if len(found) > _SHOWN:
        console.print(f"and {len(found) - _SHOWN} more; --json tells all")
    kinds = ", ".join(f"{count} {kind}" for kind, count in Counter(one.kind for one in found).most_common())
    done = "would be taken" if dry_run else "taken"
    console.print(f"gc: {kinds or 'nothing'} {done}, {formatting.size(total)}")
