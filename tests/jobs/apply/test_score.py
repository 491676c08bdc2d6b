"""`sppnet score` and `sppnet export-detections`: any images through a trained detector, written for other programs."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from jobs.apply.corpus import LEDGER
from jobs.apply.score import OWN_DETECTIONS, ScoreRequest, score_engine
from pipelines.artifacts.detections import DetectionRow, decode_detections
from pipelines.artifacts.image_tars import encode_images
from sppnet.errors import ConfigError
from tests.support.chain import CATEGORIES, Chain, write_recipe
from tests.support.in_process import Outcome, sppnet
from tests.support.output_readers import read_voc
from tests.support.scored_runs import export, stored, val_keys


@pytest.fixture(scope="module")
def corpus(chain: Chain, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The chain's six val images in two folders, and one that is cut short."""
    root = tmp_path_factory.mktemp("corpus")
    for number, key in enumerate(val_keys(chain)):
        path = root / ("one" if number < 3 else "two") / f"{key}.jpg"
        path.parent.mkdir(exist_ok=True)
        shutil.copy(chain.data / "JPEGImages" / f"{key}.jpg", path)
    (root / "one" / "short.jpg").write_bytes(path.read_bytes()[:-90])
    return root


def score(run: Path, corpus: Path | str, out: Path, *more: str) -> Outcome:
    recipe, workspace = str(run / "recipe.yaml"), str(run / "workspace")
    common = ("--recipe", recipe, "--workspace", workspace, "--out", str(out), "--local", "--json")
    return sppnet("score", str(corpus), *common, *more)


def plain(rows: list[DetectionRow]) -> list[tuple[Any, ...]]:
    """Comparable, with the file's name for a key."""
    return sorted((row.key.split("/")[-1], row.category, row.score, row.box, row.regressed) for row in rows)


def test_new_images_get_the_runs_own_detections(chain: Chain, run: Path, corpus: Path, tmp_path: Path) -> None:
    outcome = score(run, corpus, tmp_path, "--detector", "full")
    assert outcome.code == 0, outcome.lines
    found = outcome.json
    assert (found["images"], found["quarantined"], found["reasons"]) == (6, 1, {"truncated": 1})
    rows = decode_detections((tmp_path / "detections_all.parquet").read_bytes(), "x")
    assert found["detections"] == len(rows) > 0
    assert {row.key.split("/")[0] for row in rows} == {"one", "two"}
    # Nothing of the run's own is made again.
    request = ScoreRequest(corpus=str(corpus), recipe=run / "recipe.yaml", detector="full")
    engine = score_engine(request, str(run / "workspace"))
    assert {step.name for step in engine.steps} == {"command.images", "command.windows", "command.maps", OWN_DETECTIONS}
    (line,) = [json.loads(text) for text in (tmp_path / LEDGER).read_text().splitlines()]
    assert (line["key"], line["reason"], line["stage"]) == ("one/short", "truncated", "ingest")
    again = score(run, corpus, tmp_path, "--detector", "full")
    assert (again.code, again.json["detections"]) == (0, len(rows))
    other = score(run, corpus, tmp_path, "--detector", "plain")
    assert other.code == 2
    assert "holds the results of another command, model or corpus" in other.json["error"]


def test_the_recipes_own_images(chain: Chain, run: Path, tmp_path: Path) -> None:
    """Their windows and maps are there already, and the detections are the run's."""
    outcome = score(run, "step:images", tmp_path, "--detector", "full", "--format", "parquet")
    assert outcome.code == 0, outcome.lines
    assert [Path(name).name for name in outcome.json["files"]] == ["detections_train.parquet", "detections_val.parquet"]
    rows = decode_detections((tmp_path / "detections_val.parquet").read_bytes(), "x")
    assert plain(rows) == plain(stored(chain, "full"))


def test_an_ensemble_in_tars(chain: Chain, run: Path, tmp_path: Path) -> None:
    for number, unit in enumerate(chain.shards("val")):
        (tmp_path / f"part-{number}.tar").write_bytes(encode_images(chain.records(unit)))
    out = tmp_path / "out"
    outcome = score(run, f"{tmp_path}/part-{{0..1}}.tar", out, "--detector", "both", "--format", "voc")
    assert outcome.code == 0, outcome.lines
    assert sorted(path.name for path in out.glob("comp4*")) == [f"comp4_det_all_{name}.txt" for name in CATEGORIES]
    assert outcome.json["boxes"] == "regressed"
    # The same images under the same keys have the same windows, and two equal detectors together are one of them.
    one = export(run, "full", tmp_path / "full", "--format", "voc", "--boxes", "windows")
    assert one.code == 0
    more = ("--detector", "both", "--format", "voc", "--boxes", "windows")
    assert score(run, f"{tmp_path}/part-{{0..1}}.tar", tmp_path / "w", *more).code == 0
    for name in CATEGORIES:
        both = read_voc((tmp_path / "w" / f"comp4_det_all_{name}.txt").read_bytes(), name)
        full = read_voc((tmp_path / "full" / f"comp4_det_val_{name}.txt").read_bytes(), name)
        assert plain(list(both.rows())) == plain(list(full.rows()))


def test_scoring_that_is_refused(chain: Chain, run: Path, corpus: Path, tmp_path: Path) -> None:
    for more, message in (
        ((), "name the step by --detector; these make detections: plain, full, both"),
        (("--detector", "svms"), "--detector svms: makes no detections"),
        (("--detector", "plain", "--set", "svms.rounds=1"), "step svms has not been run in"),
        (("--detector", "plain", "--format", "xml"), "'xml' is not one of"),
    ):
        outcome = score(run, corpus, tmp_path / "out", *more)
        assert outcome.code == 2
        assert message in outcome.json["error"]
    empty = score(run, tmp_path / "nothing", tmp_path / "out", "--detector", "plain")
    assert empty.code == 2
    assert "no images in" in empty.json["error"]
    assert not (tmp_path / "out").exists()


def test_imported_windows_are_of_given_images(chain: Chain, run: Path, corpus: Path, tmp_path: Path) -> None:
    (tmp_path / "w.json").write_text("{}")
    given = {"paths": [str(tmp_path / "w.json")], "convention": "xyxy-0-half-open"}
    steps = {**chain.steps, "windows": {"stage": "import-windows", "images": "images", **given}}
    recipe = write_recipe(tmp_path / "recipe.yaml", steps)
    request = ScoreRequest(corpus=str(corpus), recipe=recipe, detector="plain")
    with pytest.raises(ConfigError, match="stage import-windows takes windows of given images"):
        score_engine(request, str(run / "workspace"))
