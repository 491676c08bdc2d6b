"""Decoded images that many threads share, bounded in bytes; each is decoded once however many ask for it at a time."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping
from concurrent.futures import Future
from threading import Lock
from typing import Generic, TypeVar

from pipelines.artifacts.image_tars import ImageRecord
from pipelines.engine.workspace import Artifact
from pipelines.shards.reading import decode_record, read_images
from sppnet.arrays import Pixels
from sppnet.images.training_crops import resize_short_side

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class SharedCache(Generic[K, V]):
    """Values made on demand, the least lately used dropped first; safe to use from many threads.

    Args:
        make: Makes the value of a key. It runs in the thread that asks first; others that ask meanwhile wait for it.
        weigh: Weight of a value.
        limit: Bound on the sum of the weights; one value is kept however heavy it is.
    """

    def __init__(self, make: Callable[[K], V], weigh: Callable[[V], int], limit: int) -> None:
        self._make = make
        self._weigh = weigh
        self._limit = limit
        self._lock = Lock()
        self._kept: OrderedDict[K, V] = OrderedDict()
        self._making: dict[K, Future[V]] = {}
        self.weight = 0

    def __contains__(self, key: K) -> bool:
        """Tell whether a key's value is at hand."""
        with self._lock:
            return key in self._kept

    def get(self, key: K) -> V:
        """Return the value of a key; what `make` raises comes out in every thread that waits for it."""
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
            future = self._making.get(key)
            mine = future is None
            if future is None:
                future = self._making[key] = Future()
        return self._fill(key, future) if mine else future.result()

    def _fill(self, key: K, future: Future[V]) -> V:
        try:
            value = self._make(key)
        except BaseException as error:
            with self._lock:
                del self._making[key]
            future.set_exception(error)
            raise
        with self._lock:
            del self._making[key]
            self._kept[key] = value
            self.weight += self._weigh(value)
            while self.weight > self._limit and len(self._kept) > 1:
                self.weight -= self._weigh(self._kept.popitem(last=False)[1])
        future.set_result(value)
        return value


class ImageCache:
    """Decoded images of an artifact, and the encoded shards that they come from.

    Args:
        images: The images artifact.
        short_side: What images are resized to, smaller ones too, or None to keep them as stored.
        max_bytes: Bound on the decoded pixels.
        shards: How many shards' encoded bytes are kept.
    """

    def __init__(self, images: Artifact, short_side: int | None, max_bytes: int, shards: int) -> None:
        self._images = images
        self._short_side = short_side
        self._shards: SharedCache[str, Mapping[str, ImageRecord]] = SharedCache(self._read, lambda _: 1, shards)
        self._decoded: SharedCache[tuple[str, str], tuple[Pixels, tuple[int, int]]] = SharedCache(
            self._decode, lambda entry: entry[0].nbytes, max_bytes
        )

    @property
    def nbytes(self) -> int:
        """Bytes of the pixels at hand."""
        return self._decoded.weight

    def __contains__(self, name: tuple[str, str]) -> bool:
        """Tell whether the image of a shard and key is at hand."""
        return name in self._decoded

    def get(self, unit: str, key: str) -> tuple[Pixels, tuple[int, int]]:
        """Return the image, RGB `[H, W, 3]`, and the width and height of the stored one, in pixels."""
        return self._decoded.get((unit, key))

    def fetch(self, unit: str) -> None:
        """Read a shard, so that its images need not wait for the storage."""
        self._shards.get(unit)

    def _read(self, unit: str) -> Mapping[str, ImageRecord]:
        return {record.key: record for record in read_images(self._images, unit)[0]}

    def _decode(self, name: tuple[str, str]) -> tuple[Pixels, tuple[int, int]]:
        unit, key = name
        record = self._shards.get(unit)[key]
        image = decode_record(record)
        if self._short_side is not None:
            image = resize_short_side(image, self._short_side)
        return image, (record.width, record.height)
