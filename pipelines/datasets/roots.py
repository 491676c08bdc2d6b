"""Why a data set's folder holds nothing of what its kind takes: one message for each reason."""

from __future__ import annotations

from pipelines.datasets.folder_files import Folder
from pipelines.datasets.keys import is_image
from pipelines.datasets.tar_keys import is_tar
from pipelines.engine.store import LocalStore
from sppnet.errors import ConfigError


def refused(folder: Folder, kind: str, why: ConfigError | str) -> ConfigError:
    """Return the error of a data set in whose folder its files were not found.

    Args:
        folder: The folder.
        kind: The data set's kind.
        why: What is missing, where the folder itself is not the reason.
    """
    root = folder.where("").rstrip("/") or "/"
    if isinstance(folder.reader, LocalStore):
        if folder.reader.root.is_file():
            hint = f"give the folder that it lies in, or kind: images with paths: [{root}]"
            return ConfigError(f"dataset.root: {root} is a file and kind '{kind}' takes a folder; {hint}")
        if not folder.reader.root.is_dir():
            return ConfigError(f"dataset.root: {root} does not exist on this machine")
    names = list(folder.files())
    if not names:
        empty = "is empty" if isinstance(folder.reader, LocalStore) else "holds no objects"
        return ConfigError(f"dataset.root: {root} {empty}; kind '{kind}' takes a folder of images")
    tars = [name for name in names if is_tar(name)]
    if tars and not any(map(is_image, names)):
        hint = "give kind: tars with splits, or kind: images"
        return ConfigError(
            f"dataset.root: {root} holds tars such as {tars[0]}, and kind '{kind}' takes image files; {hint}"
        )
    return ConfigError(f"dataset.root: {why}")
