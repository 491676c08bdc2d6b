"""The tables of docs/results.md are those that docs/tables.py writes from what runs said."""

from __future__ import annotations

import importlib.util
import json
from typing import Any

import pytest

from tests.support.source_tree import ROOT


def tables() -> Any:
    spec = importlib.util.spec_from_file_location("tables", ROOT / "docs" / "tables.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_is_up_to_date() -> None:
    page = (ROOT / "docs" / "results.md").read_text()
    assert "<!-- table: " in page
    assert tables().write_tables(page, tables().read_result) == page


RESULT = {
    "classes": [
        {"step": "m", "name": "spp", "views": "crop", "figures": {"top1_error": {"mean": 0.3, "deviation": 0.012}}},
        {"step": "m", "name": "spp", "views": "full", "figures": {"top1_error": {"mean": 0.29, "deviation": None}}},
        {"step": "m", "name": "none", "views": "crop", "figures": {"top1_error": {"mean": 0.321, "deviation": 0.01}}},
        {"step": "n", "name": "other", "views": "crop", "figures": {}},
    ],
    "comparisons": [
        {
            "name": "gain",
            "row": "spp",
            "views": "crop",
            "over": "none",
            "over_views": "crop",
            "difference": -0.021,
            "by_pair": [-0.02, -0.022],
            "over_pairs": None,
            "over_images": [-0.03, 0.001],
        },
        {"name": "bb", "row": "a+bb", "over": "a", "voc07_map": {"difference": 0.04, "low": 0.01, "high": 0.07}},
    ],
    "parts": {
        "maps": {
            "rows": [
                {
                    "name": "zf5",
                    "dtype": "bfloat16",
                    "peer": "a loop",
                    "ours_per_s": 576.2,
                    "peer_per_s": 114.3,
                    "ratio": 4.4,
                    "ratio_least": 2.42,
                    "ratio_most": 5.81,
                    "pairs": 10,
                },
                {
                    "name": "pool",
                    "peer": "a copy",
                    "ours_s": 0.000135,
                    "peer_s": 3.8e-05,
                    "ratio": 0.294,
                    "ratio_least": 0.28,
                    "ratio_most": 0.31,
                    "pairs": 175,
                },
            ]
        }
    },
    "steps": {"a": {"voc07_map": 0.5, "area_map": None, "categories": {"cat": {"voc07_ap": 0.25}}}},
}


@pytest.mark.parametrize(
    ("kind", "lines"),
    [
        (
            "gpu NAME maps",
            [
                "| what | ours | the peer | ratio | least to most, pairs |",
                "| --- | --- | --- | --- | --- |",
                "| zf5, bfloat16 | 576 images/s | a loop: 114 images/s | 4.4 | 2.42 to 5.81, 10 |",
                "| pool | 0.135 ms | a copy: 0.038 ms | 0.294 | 0.28 to 0.31, 175 |",
            ],
        ),
        (
            "classes NAME m top1_error no",
            ["|  | crop | full |", "| --- | --- | --- |", "| spp | 30.0 ± 1.2 | 29.0 |"],
        ),
        (
            "classes NAME m top1_error",
            ["|  | crop | full |", "| --- | --- | --- |", "| spp | 30.0 ± 1.2 | 29.0 |", "| none | 32.1 ± 1.0 | - |"],
        ),
        (
            "comparisons NAME",
            [
                "| difference in points | of | with | mean | each pair | 95 %, other seeds | 95 %, other images |",
                "| --- | --- | --- | --- | --- | --- | --- |",
                "| gain | spp, crop | none, crop | -2.1 | -2.0, -2.2 | - | -3.0 to +0.1 |",
                "| bb | a+bb | a | +4.0 | - | - | +1.0 to +7.0 |",
            ],
        ),
        (
            "detectors NAME",
            ["|  | VOC07 mAP | area mAP | cat |", "| --- | --- | --- | --- |", "| a | 50.0 | - | 25.0 |"],
        ),
    ],
)
def test_a_table_is_written_between_its_comments(kind: str, lines: list[str]) -> None:
    page = f"before\n\n<!-- table: {kind} -->\n\nold\n\n<!-- /table -->\n\nafter\n"
    written = tables().write_tables(page, {"NAME": RESULT}.__getitem__)
    body = "\n".join(lines)
    assert written == f"before\n\n<!-- table: {kind} -->\n\n{body}\n\n<!-- /table -->\n\nafter\n"
    assert tables().write_tables(written, {"NAME": RESULT}.__getitem__) == written


def test_a_table_that_is_not_known() -> None:
    with pytest.raises(ValueError, match="table 'pie' is none of classes, comparisons, detectors"):
        tables().write_tables("<!-- table: pie NAME -->\n\n<!-- /table -->", {"NAME": RESULT}.__getitem__)


def test_of_a_runs_line_the_figures_are_kept(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = tables()
    monkeypatch.setattr(module, "DOCS", tmp_path)
    (tmp_path / "figures").mkdir()
    module.keep_result("NAME", ["a line of a report\n", json.dumps(RESULT | {"workspace": "/somewhere"})])
    assert module.read_result("NAME") == {part: RESULT[part] for part in ("steps", "classes", "comparisons")}
