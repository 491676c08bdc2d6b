"""`sppnet runs` and `sppnet compare`, on two runs of one recipe with other values."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.support.chain import CATEGORIES, Chain, write_recipe
from tests.support.in_process import Outcome, sppnet


@pytest.fixture(scope="module")
def workspace(chain: Chain, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of the chain, which was there already, and one that evaluates at another overlap."""
    folder = tmp_path_factory.mktemp("runs")
    shutil.copytree(chain.root, folder / "workspace")
    recipe = write_recipe(folder / "recipe.yaml", chain.steps)
    for options in ([], ["--set", "metrics.iou=0.75"]):
        assert sppnet("run", recipe, "--workspace", folder / "workspace", "--local", *options).code == 0
    return folder / "workspace"


@pytest.fixture(scope="module")
def listed(workspace: Path) -> Outcome:
    return sppnet("runs", "--workspace", workspace)


def key(row: dict[str, str]) -> str:
    return f"{row['name']}/{row['when']}-{row['fingerprint']}"


def test_both_runs_stay(workspace: Path, listed: Outcome) -> None:
    rows = listed.json["runs"]
    assert [(row["name"], row["state"], row["exit_code"], row["figure"]) for row in rows] == [
        ("chain", "done", 0, "VOC07 mAP")
    ] * 2
    folders = [workspace / "runs" / key(row) for row in rows]
    for folder in folders:
        assert {path.name for path in folder.iterdir()} == {"recipe.yaml", "events", "summary.json", "report.html"}
        assert (folder / "report.html").read_text().startswith("<!doctype html>")
    assert sorted("iou: 0.75" in (folder / "recipe.yaml").read_text() for folder in folders) == [False, True]
    assert all(any(row["fingerprint"] in line for line in listed.lines) for row in rows)


def test_a_report_is_written_over_that_of_its_own_run(workspace: Path, tmp_path: Path, chain: Chain) -> None:
    recipe = write_recipe(tmp_path / "recipe.yaml", chain.steps)
    before = {path: path.stat().st_mtime_ns for path in (workspace / "runs").rglob("report.html")}
    outcome = sppnet("report", recipe, "--workspace", workspace)
    after = {path: path.stat().st_mtime_ns for path in (workspace / "runs").rglob("report.html")}
    assert outcome.lines[-1] == f"report: {outcome.json['report']}"
    assert {path for path in after if after[path] != before.get(path)} == {Path(outcome.json["report"])}
    assert "iou: 0.5\n" in (Path(outcome.json["report"]).parent / "recipe.yaml").read_text()


def test_two_runs_side_by_side(workspace: Path, listed: Outcome, chain: Chain) -> None:
    by_iou = {
        "iou: 0.75" in (workspace / "runs" / key(row) / "recipe.yaml").read_text(): row for row in listed.json["runs"]
    }
    found = sppnet("compare", by_iou[False]["fingerprint"][:8], key(by_iou[True]), "--workspace", workspace).json
    assert (found["a"], found["b"]) == (key(by_iou[False]), key(by_iou[True]))
    assert found["recipe"] == [{"path": "steps.metrics.iou", "a": 0.5, "b": 0.75}]
    mean = next(row["ap"] for row in found["detectors"] if (row["detector"], row["category"]) == ("full+bb", "mean"))
    assert (mean["a"], mean["b"]) == (by_iou[False]["value"], by_iou[True]["value"])
    assert mean["difference"] == pytest.approx(mean["b"] - mean["a"], abs=1e-6)
    assert mean["difference"] < 0
    assert {row["category"] for row in found["detectors"]} == {"mean", *CATEGORIES}
    assert {row["step"]: row["same"] for row in found["steps"]} == {name: name != "metrics" for name in chain.steps}


def test_a_name_is_its_last_run(workspace: Path, listed: Outcome) -> None:
    same = sppnet("compare", "chain", "chain", "--workspace", workspace)
    assert same.json["recipe"] == []
    assert same.json["a"] in {key(row) for row in listed.json["runs"]}


@pytest.mark.parametrize("arguments", [("runs", "chian"), ("compare", "chian", "chain"), ("compare", "chain", "chian")])
def test_an_unknown_run_is_one_line_with_the_nearest_names(workspace: Path, arguments: tuple[str, ...]) -> None:
    outcome = sppnet(*arguments, "--workspace", workspace)
    assert outcome.code == 2
    assert outcome.lines == [f"sppnet: {outcome.json['error']}"]
    assert outcome.json["error"].startswith(f"no run 'chian' in {workspace}; did you mean chain")


def test_a_workspace_without_runs(tmp_path: Path) -> None:
    outcome = sppnet("runs", "--workspace", tmp_path)
    assert (outcome.code, outcome.json["runs"]) == (0, [])
    assert outcome.lines == [f"nothing was run in {tmp_path}"]
