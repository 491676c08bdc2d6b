"""`sppnet score`: detections in any images, with the trained detector of a run.

The images are ingested, windows are proposed and maps extracted exactly as the detector's own steps did, and the
windows are scored by the run's SVMs, regressors, head and network. Steps whose config and images are the run's own
are found made.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jobs.apply.corpus import OWN, Steps, add_corpus, choose_step, claim, own_engine, splits_of, steps_of, write_ledger
from pipelines.engine.recipe import Recipe, load_recipe
from pipelines.engine.store import open_store
from pipelines.engine.work import build_stage
from sppnet.errors import ConfigError

if TYPE_CHECKING:
    from pipelines.engine.runner import Engine
    from pipelines.outputs.export import ExportOptions

_NAME = "score"
OWN_DETECTIONS = OWN + "detections"


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreRequest:
    """What `sppnet score` is asked for.

    Attributes:
        corpus: A folder or prefix of images, webdataset tars (globs and `{000..123}`), or `step:_NAME`, a step of the
            recipe that ingests.
        recipe: File of the recipe whose detector is used.
        overrides: Of the recipe's values.
        detector: The recipe's step that scores or combines; None if only one does.
        max_quarantined: Fraction of the images that may be set aside before the command fails.
    """

    corpus: str
    recipe: Path | str
    overrides: Sequence[str] = ()
    detector: str | None = None
    max_quarantined: float = 0.5


def score_engine(request: ScoreRequest, workspace: str) -> Engine:
    """Build the command's run.

    Raises:
        ConfigError: No such detector or corpus, a detector that is not trained to its end, or windows that were
            imported and can't be proposed for other images.
    """
    base = load_recipe(request.recipe, request.overrides)
    steps = steps_of(base)
    images = add_corpus(request.corpus, base, steps, request.max_quarantined)
    copies = _Copies(base, steps, images, splits_of(steps, images), request.max_quarantined)
    copies.detections(choose_step(base, "detections", request.detector, "--detector"), OWN_DETECTIONS, scored=True)
    return own_engine(_NAME, steps, base, images, sorted(copies.read), workspace)


class _Copies:
    """Copies of a detector's steps for other images, each step once.

    Attributes:
        read: Steps of the recipe that the copies read.
    """

    def __init__(self, base: Recipe, steps: Steps, images: str, splits: Sequence[str], max_quarantined: float) -> None:
        self.read: set[str] = set()
        self._base = base
        self._steps = steps
        self._common = {"images": images, "splits": list(splits), "max_quarantined": max_quarantined}

    def detections(self, name: str, own: str, scored: bool) -> None:
        """Copy a step that scores or combines as `own`; what is only combined is not scored by itself too."""
        fields = {**self._steps[name], **self._common}
        if fields["stage"] == "combine":
            fields["detections"] = [f"{own}.{number}" for number in range(len(fields["detections"]))]
            for member, copy in zip(self._steps[name]["detections"], fields["detections"], strict=True):
                self.detections(member, copy, scored=False)
        else:
            for field in ("windows", "maps"):
                fields[field] = self._copy(fields[field])
            self._reads(fields["svms"], fields["regressors"], self._steps[self._steps[name]["maps"]]["backbone"])
        self._steps[own] = fields if scored else {**fields, "splits": []}

    def _copy(self, name: str) -> str:
        own = OWN + name
        fields = self._steps[name]
        if fields["stage"] not in ("propose", "extract", "crops"):
            raise ConfigError(
                f"step {name}: stage {fields['stage']} takes windows of given images; no others can be scored with it"
            )
        self._steps[own] = {**fields, **self._common}
        return own

    def _reads(self, *names: str | None) -> None:
        for name in names:
            if name is not None:
                self.read.add(name)
                self._reads(self._steps[name].get("head"))


def write_detection_files(engine: Engine, out: str, options: ExportOptions) -> dict[str, Any]:
    """Write a complete run's detections and its ledger to a folder or prefix.

    Returns:
        Counts of `images`, `detections` and `quarantined` with its `reasons`, the `boxes` and the `files`.

    Raises:
        ConfigError: `out` holds the results of something else, or can't be written.
    """
    from pipelines.detecting.detection_sets import DetectionSet
    from pipelines.outputs.export import export
    from pipelines.shards.reading import IngestedImages

    planned = next(step for step in engine.steps if step.name == OWN_DETECTIONS)
    stage, target = build_stage(planned.spec), open_store(out)
    images = IngestedImages.of(engine.workspace, planned.spec)
    config: Any = planned.config
    options = replace(options, nms_iou=config.nms_iou)
    detected = [DetectionSet(stage.artifact, images.manifest, split) for split in config.splits]
    claim(target, out, {"categories": list(detected[0].categories)}, stage.artifact.name)
    written = [export(one, images, options, out) for one in detected]
    commits = stage.artifact.commits([unit for phase in stage.phases() for unit in phase.units])
    return {
        "images": sum(commit.done for commit in commits),
        "detections": sum(one.detections for one in written),
        "boxes": written[0].boxes,
        **write_ledger(target, commits, stage.title),
        "files": [name for one in written for name in one.files],
    }
