"""`sppnet export-detections`: what a step found, in the formats that other programs read."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from jobs.exports.detectors import detector_facts
from jobs.exports.steps import step_making
from sppnet.errors import ConfigError

if TYPE_CHECKING:
    from pipelines.engine.planning import PlannedStep
    from pipelines.engine.runner import Engine
    from pipelines.outputs.ids import Numbers
    from pipelines.outputs.plan import ExportOptions

_KINDS = ("detections",)


def export_options(
    file_format: str, boxes: str, threshold: float | None, top_per_set: str | None, numbers: str | None
) -> ExportOptions:
    """Check options as they are typed, before anything is run.

    Args:
        file_format: One of `pipelines.outputs.plan.FORMATS`.
        boxes: `windows`, `regressed`, or `best`.
        threshold: Only detections with a higher score.
        top_per_set: A number, or `5/image`.
        numbers: A file with the numbers of images and categories, see `Numbers.parse`.

    Raises:
        ConfigError: One of them is something else, or the file can't be read.
    """
    from pipelines.detecting.detection_sets import parse_top_per_set
    from pipelines.outputs.plan import ExportOptions, check_format

    parse_top_per_set(top_per_set, 1)
    return ExportOptions(
        check_format(file_format),
        boxes=_check_boxes(boxes),
        threshold=threshold,
        top_per_set=top_per_set,
        numbers=_read_numbers(numbers) if numbers else None,
    )


def export_detections(
    engine: Engine, step: str, out: str, options: ExportOptions, split: str | None = None
) -> dict[str, Any]:
    """Write the detections of one split of a run.

    Args:
        engine: The recipe in its workspace.
        step: A step that makes detections.
        out: A folder or an object-store prefix.
        options: What to write; regressed boxes are suppressed at the step's own overlap.
        split: Which split; needed if the step scores several.

    Returns:
        Format, split, files, and how many detections they hold.

    Raises:
        ConfigError: No such step or split; the split was not scored; numbers are missing.
        ArtifactError: A shard is missing or corrupt.
    """
    from pipelines.detecting.detection_sets import DetectionSet
    from pipelines.engine.store import open_store
    from pipelines.outputs.by_image import image_records, image_sizes
    from pipelines.outputs.export import export
    from pipelines.outputs.ids import image_numbers
    from pipelines.outputs.plan import plan_export
    from pipelines.shards.reading import IngestedImages

    planned = step_making(engine, step, _KINDS)
    config: Any = planned.config
    images = IngestedImages.of(engine.workspace, planned.spec)
    chosen = _split(planned, split)
    detected = DetectionSet(engine.workspace.artifact(planned.spec.artifact), images.manifest, chosen)
    detected.check_scored()
    facts = detector_facts({step.name: step for step in engine.steps}, step, engine.workspace)
    known, sizes = partial(image_numbers, images, chosen), partial(image_sizes, images, chosen)
    options = replace(options, nms_iou=config.nms_iou)
    records = partial(image_records, images, chosen)
    plan = plan_export(options, facts, images.manifest, chosen, known=known, count=False, sizes=sizes, records=records)
    written = export(detected, plan, open_store(out))
    return {
        "step": step,
        "format": options.format,
        "split": chosen,
        "boxes": written.boxes,
        "detections": written.detections,
        "files": list(written.files),
    }


def _read_numbers(path: str) -> Numbers:
    """Read a file with numbers; raise `ConfigError` if it can't be read or is something else."""
    from pipelines.outputs.ids import Numbers

    try:
        return Numbers.parse(Path(path).read_bytes(), path)
    except OSError as error:
        raise ConfigError(f"numbers: {path} can't be read: {error.strerror}") from error


def _check_boxes(boxes: str) -> Literal["windows", "regressed", "best"]:
    for known in ("windows", "regressed", "best"):
        if boxes == known:
            return known
    raise ConfigError(f"boxes: {boxes!r} is not one of windows, regressed, best")


def _split(planned: PlannedStep, split: str | None) -> str:
    splits: tuple[str, ...] = planned.config.splits  # type: ignore[attr-defined]
    if split is None and len(splits) == 1:
        return splits[0]
    if split not in splits:
        raise ConfigError(f"split: step '{planned.name}' scores {', '.join(splits) or 'none'}, not {split}; name one")
    return split
