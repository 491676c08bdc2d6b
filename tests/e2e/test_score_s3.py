"""`sppnet score` on Ray, its corpus, workspace and results in S3: killed in the middle, it goes on to the same end."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pipelines.engine.store import Store, open_store
from pipelines.outputs.ids import Numbers
from tests.support.chain import CATEGORIES, Chain, write_recipe
from tests.support.made_tars import write_tar
from tests.support.small_demo import RAY_AGENTS, Command

pytestmark = [pytest.mark.ray, pytest.mark.s3, pytest.mark.slow, pytest.mark.timeout(1800)]

TARS, PHOTOS = 12, 3


@pytest.fixture
def corpus(chain: Chain, tmp_path: Path) -> Path:
    """Tars with labels that nothing can read, photographs in folders of classes, a list; two images are cut short."""
    photos = sorted((chain.data / "JPEGImages").glob("val_*.jpg"))
    root = tmp_path / "corpus"
    for number in range(TARS):
        data = photos[number % len(photos)].read_bytes()
        whole = data if number != 5 else data[:-90]
        members = [(f"t{number:02d}.jpg", whole), (f"t{number:02d}.json", b"{"), (f"t{number:02d}.cls", b"none")]
        write_tar(root / f"tars/part-{number:03d}.tar", *members, (f"u{number:02d}.jpg", data + bytes(number + 1)))
    for number, photo in enumerate(photos[:PHOTOS]):
        for folder in ("cats", "dogs"):
            path = root / "photos" / folder / f"{number}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(photo.read_bytes())
    (root / "photos/dogs/0.jpg").write_bytes(photos[0].read_bytes()[:-90])
    (root / "photos/cats/labels.csv").write_text("0.jpg,cat\n")
    (root / "list.txt").write_text("photos/cats\nphotos/dogs/0.jpg\nphotos/dogs/1.jpg\nphotos/dogs/2.jpg\n")
    return root


def upload(folder: Path, uri: str) -> Store:
    store = open_store(uri)
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            store.put(path.relative_to(folder).as_posix(), path.read_bytes())
    return store


def results(store: Store) -> Iterator[tuple[str, bytes]]:
    """What a command wrote, apart from where the corpus lay."""
    for entry in store.list():
        if entry.name != "output.json":
            yield entry.name, store.read(entry.name)


def test_a_corpus_in_s3_on_ray(
    chain: Chain, corpus: Path, s3: str, start: Callable[..., Command], tmp_path: Path
) -> None:
    recipe = write_recipe(tmp_path / "recipe.yaml", chain.steps)
    upload(chain.root, f"{s3}/workspace")
    upload(corpus, f"{s3}/corpus")
    common = ("--recipe", str(recipe), "--detector", "full", "--format", "coco", "--merge", "--max-quarantined", "0.2")
    far = (
        f"{s3}/corpus/tars/part-{{000..003}}.tar",
        f"{s3}/corpus/tars/part-0{{04..11}}.tar",
        f"@{s3}/corpus/list.txt",
    )
    options = (*common, "--workspace", f"{s3}/workspace", "--out", f"{s3}/out", "--cpus", "2")
    out = open_store(f"{s3}/out")

    def shards() -> dict[str, str]:
        return {entry.name: entry.stamp for entry in out.list("all")}

    first = start("score", *far, *options)
    first.wait_until(shards)
    first.kill_driver()
    assert first.leftovers(without=RAY_AGENTS) == []
    kept = shards()
    assert 1 <= len(kept) < TARS + 1, "it was killed too late"
    for name in kept:
        json.loads(out.read(name))
    assert {name for name, _ in results(out)} == {*kept, "coco_all_numbers.json"}

    result = start("score", *far, *options).finish()
    after = shards()
    assert {name: after[name] for name in kept} == kept
    assert (len(after), result["files"], result["written"]) == (TARS + 1, TARS + 1, TARS + 1 - len(kept))
    assert (result["images"], result["quarantined"], result["reasons"]) == (
        2 * TARS + 2 * PHOTOS - 2,
        2,
        {"truncated": 2},
    )
    numbers = Numbers.parse(out.read("coco_all_numbers.json"), "n")
    assert list(numbers.categories) == list(CATEGORIES)
    assert {"photos/cats/0", "photos/dogs/0", "t00", "u11"} <= set(numbers.images)
    assert list(numbers.images.values()) == list(range(1, 2 * TARS + 2 * PHOTOS + 1))
    parts = [entry for name in after for entry in json.loads(out.read(name))]
    assert sorted(parts, key=str) == sorted(json.loads(out.read("coco_all.json")), key=str)
    assert len(parts) > 0

    # One process on this disk gives the same files, byte for byte.
    near = (str(corpus / "tars" / "*.tar"), f"@{corpus}/list.txt")
    chain.copied(tmp_path / "workspace", [step for step in chain.steps if step != "metrics"])
    there = ("--workspace", str(tmp_path / "workspace"), "--out", str(tmp_path / "out"), "--local")
    local = start("score", *near, *common, *there).finish()
    assert dict(results(open_store(str(tmp_path / "out")))) == dict(results(out))
    for told in ("images", "detections", "boxes", "reasons", "files"):
        assert local[told] == result[told]

    again = start("score", *far, *options)
    assert again.finish()["written"] == 0
    assert shards() == after
    assert "ray started" not in again.errors
