"""Examples in storage: only what is asked for is fetched, and damage is told."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from pipelines.artifacts.examples import (
    Examples,
    ExamplesFile,
    encode_examples,
    half_features,
    make_examples,
    open_examples,
)
from pipelines.artifacts.stepped_rows import to_steps
from pipelines.detecting.gathering import ExampleGroups
from pipelines.detecting.training_shards import TrainingShards
from pipelines.engine.commits import Output
from pipelines.engine.workspace import Artifact, Workspace
from pipelines.shards.reading import IngestedImages
from sppnet.errors import ArtifactError, ConfigError, DataError
from tests.support.tiny_training import make_training_workspace, regressors_spec, rewrite_maps, train
from tests.support.tiny_workspace import CATEGORIES, SCALES, plain_manifest


def make_group(category: str, n: int, dimension: int = 20_000) -> Examples:
    features = np.random.default_rng(n).random((n, dimension)).astype(np.float16)
    return make_examples(category, "im0", range(n), np.arange(n), np.ones((n, 4)), features)


@pytest.mark.parametrize(("at_most", "rows"), [(0, [1, 2, 3, 4, 5]), (1 << 20, [15]), (6 * 12, [6, 4, 5])])
def test_small_categories_share_a_row_group(at_most: int, rows: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    groups = [make_group(name, n, 6) for n, name in enumerate(["", "bus", "car", "cat", "\u00e9"], 1)]
    assert groups[0].features.nbytes == 12
    monkeypatch.setattr("pipelines.artifacts.examples._GROUP_BYTES", at_most)
    data = encode_examples(groups)
    metadata = pq.ParquetFile(pa.BufferReader(data)).metadata
    assert [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)] == rows
    for group in groups:
        (found,) = ExamplesFile(data, "here").read((group.category,))
        assert (found.category, found.keys) == (group.category, group.keys)
        assert found.windows.tolist() == group.windows.tolist()
        assert found.features.tobytes() == group.features.tobytes()
    both = ExamplesFile(data, "here").read(("\u00e9", "c", "bus"))
    assert [(part.category, len(part)) for part in both] == [("bus", 2), ("\u00e9", 5)]


def test_features_of_other_types_share_none() -> None:
    values, steps = to_steps(make_group("car", 3, 6).features)
    stepped = replace(make_group("car", 3, 6), features=values, steps=steps)
    data = encode_examples([make_group("bus", 2, 6), stepped, make_group("cat", 1, 6), make_group("cow", 1, 7)])
    assert pq.ParquetFile(pa.BufferReader(data)).num_row_groups == 4
    found = ExamplesFile(data, "here").read(("bus", "car", "cat", "cow"))
    assert [part.features.dtype.name for part in found] == ["float16", "uint8", "float16", "float16"]
    assert found[1].features.tobytes() == values.tobytes()


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
    assert sum(sizes) < 170_000  # of 3,300,000
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
    with pytest.raises(ArtifactError, match=r"bytes instead of \d+ from byte \d+ on"):
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


class TestTrainingShards:
    """Two images a shard: three of `val` give negatives, three of `train` and one of `more` positives only."""

    @pytest.fixture
    def shards(self, tmp_path) -> TrainingShards:
        artifact = Workspace.open(str(tmp_path)).artifact("images-x")
        keys = {"train": ["a", "b", "c"], "val": ["d", "e", "f"], "more": ["g"], "again": ["h", "e"]}
        images = IngestedImages(artifact, plain_manifest(keys, CATEGORIES, 2))
        return TrainingShards(images, artifact, artifact, SCALES, "val", "test", ("train", "more"))

    def test_splits_by_their_roles(self, shards: TrainingShards) -> None:
        assert shards.splits == ("val", "train", "more")
        assert shards.negative_units == ("val/000000", "val/000001")
        assert shards.units == (*shards.negative_units, "train/000000", "train/000001", "more/000000")
        assert [shard for shard in shards.units if shards.gives_negatives(shard)] == list(shards.negative_units)
        assert (shards.images_count, shards.positive_images_count) == (3, 4)

    def test_without_splits_of_positives_all_shards_give_negatives(self, shards: TrainingShards) -> None:
        alone = replace(shards, positive_splits=())
        assert alone.units == alone.negative_units == shards.negative_units
        assert (alone.images_count, alone.positive_images_count) == (3, 0)

    def test_files_that_were_mined_are_of_shards_that_give_negatives(self, shards: TrainingShards, tmp_path) -> None:
        made = Workspace.open(str(tmp_path)).artifact("svms-files")
        for phase, units in (("gather", shards.units), ("mine-1", shards.negative_units)):
            for unit in units:
                name = f"{phase}/{unit}"
                made.publish(name, Output(encode_examples([make_group(name, 1, 4)]), ".parquet", 1, 1), 0)
        found = list(shards.files(made, ["mine-1"]))
        assert len(found) == len(shards.units)
        for files, unit in zip(found, shards.units, strict=True):
            assert files.gives_negatives is unit.startswith("val/")
            assert len(files.gathered.read((f"gather/{unit}",))) == 1
            assert [len(file.read((f"mine-1/{unit}",))) for file in files.mined] == [1] * files.gives_negatives
        assert [files.mined for files in shards.files(made)] == [()] * len(shards.units)

    def test_the_mean_norm_is_of_images_that_give_negatives(self, shards: TrainingShards, tmp_path) -> None:
        made = Workspace.open(str(tmp_path)).artifact("svms-norms")
        figures = {"val/000000": (10.0, 4), "val/000001": (5.0, 1), "train/000000": (900.0, 3), "more/000000": (7.0, 7)}
        for unit, (total, count) in figures.items():
            metrics = {"norm_sum": total, "norm_count": count}
            made.publish(f"gather/{unit}", Output(None, "", 0, 0, metrics=metrics), 0)
        assert shards.mean_norm(made) == 15 / 5

    def test_an_image_is_in_one_split(self, shards: TrainingShards) -> None:
        shards.check_splits("svms")
        twice = replace(shards, positive_splits=("train", "again"))
        message = "step svms: positive_splits: image 'e' of 'again' is one of 'val' too; its objects would count twice"
        with pytest.raises(ConfigError, match=message):
            twice.check_splits("svms")

    def test_a_split_that_was_not_ingested(self, shards: TrainingShards) -> None:
        other = replace(shards, positive_splits=("trian",))
        with pytest.raises(ConfigError, match="split 'trian' is not in the images; they hold: "):
            other.check_splits("svms")


def test_regressors_set_an_image_with_bad_maps_aside(tmp_path) -> None:
    workspace = make_training_workspace(tmp_path, images=8, shard_size=4)
    for scale in SCALES:
        unit = f"s{scale:04d}/train/000001"
        rewrite_maps(workspace, unit, lambda row: row.map * (np.nan if row.key == "im006" else 1))
    stage = train(regressors_spec(workspace))
    aside = stage.artifact.commit("gather/train/000001").quarantined
    assert [(q.key, q.reason, q.stage) for q in aside] == [("im006", "nan-features", "train-regressors")]
