"""train-regressors: which windows are examples, what each regressor is, and that it moves boxes to their objects."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from pipelines.artifacts.detectors import FeatureInfo, read_detector
from pipelines.artifacts.examples import Examples
from pipelines.detecting.training_shards import TrainingShards
from sppnet.boxes import iou_matrix, paired_iou
from sppnet.detection.mining import name_fraction
from sppnet.detection.regression import BoxRegressors, train_regressor
from sppnet.detection.ridge import ridge_bytes
from sppnet.errors import ConfigError
from sppnet.networks.weights import read_metadata, read_safetensors
from sppnet.seeds import derive_seed
from tests.support.chain import CATEGORIES, SCALES, Chain, Silent, accounts, equal_bytes
from tests.support.stored_rows import decode_examples, regressed
from tests.support.unit_list import Backwards

STEPS = ("images", "windows", "network", "maps", "regressors")


def examples(chain: Chain, category: str, shards: Sequence[str] = ()) -> list[Examples]:
    """Of some shards, by default train's."""
    artifact, shards = chain.artifact("regressors"), shards or chain.shards("train")
    return [decode_examples(artifact.read(f"gather/{shard}"), shard, category) for shard in shards]


def joined(parts: list[Examples], name: str) -> np.ndarray:
    return np.concatenate([getattr(part, name) for part in parts if part.keys])


def windowed(chain: Chain, shard: str):
    parts = (chain.ingested, chain.artifact("windows"), chain.artifact("maps"))
    return TrainingShards(*parts, SCALES, "train", "test").open(shard)[0]


def test_examples_overlap_their_object_by_half(chain) -> None:
    for category in CATEGORIES:
        parts = examples(chain, category)
        overlap = paired_iou(joined(parts, "boxes"), joined(parts, "targets"))
        assert (overlap >= 0.5).all()
        np.testing.assert_allclose(joined(parts, "scores"), overlap, atol=1e-6)
        assert (overlap == 1).any()  # the objects themselves
        assert (overlap < 1).any()


def test_targets_are_the_nearest_objects_of_the_category(chain) -> None:
    for shard in chain.shards("train"):
        for image in windowed(chain, shard):
            things = [o for o in image.annotation.objects if o.category in CATEGORIES and not o.difficult]
            for category in CATEGORIES:
                (part,) = examples(chain, category, [shard])
                rows = [row for row, key in enumerate(part.keys) if key == image.key]
                boxes = np.array([o.box for o in things], np.float64).reshape(-1, 4)
                for row in rows:
                    overlap = iou_matrix(part.boxes[row : row + 1], boxes)[0]
                    best = int(overlap.argmax())
                    assert things[best].category == category
                    assert tuple(part.targets[row]) == things[best].box
                    if part.windows[row] >= 0:
                        assert equal_bytes(part.boxes[row], image.windows[part.windows[row]])
                assert sum(part.windows[row] < 0 for row in rows) == sum(o.category == category for o in things)


def test_windows_are_drawn_by_the_images_key(chain) -> None:
    stage = chain.changed(regressors={"per_object": 2}).stage("regressors")
    for shard in chain.shards("train"):
        output = stage.run(f"gather/{shard}")
        found = {category: decode_examples(output.data, "", category) for category in CATEGORIES}
        for image in windowed(chain, shard):
            things = [o for o in image.annotation.objects if o.category in CATEGORIES and not o.difficult]
            if not things:
                continue
            overlap = iou_matrix(image.windows, np.array([o.box for o in things]))
            nearest, best = overlap.argmax(axis=1), overlap.max(axis=1)
            rng = np.random.default_rng(derive_seed(0, "train-regressors", image.key))
            expected: dict[str, list[int]] = {category: [] for category in CATEGORIES}
            for number, thing in enumerate(things):
                near = np.flatnonzero((nearest == number) & (best >= 0.5))
                expected[thing.category] += sorted(rng.permutation(near)[:2].tolist())
            for category in CATEGORIES:
                part = found[category]
                own = [w for k, w in zip(part.keys, part.windows.tolist(), strict=True) if k == image.key and w >= 0]
                assert own == expected[category]


def read_regressor(chain: Chain, category: str):
    data = chain.artifact("regressors").read(f"solve/{category}")
    return BoxRegressors.from_tensors(read_safetensors(data), read_metadata(data))[category]


@pytest.mark.parametrize("category", CATEGORIES)
def test_each_regressor_is_train_regressor_of_its_examples(chain, category: str) -> None:
    parts = examples(chain, category)
    commits = [chain.artifact("regressors").commit(f"gather/{shard}") for shard in chain.shards("train")]
    count = sum(commit.metrics.get("norm_count", 0) for commit in commits)
    assert count == sum(len(part.keys) for c in CATEGORIES for part in examples(chain, c))
    scale = 20 / (sum(commit.metrics.get("norm_sum", 0) for commit in commits) / count)
    expected = train_regressor(
        joined(parts, "features"), joined(parts, "boxes"), joined(parts, "targets"),
        ridge=10.0, min_iou=0.5, feature_scale=scale,
    )  # fmt: skip
    found = read_regressor(chain, category)
    assert equal_bytes(found.weights, expected.weights)
    assert equal_bytes(found.mean, expected.mean)
    assert equal_bytes(found.inverse_whitening, expected.inverse_whitening)


def test_boxes_move_towards_their_objects(chain) -> None:
    detector = read_detector([chain.artifact("svms")], [chain.artifact("regressors")], chain.artifact("maps"))
    before, after = [], []
    for shard in chain.shards("train"):
        for image in windowed(chain, shard):
            for category in CATEGORIES:
                (part,) = examples(chain, category, [shard])
                rows = [row for row, key in enumerate(part.keys) if key == image.key and part.windows[row] >= 0]
                if rows:
                    boxes = part.boxes[rows]
                    moved = regressed(detector, category, image, boxes)
                    before.extend(paired_iou(boxes, part.targets[rows]))
                    after.extend(paired_iou(moved, part.targets[rows]))
    assert len(before) > 20
    assert np.mean(after) > np.mean(before) + 0.1


def test_a_category_with_too_few_examples_gets_none(chain, tmp_path) -> None:
    copy = chain.copied(tmp_path / "ws").only(*STEPS).changed(regressors={"min_examples": 1000})
    copy.run()
    commit = copy.artifact("regressors").commit("solve/car")
    assert commit.data is None
    assert commit.metrics["examples"] == sum(len(part.keys) for part in examples(chain, "car"))
    detector = read_detector([chain.artifact("svms")], [copy.artifact("regressors")], chain.artifact("maps"))
    assert detector.regressors == {}


def test_what_it_is_trained_on_is_kept(chain) -> None:
    info = FeatureInfo.read(chain.artifact("regressors"))
    assert (info.layer, info.scales, info.categories) == ("pool5", SCALES, CATEGORIES)
    assert info.units == tuple(f"solve/{category}" for category in CATEGORIES)


def test_every_key_is_done_or_quarantined(chain) -> None:
    found = list(accounts(chain, "regressors"))
    assert [have for _, have, _ in found] == [want for _, _, want in found] == [5, 5, 4]


def test_the_order_of_units_does_not_matter(chain, tmp_path) -> None:
    copy = chain.copied(tmp_path / "ws").only(*STEPS)
    copy.engine.run(Backwards(), Silent())
    for unit in chain.units("regressors"):
        assert copy.artifact("regressors").read(unit) == chain.artifact("regressors").read(unit)


def test_a_bound_draws_examples_by_their_names(chain, tmp_path) -> None:
    copy = chain.copied(tmp_path / "ws").only(*STEPS).changed(regressors={"max_examples": 6})
    copy.run()
    for category in CATEGORIES:
        parts = [part for part in examples(chain, category) if len(part)]
        names = [name for part in parts for name in part.names()]
        order = np.argsort([name_fraction(0, *name) for name in names])
        kept = np.sort(order[:6])
        commits = [chain.artifact("regressors").commit(f"gather/{shard}") for shard in chain.shards("train")]
        mean = sum(c.metrics.get("norm_sum", 0) for c in commits) / sum(c.metrics.get("norm_count", 0) for c in commits)
        expected = train_regressor(
            joined(parts, "features")[kept], joined(parts, "boxes")[kept], joined(parts, "targets")[kept],
            ridge=10.0, feature_scale=20 / mean,
        )  # fmt: skip
        assert equal_bytes(read_regressor(copy, category).weights, expected.weights)
        assert copy.artifact("regressors").commit(f"solve/{category}").metrics["examples"] == min(6, len(names))


def test_memory_that_a_solve_takes_is_stated(chain) -> None:
    stage = chain.stage("regressors")
    d = stage._features.dimension
    assert (
        stage.phases()[1].resources.memory_bytes
        == ridge_bytes(10 * 14 * 21, d)
        == 8 * (d + 1) ** 2 + 8 * 4096 * (d + 1)
    )


def test_refusals(chain, tmp_path) -> None:
    with pytest.raises(ConfigError, match=r"steps.regressors.scales: scale 999 is not among"):
        chain.changed(regressors={"scales": [999]})
    with pytest.raises(ConfigError, match="step regressors: categories: the images have no 'hose'; did you mean 'hou"):
        chain.only(*STEPS).changed(regressors={"categories": ["hose"]})
