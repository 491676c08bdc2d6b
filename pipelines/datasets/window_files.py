"""Windows that another program proposed, from its files: MATLAB's `.mat`, JSON, or this project's Parquet."""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import numpy.typing as npt

from pipelines.artifacts.annotations import turned
from pipelines.artifacts.windows_and_maps import decode_windows
from pipelines.datasets.contents import Contents
from pipelines.datasets.matlab import read_mat
from pipelines.datasets.named_images import key_among
from pipelines.datasets.outside_files import find_outside, read_outside, seen_outside
from pipelines.engine.workspace import Workspace
from sppnet.errors import ArtifactError, ConfigError, DataError
from sppnet.outside import parse_json, parsing
from sppnet.proposals.windows import BoxConvention, to_windows
from sppnet.sizes import Size

SUFFIXES = (".mat", ".json", ".parquet")
OURS: BoxConvention = "xyxy-0-half-open"
"""What a Parquet file's windows are."""
_ONE_IMAGE = "_boxes"
_WHAT = "paths: windows"


@dataclass(frozen=True, slots=True, eq=False)
class FoundBoxes:
    """Boxes of many images as their files have them.

    Attributes:
        boxes: By key, `[n, 4]` or more columns; not checked.
        sizes: Width and height of an image in pixels, by key, where the file says it.
    """

    boxes: Mapping[str, Any]
    sizes: Mapping[str, tuple[int, int]] = field(default_factory=dict)

    def windows(self, key: str, width: int, height: int, convention: BoxConvention) -> npt.NDArray[np.float64]:
        """Return an image's windows, float64 `[n, 4]` pixels, not yet fitted into the image.

        Raises:
            DataError: `no-windows` (the files don't know the image), `bad-windows` (no boxes), `size-mismatch`.
        """
        if key not in self.boxes:
            raise DataError("no-windows", "the files hold no windows of this image")
        if self.sizes.get(key, (width, height)) != (width, height):
            wide, high = self.sizes[key]
            raise DataError(
                "size-mismatch",
                f"the windows are of {wide} x {high} pixels, the image is {width} x {height}"
                + turned(Size(wide, high), Size(width, height)),
            )
        with parsing(lambda why: DataError("bad-windows", f"boxes of different lengths, or no numbers ({why})")):
            boxes = np.asarray(self.boxes[key])
        return to_windows(boxes, convention)


def digest_window_files(paths: Sequence[str], contents: Contents) -> list[list[str]]:
    """Tell what files are, wherever they lie: their digests, with the key where the file's name tells it; sorted."""
    files = _files(paths)
    digests = contents.digests([seen_outside(file, _WHAT) for file in files])
    return sorted([digest, *_key_of_name(file)] for digest, file in zip(digests, files, strict=True))


def read_window_files(
    paths: Sequence[str], convention: BoxConvention, known: Container[str] = frozenset()
) -> FoundBoxes:
    """Read the boxes of several files.

    Args:
        paths: Files, or folders of them; the folder of a windows artifact stands for what is committed. A `.mat` file
            has the cells `images` and `boxes`, or, called `<key>_boxes.mat`, only the boxes of one image; JSON is
            `{key: [[..4 numbers], ..]}`; Parquet is that of a windows artifact.
        convention: What the boxes' numbers mean.
        known: The keys of the images: a name in a file is taken for the one that it means, see `key_among`.

    Raises:
        ConfigError: A file can't be read or is something else, an image comes twice, or Parquet is to be read with
            another convention than its own.
    """
    boxes: dict[str, Any] = {}
    sizes: dict[str, tuple[int, int]] = {}
    for file in _files(paths):
        data = read_outside(file, _WHAT)
        for name, found, size in _READERS[PurePosixPath(file).suffix](data, file, convention):
            key = key_among(name.strip(), known)
            if key in boxes:
                raise ConfigError(f"{_WHAT} {file}: image {name!r} comes twice")
            boxes[key] = found
            if size:
                sizes[key] = size
    return FoundBoxes(boxes, sizes)


def _files(paths: Sequence[str]) -> list[str]:
    files: list[str] = []
    for path in paths:
        folder, _, name = path.rstrip("/").rpartition("/")
        if name.startswith("windows-") and not name.endswith(SUFFIXES):
            artifact = Workspace.open(folder or ".").artifact(name)
            commits = artifact.commits(sorted(artifact.committed()))
            files += [f"{path.rstrip('/')}/{commit.data}" for commit in commits if commit.data]
        else:
            files += find_outside([path], SUFFIXES, _WHAT)
    if not files:
        raise ConfigError(f"{_WHAT} {', '.join(paths)}: nothing is committed there")
    return files


_Found = Iterator[tuple[str, Any, tuple[int, int] | None]]


def _read_mat(data: bytes, file: str, _: BoxConvention) -> _Found:
    content = read_mat(data, ("boxes", "images"), f"{_WHAT} {file}")
    if "boxes" not in content:
        raise ConfigError(f"{_WHAT} {file}: holds no variable 'boxes'")
    if "images" not in content:
        if not _key_of_name(file) or content["boxes"].dtype == object:
            raise ConfigError(f"{_WHAT} {file}: no variable 'images'; one image's boxes are in <key>{_ONE_IMAGE}.mat")
        yield _key_of_name(file)[0], content["boxes"], None
        return
    names, boxes = (content[name].ravel() for name in ("images", "boxes"))
    if len(names) != len(boxes) or boxes.dtype != object:
        raise ConfigError(f"{_WHAT} {file}: {len(names)} images but {len(boxes)} cells of boxes")
    for name, found in zip(names, boxes, strict=True):
        text = np.asarray(name).ravel()
        if text.size != 1 or text.dtype.kind != "U":
            raise ConfigError(f"{_WHAT} {file}: 'images' holds {text!r:.60} where a name belongs")
        yield str(text[0]), found, None


def _read_json(data: bytes, file: str, _: BoxConvention) -> _Found:
    content = parse_json(data, lambda why: ConfigError(f"{_WHAT} {file}: not JSON ({why})"))
    if not isinstance(content, dict):
        raise ConfigError(f"{_WHAT} {file}: expected a mapping from image to boxes")
    for name, found in content.items():
        yield name, found, None


def _read_parquet(data: bytes, file: str, convention: BoxConvention) -> _Found:
    if convention != OURS:
        raise ConfigError(f"convention: windows in Parquet are '{OURS}', not '{convention}' ({file})")
    try:
        with parsing(lambda why: ConfigError(f"{_WHAT} {file}: not windows ({why})")):
            rows = decode_windows(data, file)
    except ArtifactError as error:
        raise ConfigError(f"{_WHAT} {error}") from error
    for row in rows:
        yield row.key, row.windows, (row.width, row.height)


_READERS = {".mat": _read_mat, ".json": _read_json, ".parquet": _read_parquet}


def _key_of_name(file: str) -> list[str]:
    """Return the key in `<key>_boxes.mat`; none in another name."""
    path = PurePosixPath(file)
    return [path.stem.removesuffix(_ONE_IMAGE)] if path.suffix == ".mat" and path.stem.endswith(_ONE_IMAGE) else []
