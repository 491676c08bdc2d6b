"""What is remembered of files: only new and changed ones are read."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from functools import partial

import pytest

from pipelines.artifacts.file_contents import ContentRow, encode_contents
from pipelines.datasets.contents import Contents, SeenFile
from sppnet.errors import ArtifactError


@dataclass
class Disk:
    """Files with stamps; it notes which are read."""

    files: dict[str, bytes]
    stamps: dict[str, str] = field(default_factory=dict)
    reads: list[str] = field(default_factory=list)

    def read(self, name: str) -> bytes:
        self.reads.append(name)
        return self.files[name]

    def seen(self, *names: str) -> list[SeenFile]:
        return [SeenFile(name, self.stamps.get(name, "1"), partial(self.read, name)) for name in names]


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def again(contents: Contents) -> Contents:
    return Contents.decode(contents.encode(), "here")


def test_only_what_is_new_or_changed_is_read() -> None:
    disk = Disk({"a": b"1", "b": b"22", "c": b"333"})
    first = Contents()
    assert first.digests(disk.seen("b", "a", "b")) == [digest(b"22"), digest(b"1"), digest(b"22")]
    assert (first.read_count, first.read_bytes, sorted(disk.reads)) == (2, 3, ["a", "b"])
    second = again(first)
    assert second.digests(disk.seen("a", "b")) == [digest(b"1"), digest(b"22")]
    assert (second.read_count, second.read_bytes) == (0, 0)
    disk.files["a"], disk.stamps["a"] = b"9", "2"
    disk.reads.clear()
    third = again(second)
    assert third.digests(disk.seen("a", "b", "c")) == [digest(b"9"), digest(b"22"), digest(b"333")]
    assert (third.read_count, third.read_bytes, sorted(disk.reads)) == (2, 4, ["a", "c"])


def test_a_file_that_changes_while_it_is_open_is_read_again() -> None:
    disk = Disk({"a": b"1"})
    contents = Contents()
    contents.digests(disk.seen("a"))
    disk.files["a"], disk.stamps["a"] = b"2", "2"
    assert contents.digests(disk.seen("a")) == [digest(b"2")]
    assert contents.read_count == 2


def test_files_that_are_not_asked_for_are_forgotten() -> None:
    disk = Disk({"a": b"1", "b": b"2"})
    first = Contents()
    first.digests(disk.seen("a", "b"))
    second = again(first)
    second.digests(disk.seen("b"))
    assert [(row.kind, row.place) for row in first.table()] == [("sha256", "a"), ("sha256", "b")]
    assert second.table() == [ContentRow("sha256", "b", "1", f'"{digest(b"2")}"')]


def test_summaries_of_several_kinds_are_json_values() -> None:
    disk = Disk({"a": b"xyz"})
    first = Contents()
    assert first.of(disk.seen("a"), lambda data: {"n": len(data), "of": [None, 1.5]}, "size") == [
        {"n": 3, "of": [None, 1.5]}
    ]
    assert first.of(disk.seen("a"), lambda _: None, "nothing") == [None]
    second = again(first)

    def never(_: bytes) -> None:
        raise AssertionError

    assert second.of(disk.seen("a"), never, "size") == [{"n": 3, "of": [None, 1.5]}]
    assert second.of(disk.seen("a"), never, "nothing") == [None]
    assert second.read_count == 0


def test_parts_share_a_memory_but_no_places() -> None:
    one, two = Disk({"a": b"1"}), Disk({"a": b"2"})
    whole = Contents()
    assert whole.part("0").digests(one.seen("a")) == [digest(b"1")]
    assert whole.part("1").part("0").digests(two.seen("a")) == [digest(b"2")]
    assert (whole.read_count, [row.place for row in whole.table()]) == (2, ["0/a", "1/0/a"])
    assert again(whole).part("0").digests(two.seen("a")) == [digest(b"1")]


def test_what_is_read_before_an_error_is_kept() -> None:
    disk = Disk({"a": b"1"})
    contents = Contents()
    with pytest.raises(KeyError, match="gone"):
        contents.digests(disk.seen("a", "gone"))
    assert [row.place for row in contents.table()] == ["a"]


def test_many_files_come_back_in_order() -> None:
    disk = Disk({str(number): str(number).encode() for number in range(5000)})
    assert Contents().of(disk.seen(*disk.files), int, "number") == list(range(5000))


def test_equal_tables_are_equal_bytes() -> None:
    disk = Disk({"a": b"1", "b": b"2"})
    first, second = Contents(), Contents()
    first.digests(disk.seen("a", "b"))
    second.digests(disk.seen("b"))
    second.digests(disk.seen("a"))
    assert first.encode() == second.encode()


@pytest.mark.parametrize("data", [b"", b"text", encode_contents([ContentRow("sha256", "a", "1", "{")])])
def test_damage_is_told(data: bytes) -> None:
    with pytest.raises(ArtifactError, match="the memory"):
        Contents.decode(data, "the memory")


def test_a_cut_table_is_told() -> None:
    data = encode_contents([ContentRow("sha256", str(number), "1", '"x"') for number in range(1000)])
    half = len(data) // 2
    with pytest.raises(ArtifactError, match="the memory"):
        Contents.decode(data[: half - 200] + bytes(400) + data[half + 200 :], "the memory")


def test_a_long_look_says_how_far_it_is(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr("pipelines.datasets.contents._TOLD_EVERY_SECONDS", -1.0)
    disk = Disk({"a": b"1", "b": b"22"})
    contents = Contents()
    contents.digests(disk.seen("a", "b"))
    told = [record.message for record in caplog.records]
    assert told == [f"looking at files that are new or changed: {done} of 2 read" for done in (1, 2)]
    caplog.clear()
    again(contents).digests(disk.seen("a", "b"))
    assert caplog.records == []
