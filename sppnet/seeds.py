"""Seeds derived by hashing names, so that no result depends on a rank or on the order of work."""

from __future__ import annotations

import hashlib


def derive_seed(seed: int, *names: str | int) -> int:
    """Derive a seed for one piece of work.

    Args:
        seed: The run's seed.
        *names: What the seed is for, such as the stage, the shard and the step.

    Returns:
        An integer in `[0, 2**63)`, the same in every process for the same arguments.
    """
    text = "\x1f".join([str(int(seed)), *(str(name) for name in names)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1
