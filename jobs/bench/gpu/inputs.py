"""What the parts of `bench gpu` work on, in full size and small: images as files, their windows, networks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from jobs.bench.inputs import IMAGE, proposal_windows
from sppnet.arrays import Float64s, Pixels
from sppnet.detection.features import WindowFeatures
from sppnet.detection.image_detector import WindowedFile
from sppnet.detection.regression import BoxRegressor, BoxRegressors
from sppnet.detection.svm import LinearSvms
from sppnet.errors import ConfigError
from sppnet.images.decoding import probe_size
from sppnet.networks.backbones import Backbone, BackboneSpec, build_backbone
from sppnet.networks.network import FcHead, Layer, Precision
from sppnet.pooling.pyramid import Pyramid
from sppnet.pooling.scales import PAPER_SCALES
from sppnet.sizes import Size

Row = dict[str, Any]
"""One measured case: its name, the figure, its peer's, their ratio."""


@dataclass(frozen=True)
class Setup:
    """Where and how much to measure.

    Attributes:
        device: where.
        seconds: that a part may take, about.
        windows: of an image.
        width: of the networks' layers, 1 in full.
        hidden: outputs of fc6 and of fc7.
        scales: short sides in pixels.
        images: that the end-to-end parts work on.
        batch: images under way together.
        threads: that decode.
        categories: of the detector.
        rank: of the low-rank fc6 and fc7.
        crops: that R-CNN's way convolves at once.
        pairs: timed of each case at least.
        inner: calls in one timing of what is as short as the wait for it.
        jpegs: a folder of JPEGs; None draws them.
    """

    device: torch.device
    seconds: float = 60.0
    windows: int = 2000
    width: float = 1.0
    hidden: int = 4096
    scales: tuple[int, ...] = PAPER_SCALES
    images: int = 128
    batch: int = 8
    threads: int = 4
    categories: int = 20
    rank: int = 512
    crops: int = 250
    pairs: int = 5
    inner: int = 20
    jpegs: Path | None = None

    @property
    def precision(self) -> Precision:
        """The type that networks compute in."""
        return "bfloat16"


def setup_for(device: torch.device, seconds: float, jpegs: Path | None = None) -> Setup:
    """Return the full sizes for a GPU, small ones for a CPU, where it is a rehearsal."""
    if device.type == "cuda":
        return Setup(device, seconds, jpegs=jpegs)
    return Setup(
        device, seconds, jpegs=jpegs, windows=16, width=0.125, hidden=32, scales=(96, 144), images=3, batch=2,
        threads=2, categories=4, rank=8, crops=4, pairs=1, inner=1,
    )  # fmt: skip


def zf5_and_overfeat7(setup: Setup) -> Mapping[str, Backbone]:
    """Return both networks with random weights, on the device."""
    torch.manual_seed(0)
    specs = {name: BackboneSpec(name, width=setup.width) for name in ("zf5", "overfeat7")}
    return {name: build_backbone(spec).to(setup.device).eval() for name, spec in specs.items()}


def make_features(setup: Setup, backbone: Backbone, layer: Layer, scales: tuple[int, ...]) -> WindowFeatures:
    """Return the features of a network, those above the pooling with a head of random weights."""
    torch.manual_seed(1)
    pyramid = Pyramid()
    head = None
    if layer != "pool5":
        sizes = pyramid.bins * backbone.channels, (setup.hidden, setup.hidden), setup.categories + 1
        head = FcHead(*sizes).to(setup.device).eval()
    return WindowFeatures(
        backbone.geometry,
        backbone.channels,
        pyramid,
        scales,
        layer,
        head=head,
        precision=setup.precision,
        device=setup.device,
    )


def make_svms(setup: Setup, features: WindowFeatures) -> LinearSvms:
    """Return SVMs of random weights, of whose scores about a half lie above the paper's threshold."""
    rng = np.random.default_rng(2)
    weights = rng.standard_normal((setup.categories, features.dimension)).astype(np.float32)
    names = tuple(f"category {number}" for number in range(setup.categories))
    return LinearSvms(weights, np.full(len(names), -1.5, np.float32), names, 1.0, "fc7")


def make_regressors(setup: Setup, backbone: Backbone) -> BoxRegressors:
    """Return regressors of pooled vectors, of random weights."""
    rng = np.random.default_rng(3)
    dimension = Pyramid().bins * backbone.channels + 1
    own = [
        BoxRegressor((rng.standard_normal((dimension, 4)) / dimension).astype(np.float32), np.zeros(4), np.eye(4) / 10)
        for _ in range(setup.categories)
    ]
    return BoxRegressors(tuple(f"category {number}" for number in range(setup.categories)), tuple(own))


def draw_image(seed: int) -> Pixels:
    """Draw an image of a photograph's size whose JPEG is about as large as a photograph's."""
    rng = np.random.default_rng(seed)
    coarse = rng.uniform(0, 255, (20, 25, 3)).astype(np.float32)
    smooth = cv2.resize(coarse, (IMAGE.width, IMAGE.height), interpolation=cv2.INTER_CUBIC)
    noisy = smooth + rng.normal(0, 8, smooth.shape)
    image: Pixels = np.clip(noisy, 0, 255).astype(np.uint8)
    return image


def windows_of(setup: Setup, seed: int) -> Float64s:
    """Return windows such as selective search gives for a drawn image."""
    return proposal_windows(setup.windows, seed)


def image_files(setup: Setup) -> list[WindowedFile]:
    """Return JPEGs with windows: drawn ones, or those of the folder, again from the first until there are enough.

    Raises:
        ConfigError: the folder holds no JPEG.
    """
    if setup.jpegs is None:
        stored = [_encode(draw_image(seed)) for seed in range(min(setup.images, 16))]
    else:
        paths = sorted(path for path in setup.jpegs.rglob("*") if path.suffix.lower() in (".jpg", ".jpeg"))
        stored = [path.read_bytes() for path in paths[: setup.images]]
    if not stored:
        raise ConfigError(f"{setup.jpegs} holds no .jpg file")
    files = (stored[i % len(stored)] for i in range(setup.images))
    return [WindowedFile(data, _inside(windows_of(setup, i % 64), probe_size(data))) for i, data in enumerate(files)]


def _inside(windows: Float64s, size: Size) -> Float64s:
    """Return windows of an image of `IMAGE`'s size as such of an image of another size."""
    inside: Float64s = np.round(windows * (np.array([*size, *size]) / np.array([*IMAGE, *IMAGE])))
    return inside


def _encode(image: Pixels) -> bytes:
    done, data = cv2.imencode(".jpg", image[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, 90])
    if not done:
        raise ConfigError("OpenCV can't encode JPEGs here")
    return bytes(data.tobytes())
