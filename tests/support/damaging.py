"""Damage as disks, people and other programs do it."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

from pipelines.engine.workspace import Artifact
from tests.support.chain import Chain

OLD = 10 * 24 * 3600.0


def data_path(artifact: Artifact, unit: str) -> Path:
    """The file that a unit's commit names."""
    return Path(artifact.store.uri, artifact.name, str(artifact.commit(unit).data))


def flip(path: Path) -> None:
    """Changes one bit in the middle of a file."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 8
    path.write_bytes(data)


def rewrite(artifact: Artifact, of: str, **fields: Any) -> None:
    """Writes other fields into a unit's commit."""
    place = Path(artifact.store.uri, artifact.commit_name(of))
    place.write_text(json.dumps(json.loads(place.read_text()) | fields))


def age(path: Path, seconds: float = OLD) -> Path:
    """Makes a file look older than it is."""
    then = path.stat().st_mtime - seconds
    os.utime(path, (then, then))
    return path


def plant(root: Path, name: str, data: bytes = b"left", *, old: bool = True) -> Path:
    """Writes a file, as old as garbage has to be."""
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return age(path) if old else path


def copy_of(chain: Chain, root: Path) -> Chain:
    """The whole workspace of a chain in another place."""
    shutil.copytree(chain.root, root)
    return Chain(chain.data, chain.steps, root, chain.seed)
