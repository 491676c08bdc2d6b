"""The detection chain on a small drawn data set, run once a session: `chain` is what the stages' tests read."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from pipelines.artifacts.annotations import ImageAnnotation, ObjectAnnotation, decode_annotations
from pipelines.artifacts.image_tars import ImageRecord, decode_images
from pipelines.artifacts.manifest import Manifest
from pipelines.datasets.drawn import DrawnDataset
from pipelines.engine.ledger import StepSummary
from pipelines.engine.planning import PlannedStep
from pipelines.engine.recipe import parse_recipe
from pipelines.engine.runner import Engine
from pipelines.engine.stage import Stage
from pipelines.engine.work import build_stage
from pipelines.engine.workspace import Artifact, Workspace
from pipelines.executors.local import LocalExecutor
from pipelines.shards.reading import IngestedImages
from sppnet.networks.backbones import BackboneSpec, build_backbone
from sppnet.networks.weights import write_safetensors
from tests.support.voc_folder import format_voc_xml, write_drawn

SCALES = (160, 240)
CATEGORIES = ("bottle", "car", "house")
TRAIN, VAL = 12, 6
SHARD_SIZE = 5
BACKBONE = BackboneSpec("zf5", width=0.125)


class Silent:
    """An observer that looks away."""

    def step_started(self, *_: Any) -> None: ...

    def unit_done(self, *_: Any) -> None: ...

    def unit_failed(self, *_: Any) -> None: ...

    def step_done(self, *_: Any) -> None: ...


def write_weights(path: Path, spec: BackboneSpec = BACKBONE, seed: int = 1) -> Path:
    """Writes a backbone with random weights as safetensors."""
    torch.manual_seed(seed)
    path.write_bytes(write_safetensors(build_backbone(spec).trunk.state_dict()))
    return path


def add_image(
    data: Path, split: str, key: str, pixels: np.ndarray, objects: Sequence[ObjectAnnotation] = (), place: int = 0
) -> Path:
    """Adds an image to a data set in VOC's layout, as the split's number `place`. Returns its file."""
    path = data / "JPEGImages" / f"{key}.jpg"
    Image.fromarray(pixels).save(path, quality=90)
    annotation = ImageAnnotation(key, pixels.shape[1], pixels.shape[0], tuple(objects))
    (data / "Annotations" / f"{key}.xml").write_text(format_voc_xml(annotation))
    names = data / "ImageSets" / "Main" / f"{split}.txt"
    keys = names.read_text().split()
    names.write_text("\n".join([*keys[:place], key, *keys[place:]]) + "\n")
    return path


def make_steps(data: Path, weights: Path) -> dict[str, dict[str, Any]]:
    """The steps of the chain, as they would be in a recipe."""
    read = {"images": "images", "windows": "windows", "maps": "maps"}
    trained = {**read, "categories": list(CATEGORIES), "scales": list(SCALES)}
    return {
        "images": {"stage": "ingest", "dataset": {"root": str(data)}, "shard_size": SHARD_SIZE, "max_quarantined": 0.2},
        "windows": {"stage": "propose", "images": "images", "max_windows": 150, "max_quarantined": 0.2},
        "network": {"stage": "weights", "path": str(weights), "architecture": "zf5", "width": BACKBONE.width},
        "maps": {"stage": "extract", "images": "images", "backbone": "network", "scales": list(SCALES)},
        "svms": {"stage": "train-svms", **trained, "rounds": 2},
        "regressors": {"stage": "train-regressors", **trained, "min_examples": 3, "ridge": 10.0},
        "plain": {"stage": "score", **read, "svms": "svms"},
        "full": {"stage": "score", **read, "svms": "svms", "regressors": "regressors"},
        "metrics": {"stage": "evaluate", "images": "images", "detections": ["plain", "full"]},
    }


def write_recipe(path: Path, steps: Mapping[str, Any], **top: Any) -> Path:
    """Writes a recipe file."""
    path.write_text(yaml.safe_dump({"version": 1, "name": "chain", "steps": dict(steps), **top}, sort_keys=False))
    return path


@dataclass
class Chain:
    """A recipe in a workspace.

    Attributes:
        data: The data set's folder.
        steps: The recipe's steps.
        root: The workspace's folder.
        seed: The run's seed.
    """

    data: Path
    steps: dict[str, dict[str, Any]]
    root: Path
    seed: int = 0
    summaries: dict[str, StepSummary] = field(default_factory=dict)

    def __post_init__(self) -> None:
        raw = {"version": 1, "name": "chain", "seed": self.seed, "steps": self.steps}
        self.engine = Engine(parse_recipe(raw, "chain"), Workspace.open(str(self.root)))

    def run(self) -> dict[str, StepSummary]:
        """Makes what is missing."""
        found = self.engine.run(LocalExecutor(), Silent())
        self.summaries = {summary.step: summary for summary in found}
        return self.summaries

    def step(self, name: str) -> PlannedStep:
        return next(step for step in self.engine.steps if step.name == name)

    def artifact(self, name: str) -> Artifact:
        return self.engine.workspace.artifact(self.step(name).spec.artifact)

    def stage(self, name: str) -> Stage[Any]:
        return build_stage(self.step(name).spec)

    def units(self, name: str) -> list[str]:
        return [unit for phase in self.stage(name).phases() for unit in phase.units]

    @property
    def manifest(self) -> Manifest:
        return Manifest.read(self.engine.workspace.store, self.step("images").look.manifest)

    @property
    def ingested(self) -> IngestedImages:
        return IngestedImages(self.artifact("images"), self.manifest)

    def unit(self, title: str) -> str:
        """The name of a unit that ends in a shard's split and number: of `val/000001`, `s0160/train/000000`, ..."""
        *head, split, number = title.split("/")
        return "/".join([*head, self.manifest.units(split)[int(number)]])

    def shards(self, *splits: str) -> list[str]:
        """The units of all shards of some splits, by default of all."""
        return [unit for split in splits or self.manifest.splits for unit in self.manifest.units(split)]

    def records(self, unit: str) -> list[ImageRecord]:
        """The images of a shard."""
        return list(decode_images(self.artifact("images").read(unit), unit))

    def annotations(self, unit: str) -> dict[str, ImageAnnotation]:
        """The annotations of a shard's images by key."""
        name = self.manifest.annotations(unit)
        return decode_annotations(self.artifact("images").read(name), name)

    def changed(self, *, seed: int | None = None, **fields: Mapping[str, Any]) -> Chain:
        """The same recipe with other fields, `step={field: value}`, or another seed, in the same workspace."""
        steps = {name: {**step, **fields.get(name, {})} for name, step in self.steps.items()}
        return Chain(self.data, steps, self.root, self.seed if seed is None else seed)

    def only(self, *names: str) -> Chain:
        """Some of the recipe's steps."""
        return Chain(self.data, {name: self.steps[name] for name in names}, self.root, self.seed)

    def copied(self, root: Path, steps: Sequence[str] = ("images", "windows", "network", "maps")) -> Chain:
        """Another workspace that starts with some of the steps' artifacts."""
        root.mkdir(parents=True, exist_ok=True)
        for folder in ("looks", "manifests", *(self.step(name).spec.artifact for name in steps)):
            shutil.copytree(self.root / folder, root / folder)
        shutil.copy(self.root / "workspace.json", root)
        return Chain(self.data, self.steps, root, self.seed)


def accounts(chain: Chain, name: str) -> Iterator[tuple[str, int, int]]:
    """Each unit of a step that is named after a shard: the unit, the keys it accounts for, the manifest's keys."""
    shards = set(chain.shards())
    for unit in chain.units(name):
        shard = unit.split("/")[-1]
        if shard in shards:
            commit = chain.artifact(name).commit(unit)
            yield unit, commit.done + len(commit.quarantined), len(chain.manifest.keys(shard))


def equal_bytes(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether two arrays have one type, shape and content, bit for bit."""
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


@pytest.fixture(scope="session")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small drawn data set in VOC's layout: read it, don't change it."""
    root = tmp_path_factory.mktemp("drawn") / "data"
    write_drawn(root, DrawnDataset(seed=3, splits={"train": TRAIN, "val": VAL}, size=(150, 190)))
    return root


@pytest.fixture(scope="session")
def weights_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights of `BACKBONE` as safetensors."""
    return write_weights(tmp_path_factory.mktemp("weights") / "zf5.safetensors")


@pytest.fixture(scope="session")
def chain(drawn: Path, weights_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Chain:
    """The whole chain, run once in this process: read its workspace, don't change it.

    Two more images are in `train`: `broken` is quarantined by ingest, `thin` by propose but not by extract.
    """
    folder = tmp_path_factory.mktemp("chain")
    shutil.copytree(drawn, folder / "data")
    broken = add_image(folder / "data", "train", "broken", np.full((120, 150, 3), 90, np.uint8), place=3)
    broken.write_bytes(broken.read_bytes()[:-60])
    rng = np.random.default_rng(0)
    add_image(folder / "data", "train", "thin", rng.integers(0, 255, (60, 18, 3), dtype=np.uint8), place=6)
    made = Chain(folder / "data", make_steps(folder / "data", weights_file), folder / "workspace")
    made.run()
    return made
