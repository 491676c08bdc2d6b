"""train-svms: what is gathered and mined obeys section 4.1's rules, and each SVM is `train_svm` of just that."""

from __future__ import annotations

import numpy as np
import pytest

from pipelines.artifacts.detectors import FeatureInfo, read_svms
from pipelines.artifacts.stepped_rows import from_steps, to_steps
from pipelines.detecting.gathering import SHARED
from pipelines.shards.windowed import LabelledImage
from sppnet.boxes import iou_matrix, nms
from sppnet.detection.features import WindowFeatures
from sppnet.detection.sampling import svm_negatives
from sppnet.seeds import derive_seed
from tests.support.chain import CATEGORIES, Silent, accounts, equal_bytes
from tests.support.stored_rows import decode_examples
from tests.support.svm_checks import (
    STEPS,
    assemble,
    boxes_of,
    check_going_on,
    check_svm,
    data_of,
    examples,
    rows,
    windowed,
)
from tests.support.unit_list import Backwards


@pytest.fixture(scope="module")
def images(chain) -> dict[str, list[LabelledImage]]:
    return {shard: windowed(chain, shard) for shard in chain.shards("train")}


@pytest.fixture(scope="module")
def features(chain) -> WindowFeatures:
    return FeatureInfo.read(chain.artifact("svms")).extractor(chain.artifact("maps"), chain.engine.workspace)


def stored(features: np.ndarray) -> np.ndarray:
    """Features as the phases hand them on."""
    return from_steps(*to_steps(features))


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
                    assert equal_bytes(feature, stored(features(image.maps, image.image_wh, box[None]).numpy())[0])

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
                    assert equal_bytes(feature, stored(features(image.maps, image.image_wh, box[None]).numpy())[0])

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
            norms = np.linalg.norm(part.floats().astype(np.float64), axis=1)
            assert metrics["norm_count"] == len(norms)
            assert metrics["norm_sum"] == pytest.approx(norms.sum(), rel=1e-3)  # of rounded rows


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
                expected += [(image.key, int(w), scores[w], stored(values.numpy()[[w]])[0]) for w in kept]
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


@pytest.mark.parametrize("number", [0, 1, 2])
@pytest.mark.parametrize("category", CATEGORIES)
def test_each_svm_is_train_svm_of_its_examples(chain, number: int, category: str) -> None:
    check_svm(chain, number, category, *assemble(chain, number, category))


def test_every_key_is_done_or_quarantined_in_every_phase(chain) -> None:
    found = list(accounts(chain, "svms"))
    assert [have for _, have, _ in found] == [want for _, _, want in found] == [5, 5, 4] * 3
    summary = chain.summaries["svms"]
    assert (summary.keys, summary.done, summary.own_quarantined) == (14, 12, 0)


def test_the_order_of_units_does_not_matter(chain, tmp_path) -> None:
    copy = chain.copied(tmp_path / "ws").only(*STEPS)
    copy.engine.run(Backwards(), Silent())
    assert copy.units("svms") == chain.units("svms")
    assert data_of(copy, "svms") == data_of(chain, "svms")


def test_a_run_goes_on_where_it_stopped(chain, tmp_path) -> None:
    of_shards = map(chain.unit, ("gather/train/000001", "mine-1/train/000000", "mine-2/train/000002"))
    check_going_on(chain, tmp_path / "ws", {*of_shards, "solve-1/car", "solve-2/house"})


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
