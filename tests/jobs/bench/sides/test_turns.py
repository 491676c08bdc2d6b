from __future__ import annotations

from dataclasses import replace

from jobs.bench.peers.job import PipelineJob
from jobs.bench.sides.turns import take_turn


def test_a_turn_is_a_job_in_a_process_of_its_own(job: PipelineJob) -> None:
    turn = take_turn(replace(job, side="crops", task="detections", images=1, crops=2))
    assert turn.seconds > 0
    assert 0 < turn.driver_cpu_s <= turn.cpu_s + 1  # the last look at its CPU time is before its end
    assert turn.peak_mb > 50
    assert turn.written_mb == 0
