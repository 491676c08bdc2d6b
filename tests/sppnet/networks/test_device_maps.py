"""Convolutions of images on a device; here the CPU, where torch resizes as on a GPU."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
import torch

from sppnet.errors import ConfigError
from sppnet.networks.backbones import BackboneSpec, build_backbone
from sppnet.networks.device_maps import DeviceConvolutions
from sppnet.networks.map_maker import MapMaker

SCALES = (96, 160)


@pytest.fixture(scope="module")
def backbone():
    torch.manual_seed(0)
    return build_backbone(BackboneSpec("zf5", width=0.125)).eval()


def images() -> list[torch.Tensor]:
    rng = np.random.default_rng(0)
    shapes = [(100, 140), (130, 100), (100, 140), (100, 140)]
    return [torch.from_numpy(rng.integers(0, 256, (*shape, 3), dtype=np.uint8)) for shape in shapes]


@pytest.mark.parametrize("flipped", [False, True])
def test_maps_are_the_cpu_makers_up_to_a_grey_level(backbone, flipped: bool) -> None:
    found = DeviceConvolutions(backbone, "float32", torch.float32, batch=2)(images(), SCALES, flipped=flipped)
    plain = MapMaker(backbone, "float32", torch.float32)([i.numpy() for i in images()], SCALES, flipped=flipped)
    for ours, wanted in zip(found, plain, strict=True):
        assert list(ours) == list(SCALES)
        for scale in SCALES:
            assert ours[scale].is_contiguous()
            assert ours[scale].shape == wanted[scale].shape
            # A pixel in many differs by one grey level of 256.
            torch.testing.assert_close(ours[scale], wanted[scale], rtol=0, atol=0.02 * float(wanted[scale].max()))


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_company_changes_no_bit(backbone, precision) -> None:
    convolve = DeviceConvolutions(backbone, precision, torch.float16, batch=2)
    together = convolve(images(), SCALES)
    for image, maps in zip(images(), together, strict=True):
        (alone,) = convolve([image], SCALES)
        assert all(torch.equal(alone[scale], maps[scale]) for scale in SCALES)
        assert all(values.dtype == torch.float16 for values in maps.values())


def test_lower_precision_is_close_and_leaves_the_backbone_alone(backbone) -> None:
    exact = DeviceConvolutions(backbone, "float32", torch.float32)(images()[:1], (160,))[0][160]
    lower = DeviceConvolutions(backbone, "bfloat16", torch.float32)(images()[:1], (160,))[0][160]
    assert not torch.equal(lower, exact)
    torch.testing.assert_close(lower, exact, rtol=0.05, atol=0.05 * float(exact.max()))
    assert backbone.dtype == torch.float32


def test_no_images_and_no_batches(backbone) -> None:
    assert DeviceConvolutions(backbone, "float32", torch.float32)([], SCALES) == []
    with pytest.raises(ConfigError, match="batch"):
        DeviceConvolutions(backbone, "float32", torch.float32, batch=0)


def test_a_shape_that_comes_again_is_captured_once(backbone, monkeypatch: pytest.MonkeyPatch) -> None:
    """The bookkeeping of graphs; a graph that replays nothing leaves what was captured."""
    captured = []

    class Graph:
        def replay(self) -> None:
            captured.append("replay")

    @contextmanager
    def capture(graph: Graph, **options: object) -> Iterator[None]:
        captured.append(options["capture_error_mode"])
        yield

    monkeypatch.setattr(torch.cuda, "graph_pool_handle", lambda: (0, 0))
    monkeypatch.setattr(torch.cuda, "CUDAGraph", Graph)
    monkeypatch.setattr(torch.cuda, "graph", capture)
    plain = DeviceConvolutions(backbone, "float32", torch.float32)(images()[:1], (96,))[0][96]
    convolve = DeviceConvolutions(backbone, "float32", torch.float32, graphs=True)
    found = [convolve(images()[:1], (96,))[0][96] for _ in range(4)]
    assert captured == ["thread_local", "replay", "replay"]
    assert all(torch.equal(one, plain) for one in found)
    with torch.inference_mode():
        found[3].zero_()  # what is returned is the caller's own
    assert torch.equal(convolve(images()[:1], (96,))[0][96], plain)
    convolve(images()[1:2], (96,))
    assert captured.count("thread_local") == 1
