"""Batches of samples as a network takes them: copied and normalised while the device computes the step before."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

import torch

from pipelines.pretraining.batches import CropBatches
from pipelines.shards.image_cache import Pixels

Tensors = tuple[torch.Tensor, torch.Tensor]


class DeviceBatches:
    """A worker's slices of all batches on its device, in the order of the steps.

    Args:
        batches: The samples.
        normalise: Makes a network's input of samples, on the device.
        device: Where it computes.
        steps: Steps of the whole training.
        ahead: Whether a thread does so one step ahead; by default not on a CPU, where it would take the network's.

    Attributes:
        crops: The samples.
    """

    def __init__(
        self,
        batches: CropBatches,
        normalise: Callable[[Pixels], torch.Tensor],
        device: torch.device,
        steps: int,
        *,
        ahead: bool | None = None,
    ) -> None:
        self.crops = batches
        self._normalise = normalise
        self._device = device
        self._steps = steps
        ahead = device.type != "cpu" if ahead is None else ahead
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="upload") if ahead else None
        # A stream of its own: a copy in the network's would wait for all that the network still has to do.
        self._stream = torch.cuda.Stream(device) if device.type == "cuda" else None  # type: ignore[no-untyped-call]
        if self._stream is not None:
            self._stream.wait_stream(torch.cuda.current_stream(device))  # the mean image, if there is one
        self._next: tuple[int, Future[Tensors]] | None = None

    def batch(self, step: int) -> Tensors:
        """This worker's slice of a step's batch: the network's input `[n, 3, size, size]` and int64 classes `[n]`."""
        if self._thread is None:
            return self._load(step)
        made = self._next is not None and self._next[0] == step
        found = self._next[1] if self._next and made else self._thread.submit(self._load, step)
        self._next = (step + 1, self._thread.submit(self._load, step + 1)) if step + 1 < self._steps else None
        tensors = found.result()
        if self._stream is not None:
            for tensor in tensors:  # made in one stream, read in another: its memory must not be reused too early
                tensor.record_stream(torch.cuda.current_stream(self._device))
        return tensors

    def wait(self) -> None:
        """Waits until everything that is made ahead is ready."""
        if self._next is not None:
            self._next[1].result()
        self.crops.wait()

    def close(self) -> None:
        """Ends the threads after the batches at hand."""
        if self._thread is not None:
            self._thread.shutdown(wait=True, cancel_futures=True)
        self.crops.close()

    def _load(self, step: int) -> Tensors:
        samples, labels = self.crops.batch(step)
        with torch.cuda.stream(self._stream):  # without a stream this does nothing
            tensors = self._normalise(samples), torch.from_numpy(labels).to(self._device)
        if self._stream is not None:
            self._stream.synchronize()
        return tensors
