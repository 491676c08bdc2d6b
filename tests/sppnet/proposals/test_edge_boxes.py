from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from sppnet.boxes import iou_matrix
from sppnet.errors import ConfigError, DataError
from sppnet.proposals.edge_boxes import edge_boxes
from sppnet.proposals.edges import Edges, StructuredEdges, gradient_edges
from tests.support.drawn_scenes import OBJECTS, scene, write_forest


def photo(shared: Path, key: str = "000004") -> np.ndarray:
    path = shared / "data" / "fixtures" / "selective_search_demo" / f"{key}.jpg"
    return cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)


def square_edges(shape: tuple[int, int], x0: int, y0: int, x1: int, y1: int) -> Edges:
    """The outline of a box: strength 1 on its pixels x0, x1 - 1, y0, y1 - 1."""
    strength = np.zeros(shape, np.float32)
    orientation = np.zeros(shape, np.float32)
    strength[[y0, y1 - 1], x0:x1] = 1
    orientation[[y0, y1 - 1], x0:x1] = np.pi / 2
    strength[y0:y1, [x0, x1 - 1]] = 1
    return Edges(strength, orientation)


def plain_score(edges: Edges, window: np.ndarray) -> float:
    """The score of a window that no edge crosses: edges inside, less those of its middle, by its size."""
    x0, y0, x1, y1 = window.astype(int)
    w, h = (x1 - x0 - 1) // 2, (y1 - y0 - 1) // 2
    xm, ym = x0 + w // 2, y0 + h // 2
    inside = edges.strength[y0:y1, x0:x1].sum() - edges.strength[ym : ym + h + 1, xm : xm + w + 1].sum()
    return float(inside / (w + h) ** 1.5)


def test_the_best_window_holds_the_outline_tightly() -> None:
    edges = square_edges((120, 160), 40, 30, 110, 90)
    windows = edge_boxes(np.zeros((120, 160, 3), np.uint8), detector=lambda _: edges)
    assert iou_matrix([[40, 30, 110, 90]], windows[:1])[0, 0] > 0.8
    scores = [plain_score(edges, window) for window in windows]
    assert scores[0] == max(scores)


def test_windows_hold_their_last_pixels_and_reach_every_border(shared: Path) -> None:
    image = np.zeros((121, 121, 3), np.uint8)
    for x0, y0 in ((10, 40), (51, 40), (40, 10), (40, 51)):
        edges = square_edges((121, 121), x0, y0, x0 + 60, y0 + 60)
        best = edge_boxes(image, detector=lambda _, edges=edges: edges)[0]
        assert (best[:2] < [x0, y0]).all()
        assert (best[2:] > [x0 + 60, y0 + 60]).all()
        assert iou_matrix([[x0, y0, x0 + 60, y0 + 60]], best[None])[0, 0] > 0.8
    windows = edge_boxes(photo(shared))
    assert windows.min(0).tolist()[:2] == [0, 0]
    assert windows.max(0).tolist()[2:] == list(photo(shared).shape[1::-1])


def test_finds_drawn_objects_first() -> None:
    windows = edge_boxes(scene())
    assert iou_matrix(OBJECTS, windows[:20]).max(1).min() > 0.8


def test_structured_edges_find_them_too(tmp_path: Path) -> None:
    windows = edge_boxes(scene(), detector=StructuredEdges(write_forest(tmp_path / "model.yml")))
    assert iou_matrix(OBJECTS, windows).max(1).min() > 0.7


def test_the_same_image_gives_the_same_windows_whatever_came_before(shared: Path) -> None:
    image = photo(shared)
    first = edge_boxes(image)
    edge_boxes(scene(seed=4))
    again = edge_boxes(image)
    assert first.tobytes() == again.tobytes()


def test_windows_are_distinct_inside_and_ranked(shared: Path) -> None:
    image = photo(shared)
    windows = edge_boxes(image, max_windows=400, min_side=20)
    assert windows.dtype == np.float32
    assert 300 < len(windows) <= 400
    assert len(np.unique(windows, axis=0)) == len(windows)
    assert (windows[:, :2] >= 0).all()
    assert (windows[:, 2:] <= [image.shape[1], image.shape[0]]).all()
    sides = windows[:, 2:] - windows[:, :2]
    assert sides.min() >= 20
    assert (sides.max(1) / sides.min(1)).max() < 3.8  # the search refines beyond the largest aspect a little
    assert np.array_equal(edge_boxes(image, max_windows=50, min_side=20), windows[:50])
    # Suppression: no two above beta, except for the pixel that a window ends later than the search counts.
    overlap = iou_matrix(windows, windows)
    assert np.triu(overlap, 1).max() < 0.78


@pytest.mark.parametrize("shape", [(1, 1), (1, 4000), (2, 900), (3, 3), (4, 300), (20, 20), (31, 32), (200, 3)])
def test_images_too_small_or_thin_have_none(shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (*shape, 3), dtype=np.uint8)
    windows = edge_boxes(image, min_side=20)
    assert windows.shape == (0, 4)
    assert windows.dtype == np.float32


@pytest.mark.parametrize("shape", [(33, 33), (40, 35), (64, 1000), (700, 40)])
def test_any_other_shape_is_searched(shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    small = rng.integers(0, 256, (max(1, shape[0] // 8), max(1, shape[1] // 8), 3), dtype=np.uint8)
    windows = edge_boxes(cv2.resize(small, shape[::-1], interpolation=cv2.INTER_NEAREST))
    assert len(windows) > 0
    assert (windows[:, 2:] <= [shape[1], shape[0]]).all()


@pytest.mark.parametrize("image", [np.full((90, 120, 3), 128, np.uint8), np.zeros((300, 200, 3), np.uint8)])
def test_a_uniform_image_has_none(image: np.ndarray) -> None:
    assert edge_boxes(image).shape == (0, 4)


def test_an_endless_image_is_refused() -> None:
    image = np.broadcast_to(np.zeros(3, np.uint8), (10_000, 10_000, 3))
    with pytest.raises(DataError, match=r"too-large: 10000 x 10000 pixels .* 20000 together"):
        edge_boxes(image)


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ({"alpha": 0.0}, "alpha"),
        ({"alpha": 1.0}, "alpha"),
        ({"beta": 1.5}, "beta"),
        ({"eta": float("nan")}, "eta"),
        ({"min_score": -1.0}, "min_score"),
        ({"max_windows": 0}, "max_windows"),
        ({"min_area": 10}, "min_area"),
        ({"max_aspect": 0.5}, "max_aspect"),
        ({"gamma": 0.0}, "gamma"),
        ({"kappa": -1.0}, "kappa"),
        ({"min_side": 0}, "min_side"),
    ],
)
def test_bad_arguments_are_named(arguments: dict[str, float], word: str) -> None:
    with pytest.raises(ConfigError, match=f"EdgeBoxes: {word} must be"):
        edge_boxes(scene(), **arguments)  # type: ignore[arg-type]


def test_a_wrong_image_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"uint8 \[H, W, 3\]"):
        edge_boxes(np.zeros((60, 60), np.uint8))


def test_a_kept_option_changes_the_result(shared: Path) -> None:
    image = photo(shared, "001551")
    usual = edge_boxes(image, max_windows=300)
    for option in ({"kappa": 1.0}, {"beta": 0.5}, {"alpha": 0.5}, {"min_area": 8000.0}, {"max_aspect": 1.5}):
        assert not np.array_equal(edge_boxes(image, max_windows=300, **option), usual)  # type: ignore[arg-type]
    blurred = edge_boxes(image, max_windows=300, detector=lambda found: gradient_edges(found, sigma=4))
    assert not np.array_equal(blurred, usual)
