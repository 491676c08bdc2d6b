"""Detections of a run written in every format."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pipelines.artifacts.detections import decode_detections
from pipelines.detecting.detection_sets import DetectionSet, final_boxes
from pipelines.outputs.export import ExportOptions, check_format, export
from pipelines.outputs.ids import Numbers, category_numbers
from sppnet.errors import ConfigError
from tests.support.output_readers import read_coco, read_det, read_voc
from tests.support.written_detections import plain


@pytest.fixture
def full(chain) -> DetectionSet:
    return DetectionSet(chain.artifact("full"), chain.manifest, "val")


def expected(full: DetectionSet, kind: str) -> list[tuple]:
    parts = [final_boxes(table, kind, 0.3) for table in full.tables()]
    return sorted(row for part in parts for row in plain(part))


def test_export_of_a_run(chain, full: DetectionSet, tmp_path: Path) -> None:
    images = chain.ingested
    numbers = Numbers({key: n for n, key in enumerate(full.keys, 5)}, {})
    for kind in ("windows", "regressed"):
        want = expected(full, kind)
        out = tmp_path / kind
        for name in ("voc", "coco", "det"):
            written = export(full, images, ExportOptions(name, boxes=kind, numbers=numbers), str(out))
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


def test_parquet_keeps_what_is_stored(chain, full: DetectionSet, tmp_path: Path) -> None:
    written = export(full, chain.ingested, ExportOptions("parquet"), str(tmp_path))
    (path,) = written.files
    rows = decode_detections(Path(path).read_bytes(), path)
    stored = [row for unit in full.units for row in decode_detections(full.artifact.read(unit), unit)]
    values = [(r.key, r.category, r.score, r.box, r.regressed) for r in rows]
    assert values == [(r.key, r.category, r.score, r.box, r.regressed) for r in stored]
    assert written.detections == len(stored) > 0


def test_caps_over_the_set(chain, full: DetectionSet, tmp_path: Path) -> None:
    stored = [row for unit in full.units for row in decode_detections(full.artifact.read(unit), unit)]
    options = ExportOptions("parquet", top_per_set="2/image", threshold=-0.99)
    written = export(full, chain.ingested, options, str(tmp_path))
    rows = decode_detections(Path(written.files[0]).read_bytes(), "x")
    order = {key: n for n, key in enumerate(full.keys)}
    for category in full.categories:
        own = sorted((r for r in stored if r.category == category), key=lambda r: (-r.score, order[r.key], r.box))
        assert len(own) > 12
        best = [(r.key, r.score, r.box) for r in own[:12] if r.score > -0.99]
        assert [(r.key, r.score, r.box) for r in rows if r.category == category] == best


def test_what_can_not_be_exported(chain, full: DetectionSet, tmp_path: Path) -> None:
    images, manifest = chain.ingested, full.manifest
    with pytest.raises(ConfigError, match="no numbers; name the list that has them with --numbers"):
        export(full, images, ExportOptions("det"), str(tmp_path))
    with pytest.raises(ConfigError, match="made without box regressors"):
        export(
            DetectionSet(chain.artifact("plain"), manifest, "val"),
            images,
            ExportOptions("voc", boxes="regressed"),
            str(tmp_path),
        )
    with pytest.raises(ConfigError, match="split train: 3 of 3 shards have no detections"):
        export(DetectionSet(full.artifact, manifest, "train"), images, ExportOptions("voc"), str(tmp_path))
    with pytest.raises(ConfigError, match=r"split .?test.? is not in the images"):
        export(DetectionSet(full.artifact, manifest, "test"), images, ExportOptions("voc"), str(tmp_path))
    with pytest.raises(ConfigError, match="'xml' is not one of coco, voc, det, parquet"):
        check_format("xml")
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="can't be written"):
        export(full, images, ExportOptions("voc"), str(tmp_path / "file"))
