"""The detector as a program has it: shapes, its own parts beside those of the library, and what is refused."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

import sppnet
from sppnet import own_parts
from sppnet.bundle.files import write_bundle
from sppnet.bundle.model import Model
from sppnet.errors import ConfigError, DataError
from sppnet.networks.backbones import BackboneSpec, build_backbone
from sppnet.proposals.methods import Proposals
from tests.support.own_modules import NETWORK, PROPOSALS
from tests.support.small_bundle import CATEGORIES, small_bundle

IMAGE = np.random.default_rng(1).integers(0, 255, (70, 90, 3), np.uint8)
WINDOWS = np.array([[0, 0, 40, 50], [20, 10, 80, 60], [5, 5, 60, 70]], np.float32)


@pytest.fixture(scope="module")
def model() -> Model:
    return sppnet.load(write_bundle(small_bundle("fc7")), device="cpu")


def test_shapes(model: Model) -> None:
    assert model.scales == (64, 96)
    maps = model.maps(IMAGE)
    assert {scale: (len(grid.shape), grid.shape[2]) for scale, grid in maps.items()} == {64: (3, 8), 96: (3, 8)}
    assert model.features(IMAGE, WINDOWS).shape == (3, 8)
    assert model.features(IMAGE, WINDOWS, "pool5").shape == (3, 40)
    assert model.classify(IMAGE).shape == (1, 3)


def test_scores_are_the_svms_of_the_features(model: Model) -> None:
    svms = small_bundle("fc7").svms
    scores = model.classify(IMAGE, WINDOWS)
    expected = model.features(IMAGE, WINDOWS) * 0.5 @ svms.weights.T + svms.biases
    assert np.allclose(scores, expected, atol=1e-5)
    whole = np.array([[0, 0, 90, 70]], np.float32)
    assert np.array_equal(model.classify(IMAGE), model.classify(IMAGE, whole))


def test_a_category_without_a_regressor_keeps_its_windows(model: Model) -> None:
    found = model.detect(IMAGE, WINDOWS, threshold=-1e9)
    assert set(found.categories) == set(CATEGORIES)
    owls = [row for row, name in enumerate(found.categories) if name == "owl"]
    assert {tuple(found.boxes[row]) for row in owls} <= {tuple(row) for row in WINDOWS}
    cats = [row for row, name in enumerate(found.categories) if name == "cat"]
    assert not {tuple(found.boxes[row]) for row in cats} & {tuple(row) for row in WINDOWS}
    assert (found.boxes[:, :2] >= 0).all()
    assert (found.boxes[:, 2:] <= (90, 70)).all()


def test_nothing_is_found_above_all_scores(model: Model) -> None:
    found = model.detect(IMAGE, WINDOWS, threshold=1e9)
    assert (len(found), found.boxes.shape, found.categories) == (0, (0, 4), ())
    assert len(model.detect(IMAGE, np.zeros((0, 4)))) == 0


def test_what_can_not_be_used_is_said(model: Model, tmp_path) -> None:
    for image, windows, error, message in (
        (IMAGE.astype(float), None, ConfigError, "needs a uint8"),
        (b"GIF89a", None, DataError, "GIF"),
        (tmp_path / "none.jpg", None, ConfigError, "no such file"),
        (IMAGE, WINDOWS[:, :3], DataError, "bad-windows"),
        (IMAGE, [[5, 5, 5, 5]], DataError, "no-windows"),
        (np.zeros((20, 4000, 3), np.uint8), None, DataError, "too-large"),
    ):
        with pytest.raises(error, match=message):
            model.detect(image, windows)
    with pytest.raises(ConfigError, match="this detector has pool5 and fc7"):
        model.features(IMAGE, layer="fc6")
    with pytest.raises(ConfigError, match="no such file"):
        sppnet.load(tmp_path / "none.sppnet")


def test_windows_from_files_can_not_be_proposed() -> None:
    bundle = small_bundle()
    told = replace(bundle, description=replace(bundle.description, proposals=None))
    model = sppnet.load(write_bundle(told), device="cpu")
    with pytest.raises(ConfigError, match="came from files, or by a model of edges; give windows"):
        model.detect(IMAGE)
    assert len(model.detect(IMAGE, WINDOWS)) >= 0


def own_bundle(own_module: Callable[..., str]) -> bytes:
    """A detector whose network and proposals are somebody's own; nothing is allowed after it was written."""
    source = NETWORK.replace("12", "8") + PROPOSALS
    own_module(source)
    for name in ("factory", "corners"):
        own_parts.allow(f"their_parts:{name}")
    bundle = small_bundle()
    backbone = build_backbone(BackboneSpec("their_parts:factory")).eval()
    said = replace(
        bundle.description,
        backbone=backbone.spec.to_dict(),
        geometry=backbone.geometry,
        proposals=Proposals(("their_parts:corners",)),
    )
    data = write_bundle(replace(bundle, description=said, backbone=backbone))
    own_module(source)
    return data


def test_a_file_that_names_code_is_refused(own_module: Callable[..., str]) -> None:
    data = own_bundle(own_module)
    for allow, named in (((), "corners"), (("their_parts:corners",), "factory")):
        with pytest.raises(ConfigError, match=f"^the detector: their_parts:{named} names code, which is run only if"):
            sppnet.load(data, device="cpu", allow=allow)
        assert ("their_parts" in sys.modules) == bool(allow)
    with pytest.raises(ConfigError, match="no_such:f: module no_such can't be imported"):
        sppnet.load(data, device="cpu", allow=["no_such:f"])


def test_what_the_caller_allows_is_run(own_module: Callable[..., str]) -> None:
    data = own_bundle(own_module)
    model = sppnet.load(data, device="cpu", allow=["their_parts:corners", "their_parts:factory"])
    assert model.maps(IMAGE)[64].shape[2] == 8
    assert len(model.detect(IMAGE, threshold=-1e9)) > 0
