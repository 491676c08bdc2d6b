"""Commands that look after a workspace: `verify`, `gc`, `retry` and `rm`."""

from __future__ import annotations

from typing import Annotated

import typer

from jobs.commands.options import (
    DEFAULT_WORKSPACE,
    JsonOption,
    SetOption,
    VerboseOption,
    WorkspaceOption,
    command,
    open_engine,
)
from jobs.run.console import make_console

_WHAT = "A workspace's folder or URI, or a recipe: what of the workspace it uses. Default: the whole workspace."
WhatArgument = Annotated[str | None, typer.Argument(metavar="WORKSPACE|RECIPE", help=_WHAT)]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Only say what would be taken.")]


def verify(
    what: WhatArgument = None,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    deep: Annotated[bool, typer.Option("--deep", help="Read all data: checksums and row counts.")] = False,
    repair: Annotated[
        bool, typer.Option("--repair", help="Take the commits of damaged units away, so that the next run makes those.")
    ] = False,
    address: Annotated[
        str | None, typer.Option(help="host:port of a Ray cluster whose workers read the data of --deep.")
    ] = None,
    overrides: SetOption = None,
    as_json: JsonOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Compare every commit with its data, its manifest and its step's sum, and every artifact with its inputs."""
    with command("verify", as_json, verbose) as result:
        from jobs.keep.target import find_target
        from jobs.keep.verifying import run_verify
        from sppnet.errors import ConfigError

        if address is not None and not deep:
            raise ConfigError("--address: whose workers read the data of --deep; give that too")
        target = find_target(what, workspace, lambda recipe: open_engine(recipe, workspace, overrides))
        run_verify(target, make_console(), result.fields, deep=deep, repair=repair, address=address)


def gc(
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    dry_run: DryRunOption = False,
    unreferenced: Annotated[
        bool, typer.Option("--unreferenced", help="Take artifacts too that no recipe in runs/ refers to.")
    ] = False,
    age: Annotated[str, typer.Option("--age", metavar="AGE", help="Only what is older: 36h, 7d; at least 1h.")] = "24h",
    allow: Annotated[
        list[str] | None,
        typer.Option("--allow", metavar="MODULE:NAME", help="Own code that recipes in runs/ may name; it is imported."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Remove what belongs to nothing: data that no commit names, puts that were cut off, scratch of dead processes."""
    with command("gc", as_json) as result:
        from jobs.keep.collecting import parse_age, run_gc
        from jobs.keep.target import Target, open_workspace
        from sppnet.own_parts import allow as allow_part

        for path in allow or ():
            allow_part(path)
        target = Target(open_workspace(workspace))
        run_gc(target, make_console(), result.fields, parse_age(age), dry_run=dry_run, unreferenced=unreferenced)


def retry(
    what: WhatArgument = None,
    quarantined: Annotated[
        bool, typer.Option("--quarantined", help="Of units that quarantined keys; there is nothing else to retry.")
    ] = False,
    reason: Annotated[str | None, typer.Option(help="Only keys that were quarantined for this reason.")] = None,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    dry_run: DryRunOption = False,
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Take away the commits of units that quarantined keys, and what follows, so that the next run tries them again."""
    with command("retry", as_json) as result:
        from jobs.keep.removing import run_retry
        from jobs.keep.target import find_target
        from sppnet.errors import ConfigError

        if not quarantined:
            raise ConfigError("retry: give --quarantined; units that failed are tried again by every run")
        target = find_target(what, workspace, lambda recipe: open_engine(recipe, workspace, overrides))
        run_retry(target, make_console(), result.fields, reason, dry_run=dry_run)


def rm(
    artifact: Annotated[str, typer.Argument(metavar="ARTIFACT", help="Its name, as `sppnet status` tells it.")],
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    yes: Annotated[bool, typer.Option("--yes", help="Remove it; else it is only said what would be removed.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Remove it also while a run that goes on uses it.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Remove an artifact, and every artifact that was made from it."""
    with command("rm", as_json) as result:
        from jobs.keep.removing import run_rm
        from jobs.keep.target import Target, open_workspace

        run_rm(Target(open_workspace(workspace)), make_console(), result.fields, artifact, yes=yes, force=force)
