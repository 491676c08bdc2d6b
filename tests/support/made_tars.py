"""Small webdataset tars, member by member."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import numpy as np
from PIL import Image


def jpeg(grey: int = 90, size: tuple[int, int] = (40, 30)) -> bytes:
    """A picture of one grey, width and height in pixels."""
    sink = io.BytesIO()
    Image.fromarray(np.full((size[1], size[0], 3), grey, np.uint8)).save(sink, "JPEG")
    return sink.getvalue()


def write_tar(path: Path, *members: tuple[str, bytes]) -> Path:
    """Writes a tar of members, by name and bytes, in their order."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path
