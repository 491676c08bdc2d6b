"""COCO's layout: folders of images, and a JSON file of instances for each split."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache, partial
from typing import Annotated, Any, Literal, cast

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from pipelines.artifacts.annotations import ImageAnnotation, Number
from pipelines.datasets.boxes_given import GivenBoxes, choose_categories, mend_boxes
from pipelines.datasets.coco_json import CocoInstances, leads_out
from pipelines.datasets.contents import JSON, Contents, SeenFile
from pipelines.datasets.folder_files import Folder, Reader, names_of, only_one
from pipelines.datasets.keys import check_split, is_image, key_of, path_of
from pipelines.datasets.left_out import LeftOut
from pipelines.datasets.named_images import NamedImages
from pipelines.datasets.protocol import DatasetConfig, ImageFile, Item, Place, label_of
from pipelines.engine.store import open_store
from sppnet.errors import ConfigError, DataError

_SUMMARY = "coco-instances"
"""The kind of summary that `_summarise` makes."""


def _as_split(value: Any) -> Any:
    return {"annotations": value} if isinstance(value, str) else value


class CocoSplit(BaseModel):
    """One split.

    Attributes:
        annotations: The instances file, below the root. One without annotations, such as COCO's `image_info`, will do
            for images that are only to be scored.
        images: The folder below the root that each `file_name` is in; by default the root.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    annotations: str
    images: str = ""


class CocoDataset(DatasetConfig):
    """COCO, and all that is written like it.

    A key is the `file_name` without the extension (see `key_of`). Images are in the file's order. A crowd (`iscrowd`)
    is a region in which no detection is wrong; it trains nothing.

    Attributes:
        kind: `coco`.
        root: Folder or object-store prefix.
        splits: The splits by name: their instances file, or that and their folder of images.
        categories: Those that are taken, by name, in order; by default all of the files. Objects of others are left
            out.
        bad_boxes: What becomes of a box without area or that leaves its image, see `GivenBoxes`.
    """

    kind: Literal["coco"] = "coco"
    splits: Annotated[
        Mapping[str, Annotated[CocoSplit, BeforeValidator(_as_split, json_schema_input_type=str | CocoSplit)]],
        Field(min_length=1),
    ]
    categories: tuple[str, ...] | None = None
    bad_boxes: GivenBoxes = "quarantine"

    def open(self) -> Coco:
        """See `DatasetConfig.open`."""
        return Coco(open_store(self.root), self)


class Coco:
    """A data set in COCO's layout.

    Args:
        reader: Gives the files below the root.
        config: The data set's config.
    """

    def __init__(self, reader: Reader, config: CocoDataset) -> None:
        self._folder = Folder(reader)
        self._config = config
        self._instances = lru_cache(maxsize=4)(self._read)  # a worker reads a split's file once
        self._listed = lru_cache(maxsize=None)(self._folder.listing)
        self._named = lru_cache(maxsize=None)(self._name)
        self.splits = tuple(config.splits)

    def items(self, split: str, contents: Contents) -> Sequence[Item]:
        """See `DataSet`: in the order of the instances file.

        Raises:
            ConfigError: It is no such file, or none of its images is there.
        """
        summary = self._summary(split, contents)
        found = self._files(split, contents)
        if not any(found.values()):
            where = self._folder.where(self._stem(split, next(iter(found))))
            raise ConfigError(
                f"split {split!r}: none of the images of {self._where(split)} is there, the first would be {where}.*; "
                f"name their folder: dataset.splits.{split}.images"
            )
        contents.leave_out(self._config.splits[split].annotations, LeftOut.of((), named=summary["said"]))
        self._leave_out(self._config.splits[split].images, contents)
        digests = contents.digests_or_none(list(map(only_one, found.values())))
        rows = zip(found.items(), digests, summary["images"], strict=True)
        return [Item(key, image, self._label(said), files=names_of(files)) for (key, files), image, (_, said) in rows]

    def places(self, split: str) -> Sequence[Place]:
        """See `DataSet`; the instances file is read, and the images are listed."""
        return [Place(split, "", key, names_of(files)) for key, files in self._files(split, Contents()).items()]

    def count(self, split: str) -> int:
        """See `DataSet`; the instances file is read."""
        return len(self._summary(split, Contents())["images"])

    def categories(self, contents: Contents) -> tuple[str, ...]:
        """Return the config's, or those of all splits' files, in their order.

        Raises:
            ConfigError: The files don't have one of the config's.
        """
        found = tuple(self.category_numbers(contents))
        return choose_categories(self._config.categories, found, self._where(self.splits[0]))

    def category_numbers(self, contents: Contents) -> dict[str, Number]:
        """See `NumbersCategories`: the files' ids, of several for one name the first."""
        found: dict[str, Number] = {}
        for split in self.splits:
            for name, number in self._summary(split, contents)["categories"]:
                found.setdefault(name, number)
        return found

    def names(self) -> Mapping[str, str]:
        """Return none: categories are words."""
        return {}

    def image(self, place: Place) -> ImageFile:
        """See `DataSet`; what leads out of the folder of images is missing."""
        if leads_out(path_of(place.key)):
            raise DataError("missing-image", f"{place.key}: its file_name leads out of the folder of images")
        return self._folder.image(self._stem(place.split, place.key), place.key, place.files)

    def annotation(self, place: Place, width: int, height: int) -> ImageAnnotation:
        """See `DataSet`; its size is the entry's, if that says one.

        Raises:
            DataError: See `CocoInstances.image`.
        """
        instances, chosen = self._instances(place.split), self._config.categories
        entry = instances.image(place.key)
        things = instances.objects(place.key)
        if chosen is not None:
            things = [thing for thing in things if thing.category in chosen]
        wide, high = entry.width or width, entry.height or height
        kept = mend_boxes(things, wide, high, self._config.bad_boxes)
        return ImageAnnotation(place.key, wide, high, tuple(kept), index=entry.number)

    def label(self, place: Place) -> str:
        """See `DataSet`: of what the instances file says of the image."""
        return self._label(self._instances(place.split).digest(place.key))

    def _label(self, said: str) -> str:
        return label_of("coco", said=said, bad_boxes=self._config.bad_boxes)

    def _read(self, split: str) -> CocoInstances:
        check_split(split, self.splits)
        path = self._config.splits[split].annotations
        return CocoInstances.parse(self._folder.need(path, f"instances file of split {split!r}"), self._where(split))

    def _summary(self, split: str, contents: Contents) -> dict[str, Any]:
        check_split(split, self.splits)
        path = self._config.splits[split].annotations
        file = self._listed(path.rpartition("/")[0]).files.get(path)
        if file is None:
            raise ConfigError(f"no instances file of split {split!r}: {self._where(split)} does not exist")
        (found,) = contents.of([file], partial(_summarise, where=self._where(split)), _SUMMARY)
        if found is None:
            raise ConfigError(f"instances file of split {split!r}: {self._where(split)} can't be read")
        return cast(dict[str, Any], found)

    def _files(self, split: str, contents: Contents) -> dict[str, tuple[SeenFile, ...]]:
        """Return the keys of a split in the instances file's order, with the images' files."""
        named = self._named(self._config.splits[split].images)
        return {key_of(path): named.find(path)[1] for path, _ in self._summary(split, contents)["images"]}

    def _leave_out(self, folder: str, contents: Contents) -> None:
        """Note what lies in a folder of images that no split of it takes."""
        splits = [split for split in self.splits if self._config.splits[split].images == folder]
        taken = {file.place for split in splits for files in self._files(split, contents).values() for file in files}
        known = {split.annotations for split in self._config.splits.values()}
        listing = self._listed(folder)
        alone = [name for name in listing.files if is_image(name) and name not in taken]
        named = [f"{len(alone)} images that no instances file lists, first {alone[0]}"] if alone else []
        contents.leave_out(folder, listing.left_out(lambda name: is_image(name) or name in known, named))

    def _name(self, folder: str) -> NamedImages:
        return NamedImages(self._listed(folder).files, folder.rstrip("/"))

    def _stem(self, split: str, key: str) -> str:
        check_split(split, self.splits)
        folder = self._config.splits[split].images
        return f"{folder.rstrip('/')}/{path_of(key)}" if folder else path_of(key)

    def _where(self, split: str) -> str:
        return self._folder.where(self._config.splits[split].annotations)


def _summarise(data: bytes, where: str) -> JSON:
    """Summarise an instances file: by image its path and a digest of what is said; categories, and what is odd."""
    instances = CocoInstances.parse(data, where)
    return {
        "images": [[image.path, instances.digest(image.key)] for image in instances.images],
        "categories": [[name, number] for name, number in instances.categories.items()],
        "said": list(instances.said),
    }
