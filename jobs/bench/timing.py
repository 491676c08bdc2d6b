"""Timing this project beside its peer: both in turn in one process, so that a busy machine slows both."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence

import torch

from sppnet.devices import default_device

_MOST_PAIRS = 200

TimedPair = tuple[float, float]
"""Seconds that ours and the peer took, one after the other."""


def pick_device(wanted: str | torch.device | None) -> torch.device:
    """Return the device to measure on: the wanted one, else the CUDA device if there is one, else the CPU."""
    return torch.device(wanted) if wanted else default_device()


def device_name(device: torch.device) -> str:
    """Return what a row calls a device: a GPU's model, or `cpu`."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"


def seconds(work: Callable[[], object], device: torch.device) -> float:
    """Return the wall time of one call, the device's queue drained before and after."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    start = time.perf_counter()
    result = work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elapsed = time.perf_counter() - start
    del result  # freeing it is not part of the measure
    return elapsed


def timed_pairs(
    ours: Callable[[], object], peer: Callable[[], object], repeats: int, device: torch.device
) -> list[TimedPair]:
    """Time both sides in turn (A B A B); each has run before."""
    return [(seconds(ours, device), seconds(peer, device)) for _ in range(repeats)]


def pairs_within(
    ours: Callable[[], object], peer: Callable[[], object], budget: float, device: torch.device, least: int = 5
) -> list[TimedPair]:
    """Time both sides in turn, after a warm-up of each, for so many seconds but at least so many pairs."""
    ours()
    peer()
    pairs: list[TimedPair] = []
    start = time.perf_counter()
    while len(pairs) < least or (time.perf_counter() - start < budget and len(pairs) < _MOST_PAIRS):
        pairs += timed_pairs(ours, peer, 1, device)
    return pairs


def medians(pairs: Sequence[TimedPair]) -> dict[str, float]:
    """Return the medians of both, `ours_s` and `peer_s`, and of their `ratio` pair by pair: how much faster ours is.

    `ratio_least` and `ratio_most` are its extremes, of so many `pairs`.
    """
    ratios = [peer / ours for ours, peer in pairs]
    return {
        "ours_s": statistics.median(ours for ours, _ in pairs),
        "peer_s": statistics.median(peer for _, peer in pairs),
        "ratio": statistics.median(ratios),
        "ratio_least": min(ratios),
        "ratio_most": max(ratios),
        "pairs": len(pairs),
    }


def median_rates(pairs: Sequence[TimedPair], items: int) -> dict[str, float]:
    """Return the same as items a second, `ours_per_s` and `peer_per_s`, of so many items a call."""
    found = medians(pairs)
    ours, peer = found.pop("ours_s"), found.pop("peer_s")
    return {"ours_per_s": items / ours, "peer_per_s": items / peer, **found}
