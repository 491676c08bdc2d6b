from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.io import loadmat

from sppnet.errors import ConfigError
from sppnet.proposals.selective_search import selective_search
from tests.support.drawn_scenes import scene


def iou(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum(a[:, None, 2:], b[None, :, 2:])
    joint = np.clip(high - low, 0, None).prod(-1)
    area_a, area_b = ((x[:, 2:] - x[:, :2]).prod(-1) for x in (a, b))
    return joint / (area_a[:, None] + area_b[None] - joint)


def read_demo(shared: Path, key: str) -> tuple[np.ndarray, np.ndarray]:
    folder = shared / "data" / "fixtures" / "selective_search_demo"
    image = cv2.cvtColor(cv2.imread(str(folder / f"{key}.jpg")), cv2.COLOR_BGR2RGB)
    boxes = loadmat(folder / f"{key}_boxes.mat")["boxes"].astype(np.float32)
    boxes[:, 2:] += 1  # 0-based inclusive -> half-open
    return image, boxes


@pytest.mark.parametrize(("key", "published"), [("000004", 2888), ("001551", 2057)])
def test_agrees_with_the_published_boxes(shared: Path, key: str, published: int) -> None:
    image, boxes = read_demo(shared, key)
    assert len(boxes) == published
    # The published lists hold boxes of any size; ours end at 20 pixels, as the release's code does.
    boxes = boxes[(boxes[:, 2:] - boxes[:, :2]).min(1) >= 20]
    windows = selective_search(image)
    assert 0.95 * len(boxes) < len(windows) < 1.5 * len(boxes)
    overlap = iou(boxes, windows)
    assert (overlap.max(1) >= 0.7).mean() > 0.78
    assert (overlap.max(1) >= 0.5).mean() > 0.95
    assert (overlap.max(0) >= 0.7).mean() > 0.68


def test_red_and_blue_are_told_apart(shared: Path) -> None:
    image, boxes = read_demo(shared, "000004")
    boxes = boxes[(boxes[:, 2:] - boxes[:, :2]).min(1) >= 20]
    right = iou(boxes, selective_search(image)).max(1)
    wrong = iou(boxes, selective_search(image[:, :, ::-1].copy())).max(1)
    assert (right >= 0.9).mean() > 1.1 * (wrong >= 0.9).mean()


def test_finds_plain_objects_exactly() -> None:
    windows = selective_search(scene())
    overlap = iou(np.array([[20, 30, 70, 80], [90, 10, 150, 110]], np.float32), windows).max(1)
    assert overlap == pytest.approx([1, 1])
    assert [0, 0, 160, 120] in windows.tolist()


def test_windows_are_distinct_inside_and_large() -> None:
    rng = np.random.default_rng(3)
    image = cv2.resize(rng.integers(0, 256, (12, 16, 3), dtype=np.uint8), (200, 150))
    windows = selective_search(image)
    assert windows.dtype == np.float32
    assert len(windows) > 20
    assert len(np.unique(windows, axis=0)) == len(windows)
    assert (windows[:, :2] >= 0).all()
    assert (windows[:, 2:] <= [200, 150]).all()
    assert (windows[:, 2:] - windows[:, :2]).min() >= 20
    smaller = selective_search(image, min_side=10)
    assert {tuple(w) for w in windows.tolist()} < {tuple(w) for w in smaller.tolist()}


@settings(max_examples=5)
@given(st.integers(0, 2**32 - 1), st.integers(2, 6))
def test_windows_do_not_depend_on_threads(seed: int, threads: int) -> None:
    """Several images at once, each several times, give what each gives alone; so does OpenCV on more threads."""
    rng = np.random.default_rng(seed)
    sides = rng.integers(40, 90, (3, 2)).tolist()
    images = [
        cv2.resize(rng.integers(0, 256, (7, 9, 3), dtype=np.uint8), side, interpolation=cv2.INTER_CUBIC)
        for side in sides
    ]
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    alone = [selective_search(image, k=(10, 30), min_side=3, seed=seed) for image in images]
    cv2.setNumThreads(before)
    with ThreadPoolExecutor(threads) as pool:
        together = pool.map(lambda image: selective_search(image, k=(10, 30), min_side=3, seed=seed), images * 4)
    assert min(len(windows) for windows in alone) > 10
    for expected, windows in zip(alone * 4, together, strict=True):
        assert np.array_equal(windows, expected)


def test_order_is_a_function_of_the_seed() -> None:
    image = scene(seed=1)
    first, again, other = (selective_search(image, seed=s, min_side=5) for s in (7, 7, 8))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert {tuple(w) for w in first.tolist()} == {tuple(w) for w in other.tolist()}


def test_cap_keeps_the_first_by_priority() -> None:
    image = scene()
    assert np.array_equal(selective_search(image, min_side=5, max_windows=4), selective_search(image, min_side=5)[:4])


def test_large_regions_come_first_on_average(shared: Path) -> None:
    windows = selective_search(read_demo(shared, "001551")[0])
    area = (windows[:, 2:] - windows[:, :2]).prod(1)
    third = len(area) // 3
    assert area[:third].mean() > 1.5 * area[-third:].mean()


def test_mirroring_the_image_mirrors_the_windows() -> None:
    image = scene(seed=5)
    windows = selective_search(image)
    mirrored = selective_search(image[:, ::-1].copy())
    mirrored = np.stack([160 - mirrored[:, 2], mirrored[:, 1], 160 - mirrored[:, 0], mirrored[:, 3]], axis=1)
    assert (iou(windows, mirrored).max(1) >= 0.7).mean() > 0.8


def test_resize_width_gives_windows_of_the_original() -> None:
    image = cv2.resize(scene(), (640, 480), interpolation=cv2.INTER_NEAREST)
    windows = selective_search(image, resize_width=160)
    overlap = iou(np.array([[80, 120, 280, 320], [360, 40, 600, 440]], np.float32), windows).max(1)
    assert (overlap > 0.95).all()
    assert windows.max(0).tolist() == [w for w in windows.max(0).tolist() if w <= 640]
    assert [0, 0, 640, 480] in windows.tolist()


@pytest.mark.parametrize("shape", [(19, 300), (300, 19), (1, 1), (1, 50)])
def test_too_small_an_image_has_no_windows(shape: tuple[int, int]) -> None:
    windows = selective_search(np.zeros((*shape, 3), np.uint8))
    assert windows.shape == (0, 4)
    assert windows.dtype == np.float32


@pytest.mark.parametrize("shape", [(20, 20), (20, 64), (97, 33)])
def test_a_plain_image_is_one_window(shape: tuple[int, int]) -> None:
    windows = selective_search(np.full((*shape, 3), 77, np.uint8))
    assert windows.tolist() == [[0, 0, shape[1], shape[0]]]


@pytest.mark.parametrize(
    ("image", "arguments", "word"),
    [
        (np.zeros((50, 50), np.uint8), {}, "H, W, 3"),
        (np.zeros((50, 50, 3), np.float32), {}, "float32"),
        (np.zeros((50, 50, 3), np.uint8), {"k": ()}, "k must"),
        (np.zeros((50, 50, 3), np.uint8), {"sigma": 0.0}, "sigma"),
        (np.zeros((50, 50, 3), np.uint8), {"max_windows": 0}, "max_windows"),
        (np.zeros((50, 50, 3), np.uint8), {"resize_width": -1}, "resize_width"),
    ],
)
def test_bad_arguments_are_named(image: np.ndarray, arguments: dict, word: str) -> None:
    with pytest.raises(ConfigError, match=word):
        selective_search(image, **arguments)
