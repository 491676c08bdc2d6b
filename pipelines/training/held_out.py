"""Which images are held out of a training, to measure on."""

from __future__ import annotations

from sppnet.seeds import derive_seed

_SEEDS = 1 << 63


def is_held_out(key: str, fraction: float) -> bool:
    """Tell whether an image is held out.

    Depends on its key only, so that it is the same in every stage, run and split.

    Args:
        key: The image's.
        fraction: Of all images, that is held out.
    """
    return derive_seed(0, "holdout", key) < fraction * _SEEDS
