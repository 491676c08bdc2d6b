"""ILSVRC DET: images and boxes of any year's layout, by the devkit's lists (section 4.5)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property, lru_cache
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from pipelines.artifacts.annotations import ImageAnnotation
from pipelines.datasets.contents import Contents, SeenFile
from pipelines.datasets.det_annotations import SUMMARY, BadBoxes, Keeping, Subcategories, digest_of, summarise
from pipelines.datasets.det_hierarchy import DetHierarchy, count_listed, parse_synsets
from pipelines.datasets.det_lists import (
    EXTENSION,
    Images,
    Layout,
    annotation_folders,
    annotation_stems,
    image_folders,
    image_stems,
    read_blacklist,
    read_ids,
    read_numbers,
)
from pipelines.datasets.det_split import balanced_halves
from pipelines.datasets.file_names import find_files, read_file
from pipelines.datasets.folder_files import Folder, Reader, names_of, note_digest, only_one, remembered
from pipelines.datasets.keys import check_split, mixed, path_of, safe_key
from pipelines.datasets.named_images import NamedImages
from pipelines.datasets.protocol import ONE_OR_SEVERAL, DatasetConfig, ImageFile, Item, Place, label_of
from pipelines.datasets.roots import refused
from pipelines.engine.store import open_store
from sppnet.errors import ConfigError, DataError
from sppnet.outside import LIST_BYTES


def _as_text(value: Any) -> Any:
    return str(value) if isinstance(value, int) else value


class DetSplit(BaseModel):
    """One split.

    Attributes:
        lists: Lists of image ids, as paths with globs. Of lists by category in 2015's form, the positive images.
        images: Whose folders the images are in.
        max_positives_per_category: So many images of each list, from its start; by default all. An image that is in
            several lists is taken once. [images]
        half: 1 or 2: this half of the listed images, cut so that the halves are balanced in every category.
        numbers: The list that numbers the images, which the blacklist and submissions count by; by default `lists`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    lists: Annotated[tuple[str, ...], ONE_OR_SEVERAL, Field(min_length=1)]
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
            known leaf are left out, for 499-way pre-training; `none`: for 200-way pre-training. [section 4.5]
        leaf_lists: The categories' lists of positive images, which tie leaves to categories.
        blacklist: Categories that are not judged in some validation images.
        blacklisted: `mark`: those categories are ignored in the image; `leave-out`: so is the image, as R-CNN did.
        bad_boxes: What becomes of a box without area: `quarantine` its image, or `drop` the object.
        first_pixel: The coordinate of an image's first pixel. [pixels]
    """

    usual_categories: ClassVar[int | None] = 200
    kind: Literal["det"] = "det"
    layout: Annotated[Layout, BeforeValidator(_as_text, json_schema_input_type=Layout | Literal[2013, 2015])] = "2015"
    splits: Annotated[Mapping[str, DetSplit], Field(min_length=1)]
    synsets: str
    subcategories: Subcategories = "leaf"
    leaf_lists: Annotated[tuple[str, ...], ONE_OR_SEVERAL] = ()
    blacklist: str | None = None
    blacklisted: Literal["mark", "leave-out"] = "mark"
    bad_boxes: BadBoxes = "quarantine"
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
        self._listed = lru_cache(maxsize=None)(self._folder.listing)
        self._text = remembered(self._find_text)
        self.splits = tuple(config.splits)

    def items(self, split: str, contents: Contents) -> Sequence[Item]:
        """See `DataSet`: training images in the order of their keys' hashes, others in list order.

        Raises:
            ConfigError: A list that is empty or names an image twice, a blacklist of unknown images, or no image or
                no annotation of the split where the layout has it.
        """
        keys = self._keys(split, contents)
        images, notes = self._image_files(split, keys, contents), self._note_files(split, keys)
        self._check_layout(split, keys, images, notes)
        digests = contents.digests_or_none(list(map(only_one, images)))
        rows = zip(keys, digests, self._note_digests(split, notes, contents), images, strict=True)
        return [Item(key, image, self._label(split, key, note), files=names_of(own)) for key, image, note, own in rows]

    def places(self, split: str) -> Sequence[Place]:
        """See `DataSet`; the images are listed, and of a split in halves the annotations are read."""
        contents = Contents()
        keys = self._keys(split, contents)
        found = zip(keys, self._image_files(split, keys, contents), strict=True)
        return [Place(split, "", key, names_of(files)) for key, files in found]

    def count(self, split: str) -> int:
        """See `DataSet`; of a split in halves the annotations are read."""
        return len(self._keys(split, Contents()))

    def categories(self, contents: Contents) -> tuple[str, ...]:
        """Return the 200 wnids, in the order of their numbers."""
        return self._wnids

    def names(self) -> Mapping[str, str]:
        """Return the categories' words."""
        return self._keeping.hierarchy.names

    def image(self, place: Place) -> ImageFile:
        """See `DataSet`."""
        stems = image_stems(self._config.layout, self._images_of(place.split), path_of(place.key))
        if place.files is not None:
            return self._folder.image(stems[0], place.key, place.files)
        for stem in stems:
            data = self._folder.find(f"{stem}.{EXTENSION}")
            if data is not None:
                return ImageFile(data, EXTENSION.lower())
        raise DataError("missing-image", f"{place.key}: no {stems[-1]}.{EXTENSION}")

    def annotation(self, place: Place, width: int, height: int) -> ImageAnnotation:
        """See `DataSet`; an image without an annotation file has no objects."""
        text = self._text(place.split, place.key)
        if text is None:
            annotation = ImageAnnotation(place.key, width, height, ())
        else:
            annotation = self._keeping.read(text, place.key)
        number = self._numbers[place.split].get(place.key)
        return replace(annotation, index=number, ignored=self._ignored(place.split, place.key))

    def label(self, place: Place) -> str:
        """See `DataSet`: of the annotation file, the image's number and its line of the blacklist."""
        return self._label(place.split, place.key, note_digest(self._text, place.split, place.key))

    def _label(self, split: str, key: str, note: str | None) -> str:
        number, ignored = self._numbers[split].get(key), list(self._ignored(split, key))
        return label_of("det", annotation=note, index=number, ignored=ignored, options=self._options)

    def _find_text(self, split: str, key: str) -> bytes | None:
        stems = annotation_stems(self._config.layout, self._images_of(split), path_of(key))
        texts = (self._folder.find(f"{stem}.xml") for stem in stems)
        return next((text for text in texts if text is not None), None)

    def _images_of(self, split: str) -> Images:
        check_split(split, self.splits)
        return self._config.splits[split].images

    def _keys(self, split: str, contents: Contents) -> list[str]:
        keys = self._listed_keys(split)
        half = self._config.splits[split].half
        if half is not None:
            first = balanced_halves(self._counts(split, keys, contents))
            keys = [key for key, own in zip(keys, first == (half == 1), strict=True) if own]
        if not keys:
            raise ConfigError(f"split {split!r} is empty: nothing of its lists is left")
        return mixed(keys) if self._images_of(split) == "train" else keys

    def _listed_keys(self, name: str) -> list[str]:
        check_split(name, self.splits)
        config, split = self._config, self._config.splits[name]
        keys = read_ids(split.lists, config.root, split.max_positives_per_category)
        if config.blacklisted == "leave-out":
            return [key for key in keys if not self._ignored(name, key)]
        return keys

    def _counts(self, split: str, keys: list[str], contents: Contents) -> npt.NDArray[np.int64]:
        """Count objects by image and category; an image whose annotation can't be read has none."""
        columns = {wnid: column for column, wnid in enumerate(self._wnids)}
        counts = np.zeros((len(keys), len(columns)), np.int64)
        files = self._note_files(split, keys)
        rows = [row for row, file in enumerate(files) if file is not None]
        summaries = contents.of([file for file in files if file is not None], summarise, SUMMARY)
        for row, summary in zip(rows, summaries, strict=True):
            for category in self._keeping.categories(summary, keys[row]):
                if category in columns:
                    counts[row, columns[category]] += 1
        return counts

    def _image_files(self, split: str, keys: Sequence[str], contents: Contents) -> list[tuple[SeenFile, ...]]:
        layout, images = self._config.layout, self._images_of(split)
        folders = image_folders(layout, images)
        for folder in folders:
            contents.leave_out(folder, self._listed(folder).left_out())
        named = NamedImages(self._files(folders))
        stems = (image_stems(layout, images, path_of(key)) for key in keys)
        return [next(filter(None, (named.of(safe_key(stem)) for stem in own)), ()) for own in stems]

    def _note_files(self, split: str, keys: Sequence[str]) -> list[SeenFile | None]:
        layout, images = self._config.layout, self._images_of(split)
        files = self._files(annotation_folders(layout, images))
        return [_first(files, annotation_stems(layout, images, path_of(key)), "xml") for key in keys]

    def _files(self, folders: Sequence[str]) -> dict[str, SeenFile]:
        return {name: file for folder in folders for name, file in self._listed(folder).files.items()}

    def _note_digests(self, split: str, notes: list[SeenFile | None], contents: Contents) -> list[str | None]:
        if self._config.splits[split].half is None:
            return contents.digests_or_none(notes)
        # Halves are balanced by the files' summaries, which have the digests too: one reading for both.
        summaries = iter(contents.of([note for note in notes if note is not None], summarise, SUMMARY))
        return [None if note is None else digest_of(next(summaries)) for note in notes]

    def _check_layout(
        self,
        split: str,
        keys: Sequence[str],
        images: Sequence[tuple[SeenFile, ...]],
        notes: Sequence[SeenFile | None],
    ) -> None:
        layout, kind = self._config.layout, self._images_of(split)
        if not any(images):
            where = self._folder.where(f"{image_stems(layout, kind, path_of(keys[0]))[0]}.{EXTENSION}")
            text = f"split {split!r}: none of its images is there, the first would be {where}; see layout"
            raise refused(self._folder, "det", text)
        if kind != "test" and not any(notes):
            where = self._folder.where(f"{annotation_stems(layout, kind, path_of(keys[0]))[0]}.xml")
            raise ConfigError(f"split {split!r}: no image has an annotation, the first would be {where}; see layout")

    @cached_property
    def _keeping(self) -> Keeping:
        config = self._config
        synsets = parse_synsets(read_file(config.synsets, config.root, "dataset.synsets"), config.synsets)
        wanted = config.leaf_lists if config.subcategories != "none" else ()
        lists = [(file.name, file.read(LIST_BYTES)) for file in find_files(wanted, config.root, "dataset.leaf_lists")]
        hierarchy = DetHierarchy.build(synsets, count_listed(lists))
        return Keeping(hierarchy, config.subcategories, config.bad_boxes, config.first_pixel)

    @cached_property
    def _options(self) -> Mapping[str, Any]:
        return self._keeping.options()

    @cached_property
    def _wnids(self) -> tuple[str, ...]:
        return tuple(category.wnid for category in self._keeping.hierarchy.categories)

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
        wnids = frozenset(self._wnids)
        return {
            name: read_blacklist(config.blacklist, config.root, self._numbers[name], wnids)
            for name, split in config.splits.items()
            if split.images == "val"
        }

    def _ignored(self, split: str, key: str) -> tuple[str, ...]:
        return self._blacklists.get(split, {}).get(self._numbers[split].get(key, 0), ())


def _first(files: Mapping[str, SeenFile], stems: Sequence[str], extension: str) -> SeenFile | None:
    names = (f"{stem}.{extension}" for stem in stems)
    return next((files[name] for name in names if name in files), None)
