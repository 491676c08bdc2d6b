"""Pre-training: which crops train, that it learns, and that an interruption changes nothing."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from pydantic import ValidationError

from pipelines.artifacts.networks import has_head, read_backbone, read_network, read_trained_head
from pipelines.artifacts.statistics import read_statistics
from pipelines.engine.stage import StageSpec
from pipelines.engine.work import build_stage, run_unit
from pipelines.engine.workspace import Workspace
from pipelines.pretraining.config import PretrainConfig
from pipelines.pretraining.examples import decode_index
from pipelines.pretraining.task import PretrainTask
from pipelines.stages.pretrain import Pretrain
from pipelines.stages.statistics import StatisticsConfig
from pipelines.training.config import Rate
from pipelines.training.loop import Training, train_unit
from pipelines.training.workers import LocalWorker
from sppnet.errors import ArtifactError, ConfigError, IncompleteError
from tests.support.tiny_workspace import BACKBONE, CATEGORIES, make_annotation, make_spec, make_workspace

UNITS = tuple(f"train/{number:06d}" for number in range(4))
SUBCATEGORIES = tuple(f"{category}-{number}" for category in sorted(CATEGORIES) for number in range(2))


pytestmark = pytest.mark.usefixtures("one_thread")


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
    inputs = {"images": "images-tiny"}
    if "statistics" in changes:
        inputs["statistics"] = changes["statistics"]
    spec = make_spec(workspace, make_config(**changes), name, **inputs)
    for unit in build_stage(spec).phases()[0].units:
        run_unit(spec, unit)
    return spec


@pytest.fixture(scope="module")
def trained(workspace: Workspace) -> StageSpec:
    spec = pretrain_spec(workspace, "network-whole")
    train_unit(spec, "model", LocalWorker(torch.device("cpu")))
    return spec


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


def test_pyramids_have_names_and_none_is_a_network_without(workspace: Workspace) -> None:
    assert make_config(levels="spp4").semantic() == make_config(levels=[4, 3, 2, 1]).semantic()
    spec = pretrain_spec(workspace, "network-nospp", levels="none", size=(112,), schedule=(Rate(lr=0.01, steps=1),))
    train_unit(spec, "model", LocalWorker(torch.device("cpu")))
    trained = read_network(workspace.artifact("network-nospp"))
    assert (trained.network.pyramid.levels, trained.network.pyramid.fixed_map) == ((6,), (6, 6))
    assert trained.sizes == (112,)


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
    finer = "levels: 3 x 3 bins are finer than a map of 2 x 2 cells"
    for changes in ({"size": (48,)}, {"size": (64, 48)}, {"size": (64,), "random_size": (48, 64)}):
        with pytest.raises(ConfigError, match=finer):
            Pretrain.check(make_config(levels=(3, 1), **changes), {})
    with pytest.raises(ConfigError, match="without SPP takes maps of one size, not of 6 x 6 and 7 x 7 cells"):
        Pretrain.check(make_config(levels="none", size=(128, 112)), {})
    with pytest.raises(ValidationError, match="pyramid 'spp5' is unknown"):
        make_config(levels="spp5")
    with pytest.raises(ConfigError, match="is no range"):
        Pretrain.check(make_config(context=(2.0, 1.0)), {})
    with pytest.raises(ConfigError, match=r"take turns with sizes \[64, 48\] already"):
        Pretrain.check(make_config(size=(64, 48), random_size=(48, 64)), {})
    for wrong in ((48, 72), (60, 50)):
        with pytest.raises(ConfigError, match=r"random_size: \[\d\d, \d\d\] is no range up to the crop's size 64"):
            Pretrain.check(make_config(size=(64,), random_size=wrong), {})
    with pytest.raises(ConfigError, match="per-pixel needs `statistics`"):
        Pretrain.check(make_config(mean="per-pixel"), {})
    with pytest.raises(ConfigError, match="workers: 30 can't share a batch of 24"):
        Pretrain.check(make_config(workers=30), {})
    Pretrain.check(make_config(), {})
    Pretrain.check(make_config(size=(64,), random_size=(48, 64)), {})


def test_what_changes_speed_only_is_not_in_the_fingerprint() -> None:
    one = make_config()
    for field, value in {"threads": 5, "compile": True, "cache_bytes": 7, "workers": 2}.items():
        assert one.semantic() == make_config(**{field: value}).semantic()
    for field, value in {
        "seed": 1,
        "random_size": (32, 48),
        "where": "uniform",
        "overlap": "iou",
        "mean": "per-pixel",
    }.items():
        assert one.semantic() != make_config(**{field: value}).semantic()


def test_objects_that_no_crop_reaches_are_counted_and_left_out(workspace: Workspace) -> None:
    changes = {"view": "crop", "short_side": 96, "size": (32,), "min_overlap": 0.7}
    counts = {}
    for fallback in ("centre", "skip"):
        spec = pretrain_spec(workspace, f"network-{fallback}", fallback=fallback, **changes)
        commits = [workspace.artifact(spec.artifact).commit(f"index/{unit}") for unit in UNITS]
        counts[fallback] = [sum(commit.metrics.get(name, 0) for commit in commits) for name in ("examples", "skipped")]
    # Objects are squares of 40 to 63 pixels at a short side of 120: a crop of 32 in 96 holds 0.7 of those up to 47.
    boxes = [
        thing.box
        for number in range(24)
        for thing in make_annotation(f"im{number:03d}", number).objects
        if not thing.difficult
    ]
    small = sum(0.7 * (box[2] - box[0]) ** 2 <= (32 / 0.8) ** 2 for box in boxes)
    assert counts == {"centre": [43, 0], "skip": [small, 43 - small]}
    assert 0 < small < 43


def test_another_seed_is_another_network_on_the_same_images(workspace: Workspace) -> None:
    schedule = (Rate(lr=0.01, steps=3),)
    networks, held_out = [], []
    for name, seed in (("network-seed0", 0), ("network-seed1", 1), ("network-seed1b", 1)):
        spec = pretrain_spec(workspace, name, seed=seed, schedule=schedule)
        stage = build_stage(spec)
        assert (stage.seed == spec.seed) == (seed == 0)
        train_unit(spec, "model", LocalWorker(torch.device("cpu")))
        networks.append(workspace.artifact(name).read("model"))
        held_out.append([example for example in stage.examples if stage.config.held_out(example.key)])
    assert networks[0] != networks[1] == networks[2]
    assert held_out[0] == held_out[1]


def pretrain_task(spec: StageSpec) -> PretrainTask:
    stage = build_stage(spec)
    assert isinstance(stage, Pretrain)
    return PretrainTask(stage.task_inputs(), LocalWorker(torch.device("cpu")))


def test_statistics_give_mean_and_colours(workspace: Workspace) -> None:
    config = StatisticsConfig(stage="statistics", images="images", short_side=64, size=56)
    spec = make_spec(workspace, config, "statistics-tiny", images="images-tiny")
    for phase in build_stage(spec).phases():
        for unit in phase.units:
            run_unit(spec, unit)
    statistics = read_statistics(workspace.artifact("statistics-tiny"))
    changes = {"view": "image", "short_side": 64, "size": (64, 48), "colour": 0.1}
    changes |= {"subcategories": ("bar-0", "disc-1"), "schedule": (Rate(lr=0.01, steps=2),)}
    spec = pretrain_spec(workspace, "network-mean", statistics="statistics-tiny", mean="per-pixel", **changes)
    train_unit(spec, "model", LocalWorker(torch.device("cpu")))
    trained = read_network(workspace.artifact("network-mean"))
    mean = trained.network.backbone.mean_image
    assert mean is not None
    assert torch.equal(mean.flip(0), torch.from_numpy(statistics.mean_image))  # a BGR network
    assert trained.sizes == (64, 48)
    task = pretrain_task(spec)
    assert task._cutter.crops.colour == statistics.colours(0.1)
    plain = pretrain_task(pretrain_spec(workspace, "network-plain", **changes))
    assert plain.model.backbone.mean_image is None
    assert plain._cutter.crops.colour not in (None, statistics.colours(0.1))
    samples = torch.randint(
        0, 256, (2, 48, 48, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    ).numpy()
    difference = (plain._to_network(samples) - task._to_network(samples)).mean((0, 2, 3)).flip(0) * 64
    assert torch.allclose(difference, torch.from_numpy(statistics.mean_image).mean((1, 2)) - 128, atol=0.5)
    for one in (task, plain):
        one.close()


def test_a_loss_that_is_not_finite_names_step_and_checkpoint(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = pretrain_spec(workspace, "network-nan", checkpoint_every=2, schedule=(Rate(lr=0.01, steps=9),))
    loss = PretrainTask.loss
    monkeypatch.setattr(
        PretrainTask, "loss", lambda self, model, step: loss(self, model, step) * (float("nan") if step == 4 else 1)
    )
    expected = "the loss of training step 5 is nan; the last good checkpoint is that of step 4"
    with pytest.raises(IncompleteError, match=expected):
        train_unit(spec, "model", LocalWorker(torch.device("cpu")))
    assert "model" not in workspace.artifact("network-nan").committed()


def test_a_checkpoint_of_another_training_is_refused(workspace: Workspace) -> None:
    """By the engine it can't happen: fingerprints keep trainings apart. By hand it can."""
    names = ("network-donor", "network-taker")
    donor, taker = (pretrain_spec(workspace, name, schedule=(Rate(lr=0.01, steps=2),)) for name in names)
    training = Training(build_stage(donor), LocalWorker(torch.device("cpu")))
    assert training.run() is not None
    store = workspace.store
    for entry in store.list("network-donor/checkpoints"):
        store.put(entry.name.replace(*names), store.read(entry.name))
    with pytest.raises(
        ConfigError, match=r"step-000002.json is a checkpoint of network-donor, another network or config"
    ):
        train_unit(taker, "model", LocalWorker(torch.device("cpu")))
