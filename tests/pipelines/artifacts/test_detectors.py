"""Detectors as artifacts: what they were trained on, and scores that are plain dot products."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from pipelines.artifacts.detectors import FeatureInfo, backbone_digest, read_detector, read_svms
from pipelines.artifacts.networks import UNIT, TrainedHead, encode_head
from pipelines.engine.commits import Output
from pipelines.engine.workspace import Workspace
from pipelines.shards.windowed import ShardInputs, WindowedImage
from sppnet.boxes import decode_boxes
from sppnet.detection.detector import Detector
from sppnet.errors import ArtifactError, ConfigError, DataError
from sppnet.networks.network import FcHead, HeadSpec
from sppnet.pooling.geometry import windows_to_cells
from sppnet.pooling.pyramid import Pyramid, bin_edges
from sppnet.pooling.scales import choose_scales, scale_windows
from sppnet.sizes import Size
from tests.support.chain import CATEGORIES, SCALES, Chain, write_weights
from tests.support.stored_rows import regressed


def pool_by_hand(image: WindowedImage, window: np.ndarray, detector: Detector) -> np.ndarray:
    """Section 4.1 for one window: its scale, its cells, the maximum of each bin."""
    scale = SCALES[int(choose_scales(window[None], image.image_wh, SCALES)[0])]
    grid = image.maps[scale].astype(np.float64)
    scaled = scale_windows(window[None], image.image_wh, scale)
    x0, y0, x1, y1 = windows_to_cells(scaled, Size.of(grid), detector.features.geometry)[0]
    bins = []
    for level in (6, 3, 2, 1):
        for top, bottom in bin_edges(y1 - y0, level):
            for left, right in bin_edges(x1 - x0, level):
                bins.append(grid[y0 + top : y0 + bottom, x0 + left : x0 + right].max(axis=(0, 1)))
    return np.concatenate(bins)


@pytest.fixture(scope="module")
def image(chain) -> WindowedImage:
    parts = (chain.artifact(name) for name in ("images", "windows", "maps"))
    return next(ShardInputs(*parts, SCALES).open(chain.unit("val/000000"))[0])


@pytest.fixture(scope="module")
def detector(chain) -> Detector:
    return read_detector([chain.artifact("svms")], [chain.artifact("regressors")], chain.artifact("maps"))


def test_both_scales_are_used(image) -> None:
    assert set(choose_scales(image.windows, image.image_wh, SCALES).tolist()) == {0, 1}


def test_features_are_the_maxima_of_the_bins(image, detector) -> None:
    found = detector.features(image.maps, image.image_wh, image.windows).numpy()
    assert found.shape == (len(image.windows), 50 * 32)
    for row in range(0, len(image.windows), 13):
        np.testing.assert_array_equal(found[row], pool_by_hand(image, image.windows[row], detector))


def test_scores_are_dot_products_with_the_scaled_features(image, detector) -> None:
    svms = detector.svms
    found = svms.scores(detector.features(image.maps, image.image_wh, image.windows)).numpy()
    for row in range(0, len(image.windows), 13):
        scaled = pool_by_hand(image, image.windows[row], detector) * svms.feature_scale
        for k in range(len(CATEGORIES)):
            expected = float(svms.weights[k].astype(np.float64) @ scaled) + float(svms.biases[k])
            assert found[row, k] == pytest.approx(expected, abs=1e-4)


def test_regressed_boxes_are_decoded_deltas(image, detector) -> None:
    boxes = image.windows[:7]
    for category in CATEGORIES:
        regressor = detector.regressors[category]
        vectors = np.stack([pool_by_hand(image, box, detector) for box in boxes])
        deltas = (vectors @ regressor.weights[:-1] + regressor.weights[-1]) @ regressor.inverse_whitening
        expected = decode_boxes(boxes, deltas + regressor.mean, image.image_wh)
        found = regressed(detector, category, image, boxes)
        np.testing.assert_allclose(found, expected, atol=1e-2)


def test_svms_are_those_of_the_last_round_in_the_recipes_order(chain, detector) -> None:
    assert detector.svms.categories == CATEGORIES
    assert detector.svms.features == "pool5"
    last = [read_svms(chain.artifact("svms"), (f"solve-2/{category}",)) for category in CATEGORIES]
    np.testing.assert_array_equal(detector.svms.weights, np.concatenate([one.weights for one in last]))
    earlier = read_svms(chain.artifact("svms"), ("solve-1/car",))
    assert not np.array_equal(earlier.weights, last[CATEGORIES.index("car")].weights)


def test_the_info_tells_everything(chain) -> None:
    info = FeatureInfo.read(chain.artifact("svms"))
    assert info == FeatureInfo(
        categories=CATEGORIES,
        layer="pool5",
        scales=SCALES,
        convention="paper",
        levels=(6, 3, 2, 1),
        head=None,
        backbone=chain.step("network").spec.artifact,
        units=tuple(f"solve-2/{category}" for category in CATEGORIES),
    )
    assert backbone_digest(chain.artifact("maps")) == info.backbone


def test_without_regressors(chain, image) -> None:
    plain = read_detector([chain.artifact("svms")], [], chain.artifact("maps"))
    assert plain.features.scales == SCALES
    assert regressed(plain, "car", image, image.windows) is None


def test_a_category_without_a_regressor(chain, image, detector) -> None:
    assert regressed(detector, "butterfly", image, image.windows) is None


def other_maps(chain: Chain, tmp_path) -> Chain:
    weights = write_weights(tmp_path / "other.safetensors", seed=2)
    copy = chain.copied(tmp_path / "ws", ("images", "svms")).only("images", "network", "maps")
    other = copy.changed(network={"path": str(weights)}, maps={"scales": [160]})
    other.run()
    return other


def test_maps_of_another_backbone_are_refused(chain, tmp_path) -> None:
    other = other_maps(chain, tmp_path)
    svms = other.engine.workspace.artifact(chain.step("svms").spec.artifact)
    with pytest.raises(ConfigError, match=r"maps-\w+ holds maps of another backbone than the detector was trained on"):
        read_detector([svms], [], other.artifact("maps"))


@pytest.mark.parametrize("body", ["{", "[]", "{}", '{"categories": ["car"]}', "null"])
def test_corrupt_info(tmp_path, body: str) -> None:
    artifact = Workspace.open(str(tmp_path)).artifact("svms-0")
    artifact.store.put("svms-0/features.json", body.encode())
    with pytest.raises(ArtifactError, match=r"features.json is corrupt"):
        FeatureInfo.read(artifact)


def test_missing_parts(chain, tmp_path) -> None:
    with pytest.raises(ArtifactError, match=r"features.json does not exist"):
        FeatureInfo.read(Workspace.open(str(tmp_path)).artifact("svms-0"))
    with pytest.raises(ArtifactError, match=r"_commits/solve-2/fish.json does not exist"):
        read_svms(chain.artifact("svms"), ("solve-2/car", "solve-2/fish"))
    with pytest.raises(ArtifactError, match="holds no categories"):
        read_svms(chain.artifact("svms"), ())


class TestHeads:
    def make(self, chain, tmp_path, in_features: int) -> tuple[FeatureInfo, FcHead, Workspace]:
        torch.manual_seed(0)
        head = FcHead.from_spec(HeadSpec(in_features, (24, 16), len(CATEGORIES) + 1, 0.5)).eval()
        workspace = chain.copied(tmp_path / "ws", ("maps",)).engine.workspace
        trained = TrainedHead(head, Pyramid(), ("background", *CATEGORIES), SCALES)
        workspace.artifact("head-0").publish(UNIT, Output(encode_head(trained), ".safetensors", 6, 0), 0)
        network = chain.step("network").spec.artifact
        return FeatureInfo(CATEGORIES, "fc7", SCALES, "paper", (6, 3, 2, 1), "head-0", network, ()), head, workspace

    def test_fc7_is_the_heads(self, chain, image, detector, tmp_path) -> None:
        info, head, workspace = self.make(chain, tmp_path, 1600)
        maps = workspace.artifact(chain.step("maps").spec.artifact)
        extractor = info.extractor(maps, workspace)
        assert extractor.dimension == 16
        found = extractor(image.maps, image.image_wh, image.windows[:9])
        vectors = np.stack([pool_by_hand(image, window, detector) for window in image.windows[:9]]).astype(np.float32)
        with torch.inference_mode():
            expected = head.fc7(torch.from_numpy(vectors))
        torch.testing.assert_close(found.cpu(), expected)

    def test_a_head_of_low_rank_comes_the_closer_the_higher_its_rank(self, chain, image, tmp_path) -> None:
        info, _, workspace = self.make(chain, tmp_path, 1600)
        maps = workspace.artifact(chain.step("maps").spec.artifact)
        inputs = (image.maps, image.image_wh, image.windows[:9])
        exact = info.extractor(maps, workspace)(*inputs)
        low, higher = (replace(info, rank=rank).extractor(maps, workspace)(*inputs) for rank in (2, 9))
        assert 0 < (higher - exact).norm() < (low - exact).norm() < exact.norm()
        assert torch.equal(replace(info, rank=1600).extractor(maps, workspace)(*inputs), exact)

    def test_a_head_for_other_maps_is_refused(self, chain, tmp_path) -> None:
        info, _, workspace = self.make(chain, tmp_path, 800)
        with pytest.raises(ConfigError, match="the head takes 800 values, but 50 bins of 32 channels are 1600"):
            info.extractor(workspace.artifact(chain.step("maps").spec.artifact), workspace)


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_maps_that_are_not_finite(image, detector, dtype, value) -> None:
    maps = {scale: grid.astype(dtype) for scale, grid in image.maps.items()}
    for grid in maps.values():
        grid[grid.shape[0] // 2, grid.shape[1] // 2, 5] = value
    whole = np.array([[0, 0, *image.image_wh]], np.float32)
    with pytest.raises(DataError, match="nan-features"):
        detector.features(maps, image.image_wh, np.concatenate([image.windows, whole]))
