"""What is fitted and compared; the runs themselves are those of `bench pipeline`."""

from __future__ import annotations

from pathlib import Path

import pytest

from jobs.bench import scale
from jobs.bench.peers.job import PipelineJob
from jobs.bench.sides.turns import Turn
from sppnet.errors import ConfigError


def linear(job: PipelineJob) -> Turn:
    """A run whose costs are straight lines, and which half of what workers could save is saved by."""
    Path(job.out).mkdir()
    assert len(list(Path(job.tars).glob("*.tar"))) == job.images
    seconds = 3.0 + 0.5 * job.images if not job.warm else job.images / (1 + 0.8 * (job.workers - 1))
    return Turn(seconds, driver_cpu_s=0.01 * job.images, cpu_s=1.0, peak_mb=500.0, written_mb=1.0)


def test_rates_are_by_workers_and_costs_by_images(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scale, "take_turn", linear)
    rows = scale.run(repeats=2, count=8, windows=10, scales=(96,), tasks=("maps",), workers=(1, 2), shard=1)
    one, two, *growth = rows
    assert (one["per_s"], one["speed_up"], one["efficiency"]) == (1.0, 1.0, 1.0)
    assert (two["workers"], two["speed_up"], two["efficiency"]) == (2, pytest.approx(1.8), pytest.approx(0.9))
    assert [row["images"] for row in growth[:4]] == [1, 2, 4, 8]
    assert [row["seconds"] for row in growth[:4]] == [3.5, 4.0, 5.0, 7.0]
    seconds, cpu, memory = growth[4:]
    assert seconds["name"] == "maps by images: seconds"
    assert (seconds["start"], seconds["per_image"]) == (pytest.approx(3.0), pytest.approx(0.5))
    assert cpu["per_image"] == pytest.approx(0.01)
    assert memory["per_image"] == pytest.approx(0.0, abs=1e-9)
    assert max(row["residual"] for row in growth[4:]) < 1e-9


def test_what_is_no_line_has_a_residual() -> None:
    found = scale.fit([1, 2, 4, 8], [1.0, 4.0, 16.0, 64.0])
    assert found["residual"] > 0.1


def test_eight_tars_are_needed() -> None:
    with pytest.raises(ConfigError, match="count: 2 images are fewer than 8 tars of 4"):
        scale.run(count=2)
