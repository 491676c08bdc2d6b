"""Examples in storage: only what is asked for is fetched, and damage is told."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tiny_training import make_training_workspace, regressors_spec, rewrite_maps, train
from tiny_workspace import SCALES

from pipelines.examples import ExampleGroups, half_features, make_examples, open_examples
from pipelines.schemas import Examples, encode_examples
from pipelines.workspace import Artifact, Output, Workspace
from sppnet.errors import ArtifactError, DataError


def make_group(category: str, n: int, dimension: int = 4000) -> Examples:
    features = np.random.default_rng(n).random((n, dimension)).astype(np.float16)
    return make_examples(category, "im0", range(n), np.arange(n), np.ones((n, 4)), features)


@pytest.fixture
def artifact(tmp_path) -> Artifact:
    made = Workspace.open(str(tmp_path)).artifact("svms-x")
    data = encode_examples([make_group(name, n) for name, n in (("bus", 40), ("car", 3), ("cat", 40))])
    made.publish("gather/train/000000", Output(data, ".parquet", 83, 1), 0)
    return made


def test_only_a_categorys_part_is_fetched(artifact: Artifact, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    read_range = type(artifact.store).read_range
    monkeypatch.setattr(
        type(artifact.store), "read_range", lambda s, name, a, n: sizes.append(n) or read_range(s, name, a, n)
    )
    file = open_examples(artifact, "gather/train/000000")
    sizes.clear()
    (found,) = file.read(("car",))
    assert found.features.tobytes() == make_group("car", 3).features.tobytes()
    assert sum(sizes) < 40_000  # of 660,000
    sizes.clear()
    (names,) = file.read(("cat",), features=False)
    assert (len(names), names.features.shape) == (40, (40, 0))
    assert sum(sizes) < 5_000
    assert [part.category for part in file.read(("cat", "bus"))] == ["bus", "cat"]
    assert file.read(("cow",)) == []


def test_damage_is_told(artifact: Artifact) -> None:
    commit = artifact.commit("gather/train/000000")
    path = artifact.store.root / artifact.name / commit.data
    data = bytearray(path.read_bytes())
    data[len(data) // 4] ^= 0xFF  # in the features of the first category
    path.write_bytes(data)
    file = open_examples(artifact, "gather/train/000000")
    with pytest.raises(ArtifactError, match="svms-x/gather/train/000000: its pages can't be read"):
        file.read(("bus",))
    path.write_bytes(data[:-20])
    with pytest.raises(ArtifactError, match="not a Parquet file"):
        open_examples(artifact, "gather/train/000000")


def test_a_unit_without_data(artifact: Artifact) -> None:
    artifact.publish("gather/train/000001", Output(None, "", 0, 0), 0)
    with pytest.raises(ArtifactError, match="svms-x/gather/train/000001 has no data"):
        open_examples(artifact, "gather/train/000001")


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e6, -1e6])
def test_features_must_be_float16_numbers(value: float) -> None:
    features = torch.rand(5, 7)
    assert half_features(features).tobytes() == features.numpy().astype(np.float16).tobytes()
    features[3, 2] = value
    with pytest.raises(DataError, match="nan-features"):
        half_features(features)
    assert half_features(features[:0]).shape == (0, 7)


def test_groups_are_joined_by_category() -> None:
    groups = ExampleGroups()
    groups.add([make_group("car", 2), make_group("bus", 0)])
    groups.add([make_group("bus", 3), make_group("car", 1)])
    assert [(group.category, group.windows.tolist()) for group in groups.joined()] == [
        ("bus", [0, 1, 2]),
        ("car", [0, 1, 0]),
    ]


def test_regressors_set_an_image_with_bad_maps_aside(tmp_path) -> None:
    workspace = make_training_workspace(tmp_path, images=8, shard_size=4)
    for scale in SCALES:
        unit = f"s{scale:04d}/train/000001"
        rewrite_maps(workspace, unit, lambda row: row.map * (np.nan if row.key == "im006" else 1))
    stage = train(regressors_spec(workspace))
    aside = stage.artifact.commit("gather/train/000001").quarantined
    assert [(q.key, q.reason, q.stage) for q in aside] == [("im006", "nan-features", "train-regressors")]
