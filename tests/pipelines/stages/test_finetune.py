"""Fine-tuning: what is sampled, what is learned, and that an interruption changes nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pipelines.artifacts.annotations import ImageAnnotation, ObjectAnnotation
from pipelines.artifacts.networks import read_head, read_trained_head
from pipelines.artifacts.windows_and_maps import decode_maps, encode_maps
from pipelines.engine.stage import StageSpec
from pipelines.engine.work import build_stage
from pipelines.engine.workspace import Output, Quarantined, Workspace
from pipelines.finetuning.batches import WindowPooler
from pipelines.finetuning.plans import ChunkPlanner, label_image
from pipelines.shards.reading import IngestedImages
from pipelines.stages.finetune import Finetune
from pipelines.training.config import Rate
from pipelines.training.workers import LocalWorker
from sppnet.boxes import iou_matrix
from sppnet.errors import ConfigError
from sppnet.pooling.geometry import GEOMETRIES
from sppnet.pooling.image_windows import pool_image_windows
from sppnet.pooling.pyramid import Pyramid
from tests.support.tiny_finetune import LEVELS, finetune_spec, make_config, make_planner, train, train_until
from tests.support.tiny_workspace import CATEGORIES, CHANNELS, SCALES, make_annotation, make_workspace, read_manifest

pytestmark = pytest.mark.usefixtures("one_thread")

UNITS = ("train/000000", "train/000001", "train/000002", "train/000003")


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return make_workspace(tmp_path_factory.mktemp("finetune"))


@pytest.fixture(scope="module")
def trained(workspace: Workspace) -> StageSpec:
    spec = finetune_spec(workspace)
    train(spec)
    return spec


def test_windows_are_sorted_by_their_overlap_with_objects() -> None:
    things = (
        ObjectAnnotation("disc", (0, 0, 100, 100)),
        ObjectAnnotation("ring", (200, 0, 300, 100), difficult=True),
        ObjectAnnotation("tree", (0, 200, 100, 300)),
    )
    windows = np.array(
        [
            [0, 0, 100, 60],  # IoU 0.6 with the disc
            [0, 0, 100, 50],  # exactly 0.5
            [0, 0, 100, 30],  # 0.3
            [0, 0, 100, 9],  # 0.09: never used
            [200, 0, 300, 80],  # on a difficult object
            [0, 200, 100, 300],  # on an object of no category here
            [60, 0, 240, 100],  # 0.17 with the disc, 0.17 with the difficult ring
        ],
        np.float32,
    )
    annotation = ImageAnnotation("a", 400, 300, things)
    found = label_image("train/000000", annotation, windows, make_config().rule())
    assert found.positives.boxes.tolist() == [[0, 0, 100, 60], [0, 0, 100, 50], [0, 0, 100, 100]]
    assert found.positives.labels.tolist() == [1, 1, 1]
    assert found.negatives.boxes.tolist() == [[0, 0, 100, 30], [60, 0, 240, 100]]
    assert found.negatives.labels.tolist() == [0, 0]
    assert found.positives.images[0] == ("train/000000", "a")
    wider = label_image("train/000000", annotation, windows, make_config(difficult=True).rule())
    assert wider.positives.labels.tolist() == [1, 1, 2, 1, 2]


def test_a_batch_is_a_quarter_objects_from_several_images_and_never_held_out(workspace: Workspace) -> None:
    planner, _, config = make_planner(workspace, positive_fraction=0.25)
    chunk = planner.chunk(2, batches=5)
    labels = chunk.windows.labels.reshape(5, 32)
    assert ((labels > 0).sum(axis=1) == 8).all()
    assert set(labels.ravel().tolist()) == {0, 1, 2, 3}
    keys = [key for _, key in chunk.windows.images]
    assert min(len(set(keys[i * 32 : i * 32 + 32])) for i in range(5)) >= 4
    rule = config.rule()
    assert not any(rule.held_out(key) for key in keys)
    held = planner.held_out(2)
    assert held is not None
    assert all(rule.held_out(key) for _, key in held.windows.images)
    for (_, key), box, label in zip(chunk.windows.images, chunk.windows.boxes, chunk.windows.labels, strict=True):
        annotation = make_annotation(key, int(key[2:]))
        used = [thing for thing in annotation.objects if not thing.difficult]
        overlap = iou_matrix(box[None], np.array([thing.box for thing in used]))[0]
        if label:
            assert overlap.max() >= 0.5
            assert used[int(overlap.argmax())].category == CATEGORIES[label - 1]
        else:
            assert 0.1 <= overlap.max() < 0.5


def test_a_plan_depends_on_seed_and_number_only(workspace: Workspace) -> None:
    planner, inputs, config = make_planner(workspace)
    images = IngestedImages(inputs.images, read_manifest(workspace))
    later = planner.chunk(3, 2)
    again = ChunkPlanner(images, inputs, UNITS, config.rule(), 11)
    assert np.array_equal(again.chunk(3, 2).windows.boxes, later.windows.boxes)
    assert not np.array_equal(planner.chunk(4, 2).windows.boxes, later.windows.boxes)
    other = ChunkPlanner(images, inputs, UNITS, config.rule(), 12)
    assert not np.array_equal(other.chunk(3, 2).windows.boxes, later.windows.boxes)


@pytest.mark.parametrize("random_scale", [False, True])
def test_pooled_rows_are_those_of_each_image_alone(workspace: Workspace, random_scale: bool) -> None:
    planner, inputs, _ = make_planner(workspace, random_scale=random_scale)
    chunk = planner.chunk(0, 2)
    assert set(chunk.scales.tolist()) == (set(SCALES) if random_scale else {0})
    pooler = WindowPooler(inputs, GEOMETRIES["zf5"], Pyramid(LEVELS), "paper", torch.device("cpu"))
    rows = np.arange(1, 64, 3)
    got = pooler.pool(chunk, rows)
    assert got.shape == (len(rows), 10 * CHANNELS)
    assert got.dtype == torch.float16
    images = {image.key: image for unit in UNITS for image in inputs.open(unit)[0]}
    for place, row in enumerate(rows):
        image = images[chunk.windows.images[row][1]]
        maps = {scale: torch.from_numpy(grid.copy()) for scale, grid in image.maps.items()}
        scale = [chunk.scales[row]] if random_scale else None
        box = chunk.windows.boxes[row][None]
        alone = pool_image_windows(maps, image.image_wh, box, GEOMETRIES["zf5"], Pyramid(LEVELS), "paper", scale)
        assert torch.equal(got[place], alone.flatten())


def test_it_learns_the_categories_and_publishes_what_it_was_trained_for(
    workspace: Workspace, trained: StageSpec
) -> None:
    artifact = workspace.artifact(trained.artifact)
    head = read_trained_head(artifact)
    assert head.labels == ("background", *CATEGORIES)
    assert head.pyramid.levels == LEVELS
    assert head.scales == SCALES
    assert head.head.spec.to_dict() == {"in_features": 80, "hidden": [32, 32], "classes": 4, "dropout": 0.1}
    assert [point["step"] for point in head.curve] == [10, 20, 25, *range(30, 80, 10), 75, *range(80, 130, 10)]
    assert {point["lr"] for point in head.curve} == {0.05, 0.005}
    assert head.curve[0]["loss"] > 1.0
    assert head.curve[-1]["loss"] < 0.55
    assert head.curve[-1]["held_out_accuracy"] > 0.8
    assert head.curve[-1]["held_out_objects"] > 0.85
    assert head.curve[-1]["held_out_categories"] > 0.95
    assert "held_out_accuracy" in head.curve[4]
    assert "held_out_accuracy" not in head.curve[3]
    commit = artifact.commit("model")
    assert (commit.rows, commit.done) == (6, 0)
    assert commit.metrics["held_out_accuracy"] == head.curve[-1]["held_out_accuracy"]
    assert commit.metrics["steps"] == 120
    assert not workspace.store.list(f"{trained.artifact}/checkpoints")


def test_the_published_head_takes_plain_pooled_vectors(trained: StageSpec) -> None:
    stage = build_stage(trained)
    task = stage.task(LocalWorker(torch.device("cpu")))
    published = read_trained_head(stage.artifact)
    vectors, labels = task._held_out
    assert task._scale != 1.0
    with torch.inference_mode():
        right = published.head(vectors.float()).argmax(dim=1) == labels
    assert float(right.float().mean()) == pytest.approx(published.curve[-1]["held_out_accuracy"], abs=0.02)


@pytest.mark.parametrize("stops", [(3,), (26, 26, 53), (119,)])
def test_an_interrupted_run_ends_with_the_same_bytes(
    workspace: Workspace, trained: StageSpec, stops: tuple[int, ...]
) -> None:
    spec = finetune_spec(workspace, "head-stopped" + "-".join(map(str, stops)))
    for step in stops:
        train_until(spec, step)
    train(spec)
    assert workspace.artifact(spec.artifact).read("model") == workspace.artifact(trained.artifact).read("model")


def test_another_seed_and_bfloat16_give_other_weights(workspace: Workspace, trained: StageSpec) -> None:
    short = (Rate(lr=0.05, steps=5),)
    heads = []
    for number, changes in enumerate(({}, {"seed": 4}, {"precision": "bfloat16"}, {"workers": 2})):
        spec = finetune_spec(workspace, f"head-short{number}", schedule=short, **changes)
        train(spec)
        heads.append(read_head(workspace.artifact(spec.artifact)).state_dict()["layers.fc6.weight"])
    assert heads[0].dtype == heads[2].dtype == torch.float32
    assert not torch.equal(heads[0], heads[1])
    assert not torch.equal(heads[0], heads[2])
    assert torch.allclose(heads[0], heads[2], atol=0.05)
    assert torch.equal(heads[0], heads[3])


def test_it_starts_from_another_heads_fc6_and_fc7(workspace: Workspace, trained: StageSpec) -> None:
    spec = finetune_spec(workspace, "head-init", init=trained.artifact, categories=("bar", "disc"), hidden=None)
    stage = build_stage(spec)
    assert isinstance(stage, Finetune)
    given = read_head(workspace.artifact(trained.artifact)).state_dict()
    head = stage.new_head()
    assert head.spec.classes == 3
    assert torch.equal(head.state_dict()["layers.fc6.weight"], given["layers.fc6.weight"])
    assert torch.equal(head.state_dict()["layers.fc7.bias"], given["layers.fc7.bias"])
    wrong = build_stage(finetune_spec(workspace, "head-init2", init=trained.artifact, hidden=(8, 8)))
    with pytest.raises(ConfigError, match=r"hidden \[32, 32\]; wanted \[3, 1\], 80 and \[8, 8\]"):
        wrong.prepare()


def test_a_category_that_the_data_set_does_not_have_is_refused(workspace: Workspace) -> None:
    with pytest.raises(ConfigError, match="category 'cat' is not in the images: disc, ring, bar"):
        build_stage(finetune_spec(workspace, "head-cat", categories=("disc", "cat"))).prepare()


def test_a_split_without_a_window_on_an_object_is_refused(workspace: Workspace) -> None:
    planner, _, _ = make_planner(workspace, positive_iou=(1.0, 1.0), negative_iou=(0.1, 0.1001), holdout=0)
    with pytest.raises(ConfigError, match="no window of the split shows background"):
        planner.chunk(0, 1)


def test_images_that_extract_quarantined_are_left_out(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path, images=6, shard_size=6)
    maps = workspace.artifact("maps-tiny")
    unit = f"s{SCALES[1]:04d}/train/000000"
    commit = maps.commit(unit)
    rows = [row for row in decode_maps(maps.read(unit), unit) if row.key != "im002"]
    workspace.store.delete(f"maps-tiny/_commits/{unit}.json")
    aside = (Quarantined("im002", "nan-features", "a test", "extract"),)
    maps.publish(unit, Output(encode_maps(rows), ".parquet", 5, 5, aside), 0)
    assert maps.commit(unit).attempt != commit.attempt
    planner, inputs, _ = make_planner(workspace, holdout=0)
    chunk = planner.chunk(0, 6)
    keys = {key for _, key in chunk.windows.images}
    assert keys == {"im000", "im001", "im003", "im004", "im005"}
    pooler = WindowPooler(inputs, GEOMETRIES["zf5"], Pyramid(LEVELS), "paper", torch.device("cpu"))
    assert torch.isfinite(pooler.pool(chunk, np.arange(len(chunk.windows)))).all()


def test_config_is_checked() -> None:
    with pytest.raises(ConfigError, match="each may be named once"):
        Finetune.check(make_config(categories=("disc", "disc")), inputs_of())
    with pytest.raises(ConfigError, match="leaves a kind empty"):
        Finetune.check(make_config(positive_fraction=0.001), inputs_of())
    with pytest.raises(ConfigError, match="scale 200"):
        Finetune.check(make_config(scales=(200,)), inputs_of())
    Finetune.check(make_config(), inputs_of())
    for splits in (("train",), ("val", "val")):
        with pytest.raises(ConfigError, match=f"positive_splits: '{splits[-1]}' comes twice"):
            Finetune.check(make_config(positive_splits=splits), inputs_of())
    with pytest.raises(ConfigError, match=r"split extra is not among"):
        Finetune.check(make_config(positive_splits=("extra",)), inputs_of())
    with pytest.raises(ConfigError, match="flips: the maps are extracted without"):
        Finetune.check(make_config(flips=True), inputs_of())
    with pytest.raises(ConfigError, match="keep: best needs a held-out part"):
        Finetune.check(make_config(keep="best", holdout=0), inputs_of())


def inputs_of() -> dict[str, Any]:
    from pipelines.stages.extract import ExtractConfig
    from pipelines.stages.propose import ProposeConfig

    maps = ExtractConfig(stage="extract", images="images", backbone="network", scales=SCALES)
    return {"maps": (maps,), "windows": (ProposeConfig(stage="propose", images="images"),)}
