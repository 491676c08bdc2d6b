"""Commands that look, as a person types them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.chain import Chain, write_recipe
from tests.support.in_process import sppnet


def test_a_plan_from_numbers_alone() -> None:
    """No data is needed: the built-in recipe of a data set that isn't here."""
    arguments = ("plan", "voc07", "--images", "train=5011", "--images", "val=4952", "--macs", "1e12", "--workers", "8")
    outcome = sppnet(*arguments, "--price", "2")
    assert outcome.code == 0
    assert [step["step"] for step in outcome.json["steps"]][-1] == "metrics"
    assert outcome.json["worker_hours"] == pytest.approx(8 * outcome.json["hours"], rel=0.01)
    assert outcome.json["cost"] == pytest.approx(2 * outcome.json["worker_hours"], abs=0.01)
    over = sppnet(*arguments, "--price", "2", "--budget", "0.01")
    assert over.code == 2
    assert "more than the budget of 0.01" in over.json["error"]


def test_a_plan_of_a_data_set(shared: Path) -> None:
    root = shared / "data" / "voc07" / "VOCdevkit" / "VOC2007"
    outcome = sppnet("plan", "voc07", "--set", f"images.dataset.root={root}", "--macs", "1e12")
    assert outcome.code == 0
    assert next(step for step in outcome.json["steps"] if step["step"] == "images")["images"] == 942


def test_status_and_explain_of_a_complete_run(chain: Chain, tmp_path: Path) -> None:
    recipe = write_recipe(tmp_path / "recipe.yaml", chain.steps)
    status = sppnet("status", recipe, "--workspace", chain.root)
    assert (status.code, status.json["complete"]) == (0, True)
    assert {row["step"] for row in status.json["steps"]} == set(chain.steps)
    explained = sppnet("explain", recipe, "--workspace", chain.root, "--set", "svms.rounds=1")
    rows = {row["step"]: row for row in explained.json["steps"]}
    assert rows["maps"]["state"] == "complete"
    assert rows["svms"]["state"].startswith("nothing of it is there: 12 units to make, about ")
    assert "    config.rounds: was 2, is 1" in explained.lines


def test_doctor_tells_every_check_and_fails_if_one_does(tmp_path: Path) -> None:
    well = sppnet("doctor", "--workspace", tmp_path)
    assert (well.code, well.json["checks"][0]["name"]) == (0, "python")
    ill = sppnet("doctor", "--workspace", "/sys/sppnet")
    assert ill.code == 2
    assert ill.json["error"] == "doctor: workspace failed; see the findings above"
