from __future__ import annotations

import torch

from sppnet.networks.backbones import BackboneSpec, build_backbone
from sppnet.networks.costs import HALF, convolving_bytes, head_macs, map_cost
from sppnet.sizes import Size

ZF5_224 = (
    96 * 3 * 49 * 112 * 112
    + 256 * 96 * 25 * 27 * 27
    + 384 * 256 * 9 * 13 * 13
    + 384 * 384 * 9 * 13 * 13
    + 256 * 384 * 9 * 13 * 13
)


def test_zf5_at_224_costs_what_its_shapes_say() -> None:
    cost = map_cost(BackboneSpec("zf5", response_norm=False), Size(224, 224))
    assert cost.macs == ZF5_224
    assert cost.shape == (13, 13, 256)
    assert cost.bytes == 13 * 13 * 256 * 2


def test_the_map_of_an_image_at_a_scale_has_the_size_of_the_real_one() -> None:
    spec = BackboneSpec("zf5", width=0.125)
    cost = map_cost(spec, Size(500, 375), 480)
    with torch.inference_mode():
        real = build_backbone(spec).eval()(torch.zeros(1, 3, 480, 640))
    assert cost.shape == (*real.shape[2:], real.shape[1])


def test_two_scales_cost_as_their_areas() -> None:
    """The paper's section 4.3: time goes with the number of pixels."""
    spec = BackboneSpec("zf5")
    ratio = map_cost(spec, Size(500, 375), 1200).macs / map_cost(spec, Size(500, 375), 480).macs
    assert 0.97 * 6.25 < ratio < 1.03 * 6.25


def test_the_papers_head_has_68_million_macs_before_fc8() -> None:
    assert head_macs((12800, 4096, 4096)) == 12800 * 4096 + 4096 * 4096
    assert head_macs((12800,)) == 0
    # Of rank 512; a layer that would cost more stays whole.
    assert head_macs((12800, 4096, 4096), 512) == 512 * (12800 + 4096 + 4096 + 4096)
    assert head_macs((12800, 20), 512) == 12800 * 20


def test_a_worker_needs_its_weights_and_images_beside_what_is_bounded() -> None:
    squeezenet, photograph = BackboneSpec("squeezenet1_0"), Size(500, 375)
    at_1200 = convolving_bytes(squeezenet, photograph, 1200)
    assert at_1200 < 1500 << 20
    # 3 channels of a resized pixel, as a byte and as the network's input; 512 of a cell, thrice.
    added = 3 * 3 * (1600 * 1200 - 640 * 480) + 3 * HALF * 512 * (74 * 99 - 29 * 39)
    assert at_1200 - convolving_bytes(squeezenet, photograph, 480) == added
    bare = BackboneSpec("squeezenet1_0", cut="features.0")
    parameters = sum(value.numel() for value in build_backbone(squeezenet).parameters()) - 96 * (3 * 49 + 1)
    shapes = [map_cost(spec, photograph, 480) for spec in (squeezenet, bare)]
    less = 3 * (shapes[0].bytes - shapes[1].bytes) + 6 * parameters
    assert convolving_bytes(squeezenet, photograph, 480) - convolving_bytes(bare, photograph, 480) == less
