"""The whole of `bench gpu` rehearsed on the CPU, and what it does when a part breaks."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from jobs.bench.gpu import runner
from jobs.bench.gpu.__main__ import main
from jobs.bench.gpu.inputs import Setup, setup_for
from jobs.bench.gpu.runner import PARTS, make_report, run, run_checks
from sppnet.errors import ConfigError, SppError
from tests.support.source_tree import NAMES, file_graph, imports, module_of

CPU = torch.device("cpu")


@pytest.mark.usefixtures("one_thread")
def test_every_part_gives_rows_on_a_cpu(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "report.json"
    monkeypatch.setattr("jobs.bench.gpu.checks.CHECKS", {})  # they are tests of their own
    rows = run(minutes=0.001, device="cpu", out=str(target))
    assert {row["part"] for row in rows} == set(PARTS) - {"checks"}
    assert {row["name"].split(",")[0] for row in rows if row["part"] == "end-to-end"} == {"zf5", "overfeat7"}
    assert all(row["equal"] for row in rows if "equal" in row)
    assert all(row["ratio"] > 0 for row in rows)
    found = json.loads(target.read_text())
    assert found["machine"]["device"] == "cpu"
    assert found["failures"] == []
    assert "== end-to-end" in capsys.readouterr().out


def broken(setup: Setup) -> list[dict[str, object]]:
    raise RuntimeError(f"no {setup.device}")


def working(setup: Setup) -> list[dict[str, object]]:
    return [{"name": "fine", "seconds": setup.seconds}]


def test_a_part_that_breaks_leaves_the_others(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    parts = {name: (f"{__name__}:{name}", 0.5) for name in ("broken", "working")}
    monkeypatch.setattr(runner, "PARTS", parts)
    report = make_report(1.0, CPU, parts=("broken", "working"))
    assert report.failures == ["broken: RuntimeError: no cpu"]
    assert report.rows == [{"part": "working", "name": "fine", "seconds": 30.0}]
    assert "Traceback" in report.parts["broken"]["error"]
    report.write(tmp_path / "report.json")
    assert json.loads((tmp_path / "report.json").read_text())["failures"] == report.failures
    monkeypatch.setattr(runner, "make_report", lambda *_: report)
    with pytest.raises(SppError, match=r"1 failed, see .*: broken: RuntimeError: no cpu"):
        run(device="cpu", out=str(tmp_path / "report.json"))


def test_a_part_of_a_process_of_its_own_reports_by_its_file(monkeypatch: pytest.MonkeyPatch) -> None:
    def ended(command: list[str], **options: object) -> object:
        Path(command[command.index("--out") + 1]).write_text('{"rows": [{"name": "fine"}]}')
        assert command[command.index("--part") + 1] == "pooling"
        return type("Ended", (), {"returncode": 0})

    monkeypatch.setattr(runner.subprocess, "run", ended)
    assert runner._isolated("pooling", 1.0, CPU, Path("photographs")) == {"rows": [{"name": "fine"}]}
    monkeypatch.setattr(runner.subprocess, "run", lambda *_, **__: type("Ended", (), {"returncode": -11}))
    assert runner._isolated("pooling", 1.0, CPU, None) == {"error": "its process ended with -11 and left nothing"}


def test_checks_that_fail_are_told_and_the_others_run(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(_: Setup) -> None:
        raise AssertionError("3 is not 4")

    def breaks(_: Setup) -> None:
        raise ValueError("what")

    monkeypatch.setattr("jobs.bench.gpu.checks.CHECKS", {"a": fails, "b": breaks, "c": lambda _: None})
    rows = run_checks(setup_for(CPU, 1.0))
    assert [(row["name"], row["failed"]) for row in rows] == [("a", "3 is not 4"), ("b", "ValueError: what"), ("c", "")]


def test_one_part_by_the_command(tmp_path: Path) -> None:
    target = tmp_path / "part.json"
    assert main(["--part", "working", "--seconds", "0.1", "--device", "cpu", "--out", str(target)]) == 0
    assert "KeyError" in json.loads(target.read_text())["error"]
    assert main(["--minutes", "0", "--device", "cpu"]) == 2


def test_what_is_missing_is_told_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("jobs.bench.gpu.__main__.find_spec", lambda name: None if name in ("cv2", "numba") else name)
    assert main([]) == 2
    assert capsys.readouterr().err == "missing: python -m pip install numba opencv-python-headless\n"


def test_nothing_beyond_the_librarys_dependencies_is_imported() -> None:
    files, seen = file_graph(), {"jobs.bench.gpu.__main__"}
    waiting = [*seen, *(target.split(":")[0] for target, _ in PARTS.values()), "jobs.bench.gpu.checks"]
    while waiting:
        module = waiting.pop()
        seen.add(module)
        waiting += [other for other in files[module] if other not in seen]
    assert not [module for module in seen if module.startswith("pipelines") or "commands" in module]
    names = {module_of(name): name for name in NAMES}
    outside = {found.split(".")[0] for module in seen for found in imports(names[module])}
    assert not outside & {"ray", "pyarrow", "pydantic", "typer", "rich", "yaml", "fsspec", "webdataset", "sklearn"}


def test_no_time_is_refused() -> None:
    with pytest.raises(ConfigError, match="minutes"):
        make_report(0, CPU)
