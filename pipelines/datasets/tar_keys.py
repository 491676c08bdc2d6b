"""Names in tars and of tars, and the keys that they become."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Sequence

from pipelines.datasets.keys import is_hidden, safe_key

_TARS = re.compile(r".*\.(tar(\.(gz|bz2|xz|zst))?|tgz|tbz2?|txz)", re.IGNORECASE | re.DOTALL)
_UNREADABLE = re.compile("[\0\udc80-\udcff]")


def is_tar(name: str) -> bool:
    """Tell by its extension whether a file is a tar, compressed or not, in any case."""
    return _TARS.fullmatch(name) is not None


def member_name(name: str) -> tuple[str, str] | None:
    """Return the key of the sample that a member is of, and its extension, in lower case.

    As webdataset has it, an extension starts at the first dot of the file's name: `n01/a.left.jpg` is `left.jpg` of
    `n01/a`. A leading `./` or `/`, empty folders and Windows' separators don't count. Bytes of a name that are no UTF-8
    become `%FF`, as dots become `%2E` (see `pipelines.datasets.keys.key_of`).

    Returns:
        None for what is of no sample: hidden files, files in hidden folders, what macOS puts beside (`._a.jpg`,
        `__MACOSX`), and files without an extension.
    """
    parts = [part for part in name.replace("\\", "/").split("/") if part not in ("", ".")]
    if not parts or is_hidden("/".join(parts)):
        return None
    stem, _, extension = parts[-1].partition(".")
    if not stem or not extension:
        return None
    key = safe_key("/".join([*parts[:-1], stem]))
    return _UNREADABLE.sub(lambda mark: f"%{ord(mark[0]) & 0xFF:02X}", key), extension.lower()


def tar_names(tars: Sequence[str]) -> list[str]:
    """Return a key for each of several tars: its file's name, with as many of its folders as tell them all apart."""
    parts = [_parts(tar) for tar in tars]
    depth = 1
    while len({tuple(part[-depth:]) for part in parts}) < len(parts) and depth < max(map(len, parts)):
        depth += 1
    return ["/".join(part[-depth:]) for part in parts]


def told_apart(tars: Sequence[str], keys: Sequence[Sequence[str]], taken: Collection[str] = ()) -> list[list[str]]:
    """Return the keys of samples by which those of several tars are told apart.

    Of a tar that has a key of another one, all keys come after the tar's name: `shard-0001%2Etar/000000`.

    Args:
        tars: The tars, each by another path or URI.
        keys: The keys of each one's samples.
        taken: Keys of images that are in no tar.
    """
    often = Counter(key for own in keys for key in own)
    often.update(list(taken))
    names = tar_names(tars)
    return [
        [f"{name}/{key}" for key in own] if any(often[key] > 1 for key in own) else list(own)
        for name, own in zip(names, keys, strict=True)
    ]


def own_key(tar: str, key: str) -> str:
    """Return the key that a sample has in its tar, from that of `told_apart`; one without the tar's name as it is."""
    head = key
    while "/" in head:
        head = head.rpartition("/")[0]
        if is_name_of(tar, head):
            return key[len(head) + 1 :]
    return key


def is_name_of(tar: str, key: str) -> bool:
    """Tell whether a key is the name of a tar, as `tar_names` gives it: the end of its path."""
    place = "/".join(_parts(tar))
    return place == key or place.endswith(f"/{key}")


def _parts(tar: str) -> list[str]:
    return [safe_key(part) for part in tar.split("/") if part not in ("", ".")]
