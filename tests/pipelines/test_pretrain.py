"""Pre-training: which crops train, that it learns, and that an interruption changes nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from tiny_workspace import BACKBONE, CATEGORIES, SIZE, make_annotation, make_spec, make_workspace

from pipelines.crop_batches import (
    CropBatches,
    CropExample,
    Cutter,
    EpochOrder,
    ImageCache,
    centre_crop,
    decode_index,
    examples_of,
    square_around,
)
from pipelines.datasets.annotations import ImageAnnotation, ObjectAnnotation
from pipelines.networks import has_head, read_backbone, read_trained_head
from pipelines.stage import StageSpec, build_stage, run_unit
from pipelines.stages.pretrain import Pretrain, PretrainConfig, PretrainTask
from pipelines.training import LocalWorker, Rate, train_unit
from pipelines.workspace import Workspace
from sppnet.augment import TrainingCrops
from sppnet.errors import ArtifactError, ConfigError

UNITS = tuple(f"train/{number:06d}" for number in range(4))
SUBCATEGORIES = tuple(f"{category}-{number}" for category in sorted(CATEGORIES) for number in range(2))


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    """These layers are so small that threads only wait for one another."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return make_workspace(tmp_path_factory.mktemp("pretrain"))


def make_config(**changes: Any) -> PretrainConfig:
    fields: dict[str, Any] = {
        "stage": "pretrain",
        "images": "images",
        "view": "object",
        "size": (48,),
        "width": BACKBONE.width,
        "levels": (2, 1),
        "hidden": (32, 32),
        "dropout": 0.1,
        "colour": 0.02,
        "schedule": (Rate(lr=0.05, steps=60),),
        "plateau": None,
        "batch": 24,
        "holdout": 0.2,
        "measure_every": 30,
        "checkpoint_every": 25,
        "log_every": 20,
        "shards": 2,
    }
    return PretrainConfig(**{**fields, **changes})


def pretrain_spec(workspace: Workspace, name: str, **changes: Any) -> StageSpec:
    """The spec of a step whose index is made."""
    spec = make_spec(workspace, make_config(**changes), name, images="images-tiny")
    for unit in build_stage(spec).phases()[0].units:
        run_unit(spec, unit)
    return spec


@pytest.fixture(scope="module")
def trained(workspace: Workspace) -> StageSpec:
    spec = pretrain_spec(workspace, "network-whole")
    train_unit(spec, "model", LocalWorker(torch.device("cpu")))
    return spec


def test_an_image_offers_its_objects_or_its_one_class() -> None:
    disc, ring = ObjectAnnotation("disc", (1, 2, 30, 40), "disc-1"), ObjectAnnotation("ring", (5, 5, 50, 50))
    hard = ObjectAnnotation("bar", (5, 5, 9, 9), difficult=True)
    both, one = ImageAnnotation("a", 100, 80, (disc, ring, hard)), ImageAnnotation("b", 100, 80, (disc, disc, hard))
    assert examples_of(both, "crop", difficult=False) == [("disc-1", (1, 2, 30, 40)), ("ring", (5, 5, 50, 50))]
    assert examples_of(both, "object", difficult=True)[2] == ("bar", (5, 5, 9, 9))
    assert examples_of(both, "image", difficult=False) == []
    assert examples_of(one, "image", difficult=False) == [("disc-1", (0, 0, 100, 80))]
    assert examples_of(one, "image", difficult=True) == []


def test_the_index_lists_every_object_of_a_shard(workspace: Workspace) -> None:
    spec = pretrain_spec(workspace, "network-index", subcategories=("disc-0", "ring-1"))
    artifact = workspace.artifact(spec.artifact)
    found = [row for unit in UNITS for row in decode_index(artifact.read(f"index/{unit}"), unit)]
    wanted = [
        (f"im{number:03d}", thing.subcategory, thing.box)
        for number in range(24)
        for thing in make_annotation(f"im{number:03d}", number).objects
        if not thing.difficult and thing.subcategory in ("disc-0", "ring-1")
    ]
    assert [(row.key, row.label, row.box) for row in found] == wanted
    assert {row.unit for row in found} == set(UNITS)
    assert artifact.commit("index/train/000001").metrics["examples"] == sum(row.unit == UNITS[1] for row in found)
    with pytest.raises(ArtifactError, match="not an index"):
        decode_index(b"[]", "x")


def test_an_epoch_takes_every_example_once_and_shards_in_groups() -> None:
    examples = [CropExample(f"train/{n % 6:06d}", f"k{n}", "a", (0, 0, 1, 1)) for n in range(60)]
    order = EpochOrder(examples, group=2, seed=5)
    first, second = order.take(0, 60), order.take(60, 60)
    assert Counter(first) == Counter(second) == Counter(examples)
    assert first != second
    assert order.take(50, 20) == first[50:] + second[:10]
    assert [len({example.unit for example in first[at : at + 20]}) for at in (0, 20, 40)] == [2, 2, 2]
    assert len({example.unit for example in first[:6]}) == 2
    assert EpochOrder(list(reversed(examples)), 2, 5).size == 60
    assert EpochOrder(examples, 2, 6).take(0, 60) != first


def test_the_cache_is_bounded_and_resizes(workspace: Workspace) -> None:
    nbytes = SIZE[0] * SIZE[1] * 3
    cache = ImageCache(workspace.artifact("images-tiny"), None, max_bytes=2 * nbytes, shards=1)
    image, size = cache.get(UNITS[0], "im000")
    assert image.shape == (SIZE[1], SIZE[0], 3)
    assert size == SIZE
    for key in ("im001", "im002", "im003"):
        cache.get(UNITS[0], key)
    assert list(cache._decoded) == [(UNITS[0], "im002"), (UNITS[0], "im003")]
    assert cache._bytes == 2 * nbytes
    assert np.array_equal(cache.get(UNITS[0], "im000")[0], image)
    small, size = ImageCache(workspace.artifact("images-tiny"), 60, 1, shards=1).get(UNITS[1], "im006")
    assert (small.shape, size) == ((60, 80, 3), SIZE)


def test_a_square_holds_the_object_and_stays_inside() -> None:
    ramp = np.zeros((100, 200, 3), np.uint8)
    ramp[:, :, 0], ramp[:, :, 1] = np.arange(200)[None], np.arange(100)[:, None]

    def corners(crop: np.ndarray) -> list[int]:
        return [*crop[0, 0, :2].tolist(), *crop[-1, -1, :2].tolist()]

    assert corners(square_around(ramp, (80, 40, 120, 60), 1.5, (0, 0))) == [70, 20, 129, 79]
    assert corners(square_around(ramp, (80, 40, 120, 60), 1.0, (0.25, -0.5))) == [90, 10, 129, 49]
    assert corners(square_around(ramp, (0, 0, 40, 40), 1.5, (0, 0))) == [0, 0, 59, 59]
    assert corners(square_around(ramp, (20, 10, 180, 90), 1.0, (0, 0))) == [20, 0, 179, 99]
    assert corners(centre_crop(ramp, (80, 40, 120, 60), 40)) == [80, 30, 119, 69]
    assert corners(centre_crop(ramp, (180, 0, 200, 20), 50)) == [150, 0, 199, 49]


@pytest.mark.parametrize("view", ["crop", "object", "image"])
def test_every_view_gives_samples_of_the_networks_size(view: Any) -> None:
    image = np.random.default_rng(0).integers(0, 255, (120, 160, 3), dtype=np.uint8)
    crops = TrainingCrops(short_side=120, size=64, network_size=48)
    cutter = Cutter(view, crops, min_overlap=0.5, context=(1.0, 1.5), shift=0.1)
    rng = np.random.default_rng(1)
    for box in ((10.0, 10.0, 60.0, 50.0), (0.0, 0.0, 160.0, 120.0), (150.0, 100.0, 160.0, 120.0)):
        assert cutter.cut(image, box, rng).shape == (48, 48, 3)
        assert np.array_equal(cutter.cut_centre(image, box), cutter.cut_centre(image, box))


def make_batches(stage: Pretrain, worker: tuple[int, int], sizes: tuple[int, ...] = (48,)) -> CropBatches:
    cutters = [
        Cutter("object", TrainingCrops(short_side=64, size=64, network_size=size), 0.5, (1.0, 1.5), 0.1)
        for size in sizes
    ]
    cache = ImageCache(stage.input("images"), None, 1 << 20, shards=3)
    order = EpochOrder(stage.examples, 2, seed=1)
    return CropBatches(order, cache, cutters, SUBCATEGORIES, batch=10, steps=20, worker=worker, seed=4)


def test_workers_share_the_very_batch_of_one(workspace: Workspace, trained: StageSpec) -> None:
    stage = build_stage(trained)
    assert isinstance(stage, Pretrain)
    whole, parts = make_batches(stage, (0, 1)), [make_batches(stage, (rank, 3)) for rank in range(3)]
    for step in (0, 7):
        samples, labels = whole.batch(step)
        shared = [part.batch(step) for part in parts]
        assert [len(classes) for _, classes in shared] == [4, 3, 3]
        for rank, (pixels, classes) in enumerate(shared):
            assert np.array_equal(pixels, samples[rank::3])
            assert np.array_equal(classes, labels[rank::3])
    for batches in (whole, *parts):
        batches.close()


def test_epochs_take_turns_with_the_sizes(workspace: Workspace, trained: StageSpec) -> None:
    stage = build_stage(trained)
    assert isinstance(stage, Pretrain)
    batches = make_batches(stage, (0, 1), sizes=(48, 32))
    sides = [batches.batch(step)[0].shape[1] for step in range(14)]
    assert len(stage.examples) == 43  # 48 objects, 5 of them difficult
    assert sides == [48] * 5 + [32] * 4 + [48] * 4 + [32]
    batches.close()


def test_it_publishes_a_whole_network(workspace: Workspace, trained: StageSpec) -> None:
    artifact = workspace.artifact(trained.artifact)
    head = read_trained_head(artifact)
    assert head.labels == SUBCATEGORIES
    assert [point["step"] for point in head.curve] == [20, 25, 30, 40, 50, 60]
    assert [point["step"] for point in head.curve if "held_out_accuracy" in point] == [30, 60]
    assert head.head.spec.in_features == 5 * 8
    backbone = read_backbone(artifact)
    assert backbone.spec == BACKBONE
    assert has_head(artifact)
    assert not has_head(workspace.artifact("network-tiny"))
    with pytest.raises(ArtifactError, match="holds no head"):
        read_trained_head(workspace.artifact("network-tiny"))
    commit = artifact.commit("model")
    assert commit.metrics["classes"] == 6
    assert commit.rows == len(backbone.trunk.state_dict()) + 6


def test_it_learns_classes_apart(workspace: Workspace) -> None:
    changes = {"subcategories": ("bar-0", "disc-0", "ring-0"), "width": 1 / 8, "hidden": (64, 64), "dropout": 0}
    schedule = (Rate(lr=0.01, steps=80),)
    spec = pretrain_spec(workspace, "network-learns", schedule=schedule, response_norm=False, **changes)
    train_unit(spec, "model", LocalWorker(torch.device("cpu")))
    curve = read_trained_head(workspace.artifact(spec.artifact)).curve
    assert curve[0]["loss"] > 0.9
    assert curve[-1]["loss"] < 0.1
    assert curve[-1]["held_out_accuracy"] == 1.0


def test_an_interrupted_run_ends_with_the_same_bytes(
    workspace: Workspace, trained: StageSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = pretrain_spec(workspace, "network-stopped")
    loss = PretrainTask.loss
    stops = [40]

    def failing(self: PretrainTask, model: Any, step: int) -> torch.Tensor:
        if step in stops:
            stops.clear()
            raise KeyboardInterrupt
        return loss(self, model, step)

    monkeypatch.setattr(PretrainTask, "loss", failing)
    with pytest.raises(KeyboardInterrupt):
        train_unit(spec, "model", LocalWorker(torch.device("cpu")))
    train_unit(spec, "model", LocalWorker(torch.device("cpu")))
    assert workspace.artifact(spec.artifact).read("model") == workspace.artifact(trained.artifact).read("model")


@pytest.mark.parametrize(("view", "labels"), [("crop", ("disc-0", "ring-1")), ("image", ("bar-0", "disc-1"))])
def test_the_papers_views_train_too(workspace: Workspace, view: str, labels: tuple[str, ...]) -> None:
    name = f"network-{view}"
    schedule = (Rate(lr=0.01, steps=4),)
    spec = pretrain_spec(
        workspace, name, view=view, short_side=96, size=(64, 48), schedule=schedule, subcategories=labels
    )
    train_unit(spec, "model", LocalWorker(torch.device("cpu")))
    assert read_trained_head(workspace.artifact(name)).labels == labels


def test_a_subcategory_without_examples_is_refused(workspace: Workspace) -> None:
    spec = pretrain_spec(workspace, "network-none", subcategories=("disc-0", "star"))
    with pytest.raises(ConfigError, match="subcategory 'star' has no example to train on in split 'train'"):
        train_unit(spec, "model", LocalWorker(torch.device("cpu")))


def test_the_config_is_checked() -> None:
    with pytest.raises(ConfigError, match="larger than short_side 96"):
        Pretrain.check(make_config(view="crop", short_side=96, size=(112,)), {})
    with pytest.raises(ConfigError, match="unknown 'zf9'"):
        Pretrain.check(make_config(architecture="zf9", width=1), {})
    with pytest.raises(ConfigError, match="too short for one cell"):
        Pretrain.check(make_config(size=(16,)), {})
    with pytest.raises(ConfigError, match="is no range"):
        Pretrain.check(make_config(context=(2.0, 1.0)), {})
    Pretrain.check(make_config(), {})
