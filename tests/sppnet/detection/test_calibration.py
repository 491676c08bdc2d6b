"""Lines from scores to log-odds, against logistic regression by other code; what a union makes of them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression

from sppnet.detection.calibration import LogOdds, fit_log_odds, log_odds
from sppnet.detection.ensemble import ScoredWindows, choose_windows
from sppnet.evaluation.curves import Detections, GroundTruth
from sppnet.evaluation.voc import evaluate_voc


def drawn(seed: int, count: int = 400, rare: float = -3.0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    scores = rng.normal(-0.5, 0.6, count)
    return scores, rng.random(count) < 1 / (1 + np.exp(-(2.5 * scores + rare)))


def reference(scores: np.ndarray, right: np.ndarray) -> tuple[float, float]:
    """Each detection twice, as right and as wrong, weighed by Platt's targets."""
    hits, misses = right.sum(), (~right).sum()
    target = np.where(right, (hits + 1) / (hits + 2), 1 / (misses + 2))
    rows, labels = np.tile(scores, 2)[:, None], np.repeat([1, 0], len(scores))
    model = LogisticRegression(C=np.inf, solver="newton-cholesky", tol=1e-10, max_iter=1000)
    model.fit(rows, labels, sample_weight=np.concatenate([target, 1 - target]))
    return float(model.coef_[0, 0]), float(model.intercept_[0])


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("rare", [-3.0, 0.5])
def test_it_is_logistic_regression_on_platts_targets(seed: int, rare: float) -> None:
    scores, right = drawn(seed, rare=rare)
    line = fit_log_odds(scores, right)
    assert (line.slope, line.offset) == pytest.approx(reference(scores, right), rel=1e-5)
    assert line.rises


@given(st.integers(0, 50), st.floats(0.01, 100), st.floats(-1000, 1000))
def test_shifted_and_scaled_scores_have_the_same_log_odds(seed: int, scale: float, shift: float) -> None:
    scores, right = drawn(seed)
    plain, moved = fit_log_odds(scores, right), fit_log_odds(scale * scores + shift, right)
    assert moved.slope * scale == pytest.approx(plain.slope, rel=1e-5)
    assert moved.slope * shift + moved.offset == pytest.approx(plain.offset, rel=1e-4, abs=1e-6 * abs(moved.offset))


def test_scores_that_tell_all_or_nothing() -> None:
    """Platt's targets hold the line back: of two that are right, three of four are."""
    scores = np.array([-1.0, -1.0, 1.0, 1.0])
    apart = fit_log_odds(scores, scores > 0)
    assert (apart.slope, apart.offset) == pytest.approx((np.log(3), 0))
    assert apart.rises
    falling = fit_log_odds(scores, scores < 0)
    assert falling.slope == pytest.approx(-np.log(3))
    assert not falling.rises
    one = fit_log_odds(np.array([0.5, 0.5, 0.5]), np.array([True, False, False]))
    assert (one.slope, one.rises) == (0, False)


def test_each_category_has_its_line() -> None:
    scores = np.array([[1, 1], [-2, 0.5]], np.float32)
    found = log_odds(scores, [LogOdds(2.0, -1.0), LogOdds(0.5, 3.0)])
    assert found.dtype == np.float32
    assert found.tolist() == [[1.0, 3.5], [-5.0, 3.25]]


def images(seed: int, count: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """By image two detectors' windows with a score; of each, one of four is the image's only object."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        # Windows in places of their own; the object is at place 0, and one of the detectors sees it.
        corner = np.array([[100 * place, 0] for place in rng.permutation(8)], np.float32)
        boxes = np.concatenate([corner, corner + 50], axis=1)
        scores = rng.normal(-0.6, 0.5, 8) + 1.2 * (corner[:, 0] == 0)
        found.append((boxes, scores.astype(np.float32)[:, None]))
    return found


def average_precision(seen: list[tuple[np.ndarray, np.ndarray]], lines: list[LogOdds] | None, own) -> float:
    """The union of two detectors, each of half the windows, the second's scores changed by `own`."""
    rows: list[tuple[int, np.ndarray, float]] = []
    for number, (boxes, scores) in enumerate(seen):
        parts = [(boxes[:4], scores[:4]), (boxes[4:], own(scores[4:]).astype(np.float32))]
        compared = (
            [None, None] if lines is None else [log_odds(s, [line]) for (_, s), line in zip(parts, lines, strict=True)]
        )
        union = [ScoredWindows(b, s, c) for (b, s), c in zip(parts, compared, strict=True)]
        chosen = choose_windows(union, -np.inf, 0.3, 100)
        boxes_of = [union[d].windows[w] for d, w in zip(chosen.detector, chosen.window, strict=True)]
        rows += [(number, box, score) for box, score in zip(boxes_of, chosen.scores, strict=True)]
    truth = GroundTruth.of(np.arange(len(seen)), [[0, 0, 50, 50]] * len(seen))
    found = Detections.of(np.array([row[0] for row in rows]), [row[1] for row in rows], [row[2] for row in rows])
    return evaluate_voc(truth, found).area_ap


def test_a_detector_and_its_copy_on_another_scale_are_one_again() -> None:
    """The union of a detector and one whose scores are shifted and scaled is by log-odds as good as by equal scores."""
    held_out, judged = images(1, 150), images(2, 150)

    def moved(scores: np.ndarray) -> np.ndarray:
        return 0.2 * scores + 1

    def line(half: slice, own) -> LogOdds:
        scores = np.concatenate([own(s[half, 0]) for _, s in held_out])
        return fit_log_odds(scores.astype(float), np.concatenate([boxes[half, 0] == 0 for boxes, _ in held_out]))

    single = average_precision(judged, None, lambda scores: scores)
    raw = average_precision(judged, None, moved)
    calibrated = average_precision(judged, [line(slice(0, 4), lambda s: s), line(slice(4, 8), moved)], moved)
    assert calibrated == pytest.approx(single, abs=0.01)
    assert raw < single - 0.1
