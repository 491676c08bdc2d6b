"""Splits that give train-svms ground-truth objects only, as ILSVRC DET's training images do (section 4.5)."""

from __future__ import annotations

import numpy as np
import pytest
from tiny_training import INPUTS, make_training_workspace, svms_spec, train, trained
from tiny_workspace import CATEGORIES, SCALES

from pipelines.detectors import read_svms
from pipelines.examples import open_examples
from pipelines.manifest import Manifest
from pipelines.schemas import Examples
from pipelines.stage import build_stage
from pipelines.stages.extract import ExtractConfig
from pipelines.stages.propose import ProposeConfig
from pipelines.stages.train_svms import TrainSvms
from pipelines.svm_examples import SHARED, SetBuilder, TrainingSet
from pipelines.windowed import ShardInputs, WindowedImage
from pipelines.workspace import Workspace
from sppnet.errors import ConfigError
from sppnet.seeds import derive_seed
from sppnet.svm import feature_scale, train_svm


def images_of(workspace: Workspace, shard: str) -> list[WindowedImage]:
    inputs = [workspace.artifact(name) for name in INPUTS.values()]
    return list(ShardInputs(*inputs, SCALES).open(shard)[0])


def read(workspace: Workspace, artifact: str, unit: str, category: str) -> Examples:
    (found,) = open_examples(workspace.artifact(artifact), unit).read((category,))
    return found


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """With a split whose annotations may not be exhaustive."""
    return make_training_workspace(tmp_path_factory.mktemp("positives"), images=8, shard_size=4, more=6)


@pytest.fixture(scope="module")
def both(place: Workspace):
    """SVMs of train's examples and the other split's objects."""
    return train(svms_spec(place, "svms-both", positive_splits=("more",)))


class TestPositiveSplits:
    """`more` gives objects only, as ILSVRC DET's training images do (section 4.5)."""

    def test_units(self, both) -> None:
        units = {phase.name: phase.units for phase in both.phases()}
        shards = ("train/000000", "train/000001")
        assert units["gather"] == tuple(f"gather/{s}" for s in (*shards, "more/000000", "more/000001"))
        assert units["mine-1"] == tuple(f"mine-1/{s}" for s in shards)

    def test_only_objects_are_gathered(self, place: Workspace, both) -> None:
        for shard in ("more/000000", "more/000001"):
            (file, where) = open_examples(both.artifact, f"gather/{shard}"), images_of(place, shard)
            groups = {group.category: group for group in file.read((*CATEGORIES, SHARED))}
            assert SHARED not in groups
            for category, group in groups.items():
                wanted = [(i.key, o.box) for i in where for o in i.annotation.objects if o.category == category]
                assert list(zip(group.keys, map(tuple, group.boxes), strict=True)) == wanted
            commit = both.artifact.commit(f"gather/{shard}")
            assert (commit.done, commit.metrics.get("norm_count", 0)) == (len(where), 0)

    @pytest.mark.parametrize("category", CATEGORIES)
    def test_a_set_is_trains_negatives_and_the_positives_of_both(self, place: Workspace, both, category: str) -> None:
        alone = train(svms_spec(place, "svms-alone"))
        mine, without = (
            SetBuilder(s._shards, s.artifact, CATEGORIES, s.config.limits(), 0.3, strict=False, seed=s.seed).build(
                category, 0, None, None
            )
            for s in (both, alone)
        )
        things = [
            (image, thing.box) for shard in ("more/000000", "more/000001") for image in images_of(place, shard)
            for thing in image.annotation.objects if thing.category == category and not thing.difficult
        ]  # fmt: skip
        assert mine.positives == without.positives + len(things) > without.positives
        assert np.array_equal(mine.features[mine.positives :], without.features[without.positives :])
        vectors = {row.tobytes() for row in mine.features[: mine.positives]}
        for image, box in things:
            own = both._features(image.maps, image.image_wh, np.array([box], np.float32))
            assert np.asarray(own, np.float32)[0].tobytes() in vectors

    def test_each_svm_is_train_svm_of_the_set(self, place: Workspace, both) -> None:
        """In the last round too, whose negatives are of `train` alone; the norms' sample is as well."""
        config = both.config
        scale = feature_scale([both._shards.mean_norm(both.artifact)], config.mean_norm)
        negatives = [read(place, "svms-both", f"gather/train/{n:06d}", SHARED).features for n in (0, 1)]
        norms = np.linalg.norm(np.concatenate(negatives).astype(np.float64), axis=1)
        assert scale == pytest.approx(config.mean_norm / norms.mean(), rel=1e-5)
        for category in CATEGORIES:
            last = read_svms(both.artifact, (f"solve-0/{category}",))
            builder = SetBuilder(
                both._shards, both.artifact, CATEGORIES, config.limits(), 0.3, strict=False, seed=both.seed
            )
            found = builder.build(category, 1, last, config.evict_threshold)
            weights, bias = train_svm(
                found.features * np.float32(scale), found.labels, C=config.c, positive_weight=config.positive_weight,
                bias_scale=config.bias_scale, seed=derive_seed(both.seed, both.name, category, 1) % 2**31,
                solver=config.solver,
            )  # fmt: skip
            svms = read_svms(both.artifact, (f"solve-1/{category}",))
            assert np.array_equal(svms.weights[0], weights)
            assert svms.biases[0] == np.float32(bias)

    def test_the_order_of_units_does_not_matter(self, place: Workspace, both) -> None:
        again = train(svms_spec(place, "svms-again", positive_splits=("more",)), order=lambda units: units[::-1])
        assert np.array_equal(trained(again).weights, trained(both).weights)

    @pytest.mark.parametrize(
        ("splits", "message"),
        [
            (("train",), "positive_splits: 'train' comes twice: each split has one role"),
            (("more", "more"), "positive_splits: 'more' comes twice"),
        ],
    )
    def test_a_split_has_one_role(self, place: Workspace, splits: tuple[str, ...], message: str) -> None:
        stage = build_stage(svms_spec(place, "svms-refused", positive_splits=splits))
        with pytest.raises(ConfigError, match=message):
            stage.check(stage.config, {})

    def test_a_split_that_was_not_proposed_or_extracted(self, place: Workspace) -> None:
        config = build_stage(svms_spec(place, "svms-refused", positive_splits=("more",))).config
        windows = ProposeConfig(stage="propose", images="images", splits=("train", "more"))
        maps = ExtractConfig(stage="extract", images="images", backbone="network", splits=("train",), scales=SCALES)
        with pytest.raises(ConfigError, match=r"maps: split more is not among"):
            TrainSvms.check(config, {"windows": (windows,), "maps": (maps,)})

    def test_an_image_in_two_splits_is_named(self, place: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
        manifest = Manifest({"train": (("im000",),), "more": (("im001", "im000"),)}, CATEGORIES)
        monkeypatch.setattr(Manifest, "read", lambda artifact: manifest)
        with pytest.raises(ConfigError, match="image 'im000' of 'more' is one of 'train' too"):
            build_stage(svms_spec(place, "svms-refused", positive_splits=("more",))).prepare()

    def test_a_category_without_a_positive_in_any(self, place: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(SetBuilder, "build", lambda *args: TrainingSet(np.zeros((2, 3)), -np.ones(2), 0))
        stage = build_stage(svms_spec(place, "svms-both", positive_splits=("more",)))
        with pytest.raises(ConfigError, match="category 'disc' has no object in split 'train' or 'more'"):
            stage.run("solve-0/disc")
