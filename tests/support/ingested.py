"""A data set of any kind, ingested in this process: what each of its keys ended as."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from pipelines.artifacts.annotations import ImageAnnotation
from tests.support.chain import Chain


@dataclass(frozen=True)
class Ingested:
    """What became of a data set.

    Attributes:
        chain: The run.
        done: Annotations by key, of all splits.
        aside: Reasons by key.
        details: What was said of each key that is set aside.
    """

    chain: Chain
    done: dict[str, ImageAnnotation]
    aside: dict[str, str]
    details: dict[str, str]


def ingest(dataset: Mapping[str, Any], workspace: Path) -> Ingested:
    """Ingests a data set; every key ends once."""
    step = {"stage": "ingest", "dataset": dict(dataset), "shard_size": 4, "max_quarantined": 1.0}
    chain = Chain(Path(str(dataset["root"])), {"images": step}, workspace)
    chain.run()
    units = [chain.manifest.annotations(unit) for unit in chain.shards()]
    aside = {entry.key: entry for unit in units for entry in chain.artifact("images").commit(unit).quarantined}
    done = {key: note for unit in chain.shards() for key, note in chain.annotations(unit).items()}
    keys = [key for unit in chain.shards() for key in chain.manifest.keys(unit)]
    assert sorted(keys) == sorted([*done, *aside])
    reasons = {key: entry.reason for key, entry in aside.items()}
    return Ingested(chain, done, reasons, {key: entry.detail for key, entry in aside.items()})


def write_images(root: Path, *names: str, size: tuple[int, int] = (40, 30)) -> None:
    """Writes images of one colour, width and height in pixels, in folders below a root."""
    for number, name in enumerate(names):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((size[1], size[0], 3), 20 + number, np.uint8)).save(path)
