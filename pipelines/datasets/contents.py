"""What files hold, remembered by a stamp of each: looking again reads only what is new or changed."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from threading import Lock
from types import MappingProxyType
from typing import TypeAlias, cast

from pipelines.artifacts.file_contents import ContentRow, decode_contents, encode_contents
from pipelines.datasets.left_out import LeftOut
from pipelines.engine.checked_reads import read_again_unless
from pipelines.engine.fingerprint import canonical_json, content_digest
from sppnet.errors import ArtifactError, ConfigError, DataError

JSON: TypeAlias = "bool | int | float | str | list[JSON] | dict[str, JSON] | None"
"""What a file's bytes are summarised to."""

_Known: TypeAlias = Mapping[tuple[str, str], tuple[str, JSON]]

logger = logging.getLogger(__name__)

_DIGEST = "sha256"
_READERS = 16
_TOLD_EVERY_SECONDS = 10.0
_BATCH = 4096  # a pool remembers every task that it is given


@dataclass(frozen=True, slots=True)
class SeenFile:
    """A file as a listing shows it.

    Attributes:
        place: A name that no other file of the data set has: its path below the root, or its URI.
        stamp: Changes whenever the file does.
        read: Reads its bytes.
        trouble: Why it can't be read, where the listing knows.
        size: How many bytes those are, in the listing; None where that is not known.
    """

    place: str
    stamp: str
    read: Callable[[], bytes]
    trouble: str = ""
    size: int | None = None


@dataclass(slots=True)
class _Memory:
    """What one `Contents` and its parts share."""

    known: _Known
    left_out: dict[str, LeftOut] = field(default_factory=dict)
    used: dict[tuple[str, str], tuple[str, JSON]] = field(default_factory=dict)
    read_count: int = 0
    read_bytes: int = 0
    lock: Lock = field(default_factory=Lock)


class Contents:
    """Remembers by file and stamp what was made of the file's bytes. Threads may share it.

    Args:
        known: By kind of summary and place of the file: the file's stamp when it was read, and the summary.
    """

    def __init__(self, known: _Known = MappingProxyType({})) -> None:
        self._memory = _Memory(known)
        self._prefix = ""

    @property
    def read_count(self) -> int:
        """How many files were really read."""
        return self._memory.read_count

    @property
    def read_bytes(self) -> int:
        """How many bytes those were."""
        return self._memory.read_bytes

    @property
    def left_out(self) -> LeftOut:
        """What lies beside the images and is none."""
        return LeftOut.summed(self._memory.left_out[folder] for folder in sorted(self._memory.left_out))

    def leave_out(self, folder: str, found: LeftOut) -> None:
        """Note what a folder holds that is no image."""
        self._memory.left_out[self._prefix + folder] = found

    def part(self, name: str) -> Contents:
        """Return a view for one of several data sets, whose files' places are told apart from the others' by `name`."""
        view = Contents()
        view._memory, view._prefix = self._memory, f"{self._prefix}{name}/"
        return view

    def of(self, files: Sequence[SeenFile], summarise: Callable[[bytes], JSON], kind: str) -> list[JSON]:
        """Summarise files, reading only those that are new or changed, several at a time.

        Args:
            files: In any order; a file may come twice.
            summarise: Makes the summary of a file's bytes. It runs in several threads.
            kind: Names what `summarise` makes. Another summary, or another form of it, needs another name.

        Returns:
            The summaries in the order of the files; None for a file that can't be read (a `DataError`), which is not
            remembered: the next look tries again.
        """
        memory = self._memory
        keys = [(kind, self._prefix + file.place) for file in files]
        new: dict[tuple[str, str], SeenFile] = {}
        unreadable: set[tuple[str, str]] = set()
        for key, file in zip(keys, files, strict=True):
            row = memory.used.get(key) or memory.known.get(key)
            if row is None or row[0] != file.stamp:
                new[key] = file
            else:
                memory.used[key] = row

        def summary(key: tuple[str, str]) -> JSON:
            try:
                data = self._read(new[key])
            except DataError:
                unreadable.add(key)
                return None
            return summarise(data)

        told, done = time.monotonic(), 0
        for batch in _batches(list(new)):
            with ThreadPoolExecutor(min(_READERS, len(batch))) as pool:
                for key, value in zip(batch, pool.map(summary, batch), strict=True):
                    if key not in unreadable:
                        memory.used[key] = new[key].stamp, value
                    done += 1
                    if time.monotonic() - told > _TOLD_EVERY_SECONDS:
                        told = time.monotonic()
                        logger.warning("looking at files that are new or changed: %d of %d read", done, len(new))
        return [None if key in unreadable else memory.used[key][1] for key in keys]

    def digests(self, files: Sequence[SeenFile]) -> list[str]:
        """Return the SHA-256 of files in hexadecimal, reading only those that are new or changed.

        They are files that a run can't do without: where one can't be read, its `read` raises no `DataError`.
        """
        return cast(list[str], self.of(files, content_digest, _DIGEST))

    def digests_or_none(self, files: Sequence[SeenFile | None]) -> list[str | None]:
        """Return `digests`, with None for a file that isn't there or can't be read."""
        found = iter(self.of([file for file in files if file is not None], content_digest, _DIGEST))
        return [None if file is None else cast(str | None, next(found)) for file in files]

    def table(self) -> list[ContentRow]:
        """Return what is worth remembering: all that was asked for since this was opened, by kind and place.

        A file that was not asked for is gone from the data set, and is forgotten.
        """
        used = sorted(self._memory.used.items())
        return [ContentRow(kind, place, stamp, canonical_json(value)) for (kind, place), (stamp, value) in used]

    def encode(self) -> bytes:
        """Encode `table` as Parquet."""
        return encode_contents(self.table())

    @classmethod
    def decode(cls, data: bytes, where: str) -> Contents:
        """Decode what `encode` gave; raise `ArtifactError` naming `where` if the bytes are something else."""
        try:
            return cls({(r.kind, r.place): (r.stamp, json.loads(r.value)) for r in decode_contents(data, where)})
        except ValueError as error:
            raise ArtifactError(f"{where}: a value is not JSON ({error})") from error

    def _read(self, file: SeenFile) -> bytes:
        size = file.size
        data = read_again_unless(lambda found: size in (None, len(found)), file.read, file.place)
        if size not in (None, len(data)):
            raise ConfigError(
                f"{file.place} has {len(data)} bytes, and {size} in the listing; run again when nothing writes there"
            )
        with self._memory.lock:
            self._memory.read_count += 1
            self._memory.read_bytes += len(data)
        return data


def _batches(keys: Sequence[tuple[str, str]]) -> Iterator[Sequence[tuple[str, str]]]:
    for start in range(0, len(keys), _BATCH):
        yield keys[start : start + _BATCH]
