"""Commands that write what a run has made for other programs."""

from __future__ import annotations

from typing import Annotated

import typer

from jobs.commands.options import (
    DEFAULT_WORKSPACE,
    JsonOption,
    RecipeArgument,
    SetOption,
    WorkspaceOption,
    command,
    open_engine,
)
from jobs.run.console import make_console

FormatOption = Annotated[
    str,
    typer.Option(
        "--format",
        help="parquet, csv, coco, voc (comp4), det (submission), yolo, yolo-labels, fiftyone, huggingface or "
        "huggingface-parquet.",
    ),
]
BoxesOption = Annotated[str, typer.Option(help="windows, regressed, or best: regressed if there are regressors.")]
ThresholdOption = Annotated[float | None, typer.Option(help="Write only detections with a higher score.")]
TopPerSetOption = Annotated[
    str | None, typer.Option(metavar="N|N/image", help="Keep a category's best N over the split, or N x its images.")
]
NumbersOption = Annotated[
    str | None,
    typer.Option(metavar="FILE", help="Numbers of images and categories: a list such as DET's val.txt, or COCO JSON."),
]


def export(
    recipe: RecipeArgument,
    step: Annotated[str, typer.Argument(metavar="STEP", help="A step that scores, or that makes a network or a head.")],
    file: Annotated[
        str,
        typer.Argument(metavar="FILE", help="Where to: .sppnet a detector, .safetensors or .pth a network."),
    ],
    licence: Annotated[
        str | None, typer.Option(help="What may be done with a detector: a line that its file will hold.")
    ] = None,
    onnx: Annotated[
        str | None,
        typer.Option(metavar="DIR", help="Write a detector's backbone and head as ONNX to this folder too, checked."),
    ] = None,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write a whole detector for sppnet.load (.sppnet), or a network or head as safetensors or state dict (.pth)."""
    with command("export", as_json) as result:
        from jobs.exports.weights import export_step

        result.fields.update(export_step(open_engine(recipe, workspace, overrides), step, file, licence, onnx))
        make_console().print(f"{result.fields['tensors']} tensors, {result.fields['bytes']} bytes: {file}")
        for name, difference in result.fields.get("onnx_differences", {}).items():
            make_console().print(f"{onnx}/{name}: differs from torch by {difference:.1e} of the greatest value at most")


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
    """Write what a step found for other programs: as tables, COCO, VOC, DET, YOLO, FiftyOne or Hugging Face."""
    with command("export-detections", as_json) as result:
        from jobs.exports.detections import export_detections as write
        from jobs.exports.detections import export_options

        engine = open_engine(recipe, workspace, overrides)
        options = export_options(file_format, boxes, threshold, top_per_set, numbers)
        fields = write(engine, step, out, options, split)
        result.fields.update(fields)
        make_console().print(f"{fields['detections']} detections ({fields['boxes']}): {', '.join(fields['files'][:3])}")
