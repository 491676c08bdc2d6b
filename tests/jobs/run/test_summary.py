"""Accounts of runs: what is written is read back, and what is corrupt is told."""

from __future__ import annotations

import pytest

from jobs.report.read.classification import Figure
from jobs.run.ending import Ending
from jobs.run.history import RunFolder, RunKey
from jobs.run.results import CategoryAp, ClassFigures, DetectorFigures, RunResult, StepFigures
from jobs.run.summary import RunSummary, read_summaries, read_summary, write_summary
from pipelines.engine.store import open_store
from sppnet.errors import ArtifactError

RESULT = RunResult(
    voc07_map=0.5,
    area_map=None,
    steps={"fc7": DetectorFigures(0.5, None, {"car": CategoryAp(0.5, None)})},
    classes=[ClassFigures("top", "net", "full", 7, {"top1_error": Figure(0.25, 0.01)})],
    stages={"images": StepFigures("images-x", 1, 7, 6, 1, 100, 1.5, 2.0)},
)


@pytest.fixture
def folder(tmp_path) -> RunFolder:
    return RunFolder(open_store(str(tmp_path)), RunKey("toy", "20260101T000000Z", "a" * 12))


def test_what_is_written_is_read_back(folder: RunFolder) -> None:
    summary = RunSummary(start=1.0, end=2.5, seconds=1.5, exit_code=4, error="too many", result=RESULT)
    write_summary(folder, summary)
    other = RunFolder(folder.store, RunKey("toy", "20260101T000001Z", "b" * 12))
    assert read_summary(folder) == summary
    assert read_summaries([folder, other]) == [summary, None]
    assert summary.to_json()["result"]["steps"] == {
        "fc7": {
            "voc07_map": 0.5,
            "area_map": None,
            "categories": {"car": {"voc07_ap": 0.5, "area_ap": None, "coco": {}}},
            "coco": {},
        }
    }


def test_attempts_add_up_and_the_last_one_says_how_it_ended() -> None:
    first = RunSummary(start=10.0)
    failed = first.ended(13.0, 3.0, Ending(3, "units failed"), RESULT)
    again = failed.again()
    done = again.ended(25.0, 5.0, Ending(), RESULT)
    assert [one.state for one in (first, failed, again, done)] == ["running", "failed (3)", "running", "done"]
    assert (failed.seconds, failed.error) == (3.0, "units failed")
    assert (again.seconds, again.error, again.end, again.result) == (3.0, None, None, RESULT)
    assert (done.start, done.end, done.seconds, done.error) == (10.0, 25.0, 8.0, None)


@pytest.mark.parametrize(
    ("data", "message"),
    [(b"", r"\(it: Invalid JSON"), (b"{}", r"\(start: Field required"), (b'{"start": "soon"}', r"\(start: Input ")],
)
def test_a_corrupt_account_is_told(folder: RunFolder, data: bytes, message: str) -> None:
    folder.write("summary.json", data)
    with pytest.raises(ArtifactError, match=f"summary.json is corrupt {message}"):
        read_summary(folder)
