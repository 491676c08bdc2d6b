"""The numbers that COCO and ILSVRC give to images and categories, and where they are found."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from pipelines.artifacts.annotations import Number
from pipelines.artifacts.manifest import Manifest
from pipelines.datasets.keys import key_of, path_of
from pipelines.datasets.named_images import key_among
from pipelines.engine.text import decode_text, text_lines
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

    images: Mapping[str, Number]
    categories: Mapping[str, Number]

    def to_json(self, words: Mapping[str, str] = MappingProxyType({}), called: Callable[[str], str] = path_of) -> bytes:
        """Encode the numbers as `parse` reads them: a COCO data set without annotations, an entry a line.

        Args:
            words: Words for people by category.
            called: Returns an image's `file_name` by its key.
        """
        images = (json.dumps({"id": number, "file_name": called(key)}) for key, number in self.images.items())
        categories = (
            json.dumps({"id": number, "name": name, **({"word": words[name]} if name in words else {})})
            for name, number in self.categories.items()
        )
        parts = [
            f'"{what}": [\n{_LINE.join(rows)}\n]' for what, rows in (("images", images), ("categories", categories))
        ]
        return f"{{{_LINE.join(parts)}}}\n".encode()

    def of_image(self, key: str) -> Number:
        """Return an image's number; raise `ConfigError` if it has none."""
        return _number(self.images, key, "image")

    def of_keys(self, keys: Collection[str]) -> Numbers:
        """Return numbers of images by the keys that their names mean; raise `ConfigError` if two mean one."""
        known = frozenset(keys)
        meant = ((key_among(path_of(name), known), number) for name, number in self.images.items())
        return Numbers(_unique(((key, number) for key, number in meant if key in known), "numbers"), self.categories)

    def of_category(self, name: str) -> Number:
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
        text = decode_text(data, where)
        if not text.lstrip().startswith("{"):
            pairs = [line.rsplit(maxsplit=1) for line in text_lines(data, where)]  # a name may have blanks
            if not pairs or not all(len(pair) == 2 and pair[1].isdecimal() for pair in pairs):
                raise ConfigError(f"{where}: neither JSON nor a list with an image and its number a line")
            return cls(_unique(((_key(name), int(number)) for name, number in pairs), where), {})
        body = parse_json(text, lambda why: ConfigError(f"{where}: no numbers of images and categories ({why})"))
        try:
            images = [(_key(name), number) for name, number in _pairs(body.get("images", {}), "file_name")]
            categories = _pairs(body.get("categories", {}), "name")
        except (KeyError, TypeError, AttributeError) as error:
            raise ConfigError(f"{where}: no numbers of images and categories ({error})") from error
        return cls(_unique(images, where), _unique(categories, where))


def _key(name: str) -> str:
    """Return the key of a list's or COCO's file name below the root; `Numbers.of_keys` finds it in a data set."""
    return key_of(name.replace("\\", "/").removeprefix("./"))


def _pairs(given: Any, name: str) -> list[tuple[str, Number]]:
    pairs = list(given.items()) if isinstance(given, Mapping) else [(entry[name], entry["id"]) for entry in given]
    if not all(isinstance(key, str) and type(number) in (int, str) for key, number in pairs):
        raise TypeError("names must be strings, numbers integers or strings")
    return pairs


def _unique(pairs: Iterable[tuple[str, Number]], where: str) -> dict[str, Number]:
    found: dict[str, Number] = {}
    owners: dict[Number, str] = {}
    for name, number in pairs:
        if name in found:
            raise ConfigError(f"{where}: {name!r} comes twice")
        if number in owners:
            raise ConfigError(f"{where}: {owners[number]!r} and {name!r} both have the number {number}")
        found[name], owners[number] = number, name
    return found


def _number(numbers: Mapping[str, Number], name: str, what: str) -> Number:
    if name not in numbers:
        raise ConfigError(f"{what} {name!r} has no number; name a file that gives it one with --numbers")
    return numbers[name]


def category_numbers(manifest: Manifest) -> dict[str, Number]:
    """Return the data set's own numbers of its categories, if it has one for each, as COCO has.

    Otherwise they count 1, 2, ... in the data set's order: for ILSVRC DET these are the ids 1 to 200.
    """
    if manifest.numbers and all(name in manifest.numbers for name in manifest.categories):
        return {name: manifest.numbers[name] for name in manifest.categories}
    return {name: number for number, name in enumerate(manifest.categories, 1)}


def image_numbers(images: IngestedImages, split: str) -> dict[str, Number]:
    """Return the numbers that the data set's annotations give to a split's images; empty unless all have one.

    Raises:
        ConfigError: Two images have the same.
    """
    pairs: list[tuple[str, Number]] = []
    for unit in images.manifest.units(split):
        for key, annotation in images.read_annotations(unit)[0].items():
            if annotation.index is None:
                return {}
            pairs.append((key, annotation.index))
    return _unique(pairs, f"{images.artifact.name}, split {split}")
