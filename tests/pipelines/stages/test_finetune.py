"""Fine-tuning: what is sampled, what is learned, and that an interruption changes nothing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pipelines.artifacts.networks import read_head, read_trained_head
from pipelines.artifacts.windows_and_maps import decode_maps, encode_maps
from pipelines.engine.commits import Output, Quarantined
from pipelines.engine.stage import StageSpec
from pipelines.engine.work import build_stage
from pipelines.engine.workspace import Workspace
from pipelines.stages.finetune import Finetune
from pipelines.training.config import Rate
from pipelines.training.workers import LocalWorker
from sppnet.errors import ConfigError
from tests.support.tiny_finetune import LEVELS, finetune_spec, make_config, sample, train, train_until
from tests.support.tiny_workspace import CATEGORIES, SCALES, make_workspace

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return make_workspace(tmp_path_factory.mktemp("finetune"))


@pytest.fixture(scope="module")
def trained(workspace: Workspace) -> StageSpec:
    spec = finetune_spec(workspace)
    train(spec)
    return spec


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
    spec = finetune_spec(workspace, "head-cat", categories=("disc", "cat"))
    stage = build_stage(spec)
    with pytest.raises(ConfigError, match=": categories: the images have no 'cat'; they have: disc, ring, bar"):
        stage.check_data(stage.config, spec)


def test_a_split_without_a_window_on_an_object_is_refused(workspace: Workspace) -> None:
    spec = finetune_spec(workspace, "head-empty", positive_iou=(1.0, 1.0), negative_iou=(0.1, 0.1001), holdout=0)
    with pytest.raises(ConfigError, match="no window of the split shows background"):
        train(spec)


def test_keys_are_done_or_set_aside(tmp_path: Path) -> None:
    """By extract at one of the scales, or here for a map that is not finite."""
    workspace = make_workspace(tmp_path, images=6, shard_size=6)
    maps = workspace.artifact("maps-tiny")
    unit = f"s{SCALES[1]:04d}/train/000000"
    rows = [row for row in decode_maps(maps.read(unit), unit) if row.key != "im002"]
    rows[0] = replace(rows[0], map=rows[0].map * np.float16(np.inf))
    workspace.store.delete(f"maps-tiny/_commits/{unit}.json")
    aside = (Quarantined("im002", "nan-features", "a test", "extract"),)
    maps.publish(unit, Output(encode_maps(rows), ".parquet", 5, 5, aside), 0)
    spec = finetune_spec(workspace, holdout=0, random_scale=True)
    found = sample(spec)
    assert {key for own in found.values() for key in own.keys} == {"im001", "im003", "im004", "im005"}
    commit = workspace.artifact(spec.artifact).commit("sample/train/000000")
    assert (commit.keys, commit.done) == (6, 4)
    assert [(entry.key, entry.reason, entry.stage) for entry in commit.quarantined] == [
        ("im002", "nan-features", "extract"),
        ("im000", "nan-features", "finetune"),
    ]


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
