"""`sppnet classify`: any images through a network that is there; rows for other programs, and a ledger."""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
import yaml
from PIL import Image

from jobs.apply.out_folder import LEDGER
from pipelines.artifacts.image_tars import ImageRecord, encode_images
from pipelines.artifacts.networks import UNIT, encode_network
from pipelines.engine.commits import Output
from pipelines.engine.recipe import load_recipe
from pipelines.engine.runner import Engine
from pipelines.engine.store import open_store
from pipelines.engine.workspace import Workspace
from sppnet.images.network_input import prepare_image
from sppnet.networks.backbones import BackboneSpec, build_backbone
from sppnet.networks.network import FcHead, SppNetwork
from sppnet.pooling.pyramid import Pyramid
from tests.support.chain import write_weights
from tests.support.in_process import Outcome, sppnet
from tests.support.made_tars import write_tar

LABELS = ("ant", "bee", "cat", "dog")
BACKBONE = BackboneSpec("zf5", width=1 / 16)
SIZE = 64


@pytest.fixture(scope="module")
def network() -> SppNetwork:
    torch.manual_seed(3)
    backbone, pyramid = build_backbone(BACKBONE), Pyramid((2, 1))
    head = FcHead(pyramid.bins * backbone.channels, (12, 10), len(LABELS))
    torch.nn.init.normal_(head.layers["fc8"].weight, std=2.0)
    return SppNetwork(backbone, pyramid, head).eval()


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five photographs in two folders, one of them cut short."""
    root = tmp_path_factory.mktemp("corpus")
    for number in range(5):
        path = root / ("one" if number < 3 else "two") / f"img.{number}.jpg"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(make_jpeg(number))
    (root / "one" / "img.1.jpg").write_bytes(make_jpeg(1)[:-90])
    return root


def make_jpeg(seed: int) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 255, (9, 12, 3), dtype=np.uint8)
    sink = io.BytesIO()
    Image.fromarray(pixels).resize((120, 90 + 10 * seed)).save(sink, "JPEG")
    return sink.getvalue()


@pytest.fixture
def trained(tmp_path: Path, corpus: Path, network: SppNetwork) -> Path:
    """A recipe whose step `network` is in the workspace as if it had been trained there."""
    weights = write_weights(tmp_path / "zf5.safetensors", BACKBONE)
    steps = {
        "images": {"stage": "ingest", "dataset": {"kind": "images", "root": str(corpus)}, "max_quarantined": 0.5},
        "network": {"stage": "weights", "path": str(weights), "architecture": "zf5", "width": BACKBONE.width},
    }
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump({"version": 1, "name": "trained", "steps": steps}))
    workspace = Workspace.open(str(tmp_path / "workspace"))
    name = next(step for step in Engine(load_recipe(path), workspace).steps if step.name == "network").spec.artifact
    data = encode_network(network.backbone, network.head, network.pyramid, LABELS, [], sizes=(SIZE,))
    workspace.mark_version()
    workspace.artifact(name).publish(UNIT, Output(data, ".safetensors", 1, 0), 0)
    return path


def classify(recipe: Path, corpus: str | Path, *options: str | Path) -> Outcome:
    folder = recipe.parent
    read = ["--recipe", recipe, "--workspace", folder / "workspace", "--local", "--out", folder / "out"]
    return sppnet("classify", corpus, *read, *options)


def rows_of(folder: Path) -> list[dict[str, Any]]:
    return [row for path in sorted(folder.rglob("*.parquet")) for row in pq.read_table(path).to_pylist()]


def test_scores_of_a_folder(trained: Path, corpus: Path, network: SppNetwork) -> None:
    outcome = classify(trained, corpus)
    assert (outcome.code, outcome.json["images"], outcome.json["rows"], outcome.json["quarantined"]) == (0, 4, 4, 1)
    assert outcome.json["reasons"] == {"truncated": 1}
    rows = rows_of(trained.parent / "out")
    assert [row["key"] for row in rows] == [
        f"{f}/img%2E{n}" for f, n in (("one", 0), ("one", 2), ("two", 3), ("two", 4))
    ]
    for row in rows:
        with torch.inference_mode():
            pixels = np.asarray(Image.open(corpus / (row["key"].replace("%2E", ".") + ".jpg")))
            expected = network(prepare_image(pixels, 73, network.backbone.preprocessing)).softmax(1)[0].numpy()
        np.testing.assert_allclose(row["values"], expected, rtol=2e-5, atol=1e-6)
        assert row["label"] == LABELS[int(expected.argmax())]
        assert row["views"] == "full"
    (line,) = (trained.parent / "out" / LEDGER).read_text().splitlines()
    entry = json.loads(line)
    assert (entry["key"], entry["reason"], entry["stage"]) == ("one/img%2E1", "truncated", "ingest")
    assert entry["shard"] == "all/000000"
    info = json.loads((trained.parent / "out" / "output.json").read_text())
    assert (info["labels"], info["output"]) == (list(LABELS), "scores")


def test_running_again_makes_nothing_anew(trained: Path, corpus: Path) -> None:
    first = classify(trained, corpus)
    assert (first.code, first.json["files"], first.json["written"], first.json["merged"]) == (0, 1, 1, [])
    files = {path: path.read_bytes() for path in (trained.parent / "out").rglob("*") if path.is_file()}
    again = classify(trained, corpus)
    assert (again.code, again.json["files"], again.json["written"]) == (0, 1, 0)
    assert again.json["rows"] == first.json["rows"]
    assert not any("units to make" in line for line in again.lines)
    assert {path: path.read_bytes() for path in files} == files


def test_one_file_of_everything(trained: Path, corpus: Path) -> None:
    """Asked for later, it is written beside what is there."""
    common = ("--output", "fc6")
    assert classify(trained, corpus, *common).code == 0
    rows = rows_of(trained.parent / "out")
    outcome = classify(trained, corpus, *common, "--merge")
    assert (outcome.code, outcome.json["written"]) == (0, 0)
    assert outcome.json["merged"] == [f"{trained.parent}/out/scores_all.parquet"]
    assert pq.read_table(outcome.json["merged"][0]).to_pylist() == rows
    assert not list((trained.parent / "out").glob(".writing*"))


def test_features_and_several_view_sets(trained: Path, corpus: Path) -> None:
    options = ["--output", "fc7", "--views", "crop", "--views", "maps10", "--size", "48"]
    assert classify(trained, corpus, *options).json["rows"] == 8
    rows = rows_of(trained.parent / "out")
    assert [row["views"] for row in rows[:2]] == ["crop", "maps10"]
    assert {(len(row["values"]), row["label"]) for row in rows} == {(10, None)}


def test_tars_by_a_glob(trained: Path, tmp_path: Path) -> None:
    for shard in range(2):
        keys = [f"k{shard}{number}" for number in range(2)]
        records = [ImageRecord(key, "jpg", make_jpeg(shard), 120, 90 + 10 * shard) for key in keys]
        (tmp_path / f"part-{shard}.tar").write_bytes(encode_images(records))
    outcome = classify(trained, tmp_path / "part-*.tar")
    assert (outcome.code, outcome.json["images"]) == (0, 4)
    assert sorted(row["key"] for row in rows_of(tmp_path / "out")) == ["k00", "k01", "k10", "k11"]


def test_several_corpora_at_once(trained: Path, tmp_path: Path) -> None:
    """Files of one name in two folders, a list, and a tar with labels that nothing can read."""
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "same.jpg").write_bytes(make_jpeg(len(folder)))
    (tmp_path / "c.jpg").write_bytes(make_jpeg(3))
    (tmp_path / "list.txt").write_text("c.jpg\n")
    write_tar(tmp_path / "t.tar", ("t.jpg", make_jpeg(2)), ("t.json", b"{"), ("t.cls", b"?"), ("u.cls", b"1"))
    rest = [str(tmp_path / name) for name in ("b/*.jpg", "t.tar")]
    outcome = classify(trained, tmp_path / "a", *rest, f"@{tmp_path}/list.txt")
    assert (outcome.code, outcome.json["images"], outcome.json["quarantined"]) == (0, 4, 0)
    assert sorted(row["key"] for row in rows_of(tmp_path / "out")) == ["a/same", "b/same", "c", "t"]


def test_images_that_the_recipe_ingests(trained: Path) -> None:
    outcome = classify(trained, "step:images")
    assert (outcome.code, outcome.json["images"]) == (0, 4)
    wrong = classify(trained, "step:network", "--out", trained.parent / "other")
    assert (wrong.code, wrong.json["error"]) == (2, "corpus step:network: no such step ingests; these do: images")


def test_weights_from_a_file_give_pool5(tmp_path: Path, corpus: Path) -> None:
    weights = write_weights(tmp_path / "w.safetensors", BackboneSpec("zf5"))
    common = [corpus, "--weights", weights, "--workspace", tmp_path / "ws", "--local", "--out", tmp_path / "out"]
    outcome = sppnet("classify", *common, "--architecture", "zf5", "--output", "pool5", "--size", "64")
    assert (outcome.code, outcome.json["images"]) == (0, 4)
    assert len(rows_of(tmp_path / "out")[0]["values"]) == 50 * 256
    common[-1] = tmp_path / "other"
    no_head = sppnet("classify", *common, "--architecture", "zf5", "--size", "64")
    assert no_head.code == 2
    assert "output: scores needs a network with fully-connected layers" in no_head.json["error"]
    missing = sppnet("classify", *common)
    assert missing.json["error"] == "classify: --weights needs --architecture, the backbone that they are of"


def test_more_of_weights_from_a_file(tmp_path: Path, corpus: Path) -> None:
    """Pixels can be stated, for weights that are asked for theirs."""
    weights = write_weights(tmp_path / "w.safetensors", BackboneSpec("zf5_released", width=1 / 16))
    common = ["--weights", weights, "--architecture", "zf5_released", "--workspace", tmp_path / "ws", "--local"]
    common += ["--output", "pool5", "--size", "64", "--out", tmp_path / "out", "--set", "network.width=0.0625"]
    asked = sppnet("classify", corpus, *common)
    assert asked.code == 2
    assert "zf5_released's weights are not all alike" in asked.json["error"]
    stated = "network.preprocessing={channel_order: bgr, mean: [128, 128, 128]}"
    outcome = sppnet("classify", corpus, *common, "--set", stated)
    assert (outcome.code, outcome.json["images"]) == (0, 4)
    wrong = sppnet("classify", corpus, *common, "--set", "maps.x=1")
    assert wrong.json["error"].startswith("--set maps.x=1: no steps.maps in the recipe")


def test_another_result_is_not_written_over(trained: Path, corpus: Path) -> None:
    assert classify(trained, corpus).code == 0
    other = classify(trained, corpus, "--views", "crop")
    assert other.code == 2
    assert other.json["error"].endswith("holds the results of another command, model or corpus; give another folder")


def test_too_many_bad_images_fail(trained: Path, corpus: Path) -> None:
    outcome = classify(trained, corpus, "--max-quarantined", "0.1")
    assert outcome.code == 4
    assert "1 of 5 keys quarantined (1 truncated" in outcome.json["error"]


def test_a_network_that_was_not_trained_is_not_trained_now(trained: Path, corpus: Path) -> None:
    shutil.rmtree(trained.parent / "workspace")
    outcome = classify(trained, corpus)
    assert outcome.code == 2
    assert outcome.json["error"].startswith("step network has not been run in ")
    assert not list((trained.parent / "workspace").rglob("model*"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--step", "images"], "--step images: makes no network; these do: network"),
        (["--weights", "w"], "classify: give the network by --recipe (and --step), or by --weights"),
        (["--architecture", "zf5"], "classify: --architecture goes with --weights; the recipe has its own"),
        (["--views", "maps12"], "no such view set; there are: crop, full, crops10, maps10, maps96, maps98"),
        (["--output", "fc8"], "input should be 'scores', 'pool5', 'fc6' or 'fc7', got 'fc8'"),
        (["--size", "64", "--scale", "60", "--views", "crop"], "a view of 64 pixels does not fit into an image of"),
    ],
)
def test_what_can_not_be_asked_for(trained: Path, corpus: Path, options: list[str], message: str) -> None:
    outcome = classify(trained, corpus, *options)
    assert outcome.code == 2
    assert message in outcome.json["error"]


def test_a_corpus_without_images(trained: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    outcome = classify(trained, tmp_path / "empty")
    assert outcome.code == 2
    assert outcome.json["error"].endswith("/empty is empty")


@pytest.mark.s3
def test_a_corpus_in_an_object_store(s3: str, tmp_path: Path, corpus: Path) -> None:
    """Images, workspace and results in S3: the files are those of a run on the disk, byte for byte."""
    photos = open_store(f"{s3}/photos")
    for path in corpus.rglob("*.jpg"):
        photos.put(path.relative_to(corpus).as_posix(), path.read_bytes())
    weights = write_weights(tmp_path / "w.safetensors", BackboneSpec("zf5"))
    common = ["--weights", weights, "--architecture", "zf5", "--output", "pool5", "--size", "64", "--merge", "--local"]

    def results(images: str, place: str) -> dict[str, bytes]:
        where = ("--workspace", f"{place}/ws", "--out", f"{place}/out")
        outcome = sppnet("classify", f"{images}/one", f"{images}/two/*.jpg", *common, *where)
        assert (outcome.code, outcome.json["images"], outcome.json["written"]) == (0, 4, 1), outcome.lines
        store = open_store(f"{place}/out")
        return {entry.name: store.read(entry.name) for entry in store.list() if entry.name != "output.json"}

    far = results(f"{s3}/photos", s3)
    assert sorted(name.split("-")[0] for name in far) == ["all/000000", "ledger.jsonl", "scores_all.parquet"]
    assert far == results(str(corpus), str(tmp_path))
