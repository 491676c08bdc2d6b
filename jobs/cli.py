"""The `sppnet` command."""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from jobs.console import make_console, set_up_logging
from jobs.recipes import find_recipe
from jobs.running import make_missing
from sppnet.errors import SppError

if TYPE_CHECKING:
    from pipelines.engine import Engine
    from pipelines.executor import Executor

app = typer.Typer(
    name="sppnet",
    help="SPP-net as a batch pipeline: convolve every image once, cache the maps, pool any window of them.\n\n"
    "Exit codes: 0 done, 2 wrong usage or config, 3 shards incomplete, 4 too many quarantined, "
    "5 corrupt or missing artifact.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

RecipeArgument = Annotated[str, typer.Argument(metavar="RECIPE", help="A .yaml file, or a built-in recipe's name.")]
WorkspaceOption = Annotated[
    str, typer.Option("--workspace", "-w", help="Root of all artifacts: a folder or s3://bucket/prefix.")
]
SetOption = Annotated[
    list[str] | None, typer.Option("--set", metavar="STEP.FIELD=VALUE", help="Override a recipe value; repeatable.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="End the output with one JSON line.")]
LocalOption = Annotated[bool, typer.Option("--local", help="Run in this process, without Ray.")]
AddressOption = Annotated[
    str | None, typer.Option("--address", help="host:port of a Ray cluster; default: a local Ray of its own.")
]
CpusOption = Annotated[int | None, typer.Option("--cpus", min=1, help="CPUs of the local Ray; default: all.")]
VerboseOption = Annotated[bool, typer.Option("--verbose", "-v", help="Log more.")]

DEFAULT_WORKSPACE = "./workspace"

logger = logging.getLogger(__name__)


class _Result:
    """What a command prints as JSON."""

    def __init__(self, command: str, as_json: bool) -> None:
        self.fields: dict[str, Any] = {"command": command, "exit_code": 0}
        self.as_json = as_json

    def emit(self) -> None:
        if self.as_json:
            print(json.dumps(self.fields), flush=True)  # noqa: T201


@contextmanager
def _command(name: str, as_json: bool, verbose: bool = False) -> Iterator[_Result]:
    """Turns errors into one line and the documented exit code, and ends the output with JSON if asked to."""
    set_up_logging(verbose)
    result = _Result(name, as_json)
    code = 0
    try:
        yield result
    except SppError as error:
        code = error.exit_code
        result.fields["error"] = " ".join(str(error).split())
    except KeyboardInterrupt:
        code = 130
        result.fields["error"] = "interrupted; finished units are kept, run again to go on"
    except Exception as error:  # the command's boundary: a defect ends with its trace, one line and JSON too
        code = 1
        logger.exception("unexpected error in sppnet %s", name)
        result.fields["error"] = " ".join(f"{type(error).__name__}: {error}".split())
    if code:
        print(f"sppnet: {result.fields['error']}", file=sys.stderr)  # noqa: T201
    result.fields["exit_code"] = code
    result.emit()
    if code:
        raise typer.Exit(code)


def _engine(recipe: str, workspace: str, overrides: list[str] | None) -> Engine:
    from pipelines.engine import Engine
    from pipelines.recipe import load_recipe
    from pipelines.workspace import Workspace

    return Engine(load_recipe(find_recipe(recipe), overrides or ()), Workspace.open(workspace))


def _executor(local: bool, address: str | None, cpus: int | None) -> Executor:
    if local:
        from pipelines.executor import LocalExecutor

        return LocalExecutor()
    from pipelines.ray_executor import RayExecutor

    return RayExecutor(address=address, num_cpus=cpus)


def _run(engine: Engine, make_executor: Callable[[], Executor], result: _Result) -> None:
    from jobs.report.collect import write_report
    from jobs.results import class_table, run_result

    start = time.perf_counter()
    console = make_console()
    summaries = make_missing(engine, make_executor, console)
    result.fields.update(run_result(engine, summaries, time.perf_counter() - start))
    result.fields["report"] = write_report(engine)
    for name, row in result.fields["steps"].items():
        console.print(f"{name}: VOC07 mAP {_percent(row['voc07_map'])}, area mAP {_percent(row['area_map'])}")
    if result.fields["classes"]:
        console.print(class_table(result.fields["classes"]))
    console.print(f"report: {result.fields['report']}")


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f} %"


@app.command()
def run(
    recipe: RecipeArgument,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    local: LocalOption = False,
    address: AddressOption = None,
    cpus: CpusOption = None,
    overrides: SetOption = None,
    as_json: JsonOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Make everything of a recipe that is missing, then the report. Run it again after any failure: it goes on."""
    with _command("run", as_json, verbose) as result:
        engine = _engine(recipe, workspace, overrides)
        _run(engine, lambda: _executor(local, address, cpus), result)


@app.command()
def demo(
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    local: LocalOption = False,
    address: AddressOption = None,
    cpus: CpusOption = None,
    overrides: SetOption = None,
    as_json: JsonOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Draw the embedded data set beside a local workspace and run the whole detection chain on it."""
    with _command("demo", as_json, verbose) as result:
        from jobs.demo.scenes import draw_dataset

        # A remote workspace holds the artifacts; the drawn photographs stay on this machine's disk.
        folder = Path("demo-data" if "://" in workspace else workspace).resolve() / "demo-data"
        draw_dataset(folder)
        engine = _engine("demo", workspace, [f"images.dataset.root={json.dumps(str(folder))}", *(overrides or [])])
        _run(engine, lambda: _executor(local, address, cpus), result)


@app.command()
def status(
    recipe: RecipeArgument,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Tell what of a recipe is committed, missing and quarantined, at what rate, and what failed why."""
    with _command("status", as_json) as result:
        from jobs.status import status_table

        engine = _engine(recipe, workspace, overrides)
        table, fields = status_table(engine)
        make_console().print(table)
        result.fields.update(fields)


@app.command()
def explain(
    recipe: RecipeArgument,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Tell why each step would run: what differs from the artifacts that the workspace holds."""
    with _command("explain", as_json) as result:
        from jobs.status import explain_steps

        rows = explain_steps(_engine(recipe, workspace, overrides))
        console = make_console()
        for row in rows:
            console.print(f"{row['step']}: {row['state']}")
            for change in row["changes"]:
                console.print(f"    {change}")
        result.fields["steps"] = rows


@app.command()
def export(
    recipe: RecipeArgument,
    step: Annotated[str, typer.Argument(metavar="STEP", help="A step that trains or imports a network or a head.")],
    file: Annotated[str, typer.Argument(metavar="FILE", help="Where to: a name ending in .safetensors or .pth.")],
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write a trained network or head as safetensors, or as a state dict with torchvision's names (.pth)."""
    with _command("export", as_json) as result:
        from jobs.export import export_weights

        result.fields.update(export_weights(_engine(recipe, workspace, overrides), step, file))
        make_console().print(f"{result.fields['tensors']} tensors, {result.fields['bytes']} bytes: {file}")


FormatOption = Annotated[str, typer.Option("--format", help="parquet, coco, voc (comp4 files) or det (submission).")]
BoxesOption = Annotated[str, typer.Option(help="windows, regressed, or best: regressed if there are regressors.")]
ThresholdOption = Annotated[float | None, typer.Option(help="Write only detections with a higher score.")]
TopPerSetOption = Annotated[
    str | None, typer.Option(metavar="N|N/image", help="Keep a category's best N over the split, or N x its images.")
]
NumbersOption = Annotated[
    str | None,
    typer.Option(metavar="FILE", help="Numbers of images and categories: a list such as DET's val.txt, or COCO JSON."),
]


@app.command()
def classify(
    corpus: Annotated[
        str, typer.Argument(metavar="CORPUS", help="Folder of images, tars, or step:NAME of the recipe.")
    ],
    out: Annotated[str, typer.Option(help="Folder or s3://bucket/prefix for the results.")],
    recipe: Annotated[str | None, typer.Option(help="Recipe whose trained network is used.")] = None,
    step: Annotated[str | None, typer.Option(help="Its step that makes the network, if there are several.")] = None,
    weights: Annotated[str | None, typer.Option(help="Weights of a backbone instead: pool5 features only.")] = None,
    architecture: Annotated[str | None, typer.Option(help="The backbone that the weights are of.")] = None,
    output: Annotated[str, typer.Option(help="scores, or features of a layer: pool5, fc6, fc7.")] = "scores",
    views: Annotated[
        list[str] | None, typer.Option(help="crop, full (default), crops10, maps10, maps96, maps98; repeatable.")
    ] = None,
    size: Annotated[int | None, typer.Option(min=1, help="Side of a view in pixels; default: as trained.")] = None,
    scale: Annotated[int | None, typer.Option(min=1, help="Short side of the image; default: 8/7 of the size.")] = None,
    precision: Annotated[str, typer.Option(help="float32 or bfloat16.")] = "float32",
    max_quarantined: Annotated[float, typer.Option(min=0, max=1, help="Fraction of images that may fail.")] = 0.5,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    local: LocalOption = False,
    address: AddressOption = None,
    cpus: CpusOption = None,
    overrides: SetOption = None,
    as_json: JsonOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Write class scores or features of any images, with a trained network, as Parquet. Run it again: it goes on."""
    with _command("classify", as_json, verbose) as result:
        from jobs.classify import Request, classify_engine, write_out

        request = Request(
            corpus=corpus,
            recipe=find_recipe(recipe) if recipe else None,
            overrides=overrides or (),
            step=step,
            weights=weights,
            backbone={"architecture": architecture} if architecture else {},
            fields={"output": output, "views": views or ["full"], "size": size, "scale": scale, "precision": precision},
            max_quarantined=max_quarantined,
        )
        engine = classify_engine(request, workspace)
        make_missing(engine, lambda: _executor(local, address, cpus), make_console())
        result.fields.update(out=out, **write_out(engine, out))
        found = result.fields
        make_console().print(f"{found['images']} images classified, {found['quarantined']} set aside: {out}")


@app.command()
def score(
    corpus: Annotated[
        str, typer.Argument(metavar="CORPUS", help="Folder of images, tars, or step:NAME of the recipe.")
    ],
    recipe: Annotated[str, typer.Option(help="Recipe whose trained detector is used.")],
    out: Annotated[str, typer.Option("--out", "-o", help="Folder or s3://bucket/prefix for the results.")],
    detector: Annotated[
        str | None, typer.Option(help="Its step that scores or combines, if there are several.")
    ] = None,
    file_format: FormatOption = "parquet",
    boxes: BoxesOption = "best",
    threshold: ThresholdOption = None,
    top_per_set: TopPerSetOption = None,
    numbers: NumbersOption = None,
    max_quarantined: Annotated[float, typer.Option(min=0, max=1, help="Fraction of images that may fail.")] = 0.5,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    local: LocalOption = False,
    address: AddressOption = None,
    cpus: CpusOption = None,
    overrides: SetOption = None,
    as_json: JsonOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Write what a trained detector finds in any images. Run it again after any failure: it goes on."""
    with _command("score", as_json, verbose) as result:
        from jobs.export_detections import export_options
        from jobs.score import Request, score_engine, write_out

        options = export_options(file_format, boxes, threshold, top_per_set, numbers)
        request = Request(
            corpus=corpus,
            recipe=find_recipe(recipe),
            overrides=overrides or (),
            detector=detector,
            max_quarantined=max_quarantined,
        )
        engine = score_engine(request, workspace)
        make_missing(engine, lambda: _executor(local, address, cpus), make_console())
        result.fields.update(out=out, **write_out(engine, out, options))
        found = result.fields
        make_console().print(
            f"{found['detections']} detections in {found['images']} images, {found['quarantined']} set aside: {out}"
        )


@app.command("export-detections")
def export_detections(
    recipe: RecipeArgument,
    step: Annotated[str, typer.Argument(metavar="STEP", help="A step that scores or combines.")],
    out: Annotated[str, typer.Option("--out", "-o", metavar="DIR", help="Where to: a folder or s3://bucket/prefix.")],
    file_format: FormatOption = "parquet",
    split: Annotated[str | None, typer.Option(help="Which split, if the step scores several.")] = None,
    boxes: BoxesOption = "best",
    threshold: ThresholdOption = None,
    top_per_set: TopPerSetOption = None,
    numbers: NumbersOption = None,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write what a step found as Parquet, COCO results, VOC comp4 files or an ILSVRC DET submission."""
    with _command("export-detections", as_json) as result:
        from jobs.export_detections import export_detections as write
        from jobs.export_detections import export_options

        engine = _engine(recipe, workspace, overrides)
        options = export_options(file_format, boxes, threshold, top_per_set, numbers)
        fields = write(engine, step, out, options, split)
        result.fields.update(fields)
        make_console().print(f"{fields['detections']} detections ({fields['boxes']}): {', '.join(fields['files'][:3])}")


@app.command()
def report(
    recipe: RecipeArgument,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write the HTML report of what is there: tables, curves, pictures, timings, quarantine."""
    with _command("report", as_json) as result:
        from jobs.report.collect import write_report

        result.fields["report"] = write_report(_engine(recipe, workspace, overrides))
        make_console().print(f"report: {result.fields['report']}")


@app.command()
def doctor(
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    as_json: JsonOption = False,
) -> None:
    """Check versions, devices, storage rights, shared memory, disk and Ray, and say what to mend."""
    with _command("doctor", as_json) as result:
        from jobs.doctor import examine
        from sppnet.errors import ConfigError

        checks = examine(workspace)
        table = Table("check", "state", "finding")
        for check in checks:
            table.add_row(check.name, check.state, check.finding)
        make_console().print(table)
        result.fields["checks"] = [check.to_json() for check in checks]
        failed = [check.name for check in checks if check.state == "fail"]
        if failed:
            raise ConfigError(f"doctor: {', '.join(failed)} failed; see the findings above")


@app.command()
def bench(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Which measure; 'list' names them.")],
    repeats: Annotated[int, typer.Option(min=1, help="Timed repetitions of each side.")] = 7,
    as_json: JsonOption = False,
) -> None:
    """Measure this project beside its peer, in one run on the same inputs."""
    with _command("bench", as_json) as result:
        from jobs.bench.registry import measure, measure_names

        if name == "list":
            result.fields["measures"] = measure_names()
            make_console().print("\n".join(measure_names()))
            return
        rows = measure(name, repeats)
        columns = list(dict.fromkeys(key for row in rows for key in row))
        table = Table(*columns)
        for row in rows:
            table.add_row(*(f"{row[c]:.4g}" if isinstance(row.get(c), float) else str(row.get(c, "")) for c in columns))
        make_console().print(table)
        result.fields["measures"] = rows


def main() -> None:
    """Entry point."""
    app()


if __name__ == "__main__":
    main()
