"""How the tests of SVM training read what was gathered and mined, and check an SVM against it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pipelines.artifacts.detectors import read_svms
from pipelines.artifacts.examples import Examples
from pipelines.detecting.gathering import SHARED
from pipelines.detecting.training_shards import TrainingShards
from pipelines.shards.windowed import LabelledImage
from sppnet.boxes import iou_matrix
from sppnet.detection.mining import name_fraction
from sppnet.detection.svm_training import train_svm
from sppnet.seeds import derive_seed
from tests.support.chain import CATEGORIES, SCALES, Chain, equal_bytes
from tests.support.stored_rows import decode_examples

STEPS = ("images", "windows", "network", "maps", "svms")


def windowed(chain: Chain, shard: str) -> list[LabelledImage]:
    parts = (chain.ingested, chain.artifact("windows"), chain.artifact("maps"))
    return list(TrainingShards(*parts, SCALES, "train", "test").open(shard)[0])


def examples(chain: Chain, phase: str, category: str, shards: Sequence[str] = ()) -> list[Examples]:
    """Of some shards, by default train's."""
    artifact, shards = chain.artifact("svms"), shards or chain.shards("train")
    return [decode_examples(artifact.read(f"{phase}/{shard}"), shard, category) for shard in shards]


def rows(parts: Sequence[Examples]) -> list[tuple[str, int, np.ndarray, np.ndarray, float]]:
    """Key, window, box, feature and score of every example, in order."""
    return [
        (key, int(part.windows[i]), part.boxes[i], feature, float(part.scores[i]))
        for part in parts
        for i, (key, feature) in enumerate(zip(part.keys, part.floats(), strict=True))
    ]


def boxes_of(image: LabelledImage, *categories: str) -> np.ndarray:
    found = [thing.box for thing in image.annotation.objects if thing.category in categories]
    return np.array(found, np.float64).reshape(-1, 4)


def assemble(chain: Chain, number: int, category: str, more: Sequence[tuple] = ()) -> tuple[np.ndarray, np.ndarray]:
    """The training set of a category and round, put together from train's committed files by the rules alone.

    Rows of `more` are positives too.
    """

    def drawn(found: list) -> list:
        return sorted(found, key=lambda row: (name_fraction(0, row[0], row[1]), row[0], row[1]))

    own = rows(examples(chain, "gather", category))
    others = [row for other in CATEGORIES if other != category for row in rows(examples(chain, "gather", other))]
    others = [
        row for row in others
        if all(iou_matrix(row[2][None], box[None])[0, 0] <= 0.3 for key, _, box, _, _ in own if key == row[0])
    ]  # fmt: skip
    hard: dict[tuple[str, int], tuple] = {}
    for r in range(number, 0, -1):  # the latest round's first, then by falling score; each window once
        mined = sorted(rows(examples(chain, f"mine-{r}", category)), key=lambda row: (-row[4], row[0], row[1]))
        for row in mined:
            hard.setdefault(row[:2], row)
    random = [row for row in rows(examples(chain, "gather", SHARED)) if row[:2] not in hard]
    negatives = [*drawn(random), *drawn(others), *hard.values()]
    if number:
        last = read_svms(chain.artifact("svms"), (f"solve-{number - 1}/{category}",))
        values = last.scores(np.stack([row[3] for row in negatives]))[:, 0]
        negatives = [row for row, score in zip(negatives, values, strict=True) if score >= -1.2]
    positives = drawn([row for row in [*own, *more] if row[4] > 0])
    return np.stack([row[3] for row in positives]), np.stack([row[3] for row in negatives])


def check_svm(chain: Chain, number: int, category: str, positives: np.ndarray, negatives: np.ndarray) -> None:
    """The SVM of a category and round is `train_svm` of these features, scaled by the norms of train's negatives."""
    commits = [chain.artifact("svms").commit(f"gather/{shard}") for shard in chain.shards("train")]
    mean = sum(c.metrics["norm_sum"] for c in commits) / sum(c.metrics["norm_count"] for c in commits)
    scaled = np.concatenate([positives, negatives]).astype(np.float32) * np.float32(20 / mean)
    weights, bias = train_svm(
        scaled,
        np.r_[np.ones(len(positives)), -np.ones(len(negatives))],
        C=0.001,
        positive_weight=2.0,
        bias_scale=10.0,
        seed=derive_seed(0, "train-svms", category, number) % 2**31,
    )
    found = read_svms(chain.artifact("svms"), (f"solve-{number}/{category}",))
    assert equal_bytes(found.weights[0], weights)
    assert found.biases[0] == np.float32(bias)
    assert found.feature_scale == 20 / mean
    metrics = chain.artifact("svms").commit(f"solve-{number}/{category}").metrics
    right = int((scaled[: len(positives)] @ weights + bias > 0).sum())
    assert metrics == {"positives": len(positives), "positives_found": right, "negatives": len(negatives)}


def data_of(chain: Chain, name: str) -> dict[str, bytes]:
    artifact = chain.artifact(name)
    return {unit: artifact.read(unit) for unit in chain.units(name)}


def check_going_on(chain: Chain, root: Path, gone: set[str]) -> None:
    """Some units of several phases are gone; only they are made again, and nothing changes."""
    copy = chain.copied(root, STEPS).only(*STEPS)
    kept = {unit: copy.artifact("svms").commit(unit) for unit in copy.units("svms") if unit not in gone}
    for unit in gone:
        (copy.root / copy.artifact("svms").name / "_commits" / f"{unit}.json").unlink()
    copy.run()
    assert {unit: copy.artifact("svms").commit(unit) for unit in kept} == kept
    assert data_of(copy, "svms") == data_of(chain, "svms")
