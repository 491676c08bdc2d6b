"""ILSVRC DET: images and boxes of any year's layout, by the devkit's lists (section 4.5)."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import cached_property
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from pipelines.artifacts.annotations import ImageAnnotation, ObjectAnnotation
from pipelines.datasets.det_hierarchy import DetHierarchy, count_listed, parse_synsets
from pipelines.datasets.det_lists import (
    EXTENSION,
    Images,
    Layout,
    annotation_stems,
    folders,
    image_stems,
    read_blacklist,
    read_ids,
    read_numbers,
)
from pipelines.datasets.det_split import balanced_halves
from pipelines.datasets.file_names import find_files, read_file
from pipelines.datasets.sources import DatasetConfig, Folder, RawImage, Reader, Shards, as_tuple, cut, mixed, split_of
from pipelines.datasets.voc import read_voc_xml
from pipelines.engine.store import open_store
from sppnet.errors import ConfigError, DataError
from sppnet.images.decoding import probe_size

_READERS = 16


def _as_text(value: Any) -> Any:
    return str(value) if isinstance(value, int) else value


class DetSplit(BaseModel):
    """One split.

    Attributes:
        lists: Lists of image ids, as paths with globs. Of lists by category in 2015's form, the positive images.
        images: Whose folders the images are in.
        max_positives_per_category: So many images of each list, from its start; by default all. (An image that is
            in several lists is taken once.)
        half: 1 or 2: this half of the listed images, cut so that the halves are balanced in every category.
        numbers: The list that numbers the images, which the blacklist and submissions count by; by default `lists`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    lists: Annotated[tuple[str, ...], BeforeValidator(as_tuple), Field(min_length=1)]
    images: Images = "val"
    max_positives_per_category: Annotated[int, Field(ge=1)] | None = None
    half: Literal[1, 2] | None = None
    numbers: str | None = None

    @model_validator(mode="after")
    def _check(self) -> DetSplit:
        if self.images == "test" and self.half is not None:
            raise ValueError("half: test images have no annotations to balance")
        return self


class DetDataset(DatasetConfig):
    """ILSVRC DET. Categories and subcategories are wnids; an image's key is its id in the lists.

    Training images are in the order of their keys' hashes, so that shards mix the categories; others in list order.

    Attributes:
        kind: `det`.
        root: Folder or object-store prefix of the images and annotations.
        layout: `2013`: `ILSVRC2013_DET_train`, `ILSVRC2013_DET_bbox_train`, and so on, also those of 2014; `2015`:
            `Data/DET`, `Annotations/DET`, from 2015 on; `voc`: `JPEGImages`, `Annotations`.
        splits: The splits by name.
        synsets: The devkit's `meta_det.mat` or `map_det.txt`.
        subcategories: `leaf`: objects carry the leaf that they are of, where it is known; `leaf-only`: objects of no
            known leaf are left out, for 499-way pre-training; `none`: for 200-way pre-training.
        leaf_lists: The categories' lists of positive images, which tie leaves to categories.
        blacklist: Categories that are not judged in some validation images.
        blacklisted: `mark`: those categories are ignored in the image; `leave-out`: so is the image, as R-CNN did.
        bad_boxes: What becomes of a box without area: `quarantine` its image, or `drop` the object.
        first_pixel: The coordinate of an image's first pixel.
    """

    kind: Literal["det"] = "det"
    layout: Annotated[Layout, BeforeValidator(_as_text)] = "2015"
    splits: Annotated[Mapping[str, DetSplit], Field(min_length=1)]
    synsets: str
    subcategories: Literal["leaf", "leaf-only", "none"] = "leaf"
    leaf_lists: Annotated[tuple[str, ...], BeforeValidator(as_tuple)] = ()
    blacklist: str | None = None
    blacklisted: Literal["mark", "leave-out"] = "mark"
    bad_boxes: Literal["quarantine", "drop"] = "quarantine"
    first_pixel: Literal[0, 1] = 0

    def open(self) -> Det:
        """See `DatasetConfig.open`."""
        return Det(open_store(self.root), self)


class Det:
    """ILSVRC DET as a data set.

    Args:
        reader: Gives the files below the root.
        config: The data set's config.
    """

    def __init__(self, reader: Reader, config: DetDataset) -> None:
        self._folder = Folder(reader)
        self._config = config
        self.splits = tuple(config.splits)

    def shards(self, split: str, size: int) -> Shards:
        """See `DataSet`.

        Raises:
            ConfigError: A list that is empty or names an image twice, a blacklist of unknown images, or no image of
                the split where the layout has it.
        """
        keys = self._keys[split]
        return cut(mixed(keys) if self._config.splits[split].images == "train" else keys, size)

    def categories(self) -> tuple[str, ...]:
        """The 200 wnids, in the order of their numbers."""
        return tuple(category.wnid for category in self.hierarchy.categories)

    def names(self) -> Mapping[str, str]:
        """The categories' words."""
        return self.hierarchy.names

    def describe(self) -> Mapping[str, Any]:
        """See `DataSet`: keys with the images' sizes and the annotations' content; lists, synsets and blacklist."""
        config = self._config
        options = config.model_dump(mode="json", exclude={"root", "splits", "leaf_lists", "synsets", "blacklist"})
        leaves = [[leaf.synset.wnid, leaf.category.wnid] for leaf in self.hierarchy.leaves]
        return {
            "listing": {split: self._listing(split) for split in self.splits},
            "categories": list(self.categories()),
            "leaves": leaves if config.subcategories != "none" else None,
            "numbers": {split: [self._numbers[split].get(key) for key in self._keys[split]] for split in self.splits},
            "ignored": {split: [list(self._ignored(split, key)) for key in self._keys[split]] for split in self.splits},
            "options": options,
        }

    def fetch(self, unit: str, key: str) -> RawImage:
        """See `DataSet`; an image without an annotation file has no objects."""
        split = split_of(unit)
        images = self._config.splits[split].images
        for stem in image_stems(self._config.layout, images, key):
            data = self._folder.find(f"{stem}.{EXTENSION}")
            if data is not None:
                break
        else:
            raise DataError("missing-image", f"{key}: no {stem}.{EXTENSION}")
        annotation = self._annotation(split, key)
        if annotation is None:
            annotation = ImageAnnotation(key, *probe_size(data), ())
        number = self._numbers[split].get(key)
        return RawImage(data, EXTENSION.lower(), replace(annotation, index=number, ignored=self._ignored(split, key)))

    @cached_property
    def hierarchy(self) -> DetHierarchy:
        """Categories and leaves."""
        config = self._config
        synsets = parse_synsets(read_file(config.synsets, config.root), config.synsets)
        wanted = config.leaf_lists if config.subcategories != "none" else ()
        lists = [(file.name, file.read()) for file in find_files(wanted, config.root)]
        return DetHierarchy.build(synsets, count_listed(lists))

    def _annotation(self, split: str, key: str) -> ImageAnnotation | None:
        config = self._config
        for stem in annotation_stems(config.layout, config.splits[split].images, key):
            text = self._folder.find(f"{stem}.xml")
            if text is not None:
                annotation = read_voc_xml(text, key, first_pixel=config.first_pixel)
                return replace(annotation, objects=tuple(self._objects(annotation)))
        return None

    def _objects(self, annotation: ImageAnnotation) -> list[ObjectAnnotation]:
        """The objects with their leaves, without those that are to be left out."""
        config, found = self._config, []
        for thing in annotation.objects:
            x0, y0, x1, y1 = thing.box
            if not (x1 - x0 > 1 and y1 - y0 > 1):  # inclusive: the last pixel is not beyond the first
                if config.bad_boxes == "drop":
                    continue
                raise DataError("bad-box", f"{annotation.key}: {thing.category} at {list(thing.box)} has no area")
            leaf = self.hierarchy.leaf_of(thing.category, thing.subcategory, annotation.key)
            if config.subcategories != "leaf-only" or leaf is not None:
                found.append(replace(thing, subcategory=None if config.subcategories == "none" else leaf))
        return found

    @cached_property
    def _keys(self) -> dict[str, list[str]]:
        return {split: self._split(split) for split in self.splits}

    def _split(self, name: str) -> list[str]:
        config, split = self._config, self._config.splits[name]
        keys = read_ids(split.lists, config.root, split.max_positives_per_category)
        if config.blacklisted == "leave-out":
            keys = [key for key in keys if not self._ignored(name, key)]
        if split.half is not None:
            first = balanced_halves(self._counts(name, keys))
            keys = [key for key, own in zip(keys, first == (split.half == 1), strict=True) if own]
        return keys

    def _counts(self, split: str, keys: list[str]) -> np.ndarray[tuple[int, int], np.dtype[np.int64]]:
        """Objects by image and category; an image whose annotation can't be read counts none."""
        columns = {wnid: column for column, wnid in enumerate(self.categories())}
        counts = np.zeros((len(keys), len(columns)), np.int64)
        with ThreadPoolExecutor(_READERS) as pool:
            for row, things in zip(counts, pool.map(lambda key: self._known_objects(split, key), keys), strict=True):
                for thing in things:
                    if thing.category in columns:
                        row[columns[thing.category]] += 1
        return counts

    def _known_objects(self, split: str, key: str) -> tuple[ObjectAnnotation, ...]:
        try:
            annotation = self._annotation(split, key)
        except DataError:  # it will be quarantined
            return ()
        return annotation.objects if annotation else ()

    @cached_property
    def _numbers(self) -> dict[str, dict[str, int]]:
        """The images' numbers by split, where the lists have them; training images have none."""
        found: dict[str, dict[str, int]] = {}
        for name, split in self._config.splits.items():
            lists = split.lists if split.numbers is None else (split.numbers,)
            strict = split.numbers is not None
            found[name] = read_numbers(lists, self._config.root, strict) if split.images != "train" else {}
        return found

    @cached_property
    def _blacklists(self) -> dict[str, dict[int, tuple[str, ...]]]:
        config = self._config
        if config.blacklist is None:
            return {}
        wnids = frozenset(self.categories())
        return {
            name: read_blacklist(config.blacklist, config.root, self._numbers[name], wnids)
            for name, split in config.splits.items()
            if split.images == "val"
        }

    def _ignored(self, split: str, key: str) -> tuple[str, ...]:
        return self._blacklists.get(split, {}).get(self._numbers[split].get(key, 0), ())

    def _listing(self, split: str) -> list[list[Any]]:
        """Every key with its image's bytes and the digest of its annotation."""
        config, images = self._config, self._config.splits[split].images
        sizes: dict[str, int] = {}
        for folder in folders(config.layout, images):
            sizes.update(self._folder.images(folder))
        keys, rows = self._keys[split], []
        digests = self._annotation_digests(images, keys)
        for key, digest in zip(keys, digests, strict=True):
            stems = image_stems(config.layout, images, key)
            size = next((sizes[f"{stem}.{EXTENSION}"] for stem in stems if f"{stem}.{EXTENSION}" in sizes), 0)
            rows.append([key, size, digest])
        if not any(size for _, size, _ in rows):
            where = self._folder.where(f"{image_stems(config.layout, images, keys[0])[0]}.{EXTENSION}")
            raise ConfigError(f"split {split!r}: none of its images is there, the first would be {where}; see layout")
        if images != "test" and not any(digests):
            where = self._folder.where(f"{annotation_stems(config.layout, images, keys[0])[0]}.xml")
            raise ConfigError(f"split {split!r}: no image has an annotation, the first would be {where}; see layout")
        return rows

    def _annotation_digests(self, images: Images, keys: list[str]) -> list[str | None]:
        found: dict[str, str | None] = dict.fromkeys(keys)
        if images == "test":
            return list(found.values())
        stems = {key: annotation_stems(self._config.layout, images, key) for key in keys}
        for place in range(max(map(len, stems.values()), default=0)):
            open_keys = [key for key in keys if found[key] is None and place < len(stems[key])]
            digests = self._folder.digests(f"{stems[key][place]}.xml" for key in open_keys)
            found.update(zip(open_keys, digests, strict=True))
        return list(found.values())
