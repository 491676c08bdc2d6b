"""The transfer protocols: VOC's own lists of labels, splits by their rules, SVMs against scikit-learn's."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.datasets.voc_xml import parse_voc_xml
from sppnet.errors import ConfigError, DataError
from sppnet.evaluation.transfer import (
    ABSENT,
    LEFT_OUT,
    PRESENT,
    SvmSettings,
    draw_split,
    in_span,
    judge_split,
    l2_normalise,
    one_vs_rest_scores,
    presence,
    voc07_class_ap,
)


def test_presence_is_that_of_vocs_own_lists(shared):
    """Every category's official list says 1, -1 or 0 (only difficult objects) for each image."""
    root = shared / "data/voc07/VOCdevkit/VOC2007"
    notes = {
        path.stem: parse_voc_xml(path.read_bytes(), path.stem).objects for path in (root / "Annotations").glob("*.xml")
    }
    seen = []
    for path in sorted((root / "ImageSets/Main").glob("*_*.txt")):
        category, split = path.stem.split("_")
        if split not in {"train", "val"}:
            continue
        for line in path.read_text().splitlines():
            key, label = line.split()
            if key in notes:
                found = presence([o.category for o in notes[key]], [o.difficult for o in notes[key]], category)
                assert found == int(label), (category, key)
                seen.append(found)
    assert len(seen) == 20 * 942
    assert {PRESENT, ABSENT, LEFT_OUT} == set(seen)


def plain_ap(scores, labels) -> float:
    """The devkit's VOCevalcls, line by line."""
    order = np.argsort(-np.asarray(scores), kind="stable")
    gt = np.asarray(labels)[order]
    tp, fp = np.cumsum(gt > 0), np.cumsum(gt < 0)
    recall, precision = tp / (gt > 0).sum(), tp / np.maximum(tp + fp, 1)
    found = [precision[recall >= t - 1e-12].max(initial=0) for t in np.linspace(0, 1, 11)]
    return float(np.mean(found))


@given(st.lists(st.tuples(st.integers(0, 12), st.sampled_from([PRESENT, ABSENT, LEFT_OUT])), min_size=1, max_size=60))
def test_average_precision_is_the_devkits(rows):
    scores, labels = zip(*rows, strict=True)
    result = voc07_class_ap(scores, labels)
    assert (result.positives, result.detections) == (labels.count(PRESENT), len(rows) - labels.count(LEFT_OUT))
    if PRESENT in labels:
        assert result.voc07_ap == pytest.approx(plain_ap(scores, labels))
    else:
        assert np.isnan(result.voc07_ap)


def test_norms_are_one_and_nothing_stays_nothing():
    features = np.random.default_rng(0).random((5, 7)).astype(np.float16)
    features[2] = 0
    found = l2_normalise(features)
    assert found.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), [1, 1, 0, 1, 1], rtol=1e-6)
    np.testing.assert_allclose(found[0] / found[0, 0], features[0].astype(np.float32) / features[0, 0], rtol=1e-5)
    features[3, 1] = np.inf
    with pytest.raises(DataError, match="nan-features: the feature of row 3 is not finite"):
        l2_normalise(features)


def test_scores_are_those_of_scikit_learns_svm():
    from sklearn.svm import LinearSVC

    rng = np.random.default_rng(1)
    train = l2_normalise(rng.random((80, 20)) + (np.arange(80) % 2)[:, None] * np.linspace(0, 0.3, 20))
    labels = np.where(np.arange(80) % 2, PRESENT, ABSENT)
    test = l2_normalise(rng.random((30, 20)))
    model = LinearSVC(C=2.0, loss="hinge", dual=True, tol=1e-6, max_iter=200_000, intercept_scaling=1.0).fit(
        train, labels
    )
    found = one_vs_rest_scores(train, labels, test, SvmSettings(C=2.0))
    np.testing.assert_allclose(found, model.decision_function(test), atol=5e-3)


@given(st.integers(2, 30), st.integers(1, 250), st.integers(0, 2**32 - 1))
def test_inner_products_stay_in_the_span_of_the_training_images(count: int, length: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    train = l2_normalise(np.maximum(rng.standard_normal((count, length)), 0))
    train = np.concatenate([train, train[:1]])  # one of them twice: they span less than they are many
    test = l2_normalise(rng.standard_normal((7, length)))
    own, other = in_span(train, test)
    assert own.shape[1] == other.shape[1] <= length
    assert own.dtype == other.dtype == np.float32
    np.testing.assert_allclose(own @ own.T, train @ train.T, atol=1e-5)
    np.testing.assert_allclose(other @ own.T, test @ train.T, atol=1e-5)


def test_scores_are_the_same_in_the_span_of_the_training_images() -> None:
    rng = np.random.default_rng(0)
    features = l2_normalise(np.maximum(rng.standard_normal((90, 3000)) - 0.5, 0))
    labels = np.where(np.arange(60) < 20, PRESENT, ABSENT)
    features[:20, :100] += 0.05
    own, other = in_span(features[:60], features[60:])
    assert own.shape == (60, 60)
    direct = one_vs_rest_scores(features[:60], labels, features[60:])
    np.testing.assert_allclose(one_vs_rest_scores(own, labels, other), direct, atol=1e-3)
    assert np.ptp(direct) > 0.02


def test_training_images_that_are_all_zeros_span_nothing() -> None:
    train, test = np.zeros((3, 40), np.float32), np.eye(2, 40, dtype=np.float32)
    assert [one.shape for one in in_span(train, test)] == [(3, 40), (2, 40)]


def test_images_left_out_are_not_trained_on():
    rng = np.random.default_rng(2)
    train, test = l2_normalise(rng.random((40, 6))), l2_normalise(rng.random((9, 6)))
    labels = np.r_[np.full(15, PRESENT), np.full(15, ABSENT), np.full(10, LEFT_OUT)]
    np.testing.assert_array_equal(
        one_vs_rest_scores(train, labels, test), one_vs_rest_scores(train[:30], labels[:30], test)
    )
    with pytest.raises(DataError, match="0 positives and 15 negatives"):
        one_vs_rest_scores(train[15:], labels[15:], test)


@settings(max_examples=30)
@given(
    sizes=st.lists(st.integers(4, 20), min_size=1, max_size=6),
    test_per_class=st.integers(1, 9),
    seed=st.integers(0, 99),
)
def test_a_split_takes_so_many_of_each_class(sizes, test_per_class, seed):
    keys = [f"{c}/{i}" for c, size in enumerate(sizes) for i in range(size)]
    labels = [key.split("/")[0] for key in keys]
    split = draw_split(keys, labels, 3, test_per_class, seed)
    assert not set(split.train.tolist()) & set(split.test.tolist())
    for c, size in enumerate(sizes):
        counts = [sum(labels[row] == str(c) for row in rows) for rows in (split.train, split.test)]
        assert counts == [3, min(test_per_class, size - 3)]
    # Another order, and fewer classes: the same images.
    order = np.random.default_rng(seed).permutation(len(keys))
    again = draw_split([keys[i] for i in order], [labels[i] for i in order], 3, test_per_class, seed)
    assert {keys[i] for i in split.train} == {keys[order[i]] for i in again.train}
    alone = [i for i, label in enumerate(labels) if label == "0"]
    only = draw_split([keys[i] for i in alone], ["0"] * len(alone), 3, test_per_class, seed)
    assert {keys[alone[i]] for i in only.test} == {keys[i] for i in split.test if labels[i] == "0"}


def test_splits_of_other_seeds_differ_and_a_class_without_test_images_is_named():
    keys = [f"{i:03d}" for i in range(40)]
    labels = ["ant"] * 33 + ["bee"] * 7
    drawn = [tuple(draw_split(keys, labels, 5, 50, seed).train) for seed in range(4)]
    assert len(set(drawn)) == 4
    with pytest.raises(ConfigError, match=r"class 'bee' has 7 images: 7 to train on leave none to test on"):
        draw_split(keys, labels, 7, 50, 0)


def test_predictions_of_classes_that_can_be_told_apart():
    rng = np.random.default_rng(3)
    labels = [name for name in ("bee", "ant", "cat") for _ in range(12)]
    directions = {"ant": [1, 0, 0], "bee": [0, 1, 0], "cat": [0, 0, 1]}
    features = l2_normalise(np.array([directions[name] for name in labels]) + 0.2 * rng.random((36, 3)))
    split = draw_split([str(i) for i in range(36)], labels, 6, 50, 0)
    result = judge_split(features, labels, split)
    assert result.labels == ("ant", "bee", "cat")
    np.testing.assert_array_equal(result.confusion, np.diag([6, 6, 6]))
    features[:12] = features[12:24]  # every bee looks like an ant, so that the two can't be told apart
    result = judge_split(features, labels, split)
    assert result.accuracies["cat"] == 1
    assert result.confusion[:2, :2].sum() == 12
    assert 0 < result.mean_accuracy < 1
