"""`sppnet score`: detections in any images, with the trained detector of a run.

The images are ingested where they lie, windows are proposed and maps made exactly as the detector's own steps did, and
the windows are scored by the run's SVMs, regressors, head and network. Nothing but windows and detections is stored:
maps that are used once are not worth their bytes. Steps whose config and images are the run's own are found made.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jobs.apply.corpus import (
    OWN,
    OWN_IMAGES,
    CommandRun,
    Steps,
    add_corpus,
    choose_step,
    own_run,
    splits_of,
    steps_of,
)
from jobs.apply.drawn import Drawings
from jobs.apply.out_folder import OutFolder
from jobs.apply.shard_files import ShardFile, ShardFiles, files_of
from jobs.exports.detectors import detector_facts
from pipelines.engine.fingerprint import canonical_json, content_digest
from pipelines.engine.recipe import Recipe, load_recipe
from pipelines.engine.store import open_store
from pipelines.engine.work import build_stage
from sppnet.errors import ConfigError

if TYPE_CHECKING:
    from pipelines.artifacts.annotations import Number
    from pipelines.detecting.detection_sets import DetectionSet
    from pipelines.engine.commits import Commit
    from pipelines.outputs.plan import ExportOptions, ExportPlan
    from pipelines.shards.reading import IngestedImages

_NAME = "score"
OWN_DETECTIONS = OWN + "detections"


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreRequest:
    """What `sppnet score` is asked for.

    Attributes:
        corpus: Folders and prefixes of images, images, webdataset tars, globs, `@` lists; or `step:NAME`, a step of
            the recipe that ingests.
        recipe: File of the recipe whose detector is used.
        overrides: Of the recipe's values.
        detector: The recipe's step that scores or combines; None if only one does.
        gpus: GPUs of every unit that computes on them; None for what the recipe says.
        max_quarantined: Fraction of the images that may be set aside before the command fails.
    """

    corpus: Sequence[str]
    recipe: Path | str
    overrides: Sequence[str] = ()
    detector: str | None = None
    gpus: str | None = None
    max_quarantined: float = 0.5


def score_run(request: ScoreRequest, workspace: str) -> CommandRun:
    """Build the command's run.

    Raises:
        ConfigError: No such detector or corpus, a detector that is not trained to its end, or windows that were
            imported and can't be proposed for other images.
    """
    base = load_recipe(request.recipe, request.overrides, request.gpus)
    steps = steps_of(base)
    detector = choose_step(base, "detections", request.detector, "--detector")
    images = add_corpus(request.corpus, base, steps, request.max_quarantined, open_store(workspace))
    copies = _Copies(base, steps, images, splits_of(steps, images), request.max_quarantined)
    copies.detections(detector, OWN_DETECTIONS, scored=True)
    copies.need_no_more()
    return own_run(_NAME, steps, base, images, sorted(copies.read), workspace)


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
        self._scales: dict[str, set[int]] = {}

    def detections(self, name: str, own: str, scored: bool) -> None:
        """Copy a step that scores or combines as `own`; what is only combined is not scored by itself too."""
        fields = {**self._steps[name], **self._common}
        if fields["stage"] == "combine":
            fields["detections"] = [f"{own}.{number}" for number in range(len(fields["detections"]))]
            for member, copy in zip(self._steps[name]["detections"], fields["detections"], strict=True):
                self.detections(member, copy, scored=False)
            self._reads(*fields["calibrations"])
        else:
            for field in ("windows", "maps"):
                fields[field] = self._copy(fields[field])
            trained = [step for field in ("svms", "regressors") for step in _several(fields[field])]
            for step in trained:
                self._scales.setdefault(fields["maps"], set()).update(self._steps[step]["scales"])
            self._reads(*trained, self._steps[self._steps[name]["maps"]]["backbone"])
        self._steps[own] = fields if scored else {**fields, "splits": []}

    def need_no_more(self) -> None:
        """Extract only those maps that some detector reads."""
        for own, scales in self._scales.items():
            if self._steps[own]["stage"] == "extract":
                self._steps[own] |= {"scales": sorted(scales), "flips": False}
                if self._common["images"] == OWN_IMAGES:
                    self._steps[own] |= {"keep": "never", "kept": None}

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


def _several(steps: str | Sequence[str] | None) -> Sequence[str]:
    """Return the steps that a field names, of which there may be one, several or none."""
    return () if steps is None else (steps,) if isinstance(steps, str) else steps


class DetectionFiles:
    """The files of a run's detections, checked before anything is computed.

    Args:
        run: The command's run.
        options: What to write.
        out: A folder, or an object-store prefix.
        merge: Whether one file of all detections is written at the end, beside those of the shards. Formats that are
            one file by nature, and the best over the set, are written so anyway.
        draw: Another folder or prefix, for pictures of the images with what was found; None for none.

    Raises:
        ConfigError: The detections can't be written so; `out` holds the results of something else, or can't be
            written.

    Attributes:
        shards: Writes a file for each shard; an observer of the run.
    """

    def __init__(
        self, run: CommandRun, options: ExportOptions, out: str, *, merge: bool, draw: str | None = None
    ) -> None:
        planned = run.planned[OWN_DETECTIONS]
        config: Any = planned.config
        self._run, self._merge = run, merge or not options.by_shard
        self._options = replace(options, nms_iou=config.nms_iou)
        self._stage = build_stage(planned.spec)
        self._plans: dict[str, ExportPlan] = {split: self._plan(split) for split in config.splits}
        identity = {"artifact": planned.spec.artifact, "corpus": run.corpus, "options": options.to_json()}
        self._folder = OutFolder(out, run.engine.workspace.store, identity)
        self._drawings: Drawings | None = None
        if draw is not None:
            if open_store(draw).uri == self._folder.store.uri:
                raise ConfigError(f"--draw {draw}: is --out; give another folder for the pictures")
            self._drawings = Drawings(run, self._images.artifact, planned.spec.artifact, draw, options.threshold)
        self.shards = ShardFiles(
            OWN_DETECTIONS, self._stage, self._folder, self._files(), encode=self._encode, before=self._begin
        )

    def finish(self) -> dict[str, Any]:
        """Write what is missing of a complete run, and its ledger.

        Returns:
            Counts of `images`, `detections` that were found, `quarantined` with its `reasons`, the `boxes`, the
            shards' `files`, how many of them were `written` now, the `merged` files, and how many pictures were
            `drawn` now.
        """
        from pipelines.outputs.export import export
        from pipelines.outputs.names import FileNames

        account = self.shards.finish()
        merged = [
            name
            for split, plan in (self._plans.items() if self._merge else ())
            for name in export(self._detected[split], plan, self._folder.store).files
        ]
        return {
            "images": account.images,
            "detections": account.rows,
            "boxes": next(iter(self._plans.values())).boxes,
            **self._folder.write_ledger(account.aside, FileNames(self._images.manifest).of),
            "files": self.shards.count,
            "written": self.shards.written,
            "merged": merged,
            **({} if self._drawings is None else {"drawn": self._draw(self._drawings)}),
        }

    def _draw(self, drawings: Drawings) -> int:
        return sum(drawings.draw(self._detected[split], plan) for split, plan in self._plans.items())

    def _plan(self, split: str) -> ExportPlan:
        from pipelines.outputs.by_image import image_records, image_sizes
        from pipelines.outputs.plan import plan_export

        facts = detector_facts(self._run.planned, OWN_DETECTIONS, self._run.engine.workspace)
        known = dict if self._run.images == OWN_IMAGES else partial(self._numbers_of, split)
        sizes, records = partial(image_sizes, self._images, split), partial(image_records, self._images, split)
        manifest = self._images.manifest
        return plan_export(self._options, facts, manifest, split, known=known, count=True, sizes=sizes, records=records)

    def _numbers_of(self, split: str) -> Mapping[str, Number]:
        """Read the numbers that the recipe's own images have in their data set."""
        from pipelines.outputs.ids import image_numbers

        images, manifest = self._images, self._images.manifest
        if not {manifest.annotations(unit) for unit in manifest.units(split)} <= images.artifact.committed():
            raise ConfigError(
                f"corpus step:{self._run.images}: its images may have numbers, but their annotations were not "
                "ingested; run the recipe first, or give --numbers"
            )
        return image_numbers(images, split)

    @cached_property
    def _images(self) -> IngestedImages:
        from pipelines.shards.reading import IngestedImages

        return IngestedImages.of(self._run.engine.workspace, self._stage.spec)

    @cached_property
    def _detected(self) -> Mapping[str, DetectionSet]:
        from pipelines.detecting.detection_sets import DetectionSet

        return {split: DetectionSet(self._stage.artifact, self._images.manifest, split) for split in self._plans}

    def _files(self) -> list[ShardFile]:
        if not self._options.by_shard:
            return []
        return list(files_of(tuple(self._plans), self._images.manifest.units, self._made_of, self._options.suffix))

    def _made_of(self, split: str, unit: str) -> str:
        """Digest a shard and the numbers of its images: an image that is removed may change those of other shards."""
        numbers = self._plans[split].numbers.images
        own = [numbers.get(key) for key in self._images.manifest.keys(unit)]
        return content_digest(canonical_json([unit, own]).encode())

    def _encode(self, file: ShardFile, commit: Commit) -> bytes:
        from pipelines.outputs.export import encode_shard

        return encode_shard(self._detected[file.split], self._plans[file.split], commit)

    def _begin(self) -> None:
        """Say what the files hold, before the first of them is there."""
        from pipelines.outputs.export import write_numbers

        plan = next(iter(self._plans.values()))
        facts, numbers = plan.detector, plan.numbers.categories or plan.detector.numbers
        known = {"numbers": numbers, "words": facts.words}
        named = {what: {name: of[name] for name in facts.categories if name in of} for what, of in known.items()}
        self._folder.claim({"categories": list(facts.categories), **named})
        for plan in self._plans.values():
            write_numbers(plan, self._folder.store)
