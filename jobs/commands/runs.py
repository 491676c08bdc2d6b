"""Commands that look at what was run before: the runs of a workspace, and two of them side by side."""

from __future__ import annotations

from typing import Annotated

import typer

from jobs.commands.options import DEFAULT_WORKSPACE, JsonOption, WorkspaceOption, command
from jobs.run.console import make_console

_RUN = "A run: its name (the last of it), NAME/WHEN-FINGERPRINT, or the beginning of its fingerprint."


def runs(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="Only runs of this name.")] = None,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    as_json: JsonOption = False,
) -> None:
    """List the runs of a workspace: when they were started, how they ended, and what they reached."""
    with command("runs", as_json) as result:
        from jobs.run.listing import listed_runs, runs_table
        from pipelines.engine.workspace import Workspace

        found = listed_runs(Workspace.open(workspace), name)
        console = make_console()
        console.print(runs_table(found) if found else f"nothing was run in {workspace}")
        result.fields["runs"] = [row.to_json() for row in found]


def compare(
    first: Annotated[str, typer.Argument(metavar="A", help=_RUN)],
    second: Annotated[str, typer.Argument(metavar="B", help="Another run, named likewise.")],
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    as_json: JsonOption = False,
) -> None:
    """Show what differs between two runs: recipe, AP by category, figures of classes, units and time."""
    with command("compare", as_json) as result:
        from jobs.run.compare import compare_runs, comparison_tables
        from jobs.run.history import find_run
        from pipelines.engine.workspace import Workspace

        store = Workspace.open(workspace).store
        found = compare_runs(find_run(store, first), find_run(store, second))
        console = make_console()
        console.print(f"a: {found.a}\nb: {found.b}")
        for table in comparison_tables(found):
            console.print(table)
        result.fields.update(found.to_json())
