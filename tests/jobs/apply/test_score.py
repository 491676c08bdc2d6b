"""`sppnet score` and `sppnet export-detections`: any images through a trained detector, written for other programs."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from jobs.apply.out_folder import LEDGER
from jobs.apply.score import OWN_DETECTIONS, ScoreRequest, score_run
from pipelines.artifacts.detections import DetectionRow, decode_detections
from pipelines.artifacts.image_tars import encode_images
from pipelines.engine.store import open_store
from pipelines.outputs.ids import Numbers
from sppnet.errors import ConfigError
from tests.support.chain import CATEGORIES, SCALES, Chain, write_recipe
from tests.support.in_process import Outcome, sppnet
from tests.support.output_readers import read_coco, read_det, read_voc
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


def score(run: Path, corpus: Path | str, out: Path | str, *more: str) -> Outcome:
    recipe, workspace = str(run / "recipe.yaml"), str(run / "workspace")
    common = ("--recipe", recipe, "--workspace", workspace, "--out", str(out), "--local", "--json")
    return sppnet("score", str(corpus), *common, *more)


def plain(rows: Iterable[DetectionRow]) -> list[tuple[Any, ...]]:
    """Comparable, with the file's name for a key."""
    return sorted((row.key.split("/")[-1], row.category, row.score, row.box, row.regressed) for row in rows)


def rows_of(out: Path, split: str = "all") -> list[DetectionRow]:
    """What a split's shards hold."""
    return [row for path in sorted((out / split).iterdir()) for row in decode_detections(path.read_bytes(), "x")]


def files_in(out: Path) -> dict[str, bytes]:
    return {str(path.relative_to(out)): path.read_bytes() for path in out.rglob("*") if path.is_file()}


def test_new_images_get_the_runs_own_detections(chain: Chain, run: Path, corpus: Path, tmp_path: Path) -> None:
    outcome = score(run, corpus, tmp_path, "--detector", "full")
    assert outcome.code == 0, outcome.lines
    found = outcome.json
    assert (found["images"], found["quarantined"], found["reasons"]) == (6, 1, {"truncated": 1})
    rows = rows_of(tmp_path)
    assert found["detections"] == len(rows) > 0
    assert {row.key.split("/")[0] for row in rows} == {"one", "two"}
    # Nothing of the run's own is made again.
    request = ScoreRequest(corpus=[str(corpus)], recipe=run / "recipe.yaml", detector="full")
    engine = score_run(request, str(run / "workspace")).engine
    assert {step.name for step in engine.steps} == {"command.images", "command.windows", "command.maps", OWN_DETECTIONS}
    # Nothing of the corpus is copied, and no map is stored.
    names = {step.name: step.spec.artifact for step in engine.steps}
    assert engine.workspace.artifact(names["command.maps"]).committed() == set()
    commits = [path.read_text() for path in (run / "workspace" / names["command.images"]).rglob("*.references.json")]
    assert len(commits) == 1
    assert sum(map(len, commits)) < 2000
    (line,) = [json.loads(text) for text in (tmp_path / LEDGER).read_text().splitlines()]
    assert (line["key"], line["reason"], line["stage"]) == ("one/short", "truncated", "ingest")
    again = score(run, corpus, tmp_path, "--detector", "full")
    assert (again.code, again.json["detections"], again.json["written"]) == (0, len(rows), 0)
    other = score(run, corpus, tmp_path, "--detector", "plain")
    assert other.code == 2
    assert "holds the results of another command, model or corpus" in other.json["error"]
    options = score(run, corpus, tmp_path, "--detector", "full", "--threshold", "0.5")
    assert options.code == 2
    assert "its files were written with boxes best, format parquet; give another folder" in options.json["error"]


def test_the_recipes_own_images(chain: Chain, run: Path, tmp_path: Path) -> None:
    """Their windows and maps are there already, and the detections are the run's."""
    outcome = score(run, "step:images", tmp_path, "--detector", "full", "--format", "parquet")
    assert outcome.code == 0, outcome.lines
    assert outcome.json["files"] == len(chain.shards())
    assert plain(rows_of(tmp_path, "val")) == plain(stored(chain, "full"))
    assert rows_of(tmp_path, "train")
    assert not any(f"command.{name}: " in line and "to make" in line for line in outcome.lines for name in READ)


READ = ("windows", "maps")


def test_numbers_and_words_are_the_detectors(chain: Chain, run: Path, corpus: Path, tmp_path: Path) -> None:
    """New images have no categories of their own, and are counted."""
    rows = score(run, corpus, tmp_path / "p", "--detector", "full")
    coco = score(run, corpus, tmp_path / "c", "--detector", "full", "--format", "coco", "--merge")
    det = score(run, corpus, tmp_path / "d", "--detector", "full", "--format", "det")
    assert (rows.code, coco.code, det.code) == (0, 0, 0), coco.lines
    numbers = Numbers.parse((tmp_path / "c/coco_all_numbers.json").read_bytes(), "c")
    assert numbers.categories == {name: chain.manifest.categories.index(name) + 1 for name in CATEGORIES}
    assert {"one/short", *(row.key for row in rows_of(tmp_path / "p"))} <= set(numbers.images)
    assert list(numbers.images.values()) == list(range(1, 8))
    assert list(numbers.images) == sorted(numbers.images)
    info = json.loads((tmp_path / "c/output.json").read_text())
    assert (info["categories"], info["numbers"]) == (list(CATEGORIES), numbers.categories)
    merged = read_coco((tmp_path / "c/coco_all.json").read_bytes(), numbers)
    parts = [read_coco(path.read_bytes(), numbers) for path in (tmp_path / "c/all").iterdir()]
    assert plain(merged.rows()) == plain(row for part in parts for row in part.rows())
    assert len(merged) > 0
    assert Numbers.parse((tmp_path / "d/det_all_numbers.json").read_bytes(), "d") == numbers
    submission = read_det((tmp_path / "d/det_submission_all.txt").read_bytes(), numbers)
    assert [(k, c, s) for k, c, s, *_ in plain(submission.rows())] == [
        (k, c, s) for k, c, s, *_ in plain(merged.rows())
    ]
    assert det.json["merged"] == [f"{tmp_path}/d/det_submission_all.txt", f"{tmp_path}/d/det_all_numbers.json"]
    assert det.json["files"] == 0


def test_numbers_of_images_that_the_recipe_has_not_ingested(chain: Chain, run: Path, tmp_path: Path) -> None:
    """Their annotations may number them: they are not counted, but parquet needs no numbers."""
    steps = {**chain.steps, "later": {**chain.steps["images"], "dataset": {"root": str(chain.data), "splits": ["val"]}}}
    own = tmp_path / "run"
    own.mkdir()
    shutil.copytree(run / "workspace", own / "workspace")
    shutil.rmtree(own / "workspace" / chain.artifact("images").name / "_commits" / "annotations")
    write_recipe(own / "recipe.yaml", steps)
    more = ("--detector", "plain", "--set", "later.min_side=20")
    refused = score(own, "step:later", tmp_path / "c", *more, "--format", "coco")
    assert refused.code == 2
    assert (
        "corpus step:later: its images may have numbers, but their annotations were not ingested"
        in (refused.json["error"])
    )
    made = score(own, "step:later", tmp_path / "p", *more)
    assert (made.code, made.json["images"]) == (0, 6), made.lines
    assert not any("annotations" in line for line in made.lines)


def test_what_can_not_be_written_is_refused_before_anything_is_made(run: Path, corpus: Path, tmp_path: Path) -> None:
    (tmp_path / "few.txt").write_text("one/nothing 1\n")
    looks = [path.name for path in (run / "workspace").iterdir()]
    for where, more, message in (
        (corpus, ("--detector", "plain", "--boxes", "regressed"), "the detector was made without box regressors"),
        (corpus, ("--detector", "plain", "--format", "det", "--numbers", f"{tmp_path}/few.txt"), "has no number"),
        (corpus, ("--detector", "plain", "--top-per-set", "none"), "neither a number such as 30000"),
    ):
        outcome = score(run, where, tmp_path / "out", *more)
        assert outcome.code == 2
        assert message in outcome.json["error"]
        assert not any("units to make" in line for line in outcome.lines)
    workspace = sppnet(
        "score",
        str(corpus),
        "--recipe",
        str(run / "recipe.yaml"),
        "--workspace",
        str(run / "workspace"),
        "--out",
        str(run / "workspace"),
        "--local",
        "--detector",
        "plain",
    )
    assert workspace.json["error"].endswith("is the workspace; give another folder for the results")
    assert [path.name for path in (run / "workspace").iterdir()] == looks
    assert not (tmp_path / "out").exists()


def test_the_best_of_all_are_one_file(chain: Chain, run: Path, corpus: Path, tmp_path: Path) -> None:
    more = ("--detector", "full", "--top-per-set", "2")
    outcome = score(run, corpus, tmp_path, *more)
    assert (outcome.code, outcome.json["files"]) == (0, 0)
    assert outcome.json["merged"] == [f"{tmp_path}/detections_all.parquet"]
    rows = decode_detections((tmp_path / "detections_all.parquet").read_bytes(), "x")
    assert len(rows) == 2 * len(CATEGORIES)
    assert not (tmp_path / "all").exists()


def test_a_corpus_that_changes_costs_its_own_shards(chain: Chain, run: Path, corpus: Path, tmp_path: Path) -> None:
    """New images are new files, an image that is gone takes its file along; the others are not written again."""
    more = ("--detector", "plain", "--format", "coco")
    for number in range(40):
        path = tmp_path / "in" / f"{number:02d}.jpg"
        path.parent.mkdir(exist_ok=True)
        shutil.copy(sorted(corpus.glob("*/val*.jpg"))[number % 6], path)
    out = tmp_path / "out"
    first = score(run, tmp_path / "in", out, *more)
    assert (first.code, first.json["files"], first.json["written"]) == (0, 2, 2), first.lines
    before = files_in(out)
    (tmp_path / "in" / "39.jpg").unlink()
    second = score(run, tmp_path / "in", out, *more)
    assert (second.code, second.json["files"], second.json["written"]) == (0, 2, 1)
    after = files_in(out)
    old, new = ({name for name in files if name.startswith("all/")} for files in (before, after))
    assert len(old & new) == 1
    assert {name[:10] for name in new} == {"all/000000", "all/000001"}
    (tmp_path / "in" / "00.jpg").unlink()  # which moves the numbers of all others
    third = score(run, tmp_path / "in", out, *more)
    assert (third.code, third.json["files"], third.json["written"]) == (0, 2, 2)
    numbers = Numbers.parse((out / "coco_all_numbers.json").read_bytes(), "n")
    found = {key for path in (out / "all").iterdir() for key in {row.key for row in rows_of_coco(path, numbers)}}
    assert found <= {f"{number:02d}" for number in range(1, 39)}


def rows_of_coco(path: Path, numbers: Numbers) -> list[DetectionRow]:
    return list(read_coco(path.read_bytes(), numbers).rows())


def test_a_labelled_data_set_is_a_folder_of_images(chain: Chain, run: Path, tmp_path: Path) -> None:
    """VOC's layout with annotations that nothing can read; only what is wrong with images counts."""
    for name in ("JPEGImages", "Annotations", "ImageSets"):
        (tmp_path / "voc" / name).mkdir(parents=True)
    for number in range(3):
        shutil.copy(chain.data / "JPEGImages" / f"val_0000{number}.jpg", tmp_path / "voc" / "JPEGImages")
        (tmp_path / "voc" / "Annotations" / f"val_0000{number}.xml").write_text("<annotation>")
    (tmp_path / "voc" / "ImageSets" / "val.txt").write_text("gone\n")
    outcome = score(run, tmp_path / "voc", tmp_path / "out", "--detector", "plain", "--max-quarantined", "0")
    assert (outcome.code, outcome.json["images"], outcome.json["quarantined"]) == (0, 3, 0), outcome.lines
    assert {row.key for row in rows_of(tmp_path / "out")} == {f"JPEGImages/val_0000{number}" for number in range(3)}


def test_only_maps_that_are_read_are_made(chain: Chain, run: Path, corpus: Path, tmp_path: Path) -> None:
    """The recipe extracts more scales, and mirrored images, than the detector looks at."""
    more = [f"maps.scales={json.dumps([*SCALES, 320])}", "maps.flips=true"]
    request = ScoreRequest(corpus=[str(corpus)], recipe=run / "recipe.yaml", detector="plain", overrides=more)
    planned = score_run(request, str(run / "workspace")).planned["command.maps"]
    assert planned.config.scales == SCALES
    assert planned.config.flips is False
    assert planned.config.stored == ()


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


def test_an_ensemble_by_log_odds(chain: Chain, run: Path, tmp_path: Path) -> None:
    """Other images are scored with the calibrations that the recipe's own were fitted to."""
    fit = {"stage": "calibrate", "images": "images", "detections": "full", "split": "val", "min_positives": 1}
    both = {"stage": "combine", "images": "images", "detections": ["full"], "calibrations": ["fit"]}
    made = Chain(chain.data, {**chain.steps, "fit": fit, "both": both}, run / "workspace")
    recipe = write_recipe(tmp_path / "recipe.yaml", made.steps)
    request = ScoreRequest(corpus=[str(chain.data)], recipe=recipe, detector="both")
    with pytest.raises(ConfigError, match=r"step fit has not been run in .* to its end"):
        score_run(request, str(run / "workspace"))
    made.run()
    planned = score_run(request, str(run / "workspace")).planned
    assert planned["command.detections"].preimage["inputs"]["calibrations"] == [made.artifact("fit").name]
    assert planned["command.detections"].spec.artifact != made.artifact("both").name


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
    assert empty.json["error"].endswith("nothing does not exist")
    assert not (tmp_path / "out").exists()


def test_imported_windows_are_of_given_images(chain: Chain, run: Path, corpus: Path, tmp_path: Path) -> None:
    (tmp_path / "w.json").write_text("{}")
    given = {"paths": [str(tmp_path / "w.json")], "convention": "xyxy-0-half-open"}
    steps = {**chain.steps, "windows": {"stage": "import-windows", "images": "images", **given}}
    recipe = write_recipe(tmp_path / "recipe.yaml", steps)
    request = ScoreRequest(corpus=[str(corpus)], recipe=recipe, detector="plain")
    with pytest.raises(ConfigError, match="stage import-windows takes windows of given images"):
        score_run(request, str(run / "workspace"))


@pytest.mark.parametrize("option", ["corpus", "--out", "--workspace"])
def test_a_uri_with_one_slash(run: Path, corpus: Path, tmp_path: Path, option: str) -> None:
    wrong = "s3:/bucket/x"
    given = {
        "corpus": str(corpus),
        "--out": str(tmp_path / "out"),
        "--workspace": str(run / "workspace"),
        option: wrong,
    }
    options = [part for name, value in given.items() if name != "corpus" for part in (name, value)]
    outcome = sppnet(
        "score", given["corpus"], *options, "--recipe", str(run / "recipe.yaml"), "--detector", "plain", "--local"
    )
    assert (outcome.code, outcome.json["error"]) == (2, "s3:/bucket/x: two slashes are needed: s3://bucket/x")


def test_local_and_an_address(run: Path, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    Image.fromarray(np.full((90, 120, 3), 7, np.uint8)).save(tmp_path / "in" / "new.png")
    outcome = score(run, tmp_path / "in", tmp_path / "out", "--detector", "plain", "--address", "127.0.0.1:1")
    assert (outcome.code, outcome.json["error"]) == (
        2,
        "--local runs without Ray, --address joins one: give one of them",
    )


@pytest.mark.s3
def test_a_corpus_that_can_not_be_read(
    run: Path, s3: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, corpus: Path
) -> None:
    more = ("--detector", "plain")
    open_store(s3).put("a/b.txt", b"")
    for where, message in (
        (f"{s3}/a", f"no images in {s3}/a, only files such as a/b.txt"),
        (f"{s3}/c/*.jpg", f"no image and no tar matches {s3}/c/*.jpg"),
        (f"{s3}/a/c.jpg", f"{s3}/a/c.jpg does not exist"),
        ("s3://no-such-bucket-here/photos", "check credentials, quota and bucket"),
    ):
        outcome = score(run, where, tmp_path / "out", *more)
        assert outcome.code == 2
        assert message in outcome.json["error"], outcome.json["error"]
    bad = score(run, corpus, "s3://no-such-bucket-here/out", *more)
    assert bad.code == 2
    assert bad.json["error"].endswith("check credentials, quota and bucket")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "0123456789wrong-secret")
    outcome = score(run, f"{s3}/a", tmp_path / "out", *more)
    assert outcome.code == 2
    assert "the store refuses" in outcome.json["error"]
    assert "check credentials, quota and bucket" in outcome.json["error"]
    assert not (tmp_path / "out").exists()
