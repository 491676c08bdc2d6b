"""Batches of samples as a network takes them: copied and normalised while the device computes the step before."""

from __future__ import annotations

from collections.abc import Callable

import torch

from pipelines.pretraining.batches import CropBatches
from pipelines.shards.read_ahead import NumberedAhead
from sppnet.arrays import Pixels

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
        ahead = device.type != "cpu" if ahead is None else ahead
        self._ahead = NumberedAhead(self._load, steps, ahead=2, name="upload") if ahead else None
        # A stream of its own: a copy in the network's would wait for all that the network still has to do.
        self._stream = torch.cuda.Stream(device) if device.type == "cuda" else None  # type: ignore[no-untyped-call]
        if self._stream is not None:
            self._stream.wait_stream(torch.cuda.current_stream(device))  # the mean image, if there is one

    def batch(self, step: int) -> Tensors:
        """Return this worker's slice of a batch: the network's input `[n, 3, size, size]` and int64 classes `[n]`."""
        if self._ahead is None:
            return self._load(step)
        tensors = self._ahead.get(step)
        if self._stream is not None:
            for tensor in tensors:  # made in one stream, read in another: its memory must not be reused too early
                tensor.record_stream(torch.cuda.current_stream(self._device))
        return tensors

    def wait(self) -> None:
        """Wait until everything that is made ahead is ready."""
        if self._ahead is not None:
            self._ahead.wait()
        self.crops.wait()

    def close(self) -> None:
        """End the threads after the batches at hand."""
        if self._ahead is not None:
            self._ahead.close()
        self.crops.close()

    def _load(self, step: int) -> Tensors:
        samples, labels = self.crops.batch(step)
        with torch.cuda.stream(self._stream):  # without a stream this does nothing
            tensors = self._normalise(samples), torch.from_numpy(labels).to(self._device)
        if self._stream is not None:
            self._stream.synchronize()
        return tensors
