"""Existing webdataset tars: labels of every spelling, and what is set aside."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipelines.artifacts.annotations import ImageAnnotation, ObjectAnnotation
from pipelines.artifacts.image_tars import ImageRecord, decode_images, encode_images
from pipelines.artifacts.manifest import Manifest
from pipelines.datasets.tar_samples import Tars, TarsDataset
from pipelines.engine.recipe import parse_recipe
from pipelines.engine.runner import Engine
from pipelines.engine.workspace import Workspace
from pipelines.executors.local import LocalExecutor
from sppnet.errors import ArtifactError, ConfigError, DataError
from tests.support.chain import Silent


def image(grey: int = 90, size: tuple[int, int] = (40, 30)) -> bytes:
    sink = io.BytesIO()
    Image.fromarray(np.full((size[1], size[0], 3), grey, np.uint8)).save(sink, "JPEG")
    return sink.getvalue()


def write_tar(path: Path, *members: tuple[str, bytes]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def opened(root: Path, **fields: object) -> Tars:
    return TarsDataset.model_validate(
        {"kind": "tars", "root": str(root), "splits": {"train": "*.tar"}, **fields}
    ).open()


def reason(data: Tars, key: str) -> str:
    with pytest.raises(DataError) as caught:
        data.fetch("train/000000", key)
    return caught.value.reason


def test_numbers_are_categories_of_the_list(tmp_path: Path) -> None:
    write_tar(tmp_path / "a.tar", ("x.jpg", image()), ("x.cls", b"1\n"), ("y.cls", b"2"), ("y.jpg", image()))
    data = opened(tmp_path, categories=["cat", "dog"])
    assert data.shards("train", 1) == (("x", "y"),)
    raw = data.fetch("train/000000", "x")
    assert raw.data == image()
    assert raw.annotation == ImageAnnotation("x", 40, 30, (ObjectAnnotation("dog", (0, 0, 40, 30)),))
    assert reason(data, "y") == "unknown-category"
    bare = opened(tmp_path)
    assert bare.categories() == ("1", "2")
    assert bare.fetch("train/000000", "y").annotation.objects[0].category == "2"


def test_names_and_annotations(tmp_path: Path) -> None:
    note = ImageAnnotation("z", 40, 30, (ObjectAnnotation("car", (1, 2, 3, 4), "van"),))
    write_tar(
        tmp_path / "a.tar",
        *[("./n.v1/x.jpg", image()), ("./n.v1/x.txt", b" sea lion \n"), ("./n.v1/x.json", b'{"source": "web"}')],
        *[("z.png", image()), ("z.json", json.dumps(note.to_json()).encode()), ("._z.jpg", b"")],
    )
    data = opened(tmp_path)
    assert data.shards("train", 1) == (("n%2Ev1/x", "z"),)
    assert data.categories() == ("car", "sea lion")
    assert data.fetch("train/000000", "n%2Ev1/x").annotation.objects[0].category == "sea lion"
    assert data.fetch("train/000000", "z").annotation == note


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
    found = {key: reason(data, key) for key in data.shards("train", 1)[0]} | {"gone": reason(data, "gone")}
    assert found == {
        "bare": "no-label",
        "empty": "no-label",
        "word": "bad-annotation",
        "two": "several-images",
        "none": "missing-image",
        "odd": "bad-annotation",
        "bad": "bad-annotation",
        "text": "not-an-image",
        "gone": "missing-image",
    }
    assert opened(tmp_path, labelled=False).fetch("train/000000", "bare").annotation.objects == ()


def test_a_tar_is_a_shard_and_a_key_comes_once(tmp_path: Path) -> None:
    for name in "ab":
        write_tar(tmp_path / f"{name}.tar", (f"{name}.jpg", image()), (f"{name}.cls", b"0"))
    assert opened(tmp_path).shards("train", 100) == (("a",), ("b",))
    assert opened(tmp_path).fetch("train/000001", "b").extension == "jpg"
    write_tar(tmp_path / "c.tar", ("a.jpg", image()))
    with pytest.raises(ConfigError, match="split 'train' of the tars lists 'a' twice"):
        opened(tmp_path).shards("train", 1)
    write_tar(tmp_path / "c.tar", ("d.jpg", image()), ("d.jpg", image()))
    with pytest.raises(ConfigError, match=r"c.tar holds 'd.jpg' twice"):
        opened(tmp_path).shards("train", 1)
    write_tar(tmp_path / "c.tar")
    with pytest.raises(ConfigError, match=r"c.tar holds no samples"):
        opened(tmp_path).shards("train", 1)
    (tmp_path / "c.tar").write_bytes((tmp_path / "a.tar").read_bytes()[:700])
    with pytest.raises(ArtifactError, match=r"c.tar: "):
        opened(tmp_path).shards("train", 1)


def test_what_it_is_not_where(tmp_path: Path) -> None:
    first, second = tmp_path / "one", tmp_path / "two"
    for folder in (first, second):
        write_tar(folder / "a.tar", ("a.jpg", image()), ("a.cls", b"0"))
    assert opened(first).describe() == opened(second).describe()
    assert opened(first, labelled=False).describe() != opened(second).describe()
    assert opened(first, edition="2").describe() != opened(second).describe()
    # Tars are padded: another label leaves the size as it is.
    write_tar(second / "a.tar", ("a.jpg", image()), ("a.cls", b"1"))
    assert (first / "a.tar").stat().st_size == (second / "a.tar").stat().st_size
    assert opened(first).describe() != opened(second).describe()


def test_categories_of_a_file(tmp_path: Path) -> None:
    write_tar(tmp_path / "a.tar", ("a.jpg", image()), ("a.cls", b"1"))
    (tmp_path / "names.txt").write_text("cat\ndog\n")
    data = opened(tmp_path, categories_file="names.txt")
    assert data.categories() == ("cat", "dog")
    assert data.fetch("train/000000", "a").annotation.objects[0].category == "dog"


def run(root: Path, dataset: dict) -> tuple:
    step = {"stage": "ingest", "dataset": {"kind": "tars", **dataset}, "max_quarantined": 1}
    recipe = parse_recipe({"version": 1, "name": "a", "steps": {"images": step}}, "r")
    engine = Engine(recipe, Workspace.open(str(root)))
    (summary,) = engine.run(LocalExecutor(), Silent())
    return summary, engine.workspace.artifact(engine.steps[0].spec.artifact)


def test_ingest_of_tars(tmp_path: Path) -> None:
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
    dataset = {"splits": {"train": [f"{tmp_path}/in/t-{{00..01}}.tar"]}, "categories": ["cat", "dog"]}
    summary, artifact = run(tmp_path / "workspace", dataset)
    assert {(q.key, q.reason) for q in summary.quarantined} == {
        ("b", "no-label"),
        ("c", "unknown-category"),
        ("d", "too-small"),
    }
    manifest = Manifest.read(artifact)
    assert manifest.units("train") == ("train/000000", "train/000001")
    records = [record for unit in manifest.units("train") for record in decode_images(artifact.read(unit), unit)]
    assert [(r.key, r.annotation.objects[0].category, r.data == image()) for r in records] == [
        ("a", "cat", True),
        ("e", "dog", True),
    ]


def test_sppnets_own_shards_come_back_as_they_are(tmp_path: Path) -> None:
    things = (ObjectAnnotation("car", (1.0, 2.0, 30.0, 20.0), "van", difficult=True),)
    records = [ImageRecord(key, "jpg", image(), ImageAnnotation(key, 40, 30, things, index=7)) for key in ("a", "n/b")]
    (tmp_path / "in.tar").write_bytes(encode_images(records))
    summary, artifact = run(tmp_path / "workspace", {"root": str(tmp_path), "splits": {"train": "in.tar"}})
    assert summary.quarantined == ()
    assert list(decode_images(artifact.read("train/000000"), "here")) == records
