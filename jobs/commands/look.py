"""Commands that look at a recipe, a workspace or this machine, and make nothing but the report."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from jobs.commands.options import (
    DEFAULT_WORKSPACE,
    GpusOption,
    JsonOption,
    RecipeArgument,
    SetOption,
    WorkspaceOption,
    command,
    open_engine,
)
from jobs.recipes import find_recipe
from jobs.run.console import make_console

if TYPE_CHECKING:
    from jobs.doctor.check import Check


def plan(
    recipe: RecipeArgument,
    images: Annotated[
        list[str] | None, typer.Option(metavar="SPLIT=N", help="Images of a split; default: the data set's lists.")
    ] = None,
    size: Annotated[str, typer.Option(metavar="WxH", help="Size of a typical image, pixels.")] = "500x375",
    windows: Annotated[int, typer.Option(min=1, help="Windows of an image.")] = 2000,
    macs: Annotated[
        float | None, typer.Option(metavar="N", help="Multiply-accumulates a worker does a second; default: measured.")
    ] = None,
    read: Annotated[
        float | None, typer.Option(metavar="BYTES", help="Bytes of maps a worker reads back a second.")
    ] = None,
    rate: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VALUE", help="Any rate of a worker, such as pooling=1e12."),
    ] = None,
    workers: Annotated[int, typer.Option(min=1, help="Workers side by side.")] = 1,
    price: Annotated[float, typer.Option(min=0, help="Of a worker hour.")] = 0.0,
    budget: Annotated[float | None, typer.Option(min=0, help="Fail if the plan costs more.")] = None,
    gpus: GpusOption = None,
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Tell what a recipe costs before it is run: shards, images, operations, bytes, hours, money."""
    with command("plan", as_json) as result:
        from jobs.plan.categories import with_categories
        from jobs.plan.corpus import Corpus, listed_images, parse_images, parse_size
        from jobs.plan.keeping import decide_keeping
        from jobs.plan.measure import choose_rates
        from jobs.plan.table import check_budget, make_plan, plan_fields
        from jobs.plan.table import plan_table as table
        from pipelines.engine.recipe import load_recipe

        loaded = with_categories(load_recipe(find_recipe(recipe), overrides or (), gpus))
        counts = parse_images(images) if images else listed_images(loaded)
        corpus = Corpus(counts, parse_size(size), windows)
        rates = choose_rates(macs, read, rate or ())
        loaded, why = decide_keeping(loaded, rates, corpus.size)
        costs, used = make_plan(loaded, corpus, rates)
        console = make_console()
        console.print(table(costs, used))
        for line in why:
            console.print(line)
        fields = {**plan_fields(costs, workers, price), "keeping": why}
        result.fields.update(fields)
        total = f"{fields['worker_hours']:.3g} worker hours, {fields['hours']:.3g} on {workers} worker"
        console.print(f"{total}{'s' * (workers > 1)}, cost {fields['cost']:.2f}, stores {fields['bytes'] / 1e9:.3g} GB")
        check_budget(fields, budget)


def status(
    recipe: RecipeArgument,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    gpus: GpusOption = None,
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Tell what of a recipe is committed, missing and quarantined, at what rate, and what failed why."""
    with command("status", as_json) as result:
        from jobs.run.status import status_table

        engine = open_engine(recipe, workspace, overrides, gpus=gpus)
        table, fields = status_table(engine)
        console = make_console()
        console.print(table)
        for row in fields["steps"]:
            for line in row["damaged"]:
                console.print(f"{row['step']}: damaged: {line}")
        result.fields.update(fields)


def explain(
    recipe: RecipeArgument,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Tell why steps would run again: what has changed in the recipe and in the data set, and what that will cost."""
    with command("explain", as_json) as result:
        from jobs.run.explain import explain_steps

        rows = explain_steps(open_engine(recipe, workspace, overrides, fresh=True))
        console = make_console()
        for row in rows:
            console.print(f"{row['step']}: {row['state']}")
            for change in row["changes"]:
                console.print(f"    {change}")
        result.fields["steps"] = rows


def report(
    recipe: RecipeArgument,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    detector: Annotated[
        str | None, typer.Option(metavar="NAME", help="Detector to look at most closely; default: the best.")
    ] = None,
    against: Annotated[
        str | None, typer.Option(metavar="RUN", help="Another run of the workspace to show beside this one.")
    ] = None,
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write the HTML report of what is there: tables, curves, errors, pictures, timings, quarantine."""
    with command("report", as_json) as result:
        from jobs.report.page.collect import collect
        from jobs.report.page.render import render
        from jobs.run.compare import compare_runs
        from jobs.run.history import find_run, report_folder

        engine = open_engine(recipe, workspace, overrides)
        other = find_run(engine.workspace.store, against) if against else None
        folder = report_folder(engine)
        compared = compare_runs(other, folder) if other else None
        page = render(collect(engine, detector=detector, against=compared))
        result.fields["report"] = folder.write_report(page)
        make_console().print(f"report: {result.fields['report']}")


def doctor(
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    address: Annotated[
        str | None, typer.Option(help="host:port of a Ray cluster: look at each of its nodes instead of this machine.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Check versions, devices, storage rights, shared memory, disk and Ray, and say what to mend."""
    with command("doctor", as_json) as result:
        from sppnet.errors import ConfigError

        checks = _examine(workspace, address)
        table = Table("check", "state", "finding")
        for check in checks:
            table.add_row(check.name, check.state, check.finding)
        make_console().print(table)
        result.fields["checks"] = [check.to_json() for check in checks]
        failed = list(dict.fromkeys(check.name for check in checks if check.state == "fail"))
        if failed:
            raise ConfigError(f"doctor: {', '.join(failed)} failed; see the findings above")


def _examine(workspace: str, address: str | None) -> list[Check]:
    if address is None:
        from jobs.doctor.machine import examine

        return examine(workspace)
    from jobs.doctor.cluster import examine_cluster

    return examine_cluster(address, workspace)
