"""Balanced halves: on random counts, and on the real validation set against the published balance."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.io import loadmat

from pipelines.datasets.det_split import balanced_halves, imbalance


def real_counts(shared: Path) -> np.ndarray:
    labels = loadmat(shared / "data/ilsvrc_det/det_validation_ground_truth.mat")["gt_obj_labels"].ravel()
    return np.stack([np.bincount(own.ravel().astype(int), minlength=201)[1:] for own in labels])


def test_the_real_validation_set(shared: Path) -> None:
    counts = real_counts(shared)
    assert (counts.shape, counts.sum()) == ((20121, 200), 55502)
    first = balanced_halves(counts)
    found = imbalance(counts, first)
    assert found.max() <= 0.05  # R-CNN's: 0.11
    assert np.median(found) <= 0.01  # R-CNN's: 0.04
    assert abs(int(first.sum()) * 2 - 20121) <= 3
    assert np.array_equal(first, balanced_halves(counts))


def test_the_published_split_is_measured_as_published(shared: Path) -> None:
    lists = shared / "data/ilsvrc_det/det_lists"
    place = {line.split()[0]: number for number, line in enumerate((lists / "val.txt").read_text().splitlines())}
    halves = [
        [place[line.split()[0]] for line in (lists / f"rcnn_val{half}.txt").read_text().splitlines()] for half in (1, 2)
    ]
    counts = real_counts(shared)[halves[0] + halves[1]]
    found = imbalance(counts, np.arange(len(counts)) < len(halves[0]))
    assert (round(found.max(), 2), round(float(np.median(found)), 2)) == (0.11, 0.04)


@settings(max_examples=60)
@given(st.integers(0, 2**32 - 1), st.integers(1, 60), st.integers(1, 6))
def test_never_worse_than_a_coin(seed: int, images: int, categories: int) -> None:
    rng = np.random.default_rng(seed)
    counts = rng.poisson(0.7, (images, categories))
    first = balanced_halves(counts)
    assert first.shape == (images,)
    full = np.concatenate([counts, np.ones((images, 1), int)], 1)
    assert imbalance(full, first).max() <= imbalance(full, rng.random(images) < 0.5).max() + 0.35
    assert imbalance(full, first).max() <= 1


def test_two_of_everything_are_split_evenly() -> None:
    counts = np.repeat(np.eye(5, dtype=np.int64), 2, axis=0)
    assert imbalance(counts, balanced_halves(counts)).max() == 0
