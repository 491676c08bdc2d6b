"""`sppnet retry` and `sppnet rm`: what is taken away on a person's word, told first."""

from __future__ import annotations

import difflib
from collections import Counter
from typing import Any

from rich.console import Console
from rich.table import Table

from jobs import formatting
from jobs.keep.target import Target, store_time
from jobs.run.going import FRESH_SECONDS, runs_at_work
from pipelines.engine.damage import ArtifactListing
from pipelines.engine.workspace import Workspace
from pipelines.keeping.lineage import inputs_of, made_from, strangers
from pipelines.keeping.quarantine import SetAside
from pipelines.keeping.removal import remove_artifact
from pipelines.keeping.repair import remove_units
from sppnet.errors import ConfigError

_NAMES_SHOWN = 8


def run_retry(target: Target, console: Console, fields: dict[str, Any], reason: str | None, *, dry_run: bool) -> None:
    """Take away the commits of units that quarantined keys, and of those that follow.

    Args:
        target: What is looked through.
        console: Where it is told.
        fields: Takes the same as plain values.
        reason: Only keys that were quarantined for it; None for all.
        dry_run: Whether it is only told.

    Raises:
        ConfigError: No key is quarantined for the reason, or the workspace can't be written.
    """
    found = SetAside.find(target.workspace, target.names, reason, target.every_recipe)
    units = [*found.units, *found.followers]
    if units and not dry_run:
        target.workspace.check_writable()
        remove_units(target.workspace, reversed(units))  # what follows goes first: cut off, it can be begun again
    names = [f"{artifact}/{unit}" for artifact, unit in units]
    fields.update(reasons=dict(found.reasons), dry_run=dry_run, taken=names)
    table = Table("artifact", "units")
    for artifact, count in Counter(artifact for artifact, _ in units).items():
        table.add_row(artifact, formatting.count(count))
    if units:
        console.print(table)
    for name in strangers(target.workspace, target.every_recipe, units):
        console.print(f"{name}: was made from such units and is of no run that is known; see whether it is to go")
    told = ", ".join(f"{count} {name}" for name, count in found.reasons.items())
    done = "would be taken away" if dry_run else "taken away; run again to try them"
    console.print(f"retry: {told}: {len(units)} units {done}" if units else "retry: nothing is quarantined")


def run_rm(
    target: Target, console: Console, fields: dict[str, Any], name: str, *, yes: bool, force: bool = False
) -> None:
    """Remove an artifact and what was made from it, unless a run that goes on uses one of them.

    Args:
        target: The workspace.
        console: Where it is told.
        fields: Takes the same as plain values.
        name: The artifact's.
        yes: Whether it is removed; else it is only told.
        force: Whether it is removed also where a run uses it.

    Raises:
        ConfigError: There is no such artifact, it was not said to remove it, or a run uses it.
    """
    workspace, known = target.workspace, target.names
    if name not in known:
        near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
        hint = f"did you mean {' or '.join(near)}?" if near else f"there are: {', '.join(known[:_NAMES_SHOWN])}"
        raise ConfigError(f"no artifact '{name}' in {workspace.store.uri}; {hint}")
    names = [*made_from(inputs_of(workspace, known), name), name]
    rows, total = [], 0
    table = Table("artifact", "units", "size")
    for one in names:
        listing = ArtifactListing.of(workspace.artifact(one))
        rows.append({"artifact": one, "units": len(listing.commits), "bytes": listing.bytes})
        total += listing.bytes
        table.add_row(one, formatting.count(len(listing.commits)), formatting.size(listing.bytes))
    console.print(table)
    fields.update(removed=yes, artifacts=rows, bytes=total)
    if not yes:
        others = f" and {len(names) - 1} made from it" if len(names) > 1 else ""
        raise ConfigError(f"rm: {name}{others} would be removed; give --yes to remove")
    workspace.check_writable()
    if not force:
        _check_unused(workspace, names)
    for one in names:
        remove_artifact(workspace.artifact(one))
    console.print(f"rm: {len(names)} artifact{'s' * (len(names) > 1)} removed, {formatting.size(total)}")


def _check_unused(workspace: Workspace, names: list[str]) -> None:
    for key, going in runs_at_work(workspace.store, store_time(workspace.store)).items():
        used = [name for name in names if name in going.artifacts]
        if used:
            raise ConfigError(
                f"rm: run {key} on {going.host} goes on and uses {', '.join(used[:_NAMES_SHOWN])}; end it first. Of a "
                f"driver that was killed this is known {FRESH_SECONDS / 60:g} minutes later; --force removes at once"
            )
