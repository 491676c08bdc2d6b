"""What the samples of webdataset tars say: their images, labels and annotations."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TypeAlias

from pipelines.artifacts.annotations import ImageAnnotation
from pipelines.artifacts.tar_members import tar_members
from pipelines.datasets.contents import JSON
from pipelines.datasets.keys import is_image
from pipelines.datasets.protocol import ImageFile
from pipelines.datasets.tar_keys import is_name_of, member_name, own_key
from pipelines.engine.commits import BROKEN_SHARD, EMPTY_SHARD, UNREADABLE_SHARD
from pipelines.engine.fingerprint import content_digest
from pipelines.engine.text import decode_text
from sppnet.errors import ConfigError, DataError, UnreadableError
from sppnet.outside import IMAGE_BYTES, NOTE_BYTES, parse_json

Members: TypeAlias = Mapping[str, bytes | DataError]
"""A sample's members by extension; an error for one that can't be used."""

_NOTES = ("json", "cls", "txt")


def read_samples(tar: bytes, where: str) -> dict[str, dict[str, bytes | DataError]]:
    """Read any webdataset tar: by sample, its members' bytes by extension, both in the tar's order.

    Args:
        tar: Its bytes.
        where: Its place, for messages.

    Raises:
        DataError: `shard-broken`, `shard-empty`: it holds no samples.
    """

    def broken(why: str) -> DataError:
        return DataError(BROKEN_SHARD, f"{where}: not a tar that can be read ({why})")

    if not tar:
        raise DataError(EMPTY_SHARD, f"{where}: has no bytes")
    samples: dict[str, dict[str, bytes | DataError]] = {}
    for name, data in tar_members(
        tar, lambda why: DataError(BROKEN_SHARD, f"{where}: not a tar that can be read ({why})")
    ):
        named = member_name(name)
        if named is None:
            continue
        key, extension = named
        sample = samples.setdefault(key, {})
        if extension in sample:
            sample[extension] = DataError("doubled-member", f"{key}: {where} holds {name!r} twice")
        else:
            sample[extension] = _bounded(data, key, extension)
    if not samples:
        raise DataError(EMPTY_SHARD, f"{where}: holds no samples")
    return samples


def _bounded(data: bytes | DataError, key: str, extension: str) -> bytes | DataError:
    most = NOTE_BYTES if extension in _NOTES else IMAGE_BYTES
    if isinstance(data, DataError) or len(data) <= most:
        return data
    return DataError("file-too-large", f"{key}: .{extension} has {len(data)} bytes, the limit is {most}")


def tar_bytes(read: Callable[[], bytes]) -> bytes:
    """Read a tar's bytes; raise `DataError` `shard-unreadable` for what is no file that can be read."""
    try:
        return read()
    except UnreadableError as error:
        raise DataError(UNREADABLE_SHARD, str(error)) from error


def members_of(samples: Mapping[str, Members], tar: str, key: str) -> Members:
    """Return the members of a sample by its key in the data set, see `pipelines.datasets.tar_keys.told_apart`.

    Raises:
        DataError: `shard-empty`: the key is the tar's own name.
    """
    found = samples.get(key) or samples.get(own_key(tar, key))
    if found is None and is_name_of(tar, key):
        raise DataError(EMPTY_SHARD, f"{tar}: none of its {len(samples)} samples has an image")
    return found or {}


def image_of(key: str, members: Members) -> ImageFile:
    """Return a sample's image: its one member with an image's extension.

    Others with more before it, such as `seg.png`, only count where there is no plain one.

    Raises:
        DataError: `missing-image`, `several-images`, or why the member can't be used.
    """
    images = images_of(members)
    if len(images) != 1:
        reason = "several-images" if images else "missing-image"
        raise DataError(reason, f"{key}: the sample has the members {', '.join(members) or 'none'}")
    return ImageFile(_bytes_of(members, images[0]), images[0].rpartition(".")[2])


def images_of(members: Iterable[str]) -> list[str]:
    """Return the extensions of a sample's images, of those of its members: plain ones if there are any."""
    images = [extension for extension in members if is_image(f"x.{extension}")]
    return [extension for extension in images if "." not in extension] or images


def _bytes_of(members: Members, extension: str) -> bytes:
    found = members[extension]
    if isinstance(found, DataError):
        raise found
    return found


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
            return {"annotation": content_digest(_note_of(members, "json") or b"")}, list(named)
        label = class_of("", members)
        return {"class": label}, [] if label is None else [str(label)]
    except DataError:  # which `Tars.annotation` will tell
        found = (members.get(name, b"") for name in _NOTES)
        return {"broken": [None if isinstance(data, DataError) else content_digest(data) for data in found]}, []


def own_json(key: str, members: Members) -> ImageAnnotation | None:
    """Return the sample's annotation, if it has one of ours; raise `DataError("bad-annotation")` for a broken one."""
    note = _note_of(members, "json")
    if note is None:
        return None

    def broken(why: str) -> DataError:
        return DataError("bad-annotation", f"{key}: {why}")

    body = parse_json(note, broken)
    if not isinstance(body, dict) or "objects" not in body:
        return None
    try:
        return ImageAnnotation.from_json({**body, "key": key})
    except ValueError as error:
        raise broken(str(error)) from error


def class_of(key: str, members: Members) -> int | str | None:
    """Return the number or name of the sample's class; raise `DataError("bad-annotation")` for one that is neither."""
    number = _text_of(key, members, "cls")
    if number is None:
        return _text_of(key, members, "txt") or None
    try:
        return int(number)
    except ValueError as error:
        raise DataError("bad-annotation", f"{key}: .cls is not a number: {error}") from None


def _text_of(key: str, members: Members, extension: str) -> str | None:
    note = _note_of(members, extension)
    try:
        return None if note is None else decode_text(note, f".{extension}").strip()
    except ConfigError as error:
        raise DataError("bad-annotation", f"{key}: {error}") from None


def _note_of(members: Members, extension: str) -> bytes | None:
    """Return the bytes of what is said of a sample; of the image `left.jpg` that is `left.cls` where there is no `cls`.

    Raises:
        DataError: The member can't be used.
    """
    images = images_of(members)
    beside = [f"{images[0].rpartition('.')[0]}.{extension}"] if len(images) == 1 else []
    found = next((name for name in (extension, *beside) if name in members), None)
    return None if found is None else _bytes_of(members, found)
