"""What images are called in what goes out: the name of the file, as the user knows it."""

from __future__ import annotations

import re
from collections.abc import Iterable

from pipelines.artifacts.manifest import Manifest
from pipelines.datasets.keys import shown

_BLANKS = re.compile(r"[%\s]")


class FileNames:
    """The names of images by key.

    Args:
        manifest: Of the data set.
        units: The shards whose images are named; all by default.
    """

    def __init__(self, manifest: Manifest, units: Iterable[str] | None = None) -> None:
        wanted = {unit for split in manifest.splits for unit in manifest.units(split)} if units is None else units
        pairs = (pair for unit in wanted for pair in manifest.shard(unit).files_of())
        self._files = {key: _inside(key, files[0]) for key, files in pairs if files}

    def of(self, key: str) -> str:
        """Return an image's file below the folder that keys are below; of a sample the name that it has in its tar."""
        return self._files.get(key) or shown(key)


def _inside(key: str, file: str) -> str:
    """Return a file's path without the folders of a layout, such as `JPEGImages`, which its key leaves out too."""
    return "/".join(file.split("/")[-1 - key.count("/") :])


def row_name(key: str) -> str:
    """Return what a row of blank-separated columns calls an image: its path without the extension.

    Blanks and percent signs are `%` and two digits, as in URLs; all else, dots too, is as it is.
    """
    return _BLANKS.sub(lambda mark: "".join(f"%{byte:02X}" for byte in mark[0].encode()), shown(key))
