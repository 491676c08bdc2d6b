"""Image shards: equal records give equal bytes, webdataset reads them, damage is found."""

from __future__ import annotations

import io
import json
import tarfile

import pytest
import webdataset as wds
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.artifacts.image_tars import ImageRecord, decode_images, encode_images
from sppnet.errors import ArtifactError, ConfigError


def make_record(key: str, data: bytes = b"\xff\xd8 not looked at", extension: str = "jpg") -> ImageRecord:
    return ImageRecord(key, extension, data, width=60, height=50)


RECORDS = [make_record("a"), make_record("n01/b", b"", "png"), make_record("c", bytes(range(256)) * 9)]


def test_round_trip_in_order() -> None:
    assert list(decode_images(encode_images(RECORDS), "here")) == RECORDS


@settings(max_examples=40)
@given(
    st.lists(
        st.tuples(st.from_regex(r"[a-zA-Z0-9_äß-]{1,120}", fullmatch=True), st.binary(max_size=900)),
        max_size=4,
        unique_by=lambda pair: pair[0],
    )
)
def test_any_key_and_bytes(pairs: list[tuple[str, bytes]]) -> None:
    records = [make_record(key, data) for key, data in pairs]
    assert list(decode_images(encode_images(records), "here")) == records


def test_equal_records_give_equal_bytes() -> None:
    assert encode_images(RECORDS) == encode_images([make_record("a"), *RECORDS[1:]])


def test_webdataset_reads_a_shard(tmp_path, chain) -> None:
    path = tmp_path / "shard.tar"
    path.write_bytes(chain.artifact("images").read(chain.unit("train/000000")))
    samples = list(wds.WebDataset(str(path), shardshuffle=False))
    records = list(decode_images(path.read_bytes(), "here"))
    assert (
        [s["__key__"] for s in samples]
        == [r.key for r in records]
        == [f"train_{i:05d}" for i in (0, 1, 2)] + ["train_00003"]
    )
    for sample, record in zip(samples, records, strict=True):
        assert sample["jpg"] == record.data == (chain.data / "JPEGImages" / f"{record.key}.jpg").read_bytes()
        assert json.loads(sample["json"]) == {"width": record.width, "height": record.height}


def test_webdataset_decodes_images_and_sizes(tmp_path, chain) -> None:
    path = tmp_path / "shard.tar"
    path.write_bytes(chain.artifact("images").read(chain.unit("val/000001")))
    (sample,) = wds.WebDataset(str(path), shardshuffle=False).decode("rgb8")
    assert sample["jpg"].shape == (sample["json"]["height"], sample["json"]["width"], 3)


@pytest.mark.parametrize("key", ["a.b", "folder.x/a", ".a", ""])
def test_keys_that_a_tar_cannot_carry(key: str) -> None:
    with pytest.raises(ConfigError, match="may not be empty or have dots"):
        encode_images([make_record(key)])


def test_every_cut_is_found() -> None:
    whole = encode_images(RECORDS)
    end = len(whole.rstrip(b"\0"))
    for length in range(0, end + 1, 100):
        with pytest.raises(ArtifactError, match=r"^store/unit: "):
            list(decode_images(whole[:length], "store/unit"))


@pytest.mark.parametrize("member", range(1, 6))
def test_a_damaged_header_is_found(member: int) -> None:
    """tarfile alone would take it for the end, and records would be missing without a word."""
    whole = bytearray(encode_images(RECORDS))
    with tarfile.open(fileobj=io.BytesIO(bytes(whole))) as tar:
        offset = tar.getmembers()[member].offset
    whole[offset : offset + 8] = b"garbage!"
    with pytest.raises(ArtifactError, match=r"^store/unit: "):
        list(decode_images(bytes(whole), "store/unit"))


def tar_of(*members: tuple[str, bytes]) -> bytes:
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w") as tar:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return sink.getvalue()


SIZE = b'{"width": 60, "height": 50}'


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ([("a.jpg", b"x")], "a has an image or a size, not both"),
        ([("a.json", SIZE), ("b.jpg", b"x"), ("b.json", SIZE)], "a has an image or a size"),
        ([("a.jpg", b"x"), ("a.json", b"{")], "not a readable image shard"),
        ([("a.jpg", b"x"), ("a.json", b"{}")], "not a readable image shard \\('width'\\)"),
        ([("a.jpg", b"x"), ("a.png", b"\x89PNG")], "not a readable image shard"),
    ],
)
def test_wrong_members(members: list[tuple[str, bytes]], message: str) -> None:
    with pytest.raises(ArtifactError, match=f"^store/unit: .*{message}"):
        list(decode_images(tar_of(*members), "store/unit"))


def test_folder_entries_and_either_order_are_read() -> None:
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w") as tar:
        folder = tarfile.TarInfo("n01")
        folder.type = tarfile.DIRTYPE
        tar.addfile(folder)
        for name, data in (("n01/a.json", SIZE), ("n01/a.jpg", b"x")):
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    (record,) = decode_images(sink.getvalue(), "here")
    assert record == ImageRecord("n01/a", "jpg", b"x", width=60, height=50)


def test_not_a_tar() -> None:
    with pytest.raises(ArtifactError, match="not a readable image shard"):
        list(decode_images(b"nothing of the kind" * 100, "store/unit"))
