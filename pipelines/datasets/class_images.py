"""Which images lie in the class folders of a split, by key, and what lies beside them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from functools import cached_property, lru_cache, partial
from typing import TypeAlias

from pipelines.datasets.contents import SeenFile
from pipelines.datasets.folder_files import Folder, Listing, Reader
from pipelines.datasets.keys import check_split, composed, is_hidden, is_image, mixed, path_of
from pipelines.datasets.left_out import LeftOut
from pipelines.datasets.named_images import NamedImages
from pipelines.datasets.roots import refused
from pipelines.engine.store import LocalStore
from pipelines.engine.text import text_lines
from sppnet.errors import ConfigError

_Files: TypeAlias = tuple[SeenFile, ...]
"""An image's files; none of an image that is not there, several of images whose keys clash."""


class ClassImages:
    """The images of class folders.

    Args:
        reader: Gives the files below the root.
        splits: Their names.
        flat: Whether the class folders lie directly below the root.
        lists: Lists by split, for class folders directly below the root.
        skip: Class folders that are left out.
        max_per_class: At most so many images of each class folder and split.
    """

    def __init__(
        self,
        reader: Reader,
        splits: tuple[str, ...],
        *,
        flat: bool = False,
        lists: Mapping[str, str] | None = None,
        skip: tuple[str, ...] = (),
        max_per_class: int | None = None,
    ) -> None:
        self._reader = reader
        self._folder = Folder(reader)
        self._splits, self._flat, self._lists = splits, flat, lists
        self._skip, self._max_per_class = skip, max_per_class
        self._listing = lru_cache(maxsize=None)(self._list)

    def prefix(self, split: str) -> str:
        """Return the folder of a split's class folders below the root, with a slash; empty for the root."""
        return "" if self._flat or self._lists else f"{split}/"

    @property
    def classes(self) -> set[str]:
        """The names of the class folders of all splits that have images."""
        return {path_of(class_of(key)) for keys in self._keys.values() for key in keys}

    def left_out(self, split: str, tables: Collection[str]) -> LeftOut:
        """Return what lies in a split's folder and is neither an image of a class nor one of the tables."""
        return self._listing(self.prefix(split)).left_out(partial(self._is_taken, tables=tables))

    def of(self, split: str) -> dict[str, _Files]:
        """Return a split's keys in their order, with their files."""
        check_split(split, self._splits)
        files = self._keys[split]
        return {key: files[key] for key in mixed(files)}

    @cached_property
    def _keys(self) -> dict[str, dict[str, _Files]]:
        """By split, every key with its files; none for one that is listed but not there."""
        if self._lists:
            found = self._listed(self._lists)
        else:
            found = {split: self._found(self.prefix(split), split) for split in self._splits}
        return {split: self._at_most(keys) for split, keys in found.items()}

    def _at_most(self, keys: dict[str, _Files]) -> dict[str, _Files]:
        """Return the keys that `max_per_class` leaves."""
        limit = self._max_per_class
        if limit is None:
            return keys
        taken: Counter[str] = Counter()
        kept = set()
        for key in mixed(keys):
            name = class_of(key)
            if taken[name] < limit:
                taken[name] += 1
                kept.add(key)
        return {key: row for key, row in keys.items() if key in kept}

    def _found(self, prefix: str, split: str) -> dict[str, _Files]:
        """Return the keys of a folder of class folders."""
        named = self._images(prefix)
        if not named.keys:
            where = self._folder.where(prefix).rstrip("/")
            hint = "" if self._flat else "; with class folders right below the root, set flat"
            raise refused(self._folder, "folders", f"split {split!r} has no class folders with images: {where}{hint}")
        return {key: named.of(key) for key in named.keys}

    def _listed(self, lists: Mapping[str, str]) -> dict[str, dict[str, _Files]]:
        """Return the keys of lists; a listed image that is not there stays a key, and is quarantined as missing."""
        named = self._images("")
        found: dict[str, dict[str, _Files]] = {}
        for split, path in lists.items():
            where = self._folder.where(path)
            lines = text_lines(self._folder.need(path, f"dataset.split_files: list of split {split!r}"), where)
            if not lines:
                raise ConfigError(f"split {split!r} is empty: {where}")
            found[split] = named.listed(lines, where)
        return found

    def _images(self, prefix: str) -> NamedImages:
        """List all images in class folders, by their paths below `prefix`.

        Raises:
            ConfigError: A class folder has no image; it is named.
        """
        inside = {name: file for name, file in self._listing(prefix).files.items() if self._is_inside(name, prefix)}
        images = {name: file for name, file in inside.items() if is_image(name)}
        known = {class_of(name.removeprefix(prefix)) for name in images}
        folders = {class_of(name.removeprefix(prefix)) for name in inside} | self._local_folders(prefix)
        for name in sorted(folders - known) if known else ():
            raise ConfigError(
                f"class folder {self._folder.where(prefix + name)} has no images; dataset.skip leaves it out"
            )
        return NamedImages(images, prefix.rstrip("/"))

    def _is_inside(self, name: str, prefix: str) -> bool:
        inside = name.removeprefix(prefix)
        return "/" in inside and self._wanted(inside)

    def _is_taken(self, name: str, tables: Collection[str]) -> bool:
        """Tell whether a file is an image of a class, or of a class that is skipped, or a table."""
        prefixes = {self.prefix(split) for split in self._splits}
        inside = [name.removeprefix(prefix) for prefix in prefixes if name.startswith(prefix)]
        if name in tables or any(not self._wanted(path) for path in inside):
            return True
        return is_image(name) and any("/" in path for path in inside)

    def _local_folders(self, prefix: str) -> set[str]:
        """Return the class folders on a disk: a listing has files only, and a folder may have none."""
        if not isinstance(self._reader, LocalStore):
            return set()
        place = self._reader.root / prefix
        names = {path.name for path in place.iterdir() if path.is_dir()} if place.is_dir() else set()
        return {name for name in names if self._wanted(name) and not is_hidden(name)}

    def _wanted(self, name: str) -> bool:
        return composed(class_of(name)) not in map(composed, self._skip)

    def _list(self, prefix: str) -> Listing:
        return self._folder.listing(prefix.rstrip("/"))


def class_of(key: str) -> str:
    """Return the class folder of a key, or of a path in the folder of class folders."""
    return key.split("/", 1)[0]
