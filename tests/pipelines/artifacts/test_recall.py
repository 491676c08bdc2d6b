from __future__ import annotations

import numpy as np

from pipelines.artifacts.recall import CategorySums, ShardRow, ShardSums
from pipelines.engine.codec import decode, encode
from sppnet.evaluation.recall import RecallSums


def test_sums_come_back_bit_for_bit() -> None:
    overlaps = np.array([[0.1, 0.55], [0.7, 0.7], [0.0, 1.0]])
    sums = RecallSums.of(overlaps, (0.5, 0.7))
    stored = CategorySums.of(sums)
    assert (stored.objects, stored.hits) == (3, ((1, 1), (3, 2)))
    whole = ShardSums(images=4, difficult=1, rows=(ShardRow(images=3, windows=60, categories={"car": stored}),))
    found = decode(ShardSums, encode(whole), "here")
    assert found == whole
    back = found.rows[0].categories["car"].sums()
    assert back.objects == 3
    assert back.hits.tolist() == sums.hits.tolist()
    assert back.excess.tolist() == sums.excess.tolist()
