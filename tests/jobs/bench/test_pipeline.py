"""The rows and what they are made of; the sides themselves are tried by the tests of `peers` and `sides`."""

from __future__ import annotations

from pathlib import Path

import pytest

from jobs.bench import pipeline
from jobs.bench.peers.job import PipelineJob
from jobs.bench.sides.turns import Turn
from sppnet.errors import ArtifactError, ConfigError

SECONDS = {"ours": [2.0, 4.0, 2.0], "ray-data": [6.0, 6.0, 8.0], "daft": [3.0, 3.0, 3.0], "crops": [1.0, 1.0, 1.0]}


@pytest.fixture
def order(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The sides in the order of their turns, each of which takes what `SECONDS` has."""
    left = {side: list(seconds) for side, seconds in SECONDS.items()}
    order: list[str] = []

    def take_turn(job: PipelineJob) -> Turn:
        Path(job.out).mkdir()
        if not job.tars.endswith("tars"):  # a part of them
            return Turn(1.0, 0.5, cpu_s=job.images, peak_mb=1.0, written_mb=1.0)
        order.append(job.side)
        return Turn(left[job.side].pop(0), 0.5, cpu_s=9.0, peak_mb=100.0 + len(order), written_mb=7.0)

    monkeypatch.setattr(pipeline, "take_turn", take_turn)
    monkeypatch.setattr(pipeline, "compare", lambda jobs: {job.side: 0.001 for job in jobs[1:] if job.side != "crops"})
    monkeypatch.setattr(pipeline, "find_spec", lambda name: name)
    return order


def test_rows_hold_medians_over_turns_and_the_spread(order: list[str]) -> None:
    rows = pipeline.run(repeats=3, count=2, windows=100, scales=(96,), tasks=("detections",), workers=2)
    assert order == ["ours", "ray-data", "daft", "crops", "crops", "daft", "ray-data", "ours", *order[:4]]
    ray, _, crops = rows
    assert [row["peer"] for row in rows] == ["Ray Data", "Daft", "R-CNN's way, scaled"]
    assert (ray["images"], ray["windows"], ray["scales"], ray["workers"], ray["turns"]) == (2, 200, 1, 2, 3)
    assert (ray["ours_per_s"], ray["peer_per_s"]) == (1.0, pytest.approx(1 / 3))
    assert (ray["ratio"], ray["least"], ray["most"]) == (3.0, 1.5, 4.0)
    assert (ray["ours_cpu_s"], ray["peer_cpu_s"]) == (9.0, 9.0)
    assert (ray["ours_mb"], ray["peer_mb"]) == (109.0, 110.0)
    assert (ray["peer_written_mb"], ray["difference"]) == (7.0, 0.001)
    assert 0 < ray["ours_lines"] < ray["peer_lines"]
    # 200 windows of 64 that took a second, on two workers
    assert crops["peer_per_s"] == pytest.approx(2 / (200 / 64 / 2))
    assert crops["difference"] is None


def test_the_steady_rate_is_that_of_what_the_last_tars_take(order: list[str]) -> None:
    (row,) = pipeline.run(repeats=3, count=8, windows=10, scales=(96,), tasks=("maps",), peers=("ray-data",), shard=1)
    # medians of 2 and 6 s for eight images, 1 s for the first two
    assert (row["ours_steady_per_s"], row["peer_steady_per_s"]) == (6.0, pytest.approx(6 / 5))
    assert row["steady_ratio"] == pytest.approx(5.0)
    assert row["ours_cpu_s_an_image"] == row["peer_cpu_s_an_image"] == pytest.approx((9 - 2) / 6)
    turns = [(Turn(5.0, 0, 0, 0, 0), Turn(4.0, 0, 0, 0, 0))]
    job = PipelineJob(side="ours", task="maps", tars="", windows="", svms="", weights="", backbone={}, scales=(96,),
                      workers=1, out="", images=8)  # fmt: skip
    assert list(pipeline.steady_rates(job, 2, "daft", turns, turns)) == ["note"]


def test_without_daft_its_row_says_so_and_the_others_run(order: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline, "find_spec", lambda _: None)
    rows = pipeline.run(repeats=1, count=1, windows=10, scales=(96,), tasks=("maps",))
    assert order == ["ours", "ray-data"]
    assert rows[0]["ratio"] == 3.0
    note = "daft is not installed; it comes with the extra: pip install 'sppnet[bench]'"
    assert rows[1] == {"name": "maps", "peer": "Daft", "note": note}


def test_wrong_names_are_told_before_anything_is_made() -> None:
    with pytest.raises(ConfigError, match="peers: 'spark' is not one of ray-data, daft, crops"):
        pipeline.run(peers=["spark"])  # type: ignore[list-item]
    with pytest.raises(ConfigError, match="tasks: 'map' is not one of maps, detections"):
        pipeline.run(tasks=["map"])  # type: ignore[list-item]


def test_a_peer_that_makes_something_else_ends_the_bench(job: PipelineJob, monkeypatch: pytest.MonkeyPatch) -> None:
    jobs = [pipeline.job_of(job, side) for side in ("ours", "ray-data", "crops")]
    monkeypatch.setattr("jobs.bench.sides.outputs.read_maps", lambda job: job.side)
    monkeypatch.setattr("jobs.bench.sides.outputs.maps_difference", lambda ours, theirs: 0.01)
    assert pipeline.compare(jobs) == {"ray-data": 0.01}
    monkeypatch.setattr("jobs.bench.sides.outputs.maps_difference", lambda ours, theirs: 0.5)
    with pytest.raises(ArtifactError, match=r"bench pipeline: the maps of Ray Data differ from ours by 0\.5"):
        pipeline.compare(jobs)
