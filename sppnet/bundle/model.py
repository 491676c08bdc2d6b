"""`sppnet.load`: a trained detector for a program, a notebook or a service; one process, no Ray, no workspace."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np
import torch

from sppnet.arrays import Array, Float32s, Floats, Integers, Pixels, Windows
from sppnet.boxes import nms_by_category
from sppnet.bundle.description import Description
from sppnet.bundle.files import Bundle, read_bundle
from sppnet.detection.ensemble import ScoredWindows, choose_windows
from sppnet.detection.features import WindowFeatures
from sppnet.devices import default_device
from sppnet.errors import ConfigError, DataError
from sppnet.images.decoding import decode_image
from sppnet.networks.map_maker import MapMaker, require_finite_map
from sppnet.networks.network import Layer
from sppnet.outside import FILE_BYTES, IMAGE_BYTES
from sppnet.own_parts import allow as allow_part
from sppnet.pooling.geometry import checked_windows
from sppnet.pooling.scales import resized_size
from sppnet.proposals.windows import check_image, join_windows
from sppnet.seeds import derive_seed
from sppnet.sizes import Size

if TYPE_CHECKING:
    from PIL.Image import Image

ImageLike: TypeAlias = "str | Path | bytes | Image | Array"
"""A file, a file's bytes, a PIL image, or RGB pixels, uint8 `[H, W, 3]`."""


@dataclass(frozen=True, eq=False)
class Found:
    """What was detected in an image, category by category, each by falling score.

    Attributes:
        boxes: float32 `[n, 4]`, half-open pixels `[x0, y0, x1, y1)`.
        scores: float32 `[n]`; above 0 the SVM takes a box for an object.
        categories: `n` names.
    """

    boxes: Float32s
    scores: Float32s
    categories: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.scores)


class Model:
    """A trained detector, ready to be shown images.

    Args:
        bundle: What `read_bundle` gave.
        device: Where to compute.

    Attributes:
        description: All that is known of the detector.
        device: Where it computes.
    """

    def __init__(self, bundle: Bundle, device: torch.device) -> None:
        self.description: Description = bundle.description
        self.device = device
        self._detector = bundle.detector(device)
        maps = self.description.maps
        self._maker = MapMaker(bundle.backbone.to(device), maps.precision, maps.dtype)

    @property
    def categories(self) -> tuple[str, ...]:
        """The names of what is detected, in the order of `classify`'s columns."""
        return self.description.categories

    @cached_property
    def scales(self) -> tuple[int, ...]:
        """All short sides in pixels at which an image is convolved."""
        more = self._detector.regression_features
        return tuple(sorted({*self._detector.features.scales, *(more.scales if more else ())}))

    def detect(
        self,
        image: ImageLike,
        windows: Floats | None = None,
        *,
        threshold: float | None = None,
        boxes: Literal["best", "windows"] = "best",
        key: str = "",
    ) -> Found:
        """Find objects in an image: to the last bit what `sppnet score` finds in it on the same kind of device.

        Args:
            image: The image.
            windows: `[n, 4]` half-open pixels; None proposes them as in the detector's training.
            threshold: Only detections with a higher score; None takes the detector's own, which is low: -1.5 unless its
                recipe says otherwise.
            boxes: `best` moves boxes by box regression, if the detector has any, and suppresses them once more;
                `windows` leaves them where they were proposed.
            key: What a run calls the image, `folder/name` below its root. Windows of equal score are ordered by it.

        Raises:
            DataError: The image can't be decoded or is too large, a window has a corner that is no number, or a score
                is not finite.
            ConfigError: `windows` is None and the detector's own came from files.
        """
        pixels = self._pixels(image)
        own = self._windows(pixels, windows, key)
        maps, size = self._maps(pixels), Size.of(pixels)
        scores = np.asarray(self._detector.svms.scores(self._detector.features(maps, size, own)).cpu())
        rules = self.description.rules
        if threshold is not None:
            rules = replace(rules, threshold=threshold)
        chosen = choose_windows([ScoredWindows(own, scores)], rules.least, rules.nms_iou, rules.per_image)
        names = [self.categories[number] for number in chosen.category]
        found = own[chosen.window]
        kept = np.arange(len(found))
        if boxes == "best" and self._detector.regression_features is not None:
            moved = self._detector.regress(maps, size, own, chosen.window, names)
            found = np.where(np.isnan(moved), found, moved)
            groups: Integers = chosen.category.astype(np.int64)
            kept = np.sort(nms_by_category(found, chosen.scores, groups, rules.nms_iou))
        return Found(found[kept], chosen.scores[kept], tuple(names[row] for row in kept))

    def classify(self, image: ImageLike, windows: Floats | None = None) -> Float32s:
        """Return the SVMs' scores, float32 `[n, k]`, of windows; None for one window, the whole image."""
        pixels = self._pixels(image)
        own = _whole(pixels) if windows is None else self._windows(pixels, windows)
        features = self._detector.features(self._maps(pixels), Size.of(pixels), own)
        return np.asarray(self._detector.svms.scores(features).cpu())

    def features(self, image: ImageLike, windows: Floats | None = None, layer: Layer | None = None) -> Float32s:
        """Return windows' features: what SVMs of your own can be trained on.

        Args:
            image: The image.
            windows: `[n, 4]` half-open pixels; None for the whole image as one window.
            layer: `pool5`, or the detector's own layer, which is the default.

        Returns:
            float32 `[n, d]`, not scaled.

        Raises:
            ConfigError: The detector has no such layer.
        """
        own = self._detector.features
        if layer not in (None, "pool5", own.layer):
            raise ConfigError(f"layer {layer}: this detector has pool5 and {own.layer}")
        taken: WindowFeatures = own if layer in (None, own.layer) else replace(own, layer="pool5", head=None)
        pixels = self._pixels(image)
        boxes = _whole(pixels) if windows is None else self._windows(pixels, windows)
        return taken(self._maps(pixels), Size.of(pixels), boxes).float().cpu().numpy()

    def maps(self, image: ImageLike) -> dict[int, Floats]:
        """Return an image's maps `[h, w, C]` by scale, non-negative, of the type that they are stored in."""
        return {scale: values.cpu().numpy() for scale, values in self._maps(self._pixels(image)).items()}

    def propose(self, image: ImageLike, key: str = "") -> Windows:
        """Return the windows, float32 `[n, 4]`, that `detect` looks at by default; see there."""
        return self._propose(self._pixels(image), key)

    def _pixels(self, image: ImageLike) -> Pixels:
        if isinstance(image, str | Path):
            image = _read(Path(image), IMAGE_BYTES)
        if isinstance(image, bytes):
            return decode_image(image)
        pixels = image if isinstance(image, np.ndarray) else np.array(image.convert("RGB"))
        check_image(pixels, "detector")
        return pixels

    def _maps(self, pixels: Pixels) -> dict[int, torch.Tensor]:
        most = self.description.maps.max_pixels
        largest = resized_size(Size.of(pixels), max(self.scales))
        if largest.width * largest.height > most:
            raise DataError("too-large", f"{largest} pixels resized, the limit is {most} pixels")
        (maps,) = self._maker([pixels], self.scales)
        for scale, values in maps.items():
            require_finite_map(values, scale)
        return maps

    def _windows(self, pixels: Pixels, given: Floats | None, key: str = "") -> Windows:
        if given is None:
            return self._propose(pixels, key)
        try:
            windows = checked_windows(given).astype(np.float32)
        except ValueError as error:
            raise DataError("bad-windows", str(error)) from error
        if len(windows) and not (windows[:, 2:] > windows[:, :2]).all(axis=1).any():
            raise DataError("no-windows", f"none of {len(windows)} windows has an area")
        return windows

    def _propose(self, pixels: Pixels, key: str) -> Windows:
        proposals = self.description.proposals
        if proposals is None:
            raise ConfigError("this detector's windows came from files, or by a model of edges; give windows")
        seed = derive_seed(self.description.seed, "propose", key)
        return join_windows(list(proposals(pixels, seed).values()))


def load(source: str | Path | bytes, device: str | torch.device | None = None, *, allow: Iterable[str] = ()) -> Model:
    """Load a detector that `sppnet export` wrote.

    Args:
        source: The file, or its bytes.
        device: Where to compute, such as `cpu` or `cuda:0`; None takes the GPU if there is one.
        allow: Import paths of own parts that the file may name, such as `package.module:factory`: they are imported,
            and a file that names others is refused.

    Raises:
        ConfigError: It can't be read, is something else, or doesn't fit together.
    """
    for path in allow:
        allow_part(path)
    where = "the detector" if isinstance(source, bytes) else str(source)
    data = source if isinstance(source, bytes) else _read(Path(source), FILE_BYTES)
    return Model(read_bundle(data, where), default_device() if device is None else torch.device(device))


def _whole(pixels: Pixels) -> Windows:
    return np.array([[0, 0, pixels.shape[1], pixels.shape[0]]], np.float32)


def _read(path: Path, most: int) -> bytes:
    try:
        if not path.is_file():
            raise ConfigError(f"{path}: no such file")
        if path.stat().st_size > most:
            raise ConfigError(f"{path}: has {path.stat().st_size} bytes, at most {most} are read")
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: can't be read: {error.strerror}") from error
