"""The manifest of an images artifact: every split's keys, in order, cut into shards. All later stages follow it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pipelines.engine.fingerprint import canonical_json
from pipelines.engine.workspace import Artifact
from sppnet.errors import ArtifactError, ConfigError

NAME = "manifest.json"


@dataclass(frozen=True, slots=True)
class Manifest:
    """Which keys a data set has.

    Attributes:
        splits: Per split, its shards; per shard, its keys in order.
        categories: All categories that annotations may name, in order.
        names: Words for people by category, where categories are codes such as wnids.
    """

    splits: Mapping[str, tuple[tuple[str, ...], ...]]
    categories: tuple[str, ...]
    names: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def cut(cls, splits: Mapping[str, Sequence[str]], categories: Sequence[str], shard_size: int) -> Manifest:
        """Cuts each split's keys into shards of `shard_size`."""
        cut = {
            split: tuple(tuple(keys[start : start + shard_size]) for start in range(0, len(keys), shard_size))
            for split, keys in splits.items()
        }
        return cls(splits=cut, categories=tuple(categories))

    def units(self, split: str) -> tuple[str, ...]:
        """Names of a split's shards: `<split>/000000`, `<split>/000001`, ..."""
        if split not in self.splits:
            raise ConfigError(f"split '{split}' is not in the images; they hold: {', '.join(self.splits)}")
        return tuple(f"{split}/{number:06d}" for number in range(len(self.splits[split])))

    def keys(self, unit: str) -> tuple[str, ...]:
        """The keys of a shard, in order."""
        split, number = unit.rsplit("/", 1)
        return self.splits[split][int(number)]

    def count(self, split: str) -> int:
        """How many keys a split has."""
        return sum(map(len, self.splits[split]))

    def words(self) -> dict[str, str]:
        """What people call each category: its name, with its code behind it where others have the same name."""
        called = {category: self.names.get(category, category) for category in self.categories}
        often = Counter(called.values())
        return {code: word if often[word] == 1 else f"{word} ({code})" for code, word in called.items()}

    def write(self, artifact: Artifact) -> None:
        """Records the manifest once in the images artifact."""
        body: dict[str, Any] = {
            "categories": list(self.categories),
            "splits": {k: [list(s) for s in v] for k, v in self.splits.items()},
        }
        if self.names:
            body["names"] = dict(self.names)
        artifact.store.create(f"{artifact.name}/{NAME}", canonical_json(body).encode())

    @classmethod
    def read(cls, artifact: Artifact) -> Manifest:
        """Reads the manifest of an images artifact; raises `ArtifactError` if there is none."""
        data = artifact.store.read(f"{artifact.name}/{NAME}")
        try:
            body = json.loads(data)
            splits = {k: tuple(tuple(s) for s in v) for k, v in body["splits"].items()}
            return cls(splits=splits, categories=tuple(body["categories"]), names=dict(body.get("names", {})))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ArtifactError(f"{artifact.store.uri}/{artifact.name}/{NAME} is corrupt: {error}") from error
