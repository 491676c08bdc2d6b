"""Images in a folder, of which nothing is known: for classification, proposals and detection of new images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Literal

from pipelines.artifacts.annotations import ImageAnnotation
from pipelines.datasets.contents import Contents, SeenFile
from pipelines.datasets.folder_files import Folder, Reader
from pipelines.datasets.keys import check_keys, check_split, key_of, path_of
from pipelines.datasets.protocol import DatasetConfig, ImageFile, Item, Place, label_of
from pipelines.engine.store import open_store
from sppnet.errors import ConfigError


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

    def items(self, split: str, contents: Contents) -> Sequence[Item]:
        """See `DataSet`: in the order of the keys."""
        check_split(split, self.splits)
        digests = contents.digests(list(self._images.values()))
        return [Item(key, image, _NOTHING) for key, image in zip(self._images, digests, strict=True)]

    def places(self, split: str) -> Sequence[Place]:
        """See `DataSet`."""
        check_split(split, self.splits)
        return [Place(split, "", key) for key in self._images]

    def count(self, split: str) -> int:
        """See `DataSet`."""
        check_split(split, self.splits)
        return len(self._images)

    def categories(self, contents: Contents) -> tuple[str, ...]:
        """Return none: nothing is known of the images."""
        return ()

    def names(self) -> Mapping[str, str]:
        """Return none, as there are no categories."""
        return {}

    def image(self, place: Place) -> ImageFile:
        """See `DataSet`."""
        return self._folder.image(path_of(place.key), place.key)

    def annotation(self, place: Place, width: int, height: int) -> ImageAnnotation:
        """See `DataSet`; the image has no objects."""
        return ImageAnnotation(place.key, width, height, ())

    def label(self, place: Place) -> str:
        """See `DataSet`; it is the same for all images."""
        return _NOTHING

    @cached_property
    def _images(self) -> Mapping[str, SeenFile]:
        """The images by key, in the order of the keys."""
        images = self._folder.images()
        where = self._folder.where("").rstrip("/")
        if not images:
            raise ConfigError(f"no images in {where}")
        check_keys(map(key_of, images), where)
        return dict(sorted((key_of(name), file) for name, file in images.items()))


_NOTHING = label_of("images")
