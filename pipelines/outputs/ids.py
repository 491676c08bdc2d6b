"""The numbers that COCO and ILSVRC give to images and categories, and where they are found."""

from __future__ import annotations

import json
import posixpath
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from pipelines.artifacts.manifest import Manifest
from pipelines.datasets.keys import key_of, parse_list
from pipelines.shards.reading import IngestedImages
from sppnet.errors import ConfigError
from sppnet.outside import parse_json

_LINE = ",\n"


@dataclass(frozen=True, slots=True)
class Numbers:
    """Numbers of images and categories; either may be empty, which means not given.

    Attributes:
        images: By key.
        categories: By category.
    """

    images: Mapping[str, int]
    categories: Mapping[str, int]

    def to_json(self, words: Mapping[str, str] = MappingProxyType({})) -> bytes:
        """Encode the numbers as `parse` reads them: a COCO data set without annotations, an entry a line.

        Args:
            words: Words for people by category.
        """
        images = (json.dumps({"id": number, "file_name": key}) for key, number in self.images.items())
        categories = (
            json.dumps({"id": number, "name": name, **({"word": words[name]} if name in words else {})})
            for name, number in self.categories.items()
        )
        parts = [
            f'"{what}": [\n{_LINE.join(rows)}\n]' for what, rows in (("images", images), ("categories", categories))
        ]
        return f"{{{_LINE.join(parts)}}}\n".encode()

    def of_image(self, key: str) -> int:
        """Return an image's number; raise `ConfigError` if it has none."""
        return _number(self.images, key, "image")

    def of_category(self, name: str) -> int:
        """Return a category's number; raise `ConfigError` if it has none."""
        return _number(self.categories, name, "category")

    @classmethod
    def parse(cls, data: bytes, where: str) -> Numbers:
        """Read numbers that a data set's makers gave.

        Args:
            data: A list of images, `<image> <number>` a line (ILSVRC's `val.txt`); or JSON with `images` and
                `categories`, each a mapping from name to number or COCO's list of objects with `id` and
                `file_name` or `name`.
            where: The file's name, for messages.

        Raises:
            ConfigError: It is none of these, or a name or number comes twice.
        """
        if not data.lstrip().startswith(b"{"):
            pairs = parse_list(data, where)
            if not pairs or not all(len(pair) == 2 and pair[1].isdecimal() for pair in pairs):
                raise ConfigError(f"{where}: neither JSON nor a list with an image and its number a line")
            return cls(_unique(((_key(name), int(number)) for name, number in pairs), where), {})
        body = parse_json(data, lambda why: ConfigError(f"{where}: no numbers of images and categories ({why})"))
        try:
            images = [(_key(name), number) for name, number in _pairs(body.get("images", {}), "file_name")]
            categories = _pairs(body.get("categories", {}), "name")
        except (KeyError, TypeError, AttributeError) as error:
            raise ConfigError(f"{where}: no numbers of images and categories ({error})") from error
        return cls(_unique(images, where), _unique(categories, where))


def _key(name: str) -> str:
    """Return an image's key as ingest makes it, of a list's or COCO's file name."""
    return key_of(name) if posixpath.splitext(name)[1] else name


def _pairs(given: Any, name: str) -> list[tuple[str, int]]:
    pairs = list(given.items()) if isinstance(given, Mapping) else [(entry[name], entry["id"]) for entry in given]
    if not all(isinstance(key, str) and type(number) is int for key, number in pairs):
        raise TypeError("names must be strings, numbers integers")
    return pairs


def _unique(pairs: Iterable[tuple[str, int]], where: str) -> dict[str, int]:
    found: dict[str, int] = {}
    owners: dict[int, str] = {}
    for name, number in pairs:
        if name in found:
            raise ConfigError(f"{where}: {name!r} comes twice")
        if number in owners:
            raise ConfigError(f"{where}: {owners[number]!r} and {name!r} both have the number {number}")
        found[name], owners[number] = number, name
    return found


def _number(numbers: Mapping[str, int], name: str, what: str) -> int:
    if name not in numbers:
        raise ConfigError(f"{what} {name!r} has no number; name a file that gives it one with --numbers")
    return numbers[name]


def category_numbers(manifest: Manifest) -> dict[str, int]:
    """Give numbers 1, 2, ... to the data set's categories, in their order: for ILSVRC DET the ids 1 to 200."""
    return {name: number for number, name in enumerate(manifest.categories, 1)}


def image_numbers(images: IngestedImages, split: str) -> dict[str, int]:
    """Return the numbers that the data set's annotations give to a split's images; empty unless all have one.

    Raises:
        ConfigError: Two images have the same.
    """
    pairs: list[tuple[str, int]] = []
    for unit in images.manifest.units(split):
        for key, annotation in images.read_annotations(unit)[0].items():
            if annotation.index is None:
                return {}
            pairs.append((key, annotation.index))
    return _unique(pairs, f"{images.artifact.name}, split {split}")
