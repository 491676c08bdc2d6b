"""Looking at a data set: which images it holds, in which shards, and what has changed since the last look.

Shards keep their images: those that were cut before stay together as long as they are there, and images that are new
go into new shards. So an image that is added, replaced or removed changes one shard, and leaves all that was made of
the others as it is.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipelines.artifacts.manifest import Manifest, Shard, name_annotations, name_images
from pipelines.datasets.contents import Contents
from pipelines.datasets.protocol import DataSet, Item, NumbersCategories
from pipelines.engine.looks import Look, Past, PastLook
from sppnet.errors import ArtifactError

CONTENTS = "contents.parquet"
"""The object of a look that holds what files held, by their stamps."""
ITEMS = "items.json"
"""The object of a look that holds the images as they were listed."""
Cut = Mapping[str, Sequence[Sequence[str]]]
"""By split, the keys of its shards."""


def known_contents(past: Past) -> Contents:
    """Return what files held at the last look for the same, else at the last one; raise `ArtifactError` for damage."""
    if not past.looks:
        return Contents()
    before = past.looks[0]
    return Contents.decode(before.read(CONTENTS), f"{before.store.uri}/{before.name}/{CONTENTS}")


def look_of_files(digests: Mapping[str, Any], contents: Contents) -> Look:
    """Return the look of a step that reads files outside the workspace whole.

    Args:
        digests: What its artifact's fingerprint follows: digests that `contents` gave.
        contents: What the files hold, known from the look before or read anew.
    """
    return Look(digests=digests, objects={CONTENTS: contents.encode()}, reread=contents.read_count > 0)


@dataclass(frozen=True, slots=True)
class SeenDataSet:
    """A data set as a look found it.

    Attributes:
        manifest: Its shards.
        items: By split, its images in the order of the shards.
    """

    manifest: Manifest
    items: Mapping[str, tuple[Item, ...]]

    def encode(self) -> bytes:
        """Encode the images, as JSON: by split, a row each of key, image, label, group."""
        rows = {split: [[i.key, i.image, i.label, i.group] for i in items] for split, items in self.items.items()}
        return json.dumps(rows).encode()


def decode_items(data: bytes, where: str) -> dict[str, tuple[Item, ...]]:
    """Decode what `SeenDataSet.encode` gave; raises `ArtifactError` naming `where` if it is something else."""
    try:
        return {split: tuple(Item(*row) for row in rows) for split, rows in json.loads(data).items()}
    except (ValueError, TypeError, AttributeError) as error:
        raise ArtifactError(f"{where} is corrupt ({error}); remove its folder and run again") from error


def seen_before(past: PastLook) -> SeenDataSet:
    """Return the data set that a past look found; raise `ArtifactError` if a part of it is missing or corrupt."""
    manifest = Manifest.read(past.store, past.look.manifest)
    return SeenDataSet(manifest, decode_items(past.read(ITEMS), f"{past.store.uri}/{past.name}/{ITEMS}"))


def look_at(dataset: DataSet, contents: Contents, size: int, before: Cut) -> SeenDataSet:
    """List a data set's images and cut them into shards.

    Args:
        dataset: The data set.
        contents: What its files held at the last look.
        size: Images of a new shard.
        before: The shards that it was cut into before; empty for none.

    Raises:
        ConfigError: A split is empty, or names an image twice, and so on; see `DataSet.items`.
    """
    listed = {split: dataset.items(split, contents) for split in dataset.splits}
    categories = dataset.categories(contents)
    numbers = dataset.category_numbers(contents) if isinstance(dataset, NumbersCategories) else {}
    splits: dict[str, tuple[Shard, ...]] = {}
    items: dict[str, tuple[Item, ...]] = {}
    for split, found in listed.items():
        parts = cut_items(found, size, before.get(split, ()))
        splits[split] = tuple(_shard(part, categories) for part in parts)
        items[split] = tuple(item for part in parts for item in part)
    return SeenDataSet(Manifest(splits, categories, dict(dataset.names()), numbers), items)


def cut_items(items: Sequence[Item], size: int, before: Sequence[Sequence[str]] = ()) -> list[tuple[Item, ...]]:
    """Cut a split's images into shards.

    Images of one group are one shard. Of the others, those that were together in a shard before still are, in its
    order; the rest are cut into shards of `size`, in theirs. A shard of which nothing is left is none. Where less than
    half of what was cut before is left, all is cut anew: it is another data set, or a small part of it, and would be
    left with scraps of shards.
    """
    groups: dict[str, list[Item]] = {}
    for item in items:
        groups.setdefault(item.group, []).append(item)
    alone = {item.key: item for item in groups.pop("", [])}
    if 2 * sum(key in alone for keys in before for key in keys) < sum(map(len, before)):
        before = ()
    kept = [tuple(alone.pop(key) for key in keys if key in alone) for keys in before]
    rest = list(alone.values())
    new = [tuple(rest[start : start + size]) for start in range(0, len(rest), size)]
    # Groups first: what is cut here takes their places neither at the first look nor when it has become one of `kept`.
    return [part for part in (*map(tuple, groups.values()), *kept, *new) if part]


def _shard(items: Sequence[Item], categories: Sequence[str]) -> Shard:
    images = name_images((item.key, item.image) for item in items)
    annotations = name_annotations(images, [item.label for item in items], categories)
    files = tuple(item.files or () for item in items) if any(item.files is not None for item in items) else ()
    return Shard(images, annotations, tuple(item.key for item in items), items[0].group, files)


def known_cut(past: Past) -> Cut:
    """Return how splits were cut at the last look that had them; raise `ArtifactError` for damage."""
    found: dict[str, Sequence[Sequence[str]]] = {}
    for before in past.looks:
        found |= cut_of(Manifest.read(before.store, before.look.manifest))
    return found


def cut_of(manifest: Manifest) -> Cut:
    """Return the keys of a manifest's shards by split, of those that are not the data set's own."""
    return {split: [s.keys for s in shards if not s.group] for split, shards in manifest.splits.items()}


def describe_changes(before: SeenDataSet, now: SeenDataSet) -> list[str]:
    """Say what has changed, a line a shard: `train/000012: 1 image replaced, 3 labels changed`.

    Args:
        before: The data set as it was.
        now: As it is.
    """
    lines = []
    for split in dict.fromkeys((*before.items, *now.items)):
        if split not in now.items:
            lines.append(f"{split}: the split is gone")
            continue
        old = {item.key: item for item in before.items.get(split, ())}
        new = {item.key: item for item in now.items[split]}
        counts: dict[str, Counter[str]] = {}
        for title, keys in _titled(now.manifest, split):
            counts[title] = Counter(filter(None, (_change(old.get(key), new[key]) for key in keys)))
        for title, keys in _titled(before.manifest, split):
            gone = sum(key not in new for key in keys)
            if gone:
                counts.setdefault(title, Counter())["removed"] += gone
        lines += [f"{title}: {_told(count)}" for title, count in sorted(counts.items()) if count]
    if before.manifest.categories != now.manifest.categories:
        lines.append(f"categories: were {_listed(before.manifest)}, are {_listed(now.manifest)}")
    return lines


def _titled(manifest: Manifest, split: str) -> Iterable[tuple[str, tuple[str, ...]]]:
    for number, shard in enumerate(manifest.splits.get(split, ())):
        yield f"{split}/{number:06d}", shard.keys


def _change(old: Item | None, new: Item) -> str:
    if old is None:
        return "added"
    if old.image != new.image:
        return "replaced"
    return "label" if old.label != new.label else ""


def _told(count: Counter[str]) -> str:
    parts = [
        f"{count[what]} image{'s' * (count[what] > 1)} {what}"
        for what in ("added", "replaced", "removed")
        if count[what]
    ]
    if count["label"]:
        parts.append(f"{count['label']} label{'s' * (count['label'] > 1)} changed")
    return ", ".join(parts)


def _listed(manifest: Manifest) -> str:
    return ", ".join(manifest.categories) or "none"
