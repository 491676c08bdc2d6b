"""From a workspace to the report: real ingest and evaluate stages around detections written by hand."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from jobs.report.page.collect import collect
from jobs.report.page.gallery import Limits
from jobs.report.page.render import render
from jobs.report.read.classification import Figure
from pipelines.artifacts.manifest import Manifest
from pipelines.engine.commits import Output
from pipelines.engine.runner import Engine
from pipelines.engine.store import Store
from sppnet.errors import ConfigError
from sppnet.networks.weights import write_safetensors
from tests.support.chain import Chain
from tests.support.small_page import make_engine, publish_detections, run_step


def test_the_evaluation_is_read(engine: Engine):
    report = collect(engine)
    (evaluation,) = report.evaluations
    assert (evaluation.step, evaluation.split, evaluation.categories) == ("evaluate", "val", ("cat", "dog"))
    assert [(row.name, row.regressed) for row in evaluation.rows] == [("pool5", False), ("pool5+bb", True)]
    found = evaluation.rows[1].categories["cat"]
    assert (found.positives, found.true_positives) == (6, 6)
    assert found.voc07_ap == pytest.approx(1.0)
    assert found.operating_score == 2.0
    assert evaluation.rows[1].categories["dog"].operating_score is None
    assert evaluation.rows[1].voc07_map == pytest.approx(0.5)
    assert report.info.name == "small"
    assert report.info.recipe == "small.yaml"
    assert report.info.finished is not None
    assert "torch" in report.info.versions
    assert len(report.info.hosts) == 1
    assert report.notes == ()


def test_categories_that_are_codes_are_shown_as_words(engine: Engine, monkeypatch: pytest.MonkeyPatch):
    plain = Manifest.read

    def named(store: Store, digest: str) -> Manifest:
        return replace(plain(store, digest), names={"cat": "house <cat>"})

    monkeypatch.setattr(Manifest, "read", named)
    report = collect(engine)
    assert report.evaluations[0].categories == ("house <cat>", "dog")
    cats, dogs = report.counts.rows
    assert (cats.category, cats.right, cats.missed) == ("house <cat>", 6, 0)
    assert (dogs.category, dogs.right, dogs.missed) == ("dog", 0, 6)
    assert report.gallery.categories == ("house <cat>", "dog")
    assert "house &lt;cat&gt;" in render(report)


def test_the_best_detector_is_looked_at_or_the_one_asked_for(engine: Engine):
    assert collect(engine).gallery.detector == "pool5+bb"
    for name in ("pool5", "evaluate/pool5"):
        report = collect(engine, detector=name)
        assert (report.gallery.detector, report.evaluations[-1].chosen_row.name) == ("pool5", "pool5")
        assert (report.counts.total.right, report.counts.total.errors) == (6, (0, 6, 0, 0, 0))
    with pytest.raises(ConfigError, match=r"detector pool6: no evaluation of this run has one.*did you mean pool5"):
        collect(engine, detector="pool6")
    with pytest.raises(ConfigError, match=r"there are: pool5, pool5\+bb$"):
        collect(engine, detector="zzz")


def test_training_curves_are_read_and_a_broken_model_is_told(tmp_path: Path):
    engine = make_engine(tmp_path)
    head = engine.workspace.artifact(next(step for step in engine.steps if step.name == "finetune").spec.artifact)
    data = write_safetensors({"weight": torch.zeros(2)}, {"curve": '[{"step": 20, "loss": 0.5, "lr": 0.001}]'})
    commit = head.publish("model", Output(data, ".safetensors", 1, 0), 1.0)
    (training,) = collect(engine).training
    assert (training.step, training.unit, training.points) == (
        "finetune",
        "model",
        ({"step": 20.0, "loss": 0.5, "lr": 0.001},),
    )
    (tmp_path / "workspace" / head.name / commit.data).write_bytes(b"cut")
    report = collect(engine)
    assert report.training == ()
    assert report.notes[0].startswith("The training curves of step finetune can't be shown: ")


def test_stages_tell_what_is_there_and_what_is_not(engine: Engine):
    rows = {row.step: row for row in collect(engine).stages}
    images = rows["images"].summary
    assert (images.keys, images.done, images.quarantined[0].key) == (8, 7, "broken")
    assert rows["pool5"].summary.rows == 15
    assert (rows["windows"].committed, rows["windows"].total, rows["windows"].summary) == (0, 3, None)


def test_the_page_shows_the_run(engine: Engine):
    page = render(collect(engine, Limits(pictures=1, failures=1)))
    assert page.startswith("<!doctype html>")
    assert page.rstrip().endswith("</html>")
    assert "pool5+bb" in page
    assert "shard_size: 4" in page
    assert "8 = 7 + <b" in page


def test_a_run_before_its_first_stage(tmp_path: Path):
    report = collect(make_engine(tmp_path))
    assert report.info.name == "small"
    assert (report.evaluations, report.gallery, report.training, report.notes) == ((), None, (), ())
    assert [row.summary for row in report.stages] == [None] * 9
    assert "python" in report.info.versions


def test_lost_data_is_told_and_the_rest_is_shown(tmp_path: Path):
    engine = make_engine(tmp_path)
    run_step(engine, "images")
    publish_detections(engine)
    run_step(engine, "evaluate")
    scored = next(step for step in engine.steps if step.name == "pool5").spec.artifact
    (*_, last) = Manifest.read(engine.workspace.store, engine.steps[0].look.manifest).units("val")
    for file in (tmp_path / "workspace" / scored).glob(f"{last}-*.parquet"):
        file.unlink()
    report = collect(engine)
    assert report.gallery is None
    assert len(report.evaluations) == 1
    assert len(report.notes) == 1
    assert report.notes[0].startswith("Detections can't be looked at: ")
    metrics = next(step for step in engine.steps if step.name == "evaluate").spec.artifact
    for file in (tmp_path / "workspace" / metrics).glob("metrics-*.json"):
        file.write_bytes(b"{}")
    report = collect(engine)
    assert report.evaluations == ()
    assert report.notes[0].startswith("Step evaluate can't be shown: ")


def test_a_run_is_collected(transferred: Chain):
    report = collect(transferred.engine)
    assert report.notes == ()
    (found,) = report.classes
    rows = json.loads(transferred.artifact("transfer").read("metrics"))["rows"]
    assert (found.step, found.split, found.per_class, found.subject) == ("transfer", "val", "AP", "features")
    assert [(row.name, row.views) for row in found.rows] == [("pool5", "crop"), ("pool5", "full")]
    for shown, stored in zip(found.rows, rows, strict=True):
        assert shown.figures == {"voc07_map": Figure(stored["figures"]["voc07_map"]["mean"])}
        assert (shown.classes, shown.images, shown.members) == (stored["classes"], 6, 1)
    assert report.info.finished == transferred.artifact("transfer").commit("metrics").created
    assert report.info.hosts != ()


def test_lost_results_are_told(transferred: Chain, tmp_path):
    copy = transferred.copied(tmp_path / "ws", ("images", "transfer", "strongest"))
    for step, pattern in (("transfer", "metrics-*.json"), ("strongest", "activations-*.json")):
        for file in (copy.root / copy.step(step).spec.artifact).glob(pattern):
            file.write_bytes(b"{}")
    report = collect(copy.engine)
    assert (report.classes, report.filters) == ((), ())
    assert [note.split(" can't be ")[0] for note in report.notes] == ["Step transfer", "The filters of step strongest"]


def test_a_run_of_detectors_tells_what_an_image_costs(chain: Chain):
    """From the commits of the evaluated split's shards, whatever the shards are called."""
    report = collect(chain.engine)
    for row in report.evaluations[0].rows:
        account = row.account
        assert account is not None
        assert min(account.convolution, account.scoring, account.pooling, account.svm) > 0
