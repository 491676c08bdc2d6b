"""Errors, accuracies and confusions: small cases by hand, laws by hypothesis, sklearn and torch as peers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.metrics import balanced_accuracy_score, confusion_matrix, top_k_accuracy_score

from sppnet.errors import ConfigError
from sppnet.evaluation.classification import ClassResult, Spread, check_labels, judge, spread

SEVEN = tuple("abcdefg")


def test_a_small_case_by_hand() -> None:
    scores = np.eye(7)[[0, 1, 1, 3]] + np.linspace(0, 0.1, 7)[::-1]  # b, c have the rest in order a, b, c ...
    result = judge(scores, [0, 1, 2, 6], SEVEN)
    assert result.images == 4
    assert result.top1_error == 0.5
    assert result.top5_error == 0.25  # c is third; g is last
    assert result.confusion[2, 1] == result.confusion[6, 3] == 1
    assert result.accuracies == {"a": 1.0, "b": 1.0, "c": 0.0, "d": None, "e": None, "f": None, "g": 0.0}
    assert result.mean_accuracy == 0.5
    assert result.figures == {"top1_error": 0.5, "top5_error": 0.25, "mean_accuracy": 0.5}


def test_equal_scores_rank_in_the_order_of_the_labels() -> None:
    result = judge(np.zeros((7, 7)), range(7), SEVEN)
    assert result.top1_error == 1 - 1 / 7
    assert result.top5_error == 1 - 5 / 7
    assert result.confusion[:, 0].tolist() == [1] * 7


def test_without_images_or_a_sixth_class_there_is_no_figure() -> None:
    assert judge(np.zeros((0, 7)), [], SEVEN).figures == dict.fromkeys(("top1_error", "top5_error", "mean_accuracy"))
    five = judge(np.eye(5), range(5), SEVEN[:5])
    assert (five.top1_error, five.top5_error) == (0.0, None)


@st.composite
def judged(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    n = draw(st.integers(1, 30))
    scores = draw(hnp.arrays(np.float32, (n, 7), elements=st.integers(0, 40).map(lambda i: i / 8)))
    return scores, draw(hnp.arrays(np.int64, n, elements=st.integers(0, 6)))


@settings(max_examples=60)
@given(judged())
def test_agrees_with_sklearn_and_a_stable_sort(case: tuple[np.ndarray, np.ndarray]) -> None:
    scores, truth = case
    result = judge(scores, truth, SEVEN)
    order = np.argsort(-scores, axis=1, kind="stable")
    assert result.top1_error == pytest.approx(1 - (order[:, 0] == truth).mean())
    assert result.top5_error == pytest.approx(1 - (order[:, :5] == truth[:, None]).any(axis=1).mean())
    np.testing.assert_array_equal(result.confusion, confusion_matrix(truth, order[:, 0], labels=range(7)))
    known = np.isin(order[:, 0], truth)  # sklearn warns of predictions of classes without images
    if known.all():
        assert result.mean_accuracy == pytest.approx(balanced_accuracy_score(truth, order[:, 0]))


def test_agrees_with_sklearn_on_distinct_scores() -> None:
    rng = np.random.default_rng(0)
    scores, truth = rng.normal(size=(200, 7)), rng.integers(0, 7, 200)
    expected = top_k_accuracy_score(truth, scores, k=5, labels=range(7))
    assert judge(scores, truth, SEVEN).top5_error == pytest.approx(1 - expected)


@settings(max_examples=40)
@given(judged(), st.integers(0, 30))
def test_parts_add_up(case: tuple[np.ndarray, np.ndarray], cut: int) -> None:
    scores, truth = case
    parts = [judge(scores[rows], truth[rows], SEVEN) for rows in (slice(cut), slice(cut, None))]
    total, whole = ClassResult.empty(SEVEN) + parts[0] + parts[1], judge(scores, truth, SEVEN)
    assert total.figures == whole.figures
    np.testing.assert_array_equal(total.confusion, whole.confusion)


def test_what_does_not_fit() -> None:
    with pytest.raises(ValueError, match="2 rows of scores need as many classes"):
        judge(np.zeros((2, 7)), [1], SEVEN)
    for bad in (-1, 7):
        with pytest.raises(ValueError, match=r"classes must be in 0\.\.6"):
            judge(np.zeros((1, 7)), [bad], SEVEN)
    with pytest.raises(ConfigError, match="one tells 7 classes apart, another 5: they don't compare"):
        _ = ClassResult.empty(SEVEN) + ClassResult.empty(SEVEN[:5])
    with pytest.raises(ConfigError, match="class 1 is 'b' for x and 'c' for y: they don't compare"):
        check_labels(("a", "b"), ("a", "c"), ("x", "y"))


def test_spread_is_mean_and_sample_deviation() -> None:
    values = [0.3, 0.35, 0.31]
    found = spread(values)
    assert found is not None
    assert found.mean == pytest.approx(0.32)
    assert found.deviation == pytest.approx(float(torch.tensor(values, dtype=torch.float64).std()))
    assert spread([0.5]) == Spread(0.5, None)
    assert spread([0.5, None]) is None
    assert spread([]) is None
