"""Images of which nothing is known, in files, folders and tars: for classification, proposals and detection.

Whatever lies beside them, labels or annotations, is passed over.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property, lru_cache, partial
from typing import Any, Literal, TypeVar

from pydantic import model_validator

from pipelines.artifacts.annotations import ImageAnnotation
from pipelines.datasets.contents import Contents, SeenFile
from pipelines.datasets.corpus_files import CorpusFiles, absolute, find_corpus, place_of
from pipelines.datasets.file_names import read_given
from pipelines.datasets.folder_files import Folder, names_of, only_one
from pipelines.datasets.keys import check_split, is_image, key_of, path_of, safe_key
from pipelines.datasets.protocol import DatasetConfig, ImageFile, Item, Place, label_of
from pipelines.datasets.tar_listing import keys_of_images, remembered_images, tar_items, tar_places
from pipelines.datasets.tar_samples import Members, image_of, members_of, read_samples, tar_bytes
from pipelines.engine.store import open_store
from sppnet.errors import ConfigError

T = TypeVar("T")


class ImagesDataset(DatasetConfig):
    """Images without annotations: by default all in a folder and the folders below it.

    A key is the path below the root without the extension. If there are no images but webdataset tars, those are
    taken: a tar is a shard, and a key the name of its sample.

    Attributes:
        kind: `images`.
        root: Folder or object-store prefix; empty for images that have none in common.
        paths: Files, folders, URIs, tars, globs and lists of them, see `find_corpus`; by default all of the root.
        split: What the one split is called.
    """

    kind: Literal["images"] = "images"
    root: str = ""
    paths: tuple[str, ...] = ()
    split: str = "all"

    @model_validator(mode="after")
    def _check(self) -> ImagesDataset:
        if not self.root and not self.paths:
            raise ValueError("give root, or paths")
        return self

    def place(self) -> Any:
        """Return where the images lie."""
        return [*super().place(), *([list(self.paths)] if self.paths else [])]

    def open(self) -> PlainImages:
        """See `DatasetConfig.open`."""
        return PlainImages(self)


class PlainImages:
    """A data set of images of which nothing is known.

    Args:
        config: The data set's config.
    """

    def __init__(self, config: ImagesDataset) -> None:
        self._paths = config.paths
        self._root = absolute(config.root) if config.root else ""
        self._samples = lru_cache(maxsize=1)(self._read)
        self._folder = lru_cache(maxsize=8)(_open)
        self.splits = (config.split,)

    def items(self, split: str, contents: Contents) -> Sequence[Item]:
        """See `DataSet`: in the order of the keys, then tar by tar in theirs.

        Raises:
            ConfigError: Also for a key that two images have.
        """
        check_split(split, self.splits)
        contents.leave_out("", self._files.left_out)
        digests = contents.digests_or_none(list(map(only_one, self._images.values())))
        rows = zip(self._images.items(), digests, strict=True)
        found = [Item(key, image, _NOTHING, files=names_of(files)) for (key, files), image in rows]
        tars = self._files.tars
        found += tar_items(tars, remembered_images(tars, contents), lambda _: _NOTHING, self._images)
        return self._checked(found)

    def places(self, split: str) -> Sequence[Place]:
        """See `DataSet`; tars are read."""
        check_split(split, self.splits)
        found = [Place(split, "", key, names_of(files)) for key, files in self._images.items()]
        tars = self._files.tars
        found += tar_places(split, tars, keys_of_images(tars), self._images)
        return self._checked(found)

    def count(self, split: str) -> int:
        """See `DataSet`; tars are read."""
        return len(self.places(split))

    def categories(self, contents: Contents) -> tuple[str, ...]:
        """Return none: nothing is known of the images."""
        return ()

    def names(self) -> Mapping[str, str]:
        """Return none, as there are no categories."""
        return {}

    def image(self, place: Place) -> ImageFile:
        """See `DataSet`."""
        if place.group:
            return image_of(place.key, members_of(self._samples(place.group), place.group, place.key))
        folder, stem = place_of(self._root, path_of(place.key))
        files = None if place.files is None else tuple(place_of(self._root, name)[1] for name in place.files)
        return self._folder(folder).image(stem, place.key, files)

    def annotation(self, place: Place, width: int, height: int) -> ImageAnnotation:
        """See `DataSet`; the image has no objects."""
        return ImageAnnotation(place.key, width, height, ())

    def label(self, place: Place) -> str:
        """See `DataSet`; it is the same for all images."""
        return _NOTHING

    def _read(self, group: str) -> Mapping[str, Members]:
        return read_samples(tar_bytes(partial(read_given, group, self._root)), group)

    def _checked(self, found: list[T]) -> list[T]:
        """Return what was found; raise `ConfigError` if there is nothing."""
        if not found:
            raise ConfigError(f"no images in {self._where}")
        return found

    @property
    def _where(self) -> str:
        """What the corpus is, for messages."""
        shown = ", ".join(self._paths[:_PATHS_SHOWN]) or self._root
        return shown if len(self._paths) <= _PATHS_SHOWN else f"{shown} and {len(self._paths) - _PATHS_SHOWN} more"

    @cached_property
    def _files(self) -> CorpusFiles:
        try:
            return find_corpus(self._paths, self._root)
        except ConfigError as error:
            raise ConfigError(f"dataset.{'paths' if self._paths else 'root'}: {error}") from error

    @cached_property
    def _images(self) -> Mapping[str, tuple[SeenFile, ...]]:
        """The images that are files by key, in the order of the keys.

        Files of one name and unlike extensions are two images here, where nobody names them: their keys have the
        extension too.
        """
        by_stem: dict[str, dict[str, SeenFile]] = {}
        for path, file in self._files.images.items():
            if is_image(path):
                by_stem.setdefault(key_of(path), {})[path] = file
        found: dict[str, tuple[SeenFile, ...]] = {}
        for key, files in by_stem.items():
            for path, file in files.items():
                own = key if len(files) == 1 else safe_key(path)
                found[own] = (*found.get(own, ()), file)
        return dict(sorted(found.items()))


_PATHS_SHOWN = 3
_NOTHING = label_of("images")


def _open(folder: str) -> Folder:
    return Folder(open_store(folder))
