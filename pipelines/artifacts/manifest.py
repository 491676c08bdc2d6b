"""The manifest of a data set: every split's images in order, cut into shards that are known by what is in them.

A shard's images and its annotations have names of their own, digests of their content. Whatever is made of a shard's
pixels is kept under the first: it is shared by every split, recipe and data set that holds the same images, and a label
that changes leaves it alone. A manifest is an object of the workspace, known by its digest (`manifests/<digest>.json`).
"""

from __future__ import annotations

import json
import posixpath
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import cached_property
from typing import Any

from pipelines.artifacts.annotations import Number
from pipelines.engine.fingerprint import canonical_json, content_digest
from pipelines.engine.store import Store
from sppnet.errors import ArtifactError, ConfigError

FOLDER = "manifests"
ANNOTATIONS = "annotations/"
"""What the units of an images artifact that hold annotations are named after."""
_DIGITS = 20
_MEND = "mend it (sppnet verify WORKSPACE --repair) and run again"


@dataclass(frozen=True, slots=True)
class Shard:
    """One shard of a split.

    Attributes:
        images: The unit of its images, and of all that is made of them: the digest of their keys and bytes.
        annotations: The digest of its annotations, as the data set has them.
        keys: Its images' keys, in order.
        group: Where the data set has it, for data sets that come in shards; else empty.
        files: The files of each image as they were listed, in the order of the keys; empty where images are no files of
            their own. They are for reading and naming images: no name follows them.
    """

    images: str
    annotations: str
    keys: tuple[str, ...]
    group: str = ""
    files: tuple[tuple[str, ...], ...] = ()

    def files_of(self) -> Iterator[tuple[str, tuple[str, ...] | None]]:
        """Yield each key with its files, None where images are no files of their own."""
        yield from zip(self.keys, self.files or [None] * len(self.keys), strict=True)

    def to_json(self) -> list[Any]:
        """Return it as JSON values; files that are called after their keys alike, `train/<key>.jpg`, as one."""
        row = [self.images, self.annotations, list(self.keys), self.group]
        return [*row, _packed(self.keys, self.files)] if self.files else row

    @classmethod
    def from_json(cls, row: Sequence[Any]) -> Shard:
        """Read what `to_json` gave."""
        files = _unpacked(row[2], row[4]) if len(row) > 4 else ()
        return cls(row[0], row[1], tuple(row[2]), row[3], files)


def name_images(content: Iterable[tuple[str, str | None]]) -> str:
    """Name a shard's images after its keys and the digests of their files (None: there is none), in order."""
    return _short([list(pair) for pair in content])


def name_annotations(images: str, labels: Sequence[str], categories: Sequence[str]) -> str:
    """Name a shard's annotations after its images, the digests of their labels in order, and the categories."""
    return _short([images, list(labels), list(categories)])


def _short(value: Any) -> str:
    return content_digest(canonical_json(value).encode())[:_DIGITS]


def _packed(keys: Sequence[str], files: Sequence[Sequence[str]]) -> list[Any]:
    """Return what stands before and behind each key in its file's name, if that is one for all; else the files."""
    stem, extension = posixpath.splitext(files[0][0]) if files[0] else ("", "")
    around = [stem.removesuffix(keys[0]), extension]
    alike = all(
        len(own) == 1 and own[0] == f"{around[0]}{key}{around[1]}" for key, own in zip(keys, files, strict=True)
    )
    return around if alike else [list(own) for own in files]


def _unpacked(keys: Sequence[str], packed: Sequence[Any]) -> tuple[tuple[str, ...], ...]:
    if packed and isinstance(packed[0], str):
        before, behind = packed
        return tuple((f"{before}{key}{behind}",) for key in keys)
    return tuple(map(tuple, packed))


_HELD: dict[tuple[str, str], Manifest] = {}


@dataclass(frozen=True)
class Manifest:
    """Which images a data set has.

    Attributes:
        splits: Per split, its shards in order.
        categories: All categories that annotations may name, in order.
        names: Words for people by category, where categories are codes such as wnids.
        numbers: The data set's own numbers of its categories, where it has such.
    """

    splits: Mapping[str, tuple[Shard, ...]]
    categories: tuple[str, ...]
    names: Mapping[str, str] = field(default_factory=dict)
    numbers: Mapping[str, Number] = field(default_factory=dict)

    def shards(self, split: str) -> tuple[Shard, ...]:
        """Return a split's shards in order; raises `ConfigError` if there is no such split."""
        if split not in self.splits:
            raise ConfigError(f"split '{split}' is not in the images; they hold: {', '.join(self.splits)}")
        return self.splits[split]

    def units(self, split: str) -> tuple[str, ...]:
        """Return the names of a split's shards in order: the units of all that is made of their images."""
        return tuple(shard.images for shard in self.shards(split))

    def shard(self, unit: str) -> Shard:
        """Return a shard by the name of its images.

        Raises:
            ArtifactError: It is not in the manifest.
        """
        return self.place(unit)[2]

    def place(self, unit: str) -> tuple[str, int, Shard]:
        """Return the split and number at which a shard comes first, and the shard; raises like `shard`."""
        try:
            return self._places[unit]
        except KeyError:
            raise ArtifactError(f"shard {unit} is not in the manifest") from None

    def keys(self, unit: str) -> tuple[str, ...]:
        """Return the keys of a shard, in order; raises like `shard`."""
        return self.shard(unit).keys

    def title(self, unit: str) -> str:
        """Return what people call a shard: `train/000012`, the split and number at which it comes first."""
        split, number, _ = self.place(unit)
        return f"{split}/{number:06d}"

    def annotations(self, unit: str) -> str:
        """Return the unit of an images artifact that holds a shard's annotations.

        Raises:
            ArtifactError: The shard is not in the manifest.
            ConfigError: Two splits hold its images with unlike annotations.
        """
        known = self._annotations.get(unit, set())
        if len(known) > 1:
            raise ConfigError(
                f"the images of {self.title(unit)} are in two splits with unlike annotations; "
                "ingest them as two data sets"
            )
        return ANNOTATIONS + self.shard(unit).annotations

    def count(self, split: str) -> int:
        """Return how many images a split has."""
        return sum(len(shard.keys) for shard in self.shards(split))

    def check_categories(self, names: Sequence[str], where: str) -> None:
        """Raise `ConfigError` saying `where` for the first category that comes twice or that the images don't have."""
        for number, name in enumerate(names):
            if name in names[:number]:
                raise ConfigError(f"{where}: '{name}' comes twice")
            if name not in self.categories:
                near = get_close_matches(name, self.categories, n=1)
                hint = f"did you mean '{near[0]}'?" if near else f"they have: {', '.join(self.categories)}"
                raise ConfigError(f"{where}: the images have no '{name}'; {hint}")

    def identity(self, split: str) -> dict[str, str]:
        """Return digests of all images and of all annotations of a split, by `images` and `annotations`."""
        shards = self.shards(split)
        return {
            "images": _short([shard.images for shard in shards]),
            "annotations": _short([[shard.annotations for shard in shards], list(self.categories)]),
        }

    def words(self) -> dict[str, str]:
        """Return what people call each category: its name, with its code behind it where others have the same."""
        called = {category: self.names.get(category, category) for category in self.categories}
        often = Counter(called.values())
        return {code: word if often[word] == 1 else f"{word} ({code})" for code, word in called.items()}

    @cached_property
    def _places(self) -> dict[str, tuple[str, int, Shard]]:
        found: dict[str, tuple[str, int, Shard]] = {}
        for split, shards in self.splits.items():
            for number, shard in enumerate(shards):
                found.setdefault(shard.images, (split, number, shard))
        return found

    @cached_property
    def _annotations(self) -> dict[str, set[str]]:
        found: dict[str, set[str]] = {}
        for shard in (shard for shards in self.splits.values() for shard in shards):
            found.setdefault(shard.images, set()).add(shard.annotations)
        return found

    @cached_property
    def body(self) -> bytes:
        """All of it as it is stored."""
        splits = {split: [shard.to_json() for shard in shards] for split, shards in self.splits.items()}
        order = list(self.splits)  # canonical JSON sorts the keys of a mapping
        body = {"categories": list(self.categories), "names": dict(self.names), "order": order, "splits": splits}
        if self.numbers:  # which few data sets have: the digests of others stay as they were
            body["numbers"] = dict(self.numbers)
        return canonical_json(body).encode()

    @cached_property
    def digest(self) -> str:
        """Digest of all of it, by which it is found in a workspace."""
        return content_digest(self.body)[:_DIGITS]

    @property
    def object_name(self) -> str:
        """Its name in a workspace."""
        return f"{FOLDER}/{self.digest}.json"

    def write(self, store: Store) -> None:
        """Record the manifest in a workspace's store, once."""
        store.create(self.object_name, self.body)

    def hold(self, store: Store) -> None:
        """Let this process read the manifest though it is not recorded: commands that only look write nothing."""
        _HELD[store.uri, self.digest] = self

    @classmethod
    def read(cls, store: Store, digest: str) -> Manifest:
        """Read a manifest by its digest; raises `ArtifactError` if there is none or it is corrupt."""
        name = f"{FOLDER}/{digest}.json"
        try:
            data = store.read(name)
        except ArtifactError:
            if (store.uri, digest) in _HELD:
                return _HELD[store.uri, digest]
            raise
        try:
            body = json.loads(data)
            splits = {split: tuple(Shard.from_json(row) for row in body["splits"][split]) for split in body["order"]}
            found = cls(splits, tuple(body["categories"]), dict(body["names"]), dict(body.get("numbers", {})))
        except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
            raise ArtifactError(f"{store.uri}/{name} is corrupt: {error}; {_MEND}") from error
        if found.digest != digest:
            raise ArtifactError(f"{store.uri}/{name} is corrupt: its content is not what its name says; {_MEND}")
        return found
