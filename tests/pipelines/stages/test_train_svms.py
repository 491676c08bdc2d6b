"""train-svms: what is gathered and mined obeys section 4.1's rules, and each SVM is `train_svm` of just that."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from pipelines.artifacts.detectors import FeatureInfo, read_svms
from pipelines.artifacts.examples import Examples
from pipelines.detecting.gathering import SHARED
from pipelines.detecting.training_shards import TrainingShards
from pipelines.executors.local import LocalExecutor
from pipelines.shards.windowed import LabelledImage
from sppnet.boxes import iou_matrix, nms
from sppnet.detection.features import WindowFeatures
from sppnet.detection.mining import name_fraction
from sppnet.detection.sampling import svm_negatives
from sppnet.detection.svm_training import train_svm
from sppnet.errors import ConfigError
from sppnet.seeds import derive_seed
from tests.support.chain import CATEGORIES, SCALES, Chain, Silent, accounts, equal_bytes
from tests.support.stored_rows import decode_examples

STEPS = ("images", "windows", "network", "maps", "svms")


@pytest.fixture(scope="module")
def images(chain) -> dict[str, list[LabelledImage]]:
    return {shard: windowed(chain, shard) for shard in chain.shards("train")}


def windowed(chain: Chain, shard: str) -> list[LabelledImage]:
    parts = (chain.ingested, chain.artifact("windows"), chain.artifact("maps"))
    return list(TrainingShards(*parts, SCALES, "train", "test").open(shard)[0])


@pytest.fixture(scope="module")
def features(chain) -> WindowFeatures:
    return FeatureInfo.read(chain.artifact("svms")).extractor(chain.artifact("maps"), chain.engine.workspace)


def examples(chain: Chain, phase: str, category: str, shards: Sequence[str] = ()) -> list[Examples]:
    """Of some shards, by default train's."""
    artifact, shards = chain.artifact("svms"), shards or chain.shards("train")
    return [decode_examples(artifact.read(f"{phase}/{shard}"), shard, category) for shard in shards]


def rows(parts: Sequence[Examples]) -> list[tuple[str, int, np.ndarray, np.ndarray, float]]:
    """Key, window, box, feature and score of every example, in order."""
    return [
        (key, int(part.windows[i]), part.boxes[i], part.features[i], float(part.scores[i]))
        for part in parts
        for i, key in enumerate(part.keys)
    ]


def boxes_of(image: LabelledImage, *categories: str) -> np.ndarray:
    found = [thing.box for thing in image.annotation.objects if thing.category in categories]
    return np.array(found, np.float64).reshape(-1, 4)


class TestGather:
    def test_objects_with_their_features(self, chain, images, features) -> None:
        for shard in images:
            for category in CATEGORIES:
                found = rows(examples(chain, "gather", category, [shard]))
                wanted = [
                    (image, thing) for image in images[shard] for thing in image.annotation.objects
                    if thing.category == category
                ]  # fmt: skip
                assert [(key, tuple(box)) for key, _, box, _, _ in found] == [(i.key, t.box) for i, t in wanted]
                assert [score for *_, score in found] == [float(not thing.difficult) for _, thing in wanted]
                for (_, window, box, feature, _), (image, _) in zip(found, wanted, strict=True):
                    assert window < 0
                    assert equal_bytes(feature, features(image.maps, image.image_wh, box[None]).numpy()[0])

    def test_random_negatives(self, chain, images, features) -> None:
        for shard in images:
            found = rows(examples(chain, "gather", SHARED, [shard]))
            for image in images[shard]:
                own = [row for row in found if row[0] == image.key]
                objects = boxes_of(image, *CATEGORIES)
                overlap = iou_matrix(image.windows, objects).max(axis=1, initial=0)
                assert len(own) == min(20, len(svm_negatives(image.windows, objects)))
                apart = iou_matrix(*[np.array([row[2] for row in own])] * 2)
                assert (apart[~np.eye(len(own), dtype=bool)] <= 0.7).all()
                assert len({window for _, window, *_ in own}) == len(own)
                for _, window, box, feature, _ in own:
                    assert overlap[window] <= 0.3
                    assert equal_bytes(box, image.windows[window])
                    assert equal_bytes(feature, features(image.maps, image.image_wh, box[None]).numpy()[0])

    def test_they_are_drawn_by_the_images_key(self, chain, images) -> None:
        shard = chain.unit("train/000001")
        image = images[shard][0]
        free = svm_negatives(image.windows, boxes_of(image, *CATEGORIES), max_iou=0.3, dedupe_iou=0.7)
        rng = np.random.default_rng(derive_seed(0, "train-svms", image.key))
        expected = free[np.sort(rng.choice(len(free), 20, replace=False))]
        found = [row[1] for row in rows(examples(chain, "gather", SHARED, [shard])) if row[0] == image.key]
        assert found == expected.tolist()

    def test_difficult_objects_are_positives_only_if_asked_for(self, chain, images) -> None:
        things = [(s, o) for s, found in images.items() for image in found for o in image.annotation.objects]
        shard = next(shard for shard, thing in things if thing.difficult and thing.category == "car")
        (without,) = examples(chain, "gather", "car", [shard])
        output = chain.changed(svms={"difficult": True}).stage("svms").run(f"gather/{shard}")
        assert 0 in without.scores
        assert decode_examples(output.data, "", "car").scores.tolist() == [1.0] * len(without.keys)

    def test_the_norms_are_the_negatives(self, chain) -> None:
        for shard in chain.shards("train"):
            metrics = chain.artifact("svms").commit(f"gather/{shard}").metrics
            (part,) = examples(chain, "gather", SHARED, [shard])
            norms = np.linalg.norm(part.features.astype(np.float64), axis=1)
            assert metrics["norm_count"] == len(norms)
            assert metrics["norm_sum"] == pytest.approx(norms.sum(), rel=1e-5)


@pytest.mark.parametrize("number", [1, 2])
def test_mined_negatives_are_just_those_of_the_rule(chain, images, features, number: int) -> None:
    """Above -1, at most 30 % on an object of the category, none overlaps a better one by over 70 %, best 30."""
    svms = read_svms(chain.artifact("svms"), [f"solve-{number - 1}/{category}" for category in CATEGORIES])
    total = 0
    for shard in images:
        for k, category in enumerate(CATEGORIES):
            found = rows(examples(chain, f"mine-{number}", category, [shard]))
            expected = []
            for image in images[shard]:
                values = features(image.maps, image.image_wh, image.windows)
                scores = svms.scores(values).numpy()[:, k]
                clear = iou_matrix(image.windows, boxes_of(image, category)).max(axis=1, initial=0) <= 0.3
                candidates = np.flatnonzero((scores > -1) & clear)
                kept = candidates[nms(image.windows[candidates], scores[candidates], 0.7)][:30]
                expected += [(image.key, int(w), scores[w], values.numpy()[w]) for w in kept]
            assert [(key, window) for key, window, *_ in found] == [(key, window) for key, window, *_ in expected]
            np.testing.assert_allclose([r[4] for r in found], [e[2] for e in expected], atol=1e-5)
            assert all(equal_bytes(r[3], e[3]) for r, e in zip(found, expected, strict=True))
            total += len(found)
    assert total == sum(chain.artifact("svms").commit(f"mine-{number}/{s}").metrics["hard"] for s in images) > 0


def test_mining_without_dedupe_takes_the_best(chain, images, features) -> None:
    stage = chain.changed(svms={"dedupe": "none", "hard_per_image": 5}).stage("svms")
    stage.artifact = chain.artifact("svms")  # with the SVMs that are there
    shard = chain.unit("train/000000")
    output = stage.run(f"mine-1/{shard}")
    svms = read_svms(chain.artifact("svms"), ["solve-0/car"])
    expected = []
    for image in images[shard]:
        scores = svms.scores(features(image.maps, image.image_wh, image.windows)).numpy()[:, 0]
        clear = iou_matrix(image.windows, boxes_of(image, "car")).max(axis=1, initial=0) <= 0.3
        hard = [w for w in np.argsort(-scores, kind="stable") if scores[w] > -1 and clear[w]]
        expected += [(image.key, int(w)) for w in hard[:5]]
    found = decode_examples(output.data, "", "car")
    assert list(zip(found.keys, found.windows.tolist(), strict=True)) == expected


def assemble(chain: Chain, number: int, category: str, more: Sequence[tuple] = ()) -> tuple[np.ndarray, np.ndarray]:
    """The training set of a category and round, put together from train's committed files by the rules alone.

    Rows of `more` are positives too.
    """

    def drawn(found: list) -> list:
        return sorted(found, key=lambda row: (name_fraction(0, row[0], row[1]), row[0], row[1]))

    own = rows(examples(chain, "gather", category))
    others = [row for other in CATEGORIES if other != category for row in rows(examples(chain, "gather", other))]
    others = [
        row for row in others
        if all(iou_matrix(row[2][None], box[None])[0, 0] <= 0.3 for key, _, box, _, _ in own if key == row[0])
    ]  # fmt: skip
    hard: dict[tuple[str, int], tuple] = {}
    for r in range(number, 0, -1):  # the latest round's first, then by falling score; each window once
        mined = sorted(rows(examples(chain, f"mine-{r}", category)), key=lambda row: (-row[4], row[0], row[1]))
        for row in mined:
            hard.setdefault(row[:2], row)
    random = [row for row in rows(examples(chain, "gather", SHARED)) if row[:2] not in hard]
    negatives = [*drawn(random), *drawn(others), *hard.values()]
    if number:
        last = read_svms(chain.artifact("svms"), (f"solve-{number - 1}/{category}",))
        values = last.scores(np.stack([row[3] for row in negatives]))[:, 0]
        negatives = [row for row, score in zip(negatives, values, strict=True) if score >= -1.2]
    positives = drawn([row for row in [*own, *more] if row[4] > 0])
    return np.stack([row[3] for row in positives]), np.stack([row[3] for row in negatives])


@pytest.mark.parametrize("number", [0, 1, 2])
@pytest.mark.parametrize("category", CATEGORIES)
def test_each_svm_is_train_svm_of_its_examples(chain, number: int, category: str) -> None:
    check_svm(chain, number, category, *assemble(chain, number, category))


def check_svm(chain: Chain, number: int, category: str, positives: np.ndarray, negatives: np.ndarray) -> None:
    """The SVM of a category and round is `train_svm` of these features, scaled by the norms of train's negatives."""
    commits = [chain.artifact("svms").commit(f"gather/{shard}") for shard in chain.shards("train")]
    mean = sum(c.metrics["norm_sum"] for c in commits) / sum(c.metrics["norm_count"] for c in commits)
    scaled = np.concatenate([positives, negatives]).astype(np.float32) * np.float32(20 / mean)
    weights, bias = train_svm(
        scaled,
        np.r_[np.ones(len(positives)), -np.ones(len(negatives))],
        C=0.001,
        positive_weight=2.0,
        bias_scale=10.0,
        seed=derive_seed(0, "train-svms", category, number) % 2**31,
    )
    found = read_svms(chain.artifact("svms"), (f"solve-{number}/{category}",))
    assert equal_bytes(found.weights[0], weights)
    assert found.biases[0] == np.float32(bias)
    assert found.feature_scale == 20 / mean
    metrics = chain.artifact("svms").commit(f"solve-{number}/{category}").metrics
    right = int((scaled[: len(positives)] @ weights + bias > 0).sum())
    assert metrics == {"positives": len(positives), "positives_found": right, "negatives": len(negatives)}


def test_every_key_is_done_or_quarantined_in_every_phase(chain) -> None:
    found = list(accounts(chain, "svms"))
    assert [have for _, have, _ in found] == [want for _, _, want in found] == [5, 5, 4] * 3
    summary = chain.summaries["svms"]
    assert (summary.keys, summary.done, summary.own_quarantined) == (14, 12, 0)


@pytest.fixture(scope="module")
def both(chain, tmp_path_factory) -> Chain:
    """The chain up to its SVMs, with val's objects as positives and nothing else of val."""
    copy = chain.copied(tmp_path_factory.mktemp("both") / "ws").only(*STEPS).changed(svms={"positive_splits": ["val"]})
    copy.run()
    return copy


def val_objects(both: Chain, category: str) -> list[tuple[str, int, np.ndarray, np.ndarray, float]]:
    """Rows as `rows` gives them, of val's objects of a category, pooled from its maps here."""
    features = FeatureInfo.read(both.artifact("svms")).extractor(both.artifact("maps"), both.engine.workspace)
    found = []
    for image in (image for shard in both.shards("val") for image in windowed(both, shard)):
        things = [thing for thing in image.annotation.objects if thing.category in CATEGORIES]
        for place, thing in enumerate(things):
            if thing.category == category:
                box = np.array(thing.box, np.float32)
                feature = features(image.maps, image.image_wh, box[None]).numpy()[0]
                found.append((image.key, -1 - place, box, feature, float(not thing.difficult)))
    return found


class TestPositiveSplits:
    """Section 4.5: of a split whose annotations are not exhaustive only the objects are used, as positives."""

    def test_what_train_gives_stays_the_same(self, chain, both) -> None:
        for shard in chain.shards("train"):
            unit = f"gather/{shard}"
            assert both.artifact("svms").read(unit) == chain.artifact("svms").read(unit)

    def test_val_gives_its_objects(self, both) -> None:
        for category in CATEGORIES:
            found = rows(examples(both, "gather", category, both.shards("val")))
            wanted = val_objects(both, category)
            assert [(key, window, score) for key, window, _, _, score in found] == [
                (key, window, score) for key, window, _, _, score in wanted
            ]
            assert all(equal_bytes(f[3], w[3]) and equal_bytes(f[2], w[2]) for f, w in zip(found, wanted, strict=True))

    def test_no_negative_is_vals(self, both) -> None:
        """Neither random nor hard in any round: its images are in no file but those of its own objects."""
        train, val = both.shards("train"), both.shards("val")
        keys = {key for shard in val for key in both.manifest.keys(shard)}
        assert [unit for unit in both.units("svms") if unit.endswith(tuple(val))] == [f"gather/{v}" for v in val]
        assert not rows(examples(both, "gather", SHARED, val))
        units = [unit for unit in both.units("svms") if unit.endswith(tuple(train))]
        assert len(units) == 3 * len(train)
        for unit in units:
            data = both.artifact("svms").read(unit)
            for category in (*CATEGORIES, SHARED):
                assert keys.isdisjoint(decode_examples(data, unit, category).keys)

    @pytest.mark.parametrize("number", [0, 1, 2])
    @pytest.mark.parametrize("category", CATEGORIES)
    def test_each_svm_is_train_svm_of_both_splits_examples(self, chain, both, number: int, category: str) -> None:
        more = val_objects(both, category)
        positives, negatives = assemble(both, number, category, more)
        alone, others = assemble(chain, number, category)
        assert len(positives) == len(alone) + sum(row[4] > 0 for row in more) > len(alone)
        if number == 0:
            assert equal_bytes(negatives, others)
        check_svm(both, number, category, positives, negatives)

    def test_every_key_is_done_or_quarantined(self, both) -> None:
        found = list(accounts(both, "svms"))
        assert len(found) == 3 * len(both.shards("train")) + len(both.shards("val"))
        assert [have for _, have, _ in found] == [want for _, _, want in found]
        manifest, summary = both.manifest, both.summaries["svms"]
        assert summary.keys == manifest.count("train") + manifest.count("val")  # each once, whatever the phases
        assert summary.done + len(summary.quarantined) == summary.keys

    def test_the_order_of_units_does_not_matter(self, both, tmp_path) -> None:
        copy = both.copied(tmp_path / "ws").only(*STEPS)
        copy.engine.run(Backwards(), Silent())
        assert data_of(copy, "svms") == data_of(both, "svms")

    def test_a_run_goes_on_where_it_stopped(self, both, tmp_path) -> None:
        gone = {both.unit("gather/val/000000"), both.unit("mine-1/train/000001"), "solve-2/car"}
        check_going_on(both, tmp_path / "ws", gone)

    def test_a_split_that_windows_or_maps_lack_is_refused(self, chain) -> None:
        message = "steps.svms.windows: split test is not among those of its input: train, val"
        with pytest.raises(ConfigError, match=message):
            chain.changed(svms={"positive_splits": ["val", "test"]})
        with pytest.raises(ConfigError, match=r"steps\.svms\.maps: split val is not among those of its input: train"):
            chain.only(*STEPS).changed(svms={"positive_splits": ["val"]}, maps={"splits": ["train"]})

    def test_a_split_in_two_roles_is_refused(self, chain) -> None:
        with pytest.raises(ConfigError, match=r"steps\.svms\.positive_splits: 'train' comes twice"):
            chain.changed(svms={"positive_splits": ["val", "train"]})

    def test_other_positives_are_other_svms(self, chain, both) -> None:
        assert both.step("svms").spec.artifact != chain.step("svms").spec.artifact


class Backwards(LocalExecutor):
    """Runs the units of a phase in reverse."""

    def run_units(self, spec, phase, units):
        return super().run_units(spec, phase, units[::-1])


def data_of(chain: Chain, name: str) -> dict[str, bytes]:
    artifact = chain.artifact(name)
    return {unit: artifact.read(unit) for unit in chain.units(name)}


def test_the_order_of_units_does_not_matter(chain, tmp_path) -> None:
    copy = chain.copied(tmp_path / "ws").only(*STEPS)
    copy.engine.run(Backwards(), Silent())
    assert copy.units("svms") == chain.units("svms")
    assert data_of(copy, "svms") == data_of(chain, "svms")


def test_a_run_goes_on_where_it_stopped(chain, tmp_path) -> None:
    of_shards = map(chain.unit, ("gather/train/000001", "mine-1/train/000000", "mine-2/train/000002"))
    check_going_on(chain, tmp_path / "ws", {*of_shards, "solve-1/car", "solve-2/house"})


def check_going_on(chain: Chain, root: Path, gone: set[str]) -> None:
    """Some units of several phases are gone; only they are made again, and nothing changes."""
    copy = chain.copied(root, STEPS).only(*STEPS)
    kept = {unit: copy.artifact("svms").commit(unit) for unit in copy.units("svms") if unit not in gone}
    for unit in gone:
        (copy.root / copy.artifact("svms").name / "_commits" / f"{unit}.json").unlink()
    copy.run()
    assert {unit: copy.artifact("svms").commit(unit) for unit in kept} == kept
    assert data_of(copy, "svms") == data_of(chain, "svms")


def test_what_changes_with_c(chain) -> None:
    other = chain.changed(svms={"c": 0.01})
    changed = {s.name for s in other.engine.steps if s.spec.artifact != chain.step(s.name).spec.artifact}
    assert changed == {"svms", "plain", "full", "metrics"}


def test_gather_depends_on_images_and_seed_only(chain) -> None:
    """Another C gives the very same examples, under another name."""
    unit = chain.unit("gather/train/000001")
    assert chain.changed(svms={"c": 0.01}).stage("svms").run(unit).data == chain.artifact("svms").read(unit)
    reseeded = chain.changed(seed=7).stage("svms")
    reseeded._inputs = chain.stage("svms")._inputs  # the same windows, which the seed changes too
    assert reseeded.run(unit).data != chain.artifact("svms").read(unit)
