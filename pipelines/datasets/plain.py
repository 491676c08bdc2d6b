"""Images in a folder, of which nothing is known: for classification, proposals and detection of new images."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any, Literal

from pipelines.artifacts.annotations import ImageAnnotation
from pipelines.datasets.sources import (
    DatasetConfig,
    Folder,
    RawImage,
    Reader,
    Shards,
    check_keys,
    cut,
    key_of,
    path_of,
)
from pipelines.engine.store import open_store
from sppnet.errors import ConfigError
from sppnet.images.decoding import probe_size


class ImagesDataset(DatasetConfig):
    """Images in a folder and the folders below it, without annotations. A key is the path without the extension.

    Attributes:
        kind: `images`.
        root: Folder or object-store prefix.
        split: What the one split is called.
    """

    kind: Literal["images"] = "images"
    split: str = "all"

    def open(self) -> PlainImages:
        """See `DatasetConfig.open`."""
        return PlainImages(open_store(self.root), self.split)


class PlainImages:
    """A data set of images of which nothing is known.

    Args:
        reader: Gives the files below the root.
        split: What the one split is called.
    """

    def __init__(self, reader: Reader, split: str = "all") -> None:
        self._folder = Folder(reader)
        self.splits = (split,)

    def shards(self, split: str, size: int) -> Shards:
        """See `DataSet`: in the order of the paths."""
        return cut(sorted(map(key_of, self._images)), size)

    def categories(self) -> tuple[str, ...]:
        """None."""
        return ()

    def names(self) -> Mapping[str, str]:
        """None."""
        return {}

    def describe(self) -> Mapping[str, Any]:
        """See `DataSet`: names and sizes."""
        return {"split": self.splits[0], "listing": dict(self._images)}

    def fetch(self, unit: str, key: str) -> RawImage:
        """See `DataSet`; the image has no objects."""
        data, extension = self._folder.image(path_of(key), key)
        return RawImage(data, extension, ImageAnnotation(key, *probe_size(data), ()))

    @cached_property
    def _images(self) -> Mapping[str, int]:
        images = self._folder.images()
        where = self._folder.where("").rstrip("/")
        if not images:
            raise ConfigError(f"no images in {where}")
        check_keys(map(key_of, images), where)
        return images
