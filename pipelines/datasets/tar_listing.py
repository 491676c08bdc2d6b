"""Listing tars of samples: what is remembered of each, and the items and places that a data set has of them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple, TypeAlias, TypeVar, cast

from pipelines.datasets.contents import JSON, Contents
from pipelines.datasets.file_names import FoundFile
from pipelines.datasets.protocol import Item, Place
from pipelines.datasets.tar_keys import tar_names, told_apart
from pipelines.datasets.tar_samples import Members, image_of, images_of, read_samples, tar_bytes, understand
from pipelines.engine.commits import UNREADABLE_SHARD
from sppnet.errors import DataError

T = TypeVar("T")

_READERS = 2  # tars are read whole


class Sample(NamedTuple):
    """What is remembered of a sample, as JSON values.

    Attributes:
        key: Its key in its tar.
        image: SHA-256 of its image; None where there is none that can be used.
        said: What it says of its objects, see `understand`; nothing where only images are looked at.
        labels: The categories that it names.
        images: How many members are images.
    """

    key: str
    image: str | None
    said: dict[str, JSON]
    labels: list[str]
    images: int


Samples: TypeAlias = list[Sample] | DataError
"""A tar's samples in its order; or why the whole tar is set aside."""


def remembered_samples(tars: Sequence[FoundFile], contents: Contents) -> list[Samples]:
    """Return the samples of each tar, reading only tars that are new or changed; a few at a time are in memory."""
    return _remembered(tars, contents, _sample, "tar-samples")


def remembered_images(tars: Sequence[FoundFile], contents: Contents) -> list[Samples]:
    """Return samples like `remembered_samples`, those that have images; nothing else in the tars is looked at."""
    found = _remembered(tars, contents, _image_only, "tar-images")
    return [samples if isinstance(samples, DataError) else [s for s in samples if s.images] for samples in found]


def keys_of_images(tars: Sequence[FoundFile]) -> list[list[str] | DataError]:
    """Read the keys of the samples of `remembered_images`, tar by tar."""
    found = samples_of(tars)
    return [o if isinstance(o, DataError) else [key for key, names in o.items() if images_of(names)] for o in found]


def _remembered(
    tars: Sequence[FoundFile], contents: Contents, make: Callable[[str, Members], Sample], kind: str
) -> list[Samples]:
    def of(tar: FoundFile) -> Samples:
        read = partial(tar_bytes, tar.read)
        (found,) = contents.of([replace(tar.seen(), read=read)], partial(_summarise, where=tar.uri, make=make), kind)
        if found is None:
            return _why(read)
        if isinstance(found, dict):
            return DataError(str(found["reason"]), str(found["detail"]))
        return [Sample(*row) for row in cast(list[Any], found)]

    return _each(tars, of)


def _why(read: Callable[[], bytes]) -> DataError:
    """Return why a tar can't be read, by trying again."""
    try:
        read()
    except DataError as error:
        return error
    return DataError(UNREADABLE_SHARD, "it could not be read when it was looked at; run again")


def samples_of(tars: Sequence[FoundFile]) -> list[dict[str, list[str]] | DataError]:
    """Read each tar's samples: the extensions of their members by key; or why the whole tar is set aside."""

    def of(tar: FoundFile) -> dict[str, list[str]] | DataError:
        try:
            return {key: list(members) for key, members in read_samples(tar_bytes(tar.read), tar.uri).items()}
        except DataError as error:
            return error

    return _each(tars, of)


def _each(tars: Sequence[FoundFile], of: Callable[[FoundFile], T]) -> list[T]:
    with ThreadPoolExecutor(_READERS) as pool:
        return list(pool.map(of, tars))


def tar_items(
    tars: Sequence[FoundFile],
    found: Sequence[Samples],
    label: Callable[[Mapping[str, JSON]], str],
    taken: Collection[str] = (),
) -> list[Item]:
    """List the samples of tars, each tar a group; one that is set aside is one item, by its name.

    Args:
        tars: The tars.
        found: What is in each of them.
        label: Makes `Item.label` of what a sample says.
        taken: Keys of images that are in no tar.
    """
    samples = [[] if isinstance(one, DataError) else one for one in found]
    keys = _keys(tars, [[sample.key for sample in one] for one in samples], taken)
    items: list[Item] = []
    for tar, own, one in zip(tars, keys, samples, strict=True):
        rows = one or [Sample("", None, {}, [], 0)]
        items += [Item(k, s.image, label(s.said), tar.given) for k, s in zip(own, rows, strict=True)]
    return items


def tar_places(
    split: str,
    tars: Sequence[FoundFile],
    found: Sequence[Collection[str] | DataError],
    taken: Collection[str] = (),
) -> list[Place]:
    """List where the samples of tars are, in the order of `tar_items`; `found` has each tar's keys."""
    keys = _keys(tars, [[] if isinstance(one, DataError) else list(one) for one in found], taken)
    return [Place(split, tar.given, key) for tar, own in zip(tars, keys, strict=True) for key in own]


def _keys(tars: Sequence[FoundFile], own: Sequence[Sequence[str]], taken: Collection[str]) -> list[list[str]]:
    """Return the keys of each tar's samples in the data set; of a tar without any, its name."""
    given = [tar.given for tar in tars]
    apart = told_apart(given, own, taken)
    return [keys or [name] for keys, name in zip(apart, tar_names(given), strict=True)]


def _summarise(tar: bytes, where: str, make: Callable[[str, Members], Sample]) -> JSON:
    """Summarise a tar: the rows of `Sample` in its order, or what is wrong with all of it."""
    try:
        samples = read_samples(tar, where)
    except DataError as error:
        return {"reason": error.reason, "detail": error.detail}
    return [cast(JSON, [*make(key, members)]) for key, members in samples.items()]


def _sample(key: str, members: Members) -> Sample:
    said, labels = understand(members)
    return _image_only(key, members)._replace(said=said, labels=labels)


def _image_only(key: str, members: Members) -> Sample:
    try:
        image: str | None = image_of(key, members).digest
    except DataError:  # which `image` will tell
        image = None
    return Sample(key, image, {}, [], len(images_of(members)))
