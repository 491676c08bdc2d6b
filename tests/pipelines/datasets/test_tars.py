"""Existing webdataset tars: labels of every spelling, and what is set aside."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import webdataset as wds

from pipelines.artifacts.annotations import ImageAnnotation, ObjectAnnotation
from pipelines.datasets.contents import Contents
from pipelines.datasets.protocol import ImageFile, Place
from pipelines.datasets.tars import Tars, TarsDataset
from sppnet.errors import ConfigError, DataError
from tests.support.data_sets import changes, check_items, items_of, read_all
from tests.support.made_tars import jpeg as image
from tests.support.made_tars import write_tar


def opened(root: Path, **fields: object) -> Tars:
    return TarsDataset.model_validate(
        {"kind": "tars", "root": str(root), "splits": {"train": "*.tar"}, **fields}
    ).open()


def places(data: Tars) -> dict[str, list[str]]:
    """Keys by group."""
    found: dict[str, list[str]] = {}
    for item in data.items("train", Contents()):
        found.setdefault(item.group, []).append(item.key)
    return found


def annotation(data: Tars, key: str, group: str = "a.tar") -> ImageAnnotation:
    return data.annotation(Place("train", group, key), 40, 30)


def reason(data: Tars, key: str) -> str:
    with pytest.raises(DataError) as caught:
        whole(data, Place("train", "a.tar", key))
    return caught.value.reason


def whole(data: Tars, place: Place) -> None:
    data.image(place)
    data.annotation(place, 40, 30)


def test_numbers_are_categories_of_the_list(tmp_path: Path) -> None:
    write_tar(tmp_path / "a.tar", ("x.jpg", image()), ("x.cls", b"1\n"), ("y.cls", b"2"), ("y.jpg", image()))
    data = opened(tmp_path, categories=["cat", "dog"])
    assert places(data) == {"a.tar": ["x", "y"]}
    assert data.image(Place("train", "a.tar", "x")) == ImageFile(image(), "jpg")
    assert annotation(data, "x") == ImageAnnotation("x", 40, 30, (ObjectAnnotation("dog", (0, 0, 40, 30)),))
    assert reason(data, "y") == "unknown-category"
    check_items(lambda: opened(tmp_path, categories=["cat", "dog"]))
    bare = opened(tmp_path)
    assert bare.categories(Contents()) == ("1", "2")
    assert annotation(bare, "y").objects[0].category == "2"


def test_names_and_annotations(tmp_path: Path) -> None:
    note = ImageAnnotation("z", 40, 30, (ObjectAnnotation("car", (1, 2, 3, 4), "van"),))
    write_tar(
        tmp_path / "a.tar",
        *[("./n.v1/x.jpg", image()), ("./n.v1/x.txt", b" sea lion \n"), ("./n.v1/x.json", b'{"source": "web"}')],
        *[("z.png", image()), ("z.json", json.dumps(note.to_json()).encode()), ("._z.jpg", b"")],
    )
    data = opened(tmp_path)
    assert places(data) == {"a.tar": ["n%2Ev1/x", "z"]}
    assert data.categories(Contents()) == ("car", "sea lion")
    assert annotation(data, "n%2Ev1/x").objects[0].category == "sea lion"
    assert annotation(data, "z") == note
    check_items(lambda: opened(tmp_path))


def test_what_cannot_be_used(tmp_path: Path) -> None:
    write_tar(
        tmp_path / "a.tar",
        *[
            ("bare.jpg", image()),
            ("empty.jpg", image()),
            ("empty.txt", b" "),
            ("word.jpg", image()),
            ("word.cls", b"cat"),
        ],
        *[("two.jpg", image()), ("two.png", image()), ("none.cls", b"1"), ("odd.jpg", image()), ("odd.json", b"{")],
        *[("bad.jpg", image()), ("bad.json", b'{"objects": 3}'), ("text.jpg", b"text"), ("text.cls", b"1")],
    )
    data = opened(tmp_path)
    assert read_all(data, "train") == (
        [],
        {
            "bare": "no-label",
            "empty": "no-label",
            "word": "bad-annotation",
            "two": "several-images",
            "none": "missing-image",
            "odd": "bad-annotation",
            "bad": "bad-annotation",
            "text": "not-an-image",
        },
    )
    assert reason(data, "gone") == "missing-image"
    assert annotation(opened(tmp_path, labelled=False), "bare").objects == ()
    check_items(lambda: opened(tmp_path))
    check_items(lambda: opened(tmp_path, labelled=False))


def test_labels_are_text_of_any_system(tmp_path: Path) -> None:
    windows = [
        ("a.jpg", image()),
        ("a.txt", "né\r\n".encode("utf-16")),
        ("n.jpg", image()),
        ("n.cls", b"\xef\xbb\xbf1\r\n"),
    ]
    write_tar(tmp_path / "a.tar", *windows, ("b.jpg", image()), ("b.txt", b"n\xe9"))
    data = opened(tmp_path)
    assert [annotation(data, key).objects[0].category for key in "an"] == ["né", "1"]
    with pytest.raises(DataError, match=r"bad-annotation: b: .txt: line 1: byte 0xe9 is not UTF-8"):
        annotation(data, "b")
    check_items(lambda: opened(tmp_path))


def test_a_tar_is_a_group_and_a_key_comes_once(tmp_path: Path) -> None:
    for name in "ab":
        write_tar(tmp_path / f"deep/{name}.tar", (f"{name}.jpg", image()), (f"{name}.cls", b"0"))
    fields = {"splits": {"train": ["deep/{b,a}.tar"]}}
    assert places(opened(tmp_path, **fields)) == {"deep/b.tar": ["b"], "deep/a.tar": ["a"]}
    assert opened(tmp_path, **fields).image(Place("train", "deep/b.tar", "b")).extension == "jpg"
    check_items(lambda: opened(tmp_path, **fields))
    whole = {"splits": {"train": [f"{tmp_path}/deep/*.tar"]}}  # wherever the root is
    assert places(opened(tmp_path / "none", **whole)) == {f"{tmp_path}/deep/{name}.tar": [name] for name in "ab"}
    check_items(lambda: opened(tmp_path / "none", **whole))
    with pytest.raises(ConfigError, match="no split 'val' in the data set; it has: train"):
        opened(tmp_path, **fields).items("val", Contents())


def test_keys_that_restart_in_every_tar_come_after_its_name(tmp_path: Path) -> None:
    """In the order of the tars; folders only where file names don't tell them apart; tars of other keys as they are."""
    for number, name in enumerate(("one/0.tar", "two/0.tar", "two/1.tar")):
        write_tar(tmp_path / name, ("000000.jpg", image(number)), ("000000.cls", b"0"), ("000001.jpg", image(9)))
    write_tar(tmp_path / "two/2.tar", ("other.jpg", image()), ("other.cls", b"1"))
    data = opened(tmp_path, splits={"train": ["one/*.tar", "two/*.tar"]})
    assert places(data) == {
        "one/0.tar": ["one/0%2Etar/000000", "one/0%2Etar/000001"],
        "two/0.tar": ["two/0%2Etar/000000", "two/0%2Etar/000001"],
        "two/1.tar": ["two/1%2Etar/000000", "two/1%2Etar/000001"],
        "two/2.tar": ["other"],
    }
    records, reasons = read_all(data, "train")
    assert {record.key: record.data for record in records} == {
        **{f"{tar}%2Etar/000000": image(number) for number, tar in enumerate(("one/0", "two/0", "two/1"))},
        "other": image(),
    }
    assert set(reasons.values()) == {"no-label"}
    check_items(lambda: opened(tmp_path, splits={"train": ["one/*.tar", "two/*.tar"]}))
    near = opened(tmp_path / "two", splits={"train": ["0.tar", "1.tar"]})
    assert places(near)["0.tar"] == ["0%2Etar/000000", "0%2Etar/000001"]


@pytest.mark.parametrize(
    ("data", "reason", "told"),
    [
        (b"", "shard-empty", "has no bytes"),
        (b"no tar", "shard-broken", "truncated header"),
        (bytes(10240), "shard-empty", "holds no samples"),
        (b"\x28\xb5\x2f\xfd" + bytes(600), "shard-broken", "packed by zstd"),
        (None, "shard-broken", "cut short in 'a.jpg'"),
    ],
)
def test_a_tar_that_is_none_is_set_aside_and_the_others_go_on(
    tmp_path: Path, data: bytes | None, reason: str, told: str
) -> None:
    whole = write_tar(tmp_path / "a.tar", ("a.jpg", image()), ("a.cls", b"0")).read_bytes()
    (tmp_path / "c.tar").write_bytes(whole[:700] if data is None else data)
    found = opened(tmp_path)
    assert places(found) == {"a.tar": ["a"], "c.tar": ["c%2Etar"]}
    with pytest.raises(DataError, match=f"c.tar: .*{told}") as caught:
        found.image(Place("train", "c.tar", "c%2Etar"))
    assert caught.value.reason == reason
    assert found.categories(Contents()) == ("0",)
    check_items(lambda: opened(tmp_path))


def test_members_that_come_twice_set_their_sample_aside(tmp_path: Path) -> None:
    write_tar(tmp_path / "a.tar", ("d.jpg", image()), ("D.jpg", image()), ("d.JPG", image()), ("D.cls", b"1"))
    assert reason(opened(tmp_path), "d") == "doubled-member"
    assert places(opened(tmp_path)) == {"a.tar": ["d", "D"]}
    check_items(lambda: opened(tmp_path))


def labels(data: Tars) -> list[str]:
    return [item.label for item in data.items("train", Contents())]


def test_items_tell_content_not_place(tmp_path: Path) -> None:
    first, second = tmp_path / "one", tmp_path / "two"
    members = [("a.jpg", image()), ("a.cls", b"0"), ("b.jpg", image()), ("c.jpg", image()), ("c.json", b"{")]
    for folder in (first, second):
        write_tar(folder / "a.tar", *members)
    assert items_of(opened(first)) == items_of(opened(second))
    plain = labels(opened(first))
    assert len(set(plain)) == 3
    unlabelled = labels(opened(first, labelled=False))
    assert [a == b for a, b in zip(plain, unlabelled, strict=True)] == [True, False, True]
    named = labels(opened(first, categories=["cat"]))
    assert [a == b for a, b in zip(plain, named, strict=True)] == [False, True, True]
    write_tar(second / "a.tar", ("a.jpg", image()), ("a.txt", b"cat"), *members[2:])
    assert labels(opened(second)) == named  # the same category, however it is said


def test_each_change_changes_one_item_and_reads_one_tar(tmp_path: Path) -> None:
    members = [("a.jpg", image()), ("a.cls", b"0"), ("b.jpg", image()), ("b.cls", b"0")]
    write_tar(tmp_path / "a.tar", *members)
    write_tar(tmp_path / "b.tar", ("c.jpg", image()), ("c.cls", b"0"))
    size = (tmp_path / "a.tar").stat().st_size

    def changed(*new: tuple[str, bytes]) -> tuple[list[str], list[str], int]:
        return changes(lambda: opened(tmp_path), lambda: write_tar(tmp_path / "a.tar", *new))

    assert changed(*members) == ([], [], 1)
    # Tars are padded: another label leaves the size as it is.
    members[3] = ("b.cls", b"1")
    assert changed(*members) == ([], ["b"], 1)
    members[0] = ("a.jpg", image(91))
    assert changed(*members) == (["a"], [], 1)
    assert (tmp_path / "a.tar").stat().st_size == size


def test_categories_of_a_file(tmp_path: Path) -> None:
    write_tar(tmp_path / "a.tar", ("a.jpg", image()), ("a.cls", b"1"))
    (tmp_path / "names.txt").write_text("cat\ndog\n")
    data = opened(tmp_path, categories_file="names.txt")
    assert data.categories(Contents()) == ("cat", "dog")
    assert annotation(data, "a").objects[0].category == "dog"


def test_labels_that_look_like_numbers_come_in_order(tmp_path: Path) -> None:
    texts = ("10", "9", "²", "dog")  # a raised two is a digit but no number
    members = [(f"{n}.{part}", data) for n, text in enumerate(texts) for part, data in _labelled(text)]
    write_tar(tmp_path / "a.tar", *members)
    assert opened(tmp_path).categories(Contents()) == ("9", "10", "dog", "²")


def _labelled(text: str) -> list[tuple[str, bytes]]:
    return [("jpg", image()), ("txt", text.encode())]


def test_tars_are_read(tmp_path: Path) -> None:
    write_tar(
        tmp_path / "in" / "t-00.tar",
        *[("a.jpg", image()), ("a.cls", b"0"), ("b.jpg", image()), ("c.jpg", image(1)), ("c.cls", b"7")],
    )
    write_tar(
        tmp_path / "in" / "t-01.tar",
        ("d.jpg", image(3, (9, 90))),
        ("d.cls", b"1"),
        ("e.jpg", image()),
        ("e.txt", b"dog"),
    )
    fields = {"splits": {"train": [f"{tmp_path}/in/t-{{00..01}}.tar"]}, "categories": ["cat", "dog"]}
    records, reasons = read_all(opened(tmp_path, **fields), "train")
    assert reasons == {"b": "no-label", "c": "unknown-category", "d": "too-small"}
    assert [(r.key, r.annotation.objects[0].category, r.data == image()) for r in records] == [
        ("a", "cat", True),
        ("e", "dog", True),
    ]


def test_annotations_of_sppnets_own_come_back_as_they_are(tmp_path: Path) -> None:
    things = (ObjectAnnotation("car", (1.0, 2.0, 30.0, 20.0), "van", difficult=True),)
    notes = [ImageAnnotation(key, 40, 30, things, index=7) for key in ("a", "n/b")]
    members = [(f"{note.key}.jpg", image()) for note in notes]
    members += [(f"{note.key}.json", json.dumps(note.to_json()).encode()) for note in notes]
    write_tar(tmp_path / "in.tar", *sorted(members))
    records, reasons = read_all(opened(tmp_path, splits={"train": "in.tar"}), "train")
    assert reasons == {}
    assert [(record.extension, record.annotation) for record in records] == [("jpg", note) for note in notes]


@pytest.mark.parametrize("pattern", ["s-%06d.tar", "s-%06d.tar.gz", "s-%06d.tgz"])
def test_what_webdatasets_writer_makes(tmp_path: Path, pattern: str) -> None:
    """Pixels, bytes, numbers, words and JSON; keys with folders; several shards; extensions with a name before them."""
    grey = np.full((30, 40, 3), 90, np.uint8)
    members: list[dict[str, object]] = [
        {"__key__": "n01/a", "jpg": image(1), "cls": 1, "json": {"url": "x"}, "__url__": "left out"},
        {"__key__": "n01/b", "png": grey, "txt": "dog", "pyd": [1], "pth": None, "npy": grey},
        {"__key__": "c", "left.jpg": image(2), "left.cls": 0, "cls": 0},
        {"__key__": "d.e", "JPG": image(3), "CLS": b"0"},
        {"__key__": "f", "jpg": image(4), "seg.png": image(9), "cls": 0},
        {"__key__": "g", "left.jpg": image(5), "right.jpg": image(6), "cls": 0},
    ]
    with wds.ShardWriter(str(tmp_path / pattern), maxcount=4, verbose=0) as writer:
        for number, member in enumerate(members):
            known = {name: value for name, value in member.items() if name not in ("pyd", "pth", "__url__")}
            writer.write({**known, "__key__": f"{number}-{member['__key__']}"})
    data = opened(tmp_path, splits={"train": "*"}, categories=["cat", "dog"])
    records, reasons = read_all(data, "train")
    assert {record.key: record.annotation.objects[0].category for record in records} == {
        **{"0-n01/a": "dog", "1-n01/b": "dog", "2-c": "cat", "3-d": "cat", "4-f": "cat"}
    }
    assert [record.extension for record in records] == ["jpg", "png", "jpg", "jpg", "jpg"]
    assert [record.data for record in records if record.extension == "jpg"] == [*map(image, (1, 2, 3, 4))]
    assert reasons == {"5-g": "several-images"}
    check_items(lambda: opened(tmp_path, splits={"train": "*"}))
