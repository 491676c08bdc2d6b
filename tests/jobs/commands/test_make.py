"""`sppnet run`: what it prints for people and for programs."""

from __future__ import annotations

from pathlib import Path

from tests.support.in_process import sppnet


def test_a_complete_run_prints_its_figures_and_where_its_report_is(run: Path) -> None:
    outcome = sppnet("run", run / "recipe.yaml", "--workspace", run / "workspace", "--local", "--set", "both.splits=[]")
    assert outcome.code == 0
    told = outcome.json
    assert list(told["steps"]) == ["plain", "full", "full+bb"]
    last = told["steps"]["full+bb"]
    assert (told["voc07_map"], told["area_map"]) == (last["voc07_map"], last["area_map"])
    assert (told["run"], told["workspace"]) == ("chain", str(run / "workspace"))
    assert Path(told["report"]) == run / "workspace" / "runs" / told["folder"] / "report.html"
    assert Path(told["report"]).read_text().startswith("<!doctype html>")
    percent = [f"{100 * last[name]:.1f} %" for name in ("voc07_map", "area_map")]
    assert outcome.lines[-2:] == [
        f"full+bb: VOC07 mAP {percent[0]}, area mAP {percent[1]}",
        f"report: {told['report']}",
    ]
    assert told["stages"]["images"]["quarantined"] == 1
