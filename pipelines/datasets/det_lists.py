"""ILSVRC DET's lists and layouts: which images a split has, their numbers, the blacklist, where files lie."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal, TypeAlias

from pipelines.datasets.file_names import find_files, read_file
from pipelines.datasets.keys import check_keys, key_of, parse_list
from pipelines.datasets.named_images import likely_path
from sppnet.errors import ConfigError
from sppnet.outside import LIST_BYTES

Images: TypeAlias = Literal["train", "val", "test"]
Layout: TypeAlias = Literal["2013", "2015", "voc"]

EXTENSION = "JPEG"
_YEARS = ("2013", "2014")


def image_stems(layout: Layout, images: Images, image_id: str) -> tuple[str, ...]:
    """Return the paths below the root, without extension, where an image may be; the likeliest first."""
    return _places(layout, images, image_id, "Data/DET", "DET", "JPEGImages")


def annotation_stems(layout: Layout, images: Images, image_id: str) -> tuple[str, ...]:
    """Return the paths below the root, without extension, where an annotation may be; the likeliest first."""
    return _places(layout, images, image_id, "Annotations/DET", "DET_bbox", "Annotations")


def _places(layout: Layout, images: Images, image_id: str, late: str, early: str, voc: str) -> tuple[str, ...]:
    if layout == "voc":
        return (f"{voc}/{image_id}",)
    if layout == "2015":
        base = f"{late}/{images}"
        # The lists of 2013 and 2014 name an image by its synset's folder, which is one folder deeper here.
        inner = (f"{base}/ILSVRC2013_train/{image_id}",) if images == "train" and image_id.startswith("n") else ()
        return (*inner, f"{base}/{image_id}")
    if images != "train":
        return (f"ILSVRC2013_{early}_{images}/{image_id}",)
    years = reversed(_YEARS) if image_id.startswith("ILSVRC2014") else _YEARS
    found = [f"ILSVRC{year}_{early}_train/{image_id}" for year in years]
    if "_train_extra" in image_id:  # the tars of negatives unpack to folders of their own
        found.append(image_id.replace("_train_extra", f"_{early}_train_extra", 1))
    return tuple(found)


def image_folders(layout: Layout, images: Images) -> tuple[str, ...]:
    """Return the folders below the root that hold a split's images."""
    return _folders(layout, images, "Data/DET", "DET", "JPEGImages")


def annotation_folders(layout: Layout, images: Images) -> tuple[str, ...]:
    """Return the folders below the root that hold the annotations of a split's images."""
    return _folders(layout, images, "Annotations/DET", "DET_bbox", "Annotations")


def _folders(layout: Layout, images: Images, late: str, early: str, voc: str) -> tuple[str, ...]:
    if layout == "voc":
        return (voc,)
    if layout == "2015":
        return (f"{late}/{images}",)
    if images != "train":
        return (f"ILSVRC2013_{early}_{images}",)
    extra = [f"ILSVRC2013_{early}_train_extra{number}" for number in range(11)]
    return (*(f"ILSVRC{year}_{early}_train" for year in _YEARS), *extra)


def read_ids(lists: Iterable[str], root: str, most: int | None = None) -> list[str]:
    """Read the image ids of some lists, each once, in the order of the lists.

    Args:
        lists: Paths, see `find_files`.
        root: What they are relative to.
        most: So many of each list's ids, from its start.

    Raises:
        ConfigError: A list that is not there, an empty one, or an id twice in one list.
    """
    found: dict[str, None] = {}
    for file in find_files(lists, root, "dataset.splits: lists"):
        rows = parse_list(file.read(LIST_BYTES), file.uri)
        # Lists by category of 2015 mark an image 1 (positive), 0 (shows it among others) or -1 (negative).
        marked = any(row[1:] == ["-1"] for row in rows) or {row[1] for row in rows if len(row) > 1} <= {"0", "1"}
        ids = [_key(row[0]) for row in rows if not marked or row[1:] in ([], ["1"])]
        if not ids:
            raise ConfigError(f"{file.uri} lists no images")
        check_keys(ids, file.uri)
        found.update(dict.fromkeys(ids[:most]))
    return list(found)


def _key(name: str) -> str:
    """Return the key of an image that a list names: its id."""
    return key_of(likely_path(name))


def read_numbers(lists: Iterable[str], root: str, strict: bool) -> dict[str, int]:
    """Read the numbers of images by id, of lists with the columns id and number.

    Args:
        lists: Paths, see `find_files`.
        root: What they are relative to.
        strict: Whether each image needs a number; else lists without numbers give none.

    Raises:
        ConfigError: No number where there must be one, or two images with the same.
    """
    numbers: dict[str, int] = {}
    for file in find_files(lists, root, "dataset.splits: numbers"):
        for row in parse_list(file.read(LIST_BYTES), file.uri):
            if len(row) > 1 and row[1].isdecimal():
                numbers[_key(row[0])] = int(row[1])
            elif strict:
                raise ConfigError(f"{file.uri}: no number after {row[0]!r}")
    if len(set(numbers.values())) != len(numbers):
        raise ConfigError(f"{', '.join(lists)}: two images have the same number")
    return numbers


def read_blacklist(
    path: str, root: str, numbers: Mapping[str, int], wnids: frozenset[str]
) -> dict[int, tuple[str, ...]]:
    """Read a blacklist: lines with an image's number and the wnid that is not judged there.

    Returns:
        The wnids by number, in the order of the file.

    Raises:
        ConfigError: A line of another form, an image that the list of numbers lacks, or an unknown category.
    """
    known = set(numbers.values())
    found: dict[int, tuple[str, ...]] = {}
    for row in parse_list(read_file(path, root, "dataset.blacklist", LIST_BYTES), f"blacklist {path}"):
        if len(row) != 2 or not row[0].isdecimal():
            raise ConfigError(f"blacklist {path}: expected an image's number and a wnid, got {' '.join(row)!r}")
        number, wnid = int(row[0]), row[1]
        if number not in known:
            raise ConfigError(
                f"blacklist {path} names the unknown image {number}: `numbers` must be the list that it counts by"
            )
        if wnid not in wnids:
            raise ConfigError(f"blacklist {path}: image {number} names the unknown category {wnid}")
        found[number] = (*found.get(number, ()), wnid)
    return found
