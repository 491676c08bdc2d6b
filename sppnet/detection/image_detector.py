"""Files of images and their windows to detections, batch by batch, on one device.

Decoding and sending run on threads, ahead of the device; it convolves, pools, scores, suppresses and regresses a batch
while the host prepares the next, and what stays of a batch comes back in one transfer, fetched when the next batch is
under way.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from sppnet.arrays import Float32s, Floats, Pixels
from sppnet.boxes import decode_on_device
from sppnet.detection.batch_suppression import best_windows
from sppnet.detection.ensemble import Rules
from sppnet.detection.features import WindowFeatures
from sppnet.detection.regression import BoxRegressors
from sppnet.detection.svm import LinearSvms
from sppnet.devices import upload
from sppnet.errors import ConfigError, DataError
from sppnet.images.decoding import decode_by_gpu, decode_image, probe_size
from sppnet.networks.map_maker import MapMaker
from sppnet.networks.network import Layer
from sppnet.pooling.geometry import checked_windows
from sppnet.pooling.image_batches import BatchWindows
from sppnet.pooling.scales import resized_size
from sppnet.sizes import Size


@dataclass(frozen=True, eq=False)
class Detections:
    """The detections of one image, category by category, by falling score.

    Attributes:
        category: int32 `[m]`, numbers of the SVMs' categories.
        window: int32 `[m]`, among the image's windows.
        scores: float32 `[m]`.
        regressed: float32 `[m, 4]` pixels, not a number without regressors.
    """

    category: NDArray[np.int32]
    window: NDArray[np.int32]
    scores: Float32s
    regressed: Float32s


class WindowedFile(NamedTuple):
    """An image as it is stored, with its windows.

    Attributes:
        data: JPEG, PNG, BMP or WebP.
        windows: `[n, 4]` half-open pixels of the image.
    """

    data: bytes
    windows: Floats


@dataclass(frozen=True, eq=False)
class _Sent:
    """An image on the device."""

    pixels: torch.Tensor
    size: Size
    windows: Floats


@dataclass(frozen=True, eq=False)
class _Found:
    """What stays of a batch, on its way to the host: `[images, categories, per_image, ...]` each."""

    chosen: torch.Tensor
    scores: torch.Tensor
    regressed: torch.Tensor
    broken: torch.Tensor
    arrived: torch.cuda.Event | None


class ImageDetector:
    """Detects objects in files of images (sections 4.1 and 4.4).

    Args:
        maker: the convolutions.
        features: how windows become features; its scales are those that are convolved, its device is the maker's.
        svms: what scores the features.
        regressors: of the SVMs' categories in their order, for features of `regressor_layer`; None leaves them out.
        regressor_layer: where the regressors' features are taken, of the same pooled vectors.
        rules: how windows become detections.
        batch: images that are under way together.
        threads: threads that decode.
        max_pixels: an image that has more pixels at a scale is refused as `too-large`.
        nvjpeg: whether a GPU decodes JPEGs, by nvJPEG: its pixels are near those of the CPU's decoder, not the same.

    Raises:
        ConfigError: the regressors are of other categories, or a number is out of range.
    """

    def __init__(
        self,
        maker: MapMaker,
        features: WindowFeatures,
        svms: LinearSvms,
        regressors: BoxRegressors | None = None,
        *,
        regressor_layer: Layer = "pool5",
        rules: Rules | None = None,
        batch: int = 8,
        threads: int = 4,
        max_pixels: int = 32_000_000,
        nvjpeg: bool = False,
    ) -> None:
        if regressors is not None and regressors.categories != svms.categories:
            raise ConfigError("the box regressors are of other categories than the SVMs")
        if regressor_layer not in ("pool5", features.layer):
            raise ConfigError(f"regressors of {regressor_layer} need features of that layer, not of {features.layer}")
        if min(batch, threads) < 1:
            raise ConfigError("batch and threads must be at least 1")
        self._maker, self._features, self._svms = maker, features, svms
        self._regressors, self._regressor_layer = regressors, regressor_layer
        self._rules = rules or Rules()
        self._batch, self._threads, self._max_pixels = batch, threads, max_pixels
        self._device = maker.device
        self._sending = torch.cuda.Stream(self._device) if self._device.type == "cuda" else None  # type: ignore[no-untyped-call]
        self._nvjpeg = nvjpeg and self._sending is not None

    def __call__(self, files: Iterable[WindowedFile]) -> Iterator[Detections | DataError]:
        """Detect objects in images; of one that can't be used, yield why. The order is the files'.

        What is found in an image doesn't depend on the images before, beside and after it.
        """
        pending: deque[tuple[list[_Sent | DataError], _Found | None]] = deque()
        with ThreadPoolExecutor(self._threads, thread_name_prefix="sppnet-decode") as threads:
            for sent in _groups(self._sent(threads, files), self._batch):
                pending.append((sent, self._detect([one for one in sent if isinstance(one, _Sent)])))
                if len(pending) > 1:
                    yield from self._fetched(*pending.popleft())
            while pending:
                yield from self._fetched(*pending.popleft())

    def _sent(self, threads: ThreadPoolExecutor, files: Iterable[WindowedFile]) -> Iterator[_Sent | DataError]:
        """Decode images and send them, up to two batches ahead, in order."""
        ahead: deque[Future[_Sent | DataError]] = deque()
        source = iter(files)
        while True:
            for file in itertools.islice(source, 2 * self._batch + self._threads - len(ahead)):
                ahead.append(threads.submit(self._load, file))
            if not ahead:
                return
            yield ahead.popleft().result()

    def _load(self, file: WindowedFile) -> _Sent | DataError:
        try:
            windows = checked_windows(file.windows)
            size = probe_size(file.data)
            largest = resized_size(size, max(self._features.scales))
            if largest.width * largest.height > self._max_pixels:
                raise DataError("too-large", f"{largest} pixels resized, the limit is {self._max_pixels} pixels")
            return _Sent(self._decode(file.data), size, windows)
        except DataError as error:
            return error
        except ValueError as error:
            return DataError("bad-window", str(error))

    def _decode(self, data: bytes) -> torch.Tensor:
        """Decode an image and have it on the device when this returns, by a stream of its own."""
        pixels = decode_by_gpu(data, self._device) if self._nvjpeg else None
        return self._send(decode_image(data)) if pixels is None else pixels

    def _send(self, pixels: Pixels) -> torch.Tensor:
        if self._sending is None:
            return torch.from_numpy(pixels)
        with torch.cuda.stream(self._sending):
            sent = upload(pixels, self._device)
            arrived = self._sending.record_event()
        arrived.synchronize()
        return sent

    @torch.inference_mode()
    def _detect(self, images: Sequence[_Sent]) -> _Found | None:
        """Queue a batch's work; nothing waits for it but the number of distinct windows."""
        if not images:
            return None
        if self._sending is not None:
            for one in images:  # its memory must not be used again before this stream is through with it
                one.pixels.record_stream(torch.cuda.current_stream(self._device))
        features = self._features
        windows = BatchWindows.of([one.windows for one in images], [one.size for one in images], self._device)
        maps = self._maker([one.pixels for one in images], features.scales)
        pooled = features.pooled_batch(maps, windows)
        vectors = pooled.vectors.flatten(1)
        upper = features.upper(vectors)
        distinct_scores = self._svms.scores(upper)
        lowest = torch.finfo(torch.float32).min
        scores = distinct_scores.nan_to_num(nan=lowest, posinf=lowest, neginf=lowest)[pooled.row_of]
        chosen = best_windows(windows, scores, self._rules)
        rows = windows.starts[:, None, None] + chosen.clamp(min=0)
        rows = rows.clamp(max=max(0, len(scores) - 1))
        category = torch.arange(scores.shape[1], device=self._device)[None, :, None].expand(rows.shape)
        regressed = torch.full((*rows.shape, 4), torch.nan, device=self._device)
        if not len(scores):
            return self._on_its_way(chosen, regressed[..., 0], regressed, windows.starts > windows.ends)
        if self._regressors is not None:
            deltas = self._regressors.deltas(vectors if self._regressor_layer == "pool5" else upper)
            sizes = upload(np.array(windows.image_sizes, dtype=np.float64), self._device)[:, None, None, :]
            moved = decode_on_device(windows.boxes[rows], deltas[pooled.row_of[rows], category], sizes)
            regressed = moved.float()
        broken = _any_of_images(~distinct_scores.isfinite().all(dim=1)[pooled.row_of], windows)
        return self._on_its_way(chosen, scores[rows, category], regressed, broken)

    def _on_its_way(
        self, chosen: torch.Tensor, scores: torch.Tensor, regressed: torch.Tensor, broken: torch.Tensor
    ) -> _Found:
        found = [_download(values) for values in (chosen, scores, regressed, broken)]
        event = torch.cuda.current_stream(self._device).record_event() if self._sending is not None else None
        return _Found(found[0], found[1], found[2], found[3], event)

    def _fetched(self, sent: Sequence[_Sent | DataError], found: _Found | None) -> Iterator[Detections | DataError]:
        """Yield a batch's detections, waiting for them."""
        if found is not None and found.arrived is not None:
            found.arrived.synchronize()
        place = 0
        for one in sent:
            if isinstance(one, DataError):
                yield one
            elif found is not None:
                yield _of_image(found, place)
                place += 1


def _of_image(found: _Found, place: int) -> Detections | DataError:
    if bool(found.broken[place]):
        return DataError("nan-features", "a window's score is not finite")
    chosen = found.chosen[place].numpy()
    category, rank = np.nonzero(chosen >= 0)
    return Detections(
        category.astype(np.int32),
        chosen[category, rank],
        found.scores[place].numpy()[category, rank],
        found.regressed[place].numpy()[category, rank],
    )


def _any_of_images(flags: torch.Tensor, windows: BatchWindows) -> torch.Tensor:
    """Tell of each image whether a flag of its windows is set: bool `[images]`."""
    before = torch.cat([flags.new_zeros(1, dtype=torch.int64), flags.cumsum(0)])
    return before[windows.ends] > before[windows.starts]


def _download(values: torch.Tensor) -> torch.Tensor:
    """Send values to the host without waiting for them."""
    if values.device.type == "cpu":
        return values
    target = torch.empty(values.shape, dtype=values.dtype, pin_memory=True)
    return target.copy_(values, non_blocking=True)


def _groups(items: Iterable[_Sent | DataError], size: int) -> Iterator[list[_Sent | DataError]]:
    source = iter(items)
    while group := list(itertools.islice(source, size)):
        yield group
