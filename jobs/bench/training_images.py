"""Images for the benchmarks of training: drawn ones of a photograph's size and bytes, or those of a folder."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np

from pipelines.artifacts.annotations import ImageAnnotation, ObjectAnnotation
from pipelines.artifacts.manifest import Manifest
from pipelines.engine.workspace import Artifact
from pipelines.shards.writing import AnnotatedImage, write_images
from sppnet.errors import ConfigError, DataError
from sppnet.images.decoding import probe_size
from sppnet.sizes import Size

DRAWN = Size(500, 375)
_CLASSES = 10
_QUALITY = 90
_SHARD = 64
_Item = TypeVar("_Item")
_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp"})


def make_images(count: int, seed: int = 0) -> list[AnnotatedImage]:
    """Draw JPEGs of 500 x 375 pixels in ten classes: soft colours with fine grain, about 90 kB each."""
    import cv2
    from PIL import Image

    images = []
    for number in range(count):
        rng = np.random.default_rng([seed, number])
        soft = cv2.resize(rng.uniform(0, 255, (6, 8, 3)), DRAWN, interpolation=cv2.INTER_CUBIC)
        grain = rng.normal(0, 12, (*DRAWN.hw, 1))
        pixels = np.clip(soft + grain, 0, 255).astype(np.uint8)
        sink = io.BytesIO()
        Image.fromarray(pixels).save(sink, "JPEG", quality=_QUALITY)
        images.append(_record(f"{number:06d}", "jpg", sink.getvalue(), f"class{number % _CLASSES}"))
    return images


def read_folder(folder: Path, count: int) -> list[AnnotatedImage]:
    """Read at most `count` images below a folder, spread evenly; the folder that an image lies in is its class.

    Raises:
        ConfigError: There are no readable images of two classes.
    """
    images = []
    for number, path in enumerate(evenly(image_paths(folder), count)):
        try:
            images.append(_record(f"{number:06d}", path.suffix[1:].lower(), path.read_bytes(), path.parent.name))
        except DataError:
            continue  # a benchmark may leave out what no training could read
    if len({image.annotation.objects[0].category for image in images}) < 2:
        raise ConfigError(f"images: {folder} has no images of two classes, in a folder each")
    return images


def image_paths(folder: Path) -> list[Path]:
    """Return the paths of all images below a folder, sorted."""
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in _SUFFIXES)


def evenly(items: Sequence[_Item], count: int) -> Sequence[_Item]:
    """Return at most `count` items, spread evenly."""
    return [items[place * len(items) // count] for place in range(count)] if len(items) > count else items


def store_images(artifact: Artifact, images: list[AnnotatedImage]) -> Manifest:
    """Write images as an `images` artifact with a split `train`; return its manifest."""
    categories = sorted({image.annotation.objects[0].category for image in images})
    return write_images(artifact, {"train": images}, categories, _SHARD)


def _record(key: str, extension: str, data: bytes, category: str) -> AnnotatedImage:
    width, height = probe_size(data)
    thing = ObjectAnnotation(category, (0.0, 0.0, float(width), float(height)))
    return AnnotatedImage(extension, data, ImageAnnotation(key, width, height, (thing,)))
