"""What every stage that convolves images shares: its settings, a device, and images decoded ahead of it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Annotated, Literal, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from pydantic import Field

from pipelines.artifacts.image_tars import ImageRecord
from pipelines.engine.stage import RUNTIME, StageConfig
from pipelines.shards.reading import decode_record
from sppnet.errors import ConfigError, DataError
from sppnet.pooling.scales import resized_shape

T = TypeVar("T")
R = TypeVar("R")


class ConvolvingConfig(StageConfig):
    """Settings of a stage that convolves images.

    Attributes:
        max_pixels: An image that has more pixels at a scale is quarantined as `too-large`.
        precision: Type that the network computes in.
        device: `auto` takes a GPU where there is one.
        gpus: GPUs a unit takes of the cluster.
        cpus: CPUs a unit takes.
        ahead: Images that are decoded ahead of the convolutions.
    """

    max_pixels: Annotated[int, Field(ge=1)] = 32_000_000
    precision: Literal["float32", "bfloat16"] = "float32"
    device: Annotated[Literal["auto", "cpu", "cuda"], RUNTIME] = "auto"
    gpus: Annotated[float, RUNTIME, Field(ge=0)] = 0
    cpus: Annotated[float, RUNTIME, Field(gt=0)] = 1
    ahead: Annotated[int, RUNTIME, Field(ge=1)] = 4


def choose_device(config: ConvolvingConfig, step: str) -> torch.device:
    """Returns where a step computes; raises `ConfigError` for a GPU that is not there."""
    wanted = config.device
    if wanted == "auto":
        wanted = "cuda" if torch.cuda.is_available() else "cpu"
    if wanted == "cuda" and not torch.cuda.is_available():
        raise ConfigError(f"step {step}: device is cuda, but there is no GPU here; use auto or cpu")
    return torch.device(wanted)


def decode_for_scale(record: ImageRecord, scale: int, max_pixels: int) -> npt.NDArray[np.uint8]:
    """Decodes an image that will be resized.

    Args:
        record: The image.
        scale: The largest short side in pixels that it will be resized to.
        max_pixels: Most pixels that it may then have.

    Returns:
        RGB `[H, W, 3]` in its own size.

    Raises:
        DataError: `too-large`: a long, thin image grows far beyond its own size; or what `decode_image` raises.
    """
    height, width = resized_shape((record.annotation.height, record.annotation.width), scale)
    if height * width > max_pixels:
        raise DataError("too-large", f"{width} x {height} pixels at scale {scale}, the limit is {max_pixels} pixels")
    return decode_record(record)


def prefetched(items: Iterable[T], prepare: Callable[[T], R], ahead: int) -> Iterator[tuple[T, Future[R]]]:
    """Prepares a bounded number of items ahead, on threads.

    Args:
        items: Taken one by one, in this thread.
        prepare: Runs on a thread; what it raises comes out of its future.
        ahead: How many items are prepared or being prepared at a time.

    Yields:
        Every item in order with what `prepare` makes of it.
    """
    pending: deque[tuple[T, Future[R]]] = deque()
    with ThreadPoolExecutor(max_workers=max(1, ahead // 2)) as pool:
        for item in items:
            pending.append((item, pool.submit(prepare, item)))
            if len(pending) >= ahead:
                yield pending.popleft()
        while pending:
            yield pending.popleft()
