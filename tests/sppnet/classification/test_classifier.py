"""Scores over views: each equals what the network says of that view alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from sppnet.classification.classifier import ViewClassifier, prepare_views
from sppnet.classification.views import ViewSet, named_views
from sppnet.errors import ConfigError
from sppnet.images.network_input import normalise_images, prepare_image, resize_image
from sppnet.networks.backbones import Backbone, BackboneSpec, build_backbone
from sppnet.networks.inference import InferenceBackbone
from sppnet.networks.network import FcHead, SppNetwork
from sppnet.pooling.geometry import windows_to_cells
from sppnet.pooling.pyramid import Pyramid
from sppnet.pooling.scales import resized_size
from sppnet.pooling.windows import pool_windows
from sppnet.sizes import Size

PYRAMID = Pyramid((3, 2, 1))
SIZE = 96
CLASSES = 5


def make_network(seed: int = 0) -> SppNetwork:
    torch.manual_seed(seed)
    backbone = build_backbone(BackboneSpec("zf5", width=1 / 16))
    head = FcHead(PYRAMID.bins * backbone.channels, (24, 20), CLASSES)
    torch.nn.init.normal_(head.layers["fc8"].weight, std=2.0)  # scores that differ
    return SppNetwork(backbone, PYRAMID, head).eval()


@pytest.fixture(scope="module")
def network() -> SppNetwork:
    return make_network()


@pytest.fixture(scope="module")
def image() -> NDArray[np.uint8]:
    return make_image(0, 130, 171)


def make_image(seed: int, height: int, width: int) -> NDArray[np.uint8]:
    coarse = np.random.default_rng(seed).integers(0, 256, (9, 11, 3), dtype=np.uint8)
    return resize_image(coarse, Size(width, height))


def classifier(network: SppNetwork, sets: dict[str, ViewSet], **fields) -> ViewClassifier:
    return ViewClassifier(network.backbone, network.pyramid, network.head, sets, **fields)


def outputs(made: ViewClassifier, *images: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
    return made([made.prepare(image) for image in images])


@torch.inference_mode()
def by_hand(
    network: SppNetwork, image: NDArray[np.uint8], views: ViewSet, layer: str = "scores"
) -> NDArray[np.float32]:
    """One view at a time, each with its own map."""
    head, backbone = network.head, network.backbone
    upper = {"scores": lambda x: head(x).softmax(1), "fc6": head.fc6, "fc7": head.fc7, "pool5": lambda x: x.flatten(1)}
    found = []
    for view in views.views(Size.of(image)):
        pixels = resize_image(image, resized_size(Size.of(image), view.scale))
        x, y = view.corner or (0, 0)
        if not view.on_map:
            pixels = pixels[y : y + view.size, x : x + view.size]
            x, y = 0, 0
        if view.flip:
            pixels, x = pixels[:, ::-1], pixels.shape[1] - view.size - x
        shown = normalise_images(np.ascontiguousarray(pixels)[None], backbone.preprocessing)
        grid = backbone(shown)[0].permute(1, 2, 0)
        rows, columns = grid.shape[:2]
        cells = np.array([[0, 0, columns, rows]])
        if view.on_map and view.corner is not None and view.size < pixels.shape[1]:
            window = np.array([[x, y, x + view.size, y + view.size]])
            cells = windows_to_cells(window, Size(columns, rows), backbone.geometry)
        found.append(upper[layer](pool_windows(grid, cells, network.pyramid)))
    return torch.cat(found).mean(dim=0).numpy()


CUSTOM = ViewSet((SIZE, 120), 9, SIZE, flip=True, full=(110, 120))


@pytest.mark.parametrize("views", [*(named_views(n, SIZE) for n in ("crop", "full", "crops10", "maps10")), CUSTOM])
def test_scores_are_the_mean_over_views_of_softmax(network, image, views: ViewSet) -> None:
    (found,) = outputs(classifier(network, {"these": views}), image)
    assert found.shape == (1, CLASSES)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found[0], by_hand(network, image, views), rtol=2e-5, atol=1e-6)
    assert found.sum() == pytest.approx(1.0, abs=1e-5)


def test_the_papers_98_views(network, image) -> None:
    views = named_views("maps98", SIZE)
    (found,) = outputs(classifier(network, {"maps98": views}), image)
    np.testing.assert_allclose(found[0], by_hand(network, image, views), rtol=2e-5, atol=1e-6)


def test_full_and_crop_are_plain_passes_through_the_network(network, image) -> None:
    sets = {"full": named_views("full", SIZE), "crop": named_views("crop", SIZE)}
    (found,) = outputs(classifier(network, sets), image)
    shown = prepare_image(image, 110, network.backbone.preprocessing)
    y, x = ((side - SIZE) // 2 for side in shown.shape[2:])
    with torch.inference_mode():
        for row, pixels in enumerate((shown, shown[:, :, y : y + SIZE, x : x + SIZE])):
            expected = network(pixels).softmax(1)[0].numpy()
            np.testing.assert_allclose(found[row], expected, rtol=2e-5, atol=1e-6)
    assert np.abs(found[0] - found[1]).max() > 1e-3


@pytest.mark.parametrize("layer", ["pool5", "fc6", "fc7"])
def test_features_are_means_over_views(network, image, layer: str) -> None:
    made = classifier(network, {"maps10": named_views("maps10", SIZE)}, output=layer)
    (found,) = outputs(made, image)
    assert found.shape == (1, made.dimension) == (1, {"pool5": 14 * 16, "fc6": 24, "fc7": 20}[layer])
    expected = by_hand(network, image, named_views("maps10", SIZE), layer)
    np.testing.assert_allclose(found[0], expected, rtol=1e-4, atol=1e-5 * expected.max())


def test_sets_and_images_share_work_and_change_nothing(network, image) -> None:
    names = ("crop", "full", "crops10", "maps10", "maps96", "maps98")
    sets = {name: named_views(name, SIZE) for name in names}
    other, third = make_image(1, 171, 130), make_image(2, 130, 171)
    together = outputs(classifier(network, sets), image, other, third)
    for shown, found in zip((image, other, third), together, strict=True):
        alone = [outputs(classifier(network, {name: views}), shown)[0][0] for name, views in sets.items()]
        np.testing.assert_allclose(found, np.stack(alone), rtol=2e-5, atol=1e-6)
    assert not np.allclose(together[0], together[2], atol=1e-3)


def test_each_map_is_made_once(network, image, monkeypatch) -> None:
    sets = {name: named_views(name, SIZE) for name in ("full", "maps10", "maps96", "maps98")}
    shapes = []
    plain = InferenceBackbone.__call__

    def seen(self: InferenceBackbone, images: torch.Tensor) -> torch.Tensor:
        shapes.extend(x.shape[1:] for x in images)
        return plain(self, images)

    monkeypatch.setattr(InferenceBackbone, "__call__", seen)
    outputs(classifier(network, sets), image)
    wanted = [resized_size(Size.of(image), scale).hw for scale in named_views("maps98", SIZE).all_scales]
    assert sorted(tuple(shape) for shape in shapes) == sorted([*wanted, *wanted])  # each scale, and mirrored


def test_views_in_common_are_prepared_once(image) -> None:
    prepared = prepare_views(image, [named_views("maps10", SIZE), named_views("maps98", SIZE)])
    assert prepared.views == 98  # the ten are among them
    assert len(prepared.planes) == 12
    assert len(np.unique(np.concatenate([plane.rows for plane in prepared.planes]))) == 98
    crops = prepare_views(image, [named_views("crops10", SIZE)])
    assert [plane.pixels.shape for plane in crops.planes] == [(SIZE, SIZE, 3)] * 10
    for plain, mirrored in zip(crops.planes[:5], crops.planes[5:], strict=True):
        np.testing.assert_array_equal(plain.pixels, mirrored.pixels[:, ::-1])


def test_windows_of_mirrored_images_show_the_same_pixels(image) -> None:
    (plain, mirrored) = prepare_views(image, [named_views("maps10", SIZE)]).planes
    for one, other in zip(plain.windows.astype(int), mirrored.windows.astype(int), strict=True):
        a = plain.pixels[one[1] : one[3], one[0] : one[2]]
        b = mirrored.pixels[other[1] : other[3], other[0] : other[2]]
        np.testing.assert_array_equal(a, b[:, ::-1])


def test_the_mean_image_is_warped_to_each_crop(image) -> None:
    network = make_network(1)
    network.backbone.mean_image = torch.linspace(0, 255, 3 * 40 * 40).view(3, 40, 40)
    (found,) = outputs(classifier(network, {"crop": named_views("crop", SIZE)}), image)
    pixels = resize_image(image, resized_size(Size.of(image), 110))
    y, x = ((side - SIZE) // 2 for side in pixels.shape[:2])
    crop = pixels[None, y : y + SIZE, x : x + SIZE]
    backbone = network.backbone
    with torch.inference_mode():
        shown = normalise_images(crop, backbone.preprocessing, mean_image=backbone.mean_image)
        np.testing.assert_allclose(found[0], network(shown).softmax(1)[0].numpy(), rtol=2e-5, atol=1e-6)
        plain = network(normalise_images(crop, backbone.preprocessing)).softmax(1)[0].numpy()
    assert np.abs(found[0] - plain).max() > 1e-3


def test_lower_precision_is_close(network, image) -> None:
    sets = {"maps10": named_views("maps10", SIZE)}
    (exact,) = outputs(classifier(network, sets), image)
    (low,) = outputs(classifier(network, sets, precision="bfloat16"), image)
    assert not np.array_equal(exact, low)
    np.testing.assert_allclose(low, exact, atol=0.05)


def test_a_backbone_without_a_head_gives_pool5_at_any_levels(network, image) -> None:
    made = ViewClassifier(network.backbone, Pyramid((2,)), None, {"full": named_views("full", SIZE)}, "pool5")
    (found,) = outputs(made, image)
    grid = backbone_map(network.backbone, image)
    expected = pool_windows(grid, np.array([[0, 0, grid.shape[1], grid.shape[0]]]), Pyramid((2,)))
    np.testing.assert_allclose(found[0], expected.flatten().numpy(), rtol=2e-5, atol=1e-5)
    assert made([]) == []


@torch.inference_mode()
def backbone_map(backbone: Backbone, image: NDArray[np.uint8]) -> torch.Tensor:
    return backbone(prepare_image(image, 110, backbone.preprocessing))[0].permute(1, 2, 0)


def test_a_network_without_spp_takes_crops_of_its_own_size(network, image) -> None:
    fixed = SppNetwork(network.backbone, Pyramid((3, 2, 1), network.backbone.map_size(Size.square(SIZE))), network.head)
    sets = {"crops10": named_views("crops10", SIZE)}
    (found,) = outputs(classifier(fixed, sets), image)
    np.testing.assert_array_equal(found, outputs(classifier(network, sets), image)[0])
    for name in ("full", "maps10", "maps98"):
        with pytest.raises(ConfigError, match=f"views: '{name}' needs maps of any size, but a network without SPP"):
            classifier(fixed, {name: named_views(name, SIZE)})
    with pytest.raises(ConfigError, match=r"crops of 128 pixels \('crop'\) give maps of 7 x 7 cells.*takes 5 x 5 only"):
        classifier(fixed, {"crop": named_views("crop", 128)})


def test_what_a_network_can_not_give(network) -> None:
    sets = {"full": named_views("full", SIZE)}
    with pytest.raises(ConfigError, match="output: fc7 needs a network with fully-connected layers"):
        ViewClassifier(network.backbone, PYRAMID, None, sets, "fc7")
    with pytest.raises(ConfigError, match="the head takes 224 values, but 4 bins of 16 channels are 64"):
        ViewClassifier(network.backbone, Pyramid((2,)), network.head, sets)
    with pytest.raises(ConfigError, match="views: none given"):
        classifier(network, {})
    with pytest.raises(ConfigError, match="too short for one cell"):
        classifier(network, {"full": ViewSet(full=(2,))})
