"""Commands that apply what was trained to any images."""

from __future__ import annotations

from typing import Annotated

import typer

from jobs.commands.export import BoxesOption, FormatOption, NumbersOption, ThresholdOption, TopPerSetOption
from jobs.commands.options import (
    DEFAULT_WORKSPACE,
    AddressOption,
    CpusOption,
    JsonOption,
    LocalOption,
    SetOption,
    VerboseOption,
    WorkspaceOption,
    command,
    make_executor,
)
from jobs.recipes import find_recipe
from jobs.run.console import make_console


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
    with command("classify", as_json, verbose) as result:
        from jobs.apply.classify import ClassifyRequest, classify_engine, write_score_files
        from jobs.run.making import make_missing

        request = ClassifyRequest(
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
        make_missing(engine, lambda: make_executor(local, address, cpus), make_console())
        result.fields.update(out=out, **write_score_files(engine, out))
        found = result.fields
        make_console().print(f"{found['images']} images classified, {found['quarantined']} set aside: {out}")


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
    with command("score", as_json, verbose) as result:
        from jobs.apply.score import ScoreRequest, score_engine, write_detection_files
        from jobs.exports.detections import export_options
        from jobs.run.making import make_missing

        options = export_options(file_format, boxes, threshold, top_per_set, numbers)
        request = ScoreRequest(
            corpus=corpus,
            recipe=find_recipe(recipe),
            overrides=overrides or (),
            detector=detector,
            max_quarantined=max_quarantined,
        )
        engine = score_engine(request, workspace)
        make_missing(engine, lambda: make_executor(local, address, cpus), make_console())
        result.fields.update(out=out, **write_detection_files(engine, out, options))
        found = result.fields
        make_console().print(
            f"{found['detections']} detections in {found['images']} images, {found['quarantined']} set aside: {out}"
        )
