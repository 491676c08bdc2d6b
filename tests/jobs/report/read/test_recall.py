"""Recall is read as real recall steps wrote it, and nothing else is taken for it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from jobs import formatting
from jobs.report.page.collect import collect
from jobs.report.page.render import render
from jobs.report.read.recall import read_recall, windows_method
from sppnet.errors import ArtifactError
from tests.support.chain import Chain


@pytest.mark.parametrize(
    ("preimage", "method"),
    [
        ({"stage": "propose", "config": {"methods": ["selective-search"], "max_windows": None}}, "selective search"),
        (
            {
                "stage": "propose",
                "config": {"methods": ["edge-boxes"], "max_windows": 2000, "edge_boxes": {"edges": "structured"}},
            },
            "EdgeBoxes on structured edges, at most 2,000",
        ),
        (
            {
                "stage": "propose",
                "config": {
                    "methods": ["selective-search", "edge-boxes"],
                    "max_windows": 50,
                    "edge_boxes": {"edges": "gradient"},
                },
            },
            "selective search and EdgeBoxes on gradient edges, at most 50 each",
        ),
        ({"stage": "import-windows", "config": {"max_windows": None}}, "imported"),
        ({"stage": "ingest"}, ""),
    ],
)
def test_the_method_is_named_from_what_the_windows_were_made_from(preimage: dict, method: str):
    assert windows_method(preimage) == method


RECALL = {"stage": "recall", "images": "images", "windows": ["searched", "edges"], "counts": [5, 20, 1000]}
PROPOSE = {"stage": "propose", "images": "images", "max_windows": 40}


@pytest.fixture(scope="module")
def recalled(drawn: Path, tmp_path_factory: pytest.TempPathFactory) -> Chain:
    """Recall of two steps' windows, once with overlaps in another order."""
    steps = {
        "images": {"stage": "ingest", "shard_size": 5, "dataset": {"root": str(drawn)}},
        "searched": PROPOSE,
        "edges": {**PROPOSE, "methods": ["edge-boxes"]},
        "recall": RECALL,
        "training": {**RECALL, "split": "train", "ious": [0.7, 0.5]},
    }
    made = Chain(drawn, steps, tmp_path_factory.mktemp("recalled") / "workspace")
    made.run()
    return made


def test_what_recall_wrote_is_read(recalled: Chain):
    report = collect(recalled.engine)
    assert report.notes == ()
    assert [(found.step, found.split) for found in report.proposals] == [("recall", "val"), ("training", "train")]
    for found in report.proposals:
        stored = json.loads(recalled.artifact(found.step).read("recall"))
        assert (found.images, found.difficult) == (stored["images"], stored["difficult"])
        assert found.ious == tuple(sorted(stored["ious"]))
        order = np.argsort(stored["ious"])
        assert [entry.name for entry in found.rows] == ["searched", "edges"]
        for shown, entry in zip(found.rows, stored["rows"], strict=True):
            assert (shown.objects, shown.windows_per_image) == (entry["objects"], entry["windows_per_image"])
            assert shown.images == entry["images_with_windows"] == stored["images"]
            for curve, written in zip(shown.curves, entry["curves"], strict=True):
                assert curve.windows == written["windows"]
                assert curve.recall == tuple(written["recall"][place] for place in order)
                assert list(curve.recall) == sorted(curve.recall, reverse=True)
                assert curve.average_recall == written["average_recall"]
            assert shown.whole.windows is None
            assert {name: count for name, (count, _) in shown.categories.items()} == {
                name: category["objects"] for name, category in entry["categories"].items()
            }
    assert [entry.method for entry in report.proposals[0].rows] == [
        "selective search, at most 40",
        "EdgeBoxes on gradient edges, at most 40",
    ]
    assert report.info.finished == max(
        recalled.artifact(step).commit("recall").created for step in ("recall", "training")
    )
    html = render(report)
    best = report.proposals[0].rows[0].whole.recall[0]
    assert f">{formatting.percent(best)}</td>" in html


def test_a_lost_recall_is_told(recalled: Chain, tmp_path: Path):
    copy = recalled.copied(tmp_path / "ws", ("images", "recall", "training"))
    for file in (copy.root / copy.step("recall").spec.artifact).glob("recall-*.json"):
        file.write_bytes(b"{}")
    report = collect(copy.engine)
    assert [found.step for found in report.proposals] == ["training"]
    assert [note.split(": ")[0] for note in report.notes] == ["Step recall can't be shown"]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b'{"split": "val", "images": 1, "difficult": 0, "ious": [0.5]}',
        b'{"split": "val", "images": 1, "difficult": 0, "ious": [NaN], "rows": []}',
        b'{"split": "v", "images": 1, "difficult": 0, "ious": [0.5, 0.7], "rows": [{"name": "a", "windows": "w",'
        b' "objects": 1, "images_with_windows": 1, "windows_per_image": 1, "categories": {},'
        b' "curves": [{"windows": null, "recall": [0.5], "average_recall": 0.5}]}]}',
    ],
)
def test_something_else_is_no_recall(body: bytes):
    with pytest.raises(ArtifactError, match="here: not recall"):
        read_recall(body, "recall", {}, "here")
