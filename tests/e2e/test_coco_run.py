"""COCO in, COCO out: an instances file is trained on, scored, exported with its own ids, and judged by pycocotools."""

from __future__ import annotations

import contextlib
import io
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from jobs.exports.detections import export_detections, export_options
from pipelines.datasets.voc import VOC_CATEGORIES
from pipelines.datasets.voc_xml import parse_voc_xml
from sppnet.evaluation.coco import FIGURES
from tests.support.chain import CATEGORIES, SHARD_SIZE, Chain, write_recipe
from tests.support.in_process import sppnet

IDS = {name: 5 + 7 * number for number, name in enumerate(CATEGORIES)}


def write_instances(data: Path, split: str) -> dict[str, Any]:
    """Writes a split of a data set in VOC's layout as an instances file, ids falling and with gaps; returns it."""
    keys = (data / "ImageSets" / "Main" / f"{split}.txt").read_text().split()
    images, annotations = [], []
    for place, key in enumerate(keys):
        note = parse_voc_xml((data / "Annotations" / f"{key}.xml").read_bytes(), key)
        number = 90_000 - 13 * place
        size = {"width": note.width, "height": note.height}
        images.append({"file_name": f"{key}.jpg", "id": number, **size})
        for thing in (thing for thing in note.objects if thing.category in IDS):
            (x0, y0, x1, y1), own = thing.box, 3 * len(annotations) + 1
            box = {"bbox": [x0, y0, x1 - x0, y1 - y0], "area": 0.7 * (x1 - x0) * (y1 - y0)}
            kind = {"category_id": IDS[thing.category], "iscrowd": int(own % 5 == 0)}
            annotations.append({"id": own, "image_id": number, **kind, **box})
    categories = [{"id": number, "name": name} for name, number in IDS.items()]
    body = {"images": images, "annotations": annotations, "categories": categories}
    (data / f"instances_{split}.json").write_text(json.dumps(body))
    return body


@pytest.fixture(scope="module")
def coco(chain: Chain, tmp_path_factory: pytest.TempPathFactory) -> Chain:
    """The chain on the same images as a COCO data set: their windows and maps are there, by their content."""
    root = tmp_path_factory.mktemp("coco")
    data = Path(shutil.copytree(chain.data, root / "data"))
    for split in ("train", "val"):
        write_instances(data, split)
    splits = {split: {"annotations": f"instances_{split}.json", "images": "JPEGImages"} for split in ("train", "val")}
    steps = {name: chain.steps[name] for name in ("images", "windows", "network", "maps", "svms", "plain", "metrics")}
    steps["images"] = {**steps["images"], "dataset": {"kind": "coco", "root": str(data), "splits": splits}}
    steps["metrics"] = {**steps["metrics"], "detections": ["plain"], "protocol": "coco"}
    started = chain.copied(root / "workspace")
    made = Chain(data, steps, started.root)
    made.run()
    return made


def test_what_is_known_of_the_pixels_is_made_once(chain: Chain, coco: Chain) -> None:
    assert coco.shards() == chain.shards()
    assert coco.artifact("maps").name == chain.artifact("maps").name
    assert set(coco.manifest.categories) == set(CATEGORIES) != set(VOC_CATEGORIES)


def test_pycocotools_reads_the_results_and_finds_the_same_figures(coco: Chain, tmp_path: Path) -> None:
    export_detections(coco.engine, "plain", str(tmp_path), export_options("coco", "best", None, None, None))
    truth = COCO()
    truth.dataset = json.loads((coco.data / "instances_val.json").read_text())
    with contextlib.redirect_stdout(io.StringIO()):
        truth.createIndex()
        results = truth.loadRes(str(tmp_path / "coco_val.json"))
        judge = COCOeval(truth, results, "bbox")
        judge.evaluate()
        judge.accumulate()
        judge.summarize()
    assert len(results.anns) > 100
    numbers = json.loads((tmp_path / "coco_val_numbers.json").read_text())
    own = [{"id": entry["id"], "file_name": entry["file_name"]} for entry in truth.dataset["images"]]
    assert sorted(numbers["images"], key=str) == sorted(own, key=str)
    assert numbers["categories"] == [{"id": number, "name": name} for name, number in IDS.items()]
    (row,) = json.loads(coco.artifact("metrics").read("metrics"))["rows"]
    wanted = {name: None if value < 0 else float(value) for name, value in zip(FIGURES, judge.stats, strict=True)}
    assert row["coco"] == {name: pytest.approx(value, abs=1e-6) for name, value in wanted.items()}
    assert row["coco"]["AP50"] > 0


def test_shards_are_cut_as_the_file_has_them(coco: Chain) -> None:
    first = json.loads((coco.data / "instances_train.json").read_text())["images"][:SHARD_SIZE]
    names = [entry["file_name"].removesuffix(".jpg") for entry in first]
    assert list(coco.manifest.keys(coco.unit("train/000000"))) == names


def test_the_run_and_its_report_tell_the_twelve_figures(coco: Chain, tmp_path: Path) -> None:
    recipe = write_recipe(tmp_path / "recipe.yaml", coco.steps)
    outcome = sppnet("run", recipe, "--workspace", coco.root, "--local")
    assert outcome.code == 0, outcome.lines
    figures = outcome.json["coco"]
    assert figures == outcome.json["steps"]["plain"]["coco"]
    shown = ", ".join(f"{name} {'-' if figures[name] is None else f'{100 * figures[name]:.1f} %'}" for name in FIGURES)
    assert f"plain: {shown}" in " ".join(outcome.lines)
    page = Path(outcome.json["report"]).read_text()
    assert "COCO, overlaps 0.5 to 0.95" in page
    assert f"{100 * figures['AP50']:.1f}" in page
