from __future__ import annotations

import numpy as np
import pytest
import torch

from sppnet.boxes import iou_matrix
from sppnet.errors import ConfigError
from sppnet.proposals.edge_boxes import edge_boxes
from sppnet.proposals.learned_edges import LearnedEdges, ridge_orientation
from sppnet.proposals.pidinet import PiDiNet, read_pidinet
from tests.support.drawn_scenes import OBJECTS, scene
from tests.support.edge_networks import step_finder


@pytest.fixture(scope="module")
def detector() -> LearnedEdges:
    return LearnedEdges(read_pidinet(step_finder(), "edges"))


def test_the_map_is_the_networks(detector: LearnedEdges) -> None:
    strength = detector.strength(scene())
    assert strength.shape == (120, 160)
    assert strength.dtype == np.float32
    for line in (strength[31:79, 19], strength[31:79, 69], strength[29, 21:69], strength[109, 91:149]):
        assert line.min() > 0.9  # on the last pixel before each outline
    assert strength[35:75, 25:65].max() < 0.5


def test_edges_are_thin_and_have_their_orientation(detector: LearnedEdges) -> None:
    edges = detector(scene())
    assert edges.strength.shape == edges.orientation.shape == (120, 160)
    assert edges.strength.dtype == edges.orientation.dtype == np.float32
    assert edges.orientation.min() >= 0
    assert edges.orientation.max() < np.pi
    upright, level = np.s_[40:70, 15:24], np.s_[25:34, 30:60]
    assert (np.count_nonzero(edges.strength[upright] > 0.4, axis=1) == 1).all()
    assert (np.count_nonzero(edges.strength[level] > 0.4, axis=0) == 1).all()
    for part, expected in ((upright, 0.0), (level, np.pi / 2)):
        found = edges.orientation[part][edges.strength[part] > 0.4]
        assert np.abs((found - expected + np.pi / 2) % np.pi - np.pi / 2).max() < 0.2


def test_their_boxes_hold_the_objects(detector: LearnedEdges) -> None:
    windows = edge_boxes(scene(), detector=detector)
    assert iou_matrix(OBJECTS, windows[:20]).max(1).min() > 0.75


@pytest.mark.parametrize("degrees", [0, 45, 90, 135])
def test_the_orientation_of_a_ridge(degrees: int) -> None:
    y, x = np.mgrid[:41, :41] - 20
    across = x * np.cos(np.radians(degrees)) + y * np.sin(np.radians(degrees))
    found = ridge_orientation(np.exp(-(across**2) / 50).astype(np.float32))[5:-5, 5:-5]
    away = np.degrees(found[np.abs(across[5:-5, 5:-5]) < 2]) - degrees
    assert np.abs((away + 90) % 180 - 90).max() < 1


def test_a_large_image_is_seen_smaller_and_answered_whole() -> None:
    network, seen = read_pidinet(step_finder(), "edges"), list[tuple[int, ...]]()
    network.register_forward_pre_hook(lambda _, inputs: seen.append(tuple(inputs[0].shape)))
    image = scene(240, 320).repeat(2, 0).repeat(2, 1)
    edges = LearnedEdges(network, max_pixels=240 * 320)(image)
    assert seen == [(1, 3, 240, 320)]
    assert edges.strength.shape == (480, 640)
    row = edges.strength[110, 20:60]  # the outline at x = 40
    assert np.abs(np.flatnonzero(row > 0.4) + 20 - 40).max() <= 2


@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (3, 3), (7, 40), (200, 2)])
def test_thin_images_have_edges_of_their_size(detector: LearnedEdges, shape: tuple[int, int]) -> None:
    image = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    edges = detector(image)
    assert edges.strength.shape == edges.orientation.shape == shape
    assert np.isfinite(edges.strength).all()


def test_bfloat16_is_near(detector: LearnedEdges) -> None:
    half = LearnedEdges(read_pidinet(step_finder(), "edges"), precision="bfloat16")
    apart = np.abs(half.strength(scene()) - detector.strength(scene()))
    assert 0 < apart.max() < 0.1
    assert half.strength(scene()).tobytes() == half.strength(scene()).tobytes()


def test_bad_arguments_are_named(detector: LearnedEdges) -> None:
    with pytest.raises(ConfigError, match=r"learned edges: needs a uint8 \[H, W, 3\] image, got float32"):
        detector(np.zeros((9, 9, 3), np.float32))  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="max_pixels must be at least 64, got 63"):
        LearnedEdges(PiDiNet(2, 2), torch.device("cpu"), max_pixels=63)


def test_edges_do_not_depend_on_threads(detector: LearnedEdges) -> None:
    image = np.random.default_rng(7).integers(0, 255, (240, 320, 3), dtype=np.uint8)
    before = torch.get_num_threads()
    found = []
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            found.append(detector.strength(image))
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    assert np.array_equal(*found)
