"""Resampled mean average precision against the plain evaluation of images that are really there several times."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sppnet.evaluation.curves import Detections, GroundTruth
from sppnet.evaluation.resampled import JudgedCategory, draw_images, resampled_maps
from sppnet.evaluation.voc import evaluate_voc, match_voc

IMAGES = 6


def drawn_category(seed: int, objects: int, detections: int) -> tuple[GroundTruth, Detections]:
    """Boxes on a coarse grid, so that many overlap, with scores that differ."""
    rng = np.random.default_rng(seed)

    def boxes(count: int) -> np.ndarray:
        corner = rng.integers(0, 3, (count, 2)) * 10
        return np.hstack([corner, corner + 12])

    truth = GroundTruth.of(rng.integers(0, IMAGES, objects), boxes(objects), rng.random(objects) < 0.2)
    scores = rng.permutation(detections) / 10
    return truth, Detections.of(rng.integers(0, IMAGES, detections), boxes(detections), scores)


def judged(truth: GroundTruth, detections: Detections) -> JudgedCategory:
    return JudgedCategory.of(detections, match_voc(truth, detections), truth.images[~truth.difficult])


def repeated(truth: GroundTruth, detections: Detections, counts: np.ndarray) -> tuple[GroundTruth, Detections]:
    """The same with each image so many times; a copy's detections follow right after the first's by score."""
    objects = [(IMAGES * copy + image, n) for n, image in enumerate(truth.images) for copy in range(counts[image])]
    found = [(IMAGES * copy + image, n) for n, image in enumerate(detections.images) for copy in range(counts[image])]
    rows, places = [n for _, n in objects], [n for _, n in found]
    return (
        GroundTruth.of([image for image, _ in objects], truth.boxes[rows], truth.difficult[rows]),
        Detections.of([image for image, _ in found], detections.boxes[places], detections.scores[places]),
    )


@given(st.integers(0, 10_000), st.integers(0, 12), st.integers(0, 30))
def test_each_image_once_is_the_plain_evaluation(seed: int, objects: int, detections: int) -> None:
    truth, found = drawn_category(seed, objects, detections)
    plain = evaluate_voc(truth, found)
    maps = resampled_maps({"a": judged(truth, found)}, np.ones((1, IMAGES), np.int64))
    assert maps.voc07[0] == pytest.approx(plain.voc07_ap, nan_ok=True)
    assert maps.area[0] == pytest.approx(plain.area_ap, nan_ok=True)


@given(st.integers(0, 10_000))
def test_an_image_drawn_so_often_is_as_many_images(seed: int) -> None:
    """Where all copies of an image rank together, precision between them isn't looked at: the bounds are its own."""
    truth, found = drawn_category(seed, 12, 30)
    counts = draw_images(IMAGES, 4, seed)
    maps = resampled_maps({"a": judged(truth, found)}, counts)
    for draw, row in enumerate(counts):
        plain = evaluate_voc(*repeated(truth, found, row))
        # Between the copies of a right detection precision rises, between those of a wrong one none is found.
        assert maps.area[draw] == pytest.approx(plain.area_ap, abs=1e-9, nan_ok=True)
        assert maps.voc07[draw] == pytest.approx(plain.voc07_ap, abs=1e-9, nan_ok=True)


def test_images_left_out_leave_their_objects_out() -> None:
    """By hand: image 0 has its object found first, image 1 a wrong detection, then its object is found."""
    category = JudgedCategory(np.array([0, 1, 1]), np.array([1, 0, 1]), np.array([0, 1]))
    counts = np.array([[1, 1], [2, 0], [0, 2], [0, 0]])
    maps = resampled_maps({"a": category}, counts)
    assert maps.area[:3] == pytest.approx([(1 + 2 / 3) / 2, 1, 1 / 2])
    assert maps.voc07[:3] == pytest.approx([(6 * 1 + 5 * 2 / 3) / 11, 1, 1 / 2])
    assert np.isnan([maps.area[3], maps.voc07[3]]).all()


def test_the_mean_is_over_the_categories_that_a_draw_has() -> None:
    both = {
        "a": JudgedCategory(np.array([0]), np.array([1]), np.array([0])),
        "b": JudgedCategory(np.array([1]), np.array([0]), np.array([1])),
    }
    maps = resampled_maps(both, np.array([[1, 1], [2, 0], [0, 2]]))
    assert maps.area.tolist() == [0.5, 1, 0]


def test_draws_have_as_many_images_as_there_are() -> None:
    counts = draw_images(50, 20, 3)
    assert counts.shape == (20, 50)
    assert (counts.sum(axis=1) == 50).all()
    np.testing.assert_array_equal(counts, draw_images(50, 20, 3))
    assert (counts != draw_images(50, 20, 4)).any()


def test_work_in_parts_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    truth, found = drawn_category(5, 12, 30)
    counts = draw_images(IMAGES, 9, 0)
    whole = resampled_maps({"a": judged(truth, found)}, counts)
    monkeypatch.setattr("sppnet.evaluation.resampled._AT_ONCE", 60)
    parts = resampled_maps({"a": judged(truth, found)}, counts)
    np.testing.assert_array_equal(whole.area, parts.area)
    np.testing.assert_array_equal(whole.voc07, parts.voc07)


def test_no_categories_have_no_mean() -> None:
    assert np.isnan(resampled_maps({}, np.ones((2, 3), np.int64)).area).all()
