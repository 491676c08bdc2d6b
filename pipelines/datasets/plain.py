"""Images of which nothing is known, in files, folders and tars: for classification, proposals and detection.

Whatever lies beside them, labels or annotations, is passed over.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property, lru_cache
from typing import Any, Literal

from pydantic import model_validator

from pipelines.artifacts.annotations import ImageAnnotation
from pipelines.datasets.contents import Contents, SeenFile
from pipelines.datasets.corpus_files import CorpusFiles, absolute, find_corpus, place_of
from pipelines.datasets.file_names import read_given
from pipelines.datasets.folder_files import Folder
from pipelines.datasets.keys import check_keys, check_split, key_of, path_of
from pipelines.datasets.protocol import DatasetConfig, ImageFile, Item, Place, label_of
from pipelines.datasets.tar_samples import Members, image_of, images_of, read_members, remembered_samples, samples_of
from pipelines.engine.store import open_store
from sppnet.errors import ConfigError


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
            ArtifactError: A tar is broken.
        """
        check_split(split, self.splits)
        digests = contents.digests_or_none(list(self._images.values()))
        found = [Item(key, image, _NOTHING) for key, image in zip(self._images, digests, strict=True)]
        tars = self._files.tars
        for tar, samples in zip(tars, remembered_samples(tars, contents), strict=True):
            found += [Item(sample.key, sample.image, _NOTHING, tar.given) for sample in samples if sample.images]
        self._check((item.key, item.group) for item in found)
        return found

    def places(self, split: str) -> Sequence[Place]:
        """See `DataSet`; tars are read."""
        check_split(split, self.splits)
        found = [Place(split, "", key) for key in self._images]
        tars = self._files.tars
        for tar, samples in zip(tars, samples_of(tars), strict=True):
            found += [Place(split, tar.given, key) for key, members in samples.items() if images_of(members)]
        self._check((place.key, place.group) for place in found)
        return found

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
            return image_of(place.key, self._samples(place.group).get(place.key, {}))
        folder, path = place_of(self._root, path_of(place.key))
        return self._folder(folder).image(path, place.key)

    def annotation(self, place: Place, width: int, height: int) -> ImageAnnotation:
        """See `DataSet`; the image has no objects."""
        return ImageAnnotation(place.key, width, height, ())

    def label(self, place: Place) -> str:
        """See `DataSet`; it is the same for all images."""
        return _NOTHING

    def _read(self, group: str) -> Mapping[str, Members]:
        return read_members(read_given(group, self._root), group)

    def _check(self, found: Iterable[tuple[str, str]]) -> None:
        """Raise `ConfigError` if there is nothing, or a key twice: the message says where."""
        places: dict[str, str] = {}
        for key, group in found:
            if key in places:
                first, second = (group or "a file of its own" for group in (places[key], group))
                raise ConfigError(f"{self._where} lists {key!r} twice: in {first} and in {second}")
            places[key] = group
        if not places:
            raise ConfigError(f"no images in {self._where}")

    @property
    def _where(self) -> str:
        """What the corpus is, for messages."""
        shown = ", ".join(self._paths[:_PATHS_SHOWN]) or self._root
        return shown if len(self._paths) <= _PATHS_SHOWN else f"{shown} and {len(self._paths) - _PATHS_SHOWN} more"

    @cached_property
    def _files(self) -> CorpusFiles:
        return find_corpus(self._paths, self._root)

    @cached_property
    def _images(self) -> Mapping[str, SeenFile]:
        """The images that are files by key, in the order of the keys."""
        found: dict[str, SeenFile] = {}
        for path, file in self._files.images.items():
            other = found.setdefault(key_of(path), file)
            if other is not file:
                raise ConfigError(f"{self._where} lists {key_of(path)!r} twice: {other.place} and {path}")
        check_keys(found, self._where)
        return dict(sorted(found.items()))


_PATHS_SHOWN = 3
_NOTHING = label_of("images")


def _open(folder: str) -> Folder:
    return Folder(open_store(folder))
