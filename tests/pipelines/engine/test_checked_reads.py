"""What a store sends short is asked for once more, and then told: whole objects, parts, looks and data sets."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from pipelines.artifacts.parquet import ObjectFile
from pipelines.datasets.contents import Contents
from pipelines.datasets.folder_files import Folder
from pipelines.engine.checked_reads import read_again_unless
from pipelines.engine.commits import Output
from pipelines.engine.fingerprint import content_digest
from pipelines.engine.looks import Look, LookBook
from pipelines.engine.store import LocalStore
from pipelines.engine.workspace import Workspace
from sppnet.errors import ArtifactError, ConfigError


class ShortStore(LocalStore):
    """Sends half of an object, so many times."""

    def __init__(self, root: str) -> None:
        super().__init__(root)
        self.short = 0
        self.reads: list[str] = []

    def _cut(self, name: str, data: bytes) -> bytes:
        self.reads.append(name)
        if self.short and data and not name.endswith(".json"):
            self.short -= 1
            return data[: len(data) // 2]
        return data

    def read(self, name: str, most: int | None = None) -> bytes:
        """See `Store.read`."""
        return self._cut(name, super().read(name, most))

    def read_range(self, name: str, start: int, size: int) -> bytes:
        """See `Store.read_range`."""
        return self._cut(name, super().read_range(name, start, size))


@pytest.fixture
def store(tmp_path: Path) -> ShortStore:
    return ShortStore(str(tmp_path))


def of_an_artifact(store: ShortStore) -> Callable[[], bytes]:
    artifact = Workspace(store).artifact("maps-1")
    artifact.publish("a", Output(b"whole", ".bin", 1, 1), 0.0)
    return lambda: artifact.read("a")


def of_a_part(store: ShortStore) -> Callable[[], bytes]:
    store.put("x.bin", b"a whole one")
    file = ObjectFile(store, "x.bin", 11)

    def read() -> bytes:
        file.seek(2)
        return file.read(5)

    return read


def of_a_look(store: ShortStore) -> Callable[[], bytes]:
    book = LookBook(store)
    book.record("ingest", {"place": "p"}, {}, Look(objects={"items.bin": b"whole"}))
    past = book.past("ingest", {"place": "p"}, {}).newest
    assert past is not None
    return lambda: past.read("items.bin")


@pytest.mark.parametrize("of", [of_an_artifact, of_a_part, of_a_look])
def test_once_more(store: ShortStore, of: Callable[[ShortStore], Callable[[], bytes]]) -> None:
    read = of(store)
    assert read() == b"whole"
    store.short, store.reads = 1, []
    assert read() == b"whole"
    assert [name for name in store.reads if not name.endswith(".json")] == store.reads[-2:]
    store.short = 2
    with pytest.raises(ArtifactError, match=r"is not what was|2 bytes instead of 5 from byte 2 on"):
        read()


def test_a_file_of_a_data_set_has_as_many_bytes_as_the_listing_says(store: ShortStore) -> None:
    store.put("a.jpg", b"picture")
    (file,) = Folder(store).files().values()
    store.short = 1
    assert Contents().digests([file]) == [content_digest(b"picture")]
    store.short = 2
    with pytest.raises(ConfigError, match=r"^a.jpg has 3 bytes, and 7 in the listing; run again when nothing"):
        Contents().digests([file])


def test_what_is_whole_is_read_once() -> None:
    given = iter([b"a", b"b"])
    assert read_again_unless(lambda data: data == b"a", lambda: next(given), "x") == b"a"
    assert next(given) == b"b"
