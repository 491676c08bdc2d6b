"""Figures of a run that Ray exports with its own, in Prometheus' format."""

from __future__ import annotations

import json
from collections import Counter

from pipelines.engine.executor import Job, Outcome, UnitFailure


class TaskMetrics:
    """What the driver counts.

    Attributes:
        done: Units committed.
        failed: Units given up.
        retried: Failed tries of units, by kind of failure.
        in_flight: Tasks submitted and not ended.
        images: Keys done, by step: once for each scale where units are maps.
        quarantined: Keys that a step itself set aside, by reason.
    """

    def __init__(self) -> None:
        from ray.util.metrics import Counter as RayCounter
        from ray.util.metrics import Gauge

        tags = ("step", "phase")
        self.done = RayCounter("sppnet_units_done", "Units committed", tags)
        self.failed = RayCounter("sppnet_units_failed", "Units given up", tags)
        self.retried = RayCounter("sppnet_units_retried", "Failed tries of units", (*tags, "kind"))
        self.in_flight = Gauge("sppnet_units_in_flight", "Tasks submitted and not ended", tags)
        self.images = RayCounter("sppnet_images_done", "Images done, once a scale", ("step",))
        self.quarantined = RayCounter("sppnet_keys_quarantined", "Images set aside by a step", ("step", "reason"))

    def count(self, job: Job, outcome: Outcome) -> None:
        """Count what came of a unit."""
        step = {"step": job.phase.spec.step}
        tags = {**step, "phase": job.phase.phase.name}
        if isinstance(outcome, UnitFailure):
            self.failed.inc(tags=tags)
            return
        self.done.inc(tags=tags)
        if not job.phase.phase.keyed:
            return
        if outcome.done:
            self.images.inc(outcome.done, tags=step)
        stage = json.loads(job.phase.spec.config)["stage"]  # what earlier stages set aside is theirs
        own = Counter(entry.reason for entry in outcome.quarantined if entry.stage == stage)
        for reason, number in own.items():
            self.quarantined.inc(number, tags={**step, "reason": reason})
