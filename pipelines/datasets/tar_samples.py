"""What the samples of webdataset tars say: their images, labels and annotations."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, NamedTuple, TypeAlias, cast

from pipelines.artifacts.annotations import ImageAnnotation
from pipelines.artifacts.image_tars import read_samples
from pipelines.datasets.contents import JSON, Contents
from pipelines.datasets.file_names import FoundFile
from pipelines.datasets.folder_files import IMAGE_EXTENSIONS
from pipelines.datasets.keys import safe_key
from pipelines.datasets.protocol import ImageFile
from pipelines.engine.fingerprint import content_digest
from sppnet.errors import DataError

Members: TypeAlias = Mapping[str, bytes]
"""A sample's members by extension."""

_SUMMARY = "samples"
"""The kind of summary that `_summarise` makes."""
_READERS = 2  # tars are read whole


class Sample(NamedTuple):
    """What is remembered of a sample, as JSON values.

    Attributes:
        key: Its key.
        images: How many images it has.
        image: SHA-256 of its image; None where there is none, or where there are several.
        said: What it says of its objects, see `understand`.
        labels: The categories that it names.
    """

    key: str
    images: int
    image: str | None
    said: dict[str, JSON]
    labels: list[str]


def read_members(tar: bytes, where: str) -> dict[str, dict[str, bytes]]:
    """Read a tar's samples by key; raise like `read_samples`, whose names become keys."""
    return {safe_key(name): members for name, members in read_samples(tar, where).items()}


def remembered_samples(tars: Sequence[FoundFile], contents: Contents) -> list[list[Sample]]:
    """Return the samples of each tar, reading only tars that are new or changed; a few at a time are in memory.

    Raises:
        ArtifactError: A tar is broken.
        ConfigError: A member comes twice.
    """

    def of(tar: FoundFile) -> list[Sample]:
        (rows,) = contents.of([tar.seen()], partial(_summarise, where=tar.uri), _SUMMARY)
        return [Sample(*row) for row in cast(list[Any], rows)]

    with ThreadPoolExecutor(_READERS) as pool:
        return list(pool.map(of, tars))


def samples_of(tars: Sequence[FoundFile]) -> list[dict[str, list[str]]]:
    """Read each tar's samples: the extensions of their members by key; raise like `remembered_samples`."""

    def of(tar: FoundFile) -> dict[str, list[str]]:
        return {key: list(members) for key, members in read_members(tar.read(), tar.uri).items()}

    with ThreadPoolExecutor(_READERS) as pool:
        return list(pool.map(of, tars))


def image_of(key: str, members: Members) -> ImageFile:
    """Return a sample's image.

    Raises:
        DataError: `missing-image`, `several-images`.
    """
    images = images_of(members)
    if len(images) != 1:
        reason = "several-images" if images else "missing-image"
        raise DataError(reason, f"{key}: the sample has the members {', '.join(members) or 'none'}")
    return ImageFile(members[images[0]], images[0].lower())


def _summarise(tar: bytes, where: str) -> JSON:
    """Summarise a tar: the rows of `Sample` in its order; raise like `read_samples`."""
    rows: list[JSON] = []
    for key, members in read_members(tar, where).items():
        sample = _sample(key, members)
        rows.append([sample.key, sample.images, sample.image, sample.said, [*sample.labels]])
    return rows


def _sample(key: str, members: Members) -> Sample:
    images = images_of(members)
    image = content_digest(members[images[0]]) if len(images) == 1 else None
    return Sample(key, len(images), image, *understand(members))


def images_of(members: Iterable[str]) -> list[str]:
    """Return the extensions of a sample's images, of those of its members."""
    return [extension for extension in members if extension in IMAGE_EXTENSIONS]


def understand(members: Members) -> tuple[dict[str, JSON], list[str]]:
    """Tell what a sample says of its objects.

    Returns:
        `annotation` with the digest of one of ours, or `class` with its number, its name or None, or `broken` with
        digests of what can't be read; and the categories that are named.
    """
    try:
        annotation = own_json("", members)
        if annotation is not None:
            named = dict.fromkeys(thing.category for thing in annotation.objects)
            return {"annotation": content_digest(members["json"])}, list(named)
        label = class_of("", members)
        return {"class": label}, [] if label is None else [str(label)]
    except DataError:  # which `Tars.annotation` will tell
        return {"broken": [content_digest(members.get(name, b"")) for name in ("json", "cls")]}, []


def own_json(key: str, members: Members) -> ImageAnnotation | None:
    """Return the sample's annotation, if it has one of ours; raise `DataError("bad-annotation")` for a broken one."""
    if "json" not in members:
        return None
    try:
        body = json.loads(members["json"])
        if not isinstance(body, dict) or "objects" not in body:
            return None
        return ImageAnnotation.from_json({**body, "key": key})
    except ValueError as error:
        raise DataError("bad-annotation", f"{key}: {error}") from error


def class_of(key: str, members: Members) -> int | str | None:
    """Return the number or name of the sample's class; raise `DataError("bad-annotation")` for one that is neither."""
    if "cls" in members:
        try:
            return int(members["cls"])
        except ValueError as error:
            raise DataError("bad-annotation", f"{key}: .cls is not a number: {error}") from None
    return members["txt"].decode("utf-8", "replace").strip() or None if "txt" in members else None
