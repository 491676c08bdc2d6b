"""The two rates of a plan that differ most between machines, timed on this one in about a second."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import replace

import numpy as np
import torch

from jobs.plan.rates import Rates, read_rates
from pipelines.engine.machine import choose_device
from sppnet.networks.backbones import BackboneSpec, build_backbone
from sppnet.networks.costs import map_cost
from sppnet.networks.map_maker import MapMaker
from sppnet.networks.network import Precision
from sppnet.pooling.pyramid import Pyramid
from sppnet.pooling.windows import pool_windows
from sppnet.sizes import Size
from sppnet.threads import one_torch_thread

_SCALE = 688
_IMAGE = Size(917, _SCALE)
_MAP_SHAPE = (43, 57, 256)
_WINDOWS = 2000


def choose_rates(macs: float | None, read: float | None, given: Sequence[str]) -> Rates:
    """Take the rates that options give; measure what this machine does only where nobody says how many `macs`.

    Args:
        macs: Multiply-accumulates a second in bfloat16, if they are given.
        read: Bytes of maps read back a second, if they are given.
        given: Any rates as `NAME=VALUE`, which count before the others.

    Raises:
        ConfigError: No such rate, or its value is not a positive number.
    """
    read_rates(given, Rates(1.0))  # wrong options are told before anything is measured
    known = macs is not None or any(text.startswith("macs=") for text in given)
    rates = Rates(macs or 1.0) if known else measure_rates()
    return read_rates(given, rates if read is None else replace(rates, read=read))


def measure_rates(precision: Precision = "bfloat16", seconds: float = 1.0) -> Rates:
    """Time convolutions and pooling on this machine's device, and take the defaults for the rest.

    A worker on a CPU has one core: one thread is timed.

    Args:
        precision: Type that the convolutions compute in; `macs` is defined in bfloat16.
        seconds: How long to measure, about, beside a first pass that warms up.
    """
    device = choose_device()
    with one_torch_thread() if device.type == "cpu" else nullcontext(), torch.inference_mode():
        macs = _convolving(device, precision, 0.75 * seconds)
        pooling = _pooling(device, 0.25 * seconds)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU, one core"
    return Rates(macs, pooling=pooling, where=f"{name}, {precision}")


def _convolving(device: torch.device, precision: Precision, seconds: float) -> float:
    """Time ZF-5 at scale 688, by what makes maps: multiply-accumulates a second."""
    spec = BackboneSpec("zf5")
    make_maps = MapMaker(build_backbone(spec).to(device), precision)
    images = [np.zeros((*_IMAGE.hw, 3), np.uint8)] * make_maps.batch
    macs = len(images) * map_cost(spec, _IMAGE).macs
    return macs * _times_a_second(lambda: make_maps(images, [_SCALE]), device, seconds)


def _pooling(device: torch.device, seconds: float) -> float:
    """Time pooling windows of all sizes and places from one map: values a second."""
    height, width, channels = _MAP_SHAPE
    rng, pyramid = np.random.default_rng(0), Pyramid((6, 3, 2, 1))
    ends = rng.integers(0, (width, height), size=(_WINDOWS, 2, 2))
    cells = np.concatenate([ends.min(axis=1), ends.max(axis=1) + 1], axis=1).astype(np.int32)
    grid = torch.rand(_MAP_SHAPE, device=device).half()
    values = _WINDOWS * pyramid.bins * channels
    return values * _times_a_second(lambda: pool_windows(grid, cells, pyramid), device, seconds)


def _times_a_second(work: Callable[[], object], device: torch.device, seconds: float) -> float:
    """Time how often a second something is done, by its quickest time: what other work takes is not the machine's.

    The first time warms up and does not count.
    """
    times: list[float] = []
    while len(times) < 2 or sum(times[1:]) < seconds:
        start = time.perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        times.append(time.perf_counter() - start)
    return 1 / min(times[1:])
