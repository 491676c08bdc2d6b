"""A drawn data set in a workspace with a recipe of ingest and proposals only: quicker than the whole chain."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np

from tests.support.chain import SHARD_SIZE, Chain, add_image

INGEST: dict[str, Any] = {"stage": "ingest", "shard_size": SHARD_SIZE, "max_quarantined": 0.5}
PROPOSE: dict[str, Any] = {"stage": "propose", "images": "images", "max_quarantined": 0.5}


def add_troublesome(data: Path) -> None:
    """Adds three images to `train`: `broken` can't be decoded, `thin` is too thin and `plain` has no edges."""
    broken = add_image(data, "train", "broken", np.full((120, 150, 3), 90, np.uint8), place=3)
    broken.write_bytes(broken.read_bytes()[:-60])
    rng = np.random.default_rng(0)
    add_image(data, "train", "thin", rng.integers(0, 255, (60, 18, 3), dtype=np.uint8), place=6)
    add_image(data, "train", "plain", np.full((100, 120, 3), 128, np.uint8), place=9)


def make_proposals(folder: Path, drawn: Path, **steps: dict[str, Any]) -> Chain:
    """A copy of a data set with the troublesome images, and its recipe: `images`, and the steps given."""
    data = folder / "data"
    shutil.copytree(drawn, data)
    add_troublesome(data)
    return Chain(data, {"images": {**INGEST, "dataset": {"root": str(data)}}, **steps}, folder / "workspace")
