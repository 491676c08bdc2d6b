"""ingest of files as people have them: each input is done or set aside by name, and read with as few requests."""

from __future__ import annotations

import unicodedata
from collections import Counter
from pathlib import Path

import pytest
from fsspec.implementations.memory import MemoryFileSystem

from jobs.run.status import status_table
from pipelines.engine.store import open_store
from pipelines.outputs.names import FileNames
from pipelines.shards.reading import read_images
from sppnet.errors import ConfigError
from tests.support.chain import Chain
from tests.support.made_tars import jpeg, write_tar

NAMES = (
    "a.jpg", "b.JPG", "c.Jpg", "d.jfif", "e.jpe", "f.JPeG", "IMG 0001.v2.jpg", "a+b=100%.jpg", "sub.dir/x.JPG",
    "2024-01-26_18.14.00.mp4_760.jpeg", "back\\slash.jpg", "folder.tar/y.jpg", unicodedata.normalize("NFD", "né.jpg"),
)  # fmt: skip


def ingest(root: Path, dataset: dict[str, object], **fields: object) -> Chain:
    steps = {"images": {"stage": "ingest", "dataset": dataset, "max_quarantined": 1, **fields}}
    return Chain(root, steps, root.parent / "ws")


def accounted(chain: Chain) -> tuple[list[str], dict[str, str]]:
    """The files of the images that are done, as users know them; and by key why others were set aside."""
    chain.run()
    names = FileNames(chain.manifest)
    images = chain.artifact("images")
    done, aside = [], {}
    for unit in chain.manifest.units("all"):
        records, entries = read_images(images, unit)
        done += [names.of(record.key) for record in records]
        aside |= {entry.key: f"{entry.reason}: {entry.detail}" for entry in entries}
    return sorted(done), aside


def photos(folder: Path) -> Path:
    for number, name in enumerate(NAMES):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(jpeg(number))
    return folder


@pytest.mark.parametrize("by_reference", [False, True])
def test_files_of_any_name_are_done_under_their_names(tmp_path: Path, by_reference: bool) -> None:
    root = photos(tmp_path / "my [1] 100% #a&b's {x} *.tar")
    chain = ingest(root, {"kind": "images", "root": str(root)}, by_reference=by_reference)
    assert accounted(chain) == (sorted(NAMES), {})


def test_what_is_no_image_or_cant_be_one_is_accounted_for(tmp_path: Path) -> None:
    root = tmp_path / "photos"
    (root / "deep").mkdir(parents=True)
    (tmp_path / "store/x").mkdir(parents=True)
    (tmp_path / "store/x/1.jpg").write_bytes(jpeg())
    (root / "linked").symlink_to(tmp_path / "store/x")
    (root / "lost").symlink_to(tmp_path / "nowhere")
    (root / "gone.jpg").symlink_to(tmp_path / "nowhere.jpg")
    for name in ("img1.jpg", "img1.png", "deep/img1.jpg"):
        (root / name).write_bytes(jpeg())
    (root / "h.heic").write_bytes(b"\0\0\0\x18ftypheic" + bytes(40))
    for name in ("notes.txt", "LABELS.TXT", ".DS_Store", "deep/data.csv"):
        (root / name).write_bytes(b"x")
    chain = ingest(root, {"kind": "images", "root": str(root)})
    done, aside = accounted(chain)
    assert done == ["deep/img1.jpg", "img1.jpg", "img1.png", "linked/1.jpg"]
    assert {key: why.partition(":")[0] for key, why in aside.items()} == {
        "gone": "dangling-link",
        "h": "unsupported-format",
    }
    table, status = status_table(chain.engine)
    found = status["steps"][0]["left_out"]
    assert found["counts"] == {".csv": 1, ".txt": 2, "hidden": 1}
    assert found["named"] == (f"photos/lost: a link to {tmp_path}/nowhere, which is not there",)
    assert "images: left out, being no images: 1 .csv, 2 .txt, 1 hidden; photos/lost: a link" in str(table.caption)


@pytest.mark.parametrize("by_reference", [False, True])
def test_an_image_of_an_object_store_costs_two_requests(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, by_reference: bool
) -> None:
    """One to look at it and one to ingest it, whatever its extension: a listing knows its name."""
    store = open_store(f"memory://names-{by_reference}/photos")
    for number, name in enumerate(NAMES):
        store.put(name, jpeg(number))
    store.put("notes.txt", b"x")
    asked: Counter[str] = Counter()
    real = MemoryFileSystem.cat_file

    def counted(self: MemoryFileSystem, path: str, *args: object, **kwargs: object) -> bytes:
        asked[path] += 1
        return bytes(real(self, path, *args, **kwargs))

    monkeypatch.setattr(MemoryFileSystem, "cat_file", counted)
    chain = ingest(tmp_path / "photos", {"kind": "images", "root": store.uri}, by_reference=by_reference)
    chain.run()
    assert len(asked) == len(NAMES)
    assert set(asked.values()) == {2}


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ({"kind": "images"}, "step images: dataset.root: {root}/gone does not exist"),
        ({"kind": "folders", "flat": True}, "step images: dataset.root: {root}/gone does not exist"),
        ({"kind": "voc"}, "step images: dataset.root: {root}/gone does not exist"),
        (
            {"kind": "tars", "splits": {"a": "*.tar"}},
            "step images: dataset.splits.a: no file matches {root}/gone/*.tar: {root}/gone does not exist",
        ),
    ],
)
def test_what_is_not_there_is_told_with_its_step(tmp_path: Path, kind: dict[str, object], told: str) -> None:
    with pytest.raises(ConfigError) as caught:
        ingest(tmp_path, {**kind, "root": f"{tmp_path}/gone"})
    assert str(caught.value).startswith(told.format(root=tmp_path))


def test_a_folder_that_is_called_like_a_tar_is_a_folder(tmp_path: Path) -> None:
    for name in ("a.tar", "b.jpg"):
        (tmp_path / "in" / name).mkdir(parents=True)
        (tmp_path / "in" / name / "x.jpg").write_bytes(jpeg())
    write_tar(tmp_path / "in" / "a.tar" / "t.tar", ("s.jpg", jpeg()))
    for paths in ([], ["a.tar", "b.jpg"]):
        chain = ingest(tmp_path / "in", {"kind": "images", "root": f"{tmp_path}/in", "paths": paths})
        assert accounted(chain)[0] == ["a.tar/x.jpg", "b.jpg/x.jpg"]
