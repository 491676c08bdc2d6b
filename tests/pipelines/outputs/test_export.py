"""Detections of a run written in every format."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pipelines.artifacts.detections import decode_detection_table, decode_detections
from pipelines.detecting.detection_sets import DetectionSet, final_boxes
from pipelines.engine.store import Store, open_store
from pipelines.outputs.export import encode_shard, export
from pipelines.outputs.ids import Numbers, category_numbers
from pipelines.outputs.plan import DetectorFacts, ExportOptions, ExportPlan, plan_export
from sppnet.errors import ConfigError
from tests.support.chain import CATEGORIES, Chain
from tests.support.output_readers import read_coco, read_det, read_voc
from tests.support.written_detections import plain


@pytest.fixture
def full(chain) -> DetectionSet:
    return DetectionSet(chain.artifact("full"), chain.manifest, "val")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(str(tmp_path / "out"))


def planned(chain: Chain, options: ExportOptions, split: str = "val") -> ExportPlan:
    facts = DetectorFacts(CATEGORIES, category_numbers(chain.manifest), {}, regressors=True)
    return plan_export(options, facts, chain.manifest, split, known=dict, count=True)


def expected(full: DetectionSet, kind: str) -> list[tuple]:
    parts = [final_boxes(table, kind, 0.3) for table in full.tables()]
    return sorted(row for part in parts for row in plain(part))


def test_export_of_a_run(chain, full: DetectionSet, tmp_path: Path) -> None:
    numbers = Numbers({key: n for n, key in enumerate(full.keys, 5)}, {})
    for kind in ("windows", "regressed"):
        want = expected(full, kind)
        out = tmp_path / kind
        for name in ("voc", "coco", "det"):
            plan = planned(chain, ExportOptions(name, boxes=kind, numbers=numbers))
            written = export(full, plan, open_store(str(out)))
            assert (written.detections, written.boxes) == (len(want), kind)
        ids = Numbers(numbers.images, category_numbers(full.manifest))
        coco = read_coco((out / "coco_val.json").read_bytes(), ids)
        det = read_det((out / "det_submission_val.txt").read_bytes(), ids)
        voc = [
            row
            for name in full.categories
            for row in plain(read_voc((out / f"comp4_det_val_{name}.txt").read_bytes(), name))
        ]
        for found in (plain(coco), plain(det), sorted(voc)):
            assert [row[:3] for row in found] == [row[:3] for row in want]
            np.testing.assert_allclose([row[3:] for row in found], [row[3:] for row in want], rtol=1.2e-7, atol=1e-6)
        assert not list(out.glob(".writing*"))
    assert expected(full, "windows") != expected(full, "regressed")


def test_parquet_keeps_what_is_stored(chain, full: DetectionSet, store: Store) -> None:
    written = export(full, planned(chain, ExportOptions("parquet")), store)
    (path,) = written.files
    rows = decode_detections(Path(path).read_bytes(), path)
    stored = [row for unit in full.units for row in decode_detections(full.artifact.read(unit), unit)]
    values = [(r.key, r.category, r.score, r.box, r.regressed) for r in rows]
    assert values == [(r.key, r.category, r.score, r.box, r.regressed) for r in stored]
    assert written.detections == len(stored) > 0


def test_shards_are_parts_of_the_whole(chain, full: DetectionSet, store: Store) -> None:
    commits = [full.artifact.commit(unit) for unit in full.units]
    options = ExportOptions("coco", threshold=-0.99)
    plan = planned(chain, options)
    whole = read_coco(Path(export(full, plan, store).files[0]).read_bytes(), plan.numbers)
    parts = [read_coco(encode_shard(full, plan, commit), plan.numbers) for commit in commits]
    assert sorted(row for part in parts for row in plain(part)) == plain(whole)
    plan = planned(chain, ExportOptions("parquet", threshold=-0.99))
    tables = [decode_detection_table(encode_shard(full, plan, commit), "x") for commit in commits]
    for table, unit in zip(tables, full.units, strict=True):
        assert set(table.keys) <= set(chain.manifest.keys(unit))
        assert (table.scores > -0.99).all()
    above = [r for u in full.units for r in decode_detections(full.artifact.read(u), u) if r.score > -0.99]
    assert sum(map(len, tables)) == len(above) > 0


def test_caps_over_the_set(chain, full: DetectionSet, tmp_path: Path) -> None:
    stored = [row for unit in full.units for row in decode_detections(full.artifact.read(unit), unit)]
    options = ExportOptions("parquet", top_per_set="2/image", threshold=-0.99)
    written = export(full, planned(chain, options), open_store(str(tmp_path)))
    rows = decode_detections(Path(written.files[0]).read_bytes(), "x")
    order = {key: n for n, key in enumerate(full.keys)}
    for category in full.categories:
        own = sorted((r for r in stored if r.category == category), key=lambda r: (-r.score, order[r.key], r.box))
        assert len(own) > 12
        best = [(r.key, r.score, r.box) for r in own[:12] if r.score > -0.99]
        assert [(r.key, r.score, r.box) for r in rows if r.category == category] == best


def test_what_can_not_be_exported(chain, full: DetectionSet, tmp_path: Path, store: Store) -> None:
    plan = planned(chain, ExportOptions("voc"))
    with pytest.raises(ConfigError, match="split train: 3 of 3 shards have no detections"):
        export(DetectionSet(full.artifact, chain.manifest, "train"), plan, store)
    with pytest.raises(ConfigError, match=r"split .?test.? is not in the images"):
        export(DetectionSet(full.artifact, chain.manifest, "test"), plan, store)
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="can't be written"):
        export(full, plan, open_store(str(tmp_path / "file")))


def test_images_without_numbers_are_left_out(chain, full: DetectionSet, store: Store) -> None:
    lost = full.keys[2]
    known = {key: f"image {n}" for n, key in enumerate(full.keys) if key != lost}
    facts = DetectorFacts(CATEGORIES, category_numbers(chain.manifest), {}, regressors=True)
    options = ExportOptions("coco", boxes="windows")
    plan = plan_export(options, facts, chain.manifest, "val", known=lambda: known, count=False)
    (file, _) = export(full, plan, store).files
    found = read_coco(Path(file).read_bytes(), plan.numbers)
    want = [row for row in expected(full, "windows") if row[0] != lost]
    assert len(want) < len(expected(full, "windows"))
    assert [row[:3] for row in plain(found)] == [row[:3] for row in want]
