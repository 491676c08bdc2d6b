"""Commands that apply what was trained to any images."""

from __future__ import annotations

from typing import Annotated

import typer

from jobs.commands.export import BoxesOption, FormatOption, NumbersOption, ThresholdOption, TopPerSetOption
from jobs.commands.options import (
    DEFAULT_WORKSPACE,
    AddressOption,
    CpusOption,
    GpusOption,
    JsonOption,
    LocalOption,
    SetOption,
    VerboseOption,
    WorkspaceOption,
    command,
    executor_maker,
)
from jobs.recipes import find_recipe
from jobs.run.console import make_console

CorpusArgument = Annotated[
    list[str],
    typer.Argument(
        metavar="CORPUS",
        help="Folders and s3:// prefixes of images or tars, single files, globs (quoted; ** for any folders), "
        "{000..123}, @FILE (a list of paths and URIs); or step:NAME of the recipe. Labels are passed over.",
    ),
]
OutOption = Annotated[
    str,
    typer.Option("--out", "-o", help="Folder or s3://bucket/prefix; a shard's file appears there when it is done."),
]
MergeOption = Annotated[bool, typer.Option("--merge", help="Write one file of everything too, when all is done.")]
QuarantinedOption = Annotated[float, typer.Option(min=0, max=1, help="Fraction of images that may fail.")]


def classify(
    corpus: CorpusArgument,
    out: OutOption,
    recipe: Annotated[str | None, typer.Option(help="Recipe whose trained network is used.")] = None,
    step: Annotated[str | None, typer.Option(help="Its step that makes the network, if there are several.")] = None,
    weights: Annotated[
        str | None,
        typer.Option(
            help="Weights of a backbone instead: pool5 features only; more of them by --set network.FIELD=..."
        ),
    ] = None,
    architecture: Annotated[str | None, typer.Option(help="The backbone that the weights are of.")] = None,
    output: Annotated[str, typer.Option(help="scores, or features of a layer: pool5, fc6, fc7.")] = "scores",
    views: Annotated[
        list[str] | None, typer.Option(help="crop, full (default), crops10, maps10, maps96, maps98; repeatable.")
    ] = None,
    size: Annotated[int | None, typer.Option(min=1, help="Side of a view in pixels; default: as trained.")] = None,
    scale: Annotated[int | None, typer.Option(min=1, help="Short side of the image; default: 8/7 of the size.")] = None,
    precision: Annotated[str, typer.Option(help="float32 or bfloat16.")] = "float32",
    merge: MergeOption = False,
    max_quarantined: QuarantinedOption = 0.5,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    local: LocalOption = False,
    address: AddressOption = None,
    cpus: CpusOption = None,
    gpus: GpusOption = None,
    overrides: SetOption = None,
    as_json: JsonOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Write class scores or features of any images, with a trained network, as Parquet. Run it again: it goes on."""
    with command("classify", as_json, verbose) as result:
        maker = executor_maker(local, address, cpus)
        from jobs.apply.classify import ClassifyRequest, ScoreFiles, classify_run
        from jobs.run.making import make_missing

        request = ClassifyRequest(
            corpus=corpus,
            recipe=find_recipe(recipe) if recipe else None,
            overrides=overrides or (),
            step=step,
            weights=weights,
            backbone={"architecture": architecture} if architecture else {},
            fields={"output": output, "views": views or ["full"], "size": size, "scale": scale, "precision": precision},
            gpus=gpus,
            max_quarantined=max_quarantined,
        )
        run = classify_run(request, workspace)
        files = ScoreFiles(run, out, merge=merge)
        with files.shards as shards:
            made = make_missing(run.engine, maker, make_console(), shards)
            result.fields.update(out=out, **files.finish())
        found = result.fields
        make_console().print(f"{found['images']} images classified, {found['quarantined']} set aside: {out}")
        made.check()


def score(
    corpus: CorpusArgument,
    recipe: Annotated[str, typer.Option(help="Recipe whose trained detector is used.")],
    out: OutOption,
    detector: Annotated[
        str | None, typer.Option(help="Its step that scores or combines, if there are several.")
    ] = None,
    file_format: FormatOption = "parquet",
    boxes: BoxesOption = "best",
    threshold: ThresholdOption = None,
    top_per_set: TopPerSetOption = None,
    numbers: NumbersOption = None,
    merge: MergeOption = False,
    draw: Annotated[
        str | None,
        typer.Option(
            metavar="DIR", help="Another folder: each image with what was found above --threshold (default 0) drawn."
        ),
    ] = None,
    max_quarantined: QuarantinedOption = 0.5,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    local: LocalOption = False,
    address: AddressOption = None,
    cpus: CpusOption = None,
    gpus: GpusOption = None,
    overrides: SetOption = None,
    as_json: JsonOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Write what a trained detector finds in any images. Run it again after any failure: it goes on."""
    with command("score", as_json, verbose) as result:
        maker = executor_maker(local, address, cpus)
        from jobs.apply.score import DetectionFiles, ScoreRequest, score_run
        from jobs.exports.detections import export_options
        from jobs.run.making import make_missing

        options = export_options(file_format, boxes, threshold, top_per_set, numbers)
        request = ScoreRequest(
            corpus=corpus,
            recipe=find_recipe(recipe),
            overrides=overrides or (),
            detector=detector,
            gpus=gpus,
            max_quarantined=max_quarantined,
        )
        run = score_run(request, workspace)
        files = DetectionFiles(run, options, out, merge=merge, draw=draw)
        with files.shards as shards:
            made = make_missing(run.engine, maker, make_console(), shards)
            result.fields.update(out=out, **files.finish())
        found = result.fields
        make_console().print(
            f"{found['detections']} detections found in {found['images']} images, "
            f"{found['quarantined']} set aside: {out}"
        )
        made.check()
