"""Features of windows: what each layer gives, and that lower precision is close."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sppnet.detection.features import WindowFeatures
from sppnet.errors import ConfigError, DataError
from sppnet.networks.network import FcHead
from sppnet.pooling.geometry import GEOMETRIES
from sppnet.pooling.image_windows import pool_image_windows
from sppnet.pooling.pyramid import Pyramid
from sppnet.sizes import Size

WINDOWS = np.array([[0, 0, 60, 60], [10, 5, 90, 70], [30, 30, 50, 44], [0, 0, 100, 80]], dtype=np.float32)
IMAGE = Size(100, 80)


def maps(channels: int = 8) -> dict[int, np.ndarray]:
    rng = np.random.default_rng(0)
    return {
        160: rng.random((10, 13, channels)).astype(np.float16),
        320: rng.random((20, 25, channels)).astype(np.float16),
    }


def extractor(layer="pool5", head=None, precision="float32") -> WindowFeatures:
    geometry = GEOMETRIES["zf5"]
    return WindowFeatures(geometry, 8, Pyramid((3, 1)), (160, 320), layer=layer, head=head, precision=precision)


def head() -> FcHead:
    torch.manual_seed(0)
    return FcHead(80, (32, 16), 4).eval()


def test_pool5_is_the_pooled_vector() -> None:
    tensors = {scale: torch.from_numpy(array) for scale, array in maps().items()}
    wanted = pool_image_windows(tensors, IMAGE, WINDOWS, GEOMETRIES["zf5"], Pyramid((3, 1))).flatten(1)
    found = extractor()(maps(), IMAGE, WINDOWS)
    assert found.dtype == torch.float16
    assert torch.equal(found, wanted)
    assert extractor().dimension == 80


@pytest.mark.parametrize(("layer", "size"), [("fc6", 32), ("fc7", 16)])
def test_fc_features_are_the_heads(layer: str, size: int) -> None:
    net = head()
    pooled = extractor()(maps(), IMAGE, WINDOWS).float()
    with torch.inference_mode():
        wanted = net.fc6(pooled) if layer == "fc6" else net.fc7(pooled)
    features = extractor(layer, net)
    assert features.dimension == size
    torch.testing.assert_close(features(maps(), IMAGE, WINDOWS), wanted, rtol=1e-6, atol=1e-6)


def test_bfloat16_is_close_and_leaves_the_head_alone() -> None:
    net = head()
    exact = extractor("fc7", net)(maps(), IMAGE, WINDOWS)
    lower = extractor("fc7", net, "bfloat16")(maps(), IMAGE, WINDOWS)
    assert lower.dtype == torch.float32
    assert not torch.equal(lower, exact)
    torch.testing.assert_close(lower, exact, rtol=0.05, atol=0.02)
    assert net.dtype == torch.float32


def test_no_windows_give_no_features() -> None:
    none = np.zeros((0, 4), dtype=np.float32)
    assert extractor()(maps(), IMAGE, none).shape == (0, 80)
    assert extractor("fc7", head())(maps(), IMAGE, none).shape == (0, 16)


def test_wrong_use_is_refused() -> None:
    with pytest.raises(ConfigError, match="features fc6 need a head"):
        extractor("fc6")
    with pytest.raises(ConfigError, match="belongs to other maps"):
        extractor("fc6", FcHead(96, (32, 16), 4))
    broken = maps()
    broken[160][:], broken[320][:] = np.nan, np.nan
    with pytest.raises(DataError, match="nan-features"):
        extractor()(broken, IMAGE, WINDOWS)


def test_layers_above_the_pooling_see_equal_windows_once(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    outputs = FcHead.outputs
    monkeypatch.setattr(FcHead, "outputs", lambda self, layer, x: (seen.append(len(x)), outputs(self, layer, x))[1])
    features = extractor("fc7", head())
    twice = np.concatenate([WINDOWS, WINDOWS + 0.01, WINDOWS[::-1]])
    found = features(maps(), IMAGE, twice)
    assert seen == [len(WINDOWS)]
    assert torch.equal(found[:4], found[4:8])
    assert torch.equal(found[:4], found[8:].flip(0))
    assert torch.equal(found[:4], features(maps(), IMAGE, WINDOWS))
