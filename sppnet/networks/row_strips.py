"""Running a network a strip of rows at a time: what a layer writes is still in the cache when the next reads it.

A layer runs as soon as it has rows for a strip of output, the one furthest from the image first, and rows that no
layer needs any more are dropped: no activation is ever whole in memory. A large one costs more than its arithmetic:
fresh pages from the system, each written, read back and given back for every image, and a heap in ever-new pieces.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch

from sppnet.networks.layer_plan import IMAGE, Step
from sppnet.networks.layer_windows import Window

STRIP_BYTES = 1 << 23
"""Bytes that a layer writes at once: few enough for a last-level cache, and so many that calls don't count."""
_UNBOUNDED = 1 << 30


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows of an activation that follow each other.

    Attributes:
        pieces: `[N, C, h, w]`, channels last.
        top: rows before the first piece that lie above the map.
        bottom: rows behind the last piece that lie below the map.
    """

    pieces: Sequence[torch.Tensor]
    top: int = 0
    bottom: int = 0

    def joined(self) -> torch.Tensor:
        """Return the rows that the map has as one tensor."""
        return self.pieces[0] if len(self.pieces) == 1 else torch.cat(list(self.pieces), dim=2)


class RowLayer(ABC):
    """A layer that makes rows of rows.

    Attributes:
        window: what it sees of each of its inputs; None takes whole maps and gives maps of the same height.
        channels: of its output, None where they are its input's.
    """

    window: Window | None = Window()
    channels: int | None = None

    @abstractmethod
    def __call__(self, inputs: Sequence[Rows]) -> torch.Tensor:
        """Return the rows of output, all those that the inputs are enough for."""

    def strip(self, inputs: Sequence[torch.Tensor]) -> int:
        """Return how many rows of output to make at once, from some rows of each input."""
        if self.window is None or inputs[0].shape[0] > 1:  # parts of several images don't lie together in memory
            return _UNBOUNDED
        stride = self.window.stride
        cells = sum(one.shape[1] * one.shape[3] for one in inputs)
        written = (self.channels or sum(one.shape[1] for one in inputs)) * inputs[0].shape[3] // stride
        return max(1, STRIP_BYTES // (inputs[0].element_size() * max(cells * stride, written)))


def run_steps(steps: Sequence[Step[RowLayer]], image: torch.Tensor, wanted: Sequence[int]) -> list[torch.Tensor]:
    """Run a network's steps, in strips of rows where there is one image.

    Args:
        steps: each reads earlier ones only.
        image: `[N, C, H, W]`, channels last.
        wanted: the steps whose outputs are returned.

    Returns:
        Of each wanted step its whole output.
    """
    runs = [_Run(step.layer, len(step.sources), waits=_waits(step, steps)) for step in steps]
    readers: list[list[tuple[int, int]]] = [[] for _ in range(len(steps) + 1)]
    for number, step in enumerate(steps):
        for slot, source in enumerate(step.sources):
            readers[source].append((number, slot))
    found: dict[int, list[torch.Tensor]] = {number: [] for number in wanted}
    if IMAGE in found:
        found[IMAGE].append(image)
    stack = [number for number, _ in readers[IMAGE]]
    for number, slot in readers[IMAGE]:
        runs[number].queues[slot].push(image, last=True)
    while stack:
        number = stack[-1]
        run = runs[number]
        if not run.ready():
            stack.pop()
            continue
        rows = run.next()
        if number in found and rows is not None:
            found[number].append(rows)
        for reader, slot in readers[number]:
            runs[reader].queues[slot].push(rows, last=run.finished)
            stack.append(reader)
    return [Rows(found[number]).joined() for number in wanted]


def _waits(step: Step[RowLayer], steps: Sequence[Step[RowLayer]]) -> bool:
    """Return whether a layer's input comes in other strips than it wants: all at once, or from one that makes fewer."""
    layers = [steps[source].layer if source != IMAGE else None for source in step.sources]
    return any(layer is None or layer.window is None or layer.window.stride > 1 for layer in layers)


@dataclass(slots=True)
class _Queue:
    """Rows that wait for a layer, from row `start` on."""

    pieces: list[torch.Tensor] = field(default_factory=list)
    start: int = 0
    end: int = 0
    complete: bool = False

    def push(self, rows: torch.Tensor | None, *, last: bool) -> None:
        if rows is not None:
            self.pieces.append(rows)
            self.end += rows.shape[2]
        self.complete = last

    def take(self, low: int, high: int) -> Rows:
        """Return rows `[low, high)`, of which some may lie beyond the map."""
        found = list[torch.Tensor]()
        begin = self.start
        for piece in self.pieces:
            height = piece.shape[2]
            first, last = max(low - begin, 0), min(high - begin, height)
            if first < last:
                found.append(piece if last - first == height else piece.narrow(2, first, last - first))
            begin += height
        return Rows(found, max(-low, 0), max(high - self.end, 0))

    def drop(self, low: int) -> None:
        """Forget the rows before `low`."""
        while self.pieces and self.start + self.pieces[0].shape[2] <= low:
            self.start += self.pieces.pop(0).shape[2]


class _Run:
    """One layer at work on one image.

    Args:
        layer: what makes the rows.
        inputs: how many it has.
        waits: whether it makes strips of its own, and waits until there are rows for one; else it takes what comes.
    """

    def __init__(self, layer: RowLayer, inputs: int, *, waits: bool) -> None:
        self.layer = layer
        self.queues = [_Queue() for _ in range(inputs)]
        self.waits = waits
        self.done = 0
        self.finished = False
        self.strip = 0

    def ready(self) -> bool:
        """Return whether there is a strip to be made, or the last rows."""
        if self.finished or not all(queue.pieces or queue.complete for queue in self.queues):
            return False
        if not self.strip:
            self.strip = self.layer.strip([queue.pieces[0] for queue in self.queues])
        return self._complete() or self._possible() - self.done >= (self.strip if self.waits else 1)

    def next(self) -> torch.Tensor | None:
        """Make the next strip, None if there are no rows to be made."""
        window = self.layer.window
        count = left = self._possible() - self.done
        if self.waits and left > self.strip:
            count = -(-left // -(-left // self.strip))  # strips about equal in height
        if window is None:
            low, high = 0, self.queues[0].end
            count = high
        else:
            low = self.done * window.stride - window.padding
            high = low + (count - 1) * window.stride + window.kernel
        rows = None
        if count > 0:
            rows = self.layer([queue.take(low, high) for queue in self.queues])
            self.done += count
        for queue in self.queues:
            queue.drop(low + count * (window.stride if window else 1))
        self.finished = self._complete() and (window is None or self.done >= self._possible())
        return rows

    def _complete(self) -> bool:
        return all(queue.complete for queue in self.queues)

    def _possible(self) -> int:
        """Return how many rows of output the rows that have come are enough for."""
        window = self.layer.window
        if window is None:
            return self.queues[0].end if self._complete() else 0
        return min(window.outputs(queue.end) if queue.complete else window.begun(queue.end) for queue in self.queues)
