from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sppnet.errors import ConfigError
from sppnet.proposals.edges import StructuredEdges, gradient_edges, thin
from tests.support.drawn_scenes import scene, write_forest


def step_image(angle: float, size: int = 80) -> np.ndarray:
    """Dark on one side of a line through the middle, light on the other; `angle` is across the line, radians."""
    y, x = np.mgrid[:size, :size] - (size - 1) / 2
    light = (x * np.cos(angle) + y * np.sin(angle)) > 0
    return np.where(light[..., None], 200, 50).astype(np.uint8).repeat(3, 2)


@pytest.mark.parametrize("degrees", [0, 30, 45, 90, 120, 150])
def test_an_edge_is_one_line_with_its_orientation(degrees: int) -> None:
    edges = gradient_edges(step_image(np.radians(degrees)))
    inner = np.s_[12:-12, 12:-12]
    y, x = np.nonzero(edges.strength[inner] > 0.1)
    x, y = x - 27.5, y - 27.5
    assert len(x) >= 45
    assert np.abs(x * np.cos(np.radians(degrees)) + y * np.sin(np.radians(degrees))).max() < 1.5
    away = np.degrees(edges.orientation[inner][edges.strength[inner] > 0.1]) - degrees
    assert np.abs((away + 90) % 180 - 90).max() < 9


def test_an_upright_step_is_one_pixel_thin() -> None:
    strength = gradient_edges(step_image(0.0)).strength
    assert (np.count_nonzero(strength > 0.01, axis=1) == 1).all()
    assert strength.max() <= 1
    assert strength.dtype == np.float32


def test_a_uniform_image_has_no_edge_and_a_slope_one_at_most() -> None:
    assert gradient_edges(np.full((40, 50, 3), 77, np.uint8)).strength.max() == 0
    ramp = np.arange(200, dtype=np.uint8)[None, :, None].repeat(60, 0).repeat(3, 2)
    inner = gradient_edges(ramp).strength[10:-10, 10:-10]
    assert np.count_nonzero(inner, axis=1).max() <= 1


def test_a_colour_edge_of_equal_brightness_is_seen() -> None:
    image = np.zeros((40, 60, 3), np.uint8)
    image[:, :30], image[:, 30:] = (180, 60, 60), (60, 180, 60)
    columns = np.flatnonzero(gradient_edges(image).strength[20] > 0.5)
    assert columns.tolist() in ([29], [30])


@given(st.integers(0, 10_000), st.integers(3, 12), st.integers(3, 12))
@settings(max_examples=40)
def test_thinning_keeps_or_drops(seed: int, height: int, width: int) -> None:
    rng = np.random.default_rng(seed)
    strength = rng.random((height, width), np.float32)
    orientation = (rng.integers(0, 4, (height, width)) * np.pi / 4).astype(np.float32)
    found = thin(strength, orientation)
    assert ((found == 0) | (found == strength)).all()
    place = np.unravel_index(strength.argmax(), strength.shape)
    if 0 < place[0] < height - 1 and 0 < place[1] < width - 1:
        assert found[place] == strength.max()


def test_thinning_compares_as_far_as_it_reaches() -> None:
    strength = np.zeros((9, 20), np.float32)
    strength[:, [5, 7, 12, 15]] = (0.9, 0.5, 0.4, 0.6)
    upright = np.zeros((9, 20), np.float32)
    for reach, kept in ((1, [5, 7, 12, 15]), (2, [5, 12, 15]), (3, [5, 15])):
        found = thin(strength, upright, reach)
        assert np.flatnonzero(found[4]).tolist() == kept
        assert np.array_equal(found[:, kept], strength[:, kept])


def test_structured_edges_are_those_of_the_forest(tmp_path: Path) -> None:
    image = scene()
    edges = StructuredEdges(write_forest(tmp_path / "model.yml"))(image)
    assert edges.strength.shape == edges.orientation.shape == image.shape[:2]
    assert edges.strength.dtype == edges.orientation.dtype == np.float32
    assert 0 <= edges.strength.min() < 0.5 < edges.strength.max() <= 1
    assert edges.orientation.min() >= 0
    assert edges.orientation.max() < np.pi
    # Strong beside an outline of the drawn rectangles, and nothing in the middle of them.
    assert edges.strength[35:75, 66:74].max() > 0.5
    assert edges.strength[45:65, 35:55].max() < 0.1


def test_a_packed_model_is_the_same(tmp_path: Path) -> None:
    plain = write_forest(tmp_path / "model.yml")
    packed = tmp_path / "model.yml.gz"
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    one, other = (StructuredEdges(path)(scene()) for path in (plain, packed))
    assert np.array_equal(one.strength, other.strength)


def test_a_model_that_is_none_is_named(tmp_path: Path) -> None:
    path = tmp_path / "model.yml"
    with pytest.raises(ConfigError, match=r"there is no model .*model\.yml"):
        StructuredEdges(path)
    for text in ("", "not a model at all", "%YAML:1.0\n---\nother: 3\n", "%YAML:1.0\n---\noptions:\n   stride: 2\n"):
        path.write_text(text)
        with pytest.raises(ConfigError, match=r"model\.yml (holds no forest|can't be read)"):
            StructuredEdges(path)
    write_forest(path)
    path.write_text(path.read_text().replace("numberOfTrees: 4", "numberOfTrees: 0"))
    with pytest.raises(ConfigError, match="holds no forest"):
        StructuredEdges(path)


def test_bad_arguments_are_named() -> None:
    with pytest.raises(ConfigError, match=r"uint8 \[H, W, 3\] image, got float32"):
        gradient_edges(np.zeros((9, 9, 3), np.float32))  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="sigma"):
        gradient_edges(np.zeros((9, 9, 3), np.uint8), sigma=0)
