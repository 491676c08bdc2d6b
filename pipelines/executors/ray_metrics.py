"""Figures of a run that Ray exports with its own, in Prometheus' format."""

from __future__ import annotations

import json
from collections import Counter

from pipelines.engine.activity import Activity
from pipelines.engine.executor import Job, OpenPhase, Outcome, UnitFailure
from pipelines.executors.retries import Kind


class WorkerMetrics:
    """What a worker counts of its units, by step.

    Attributes:
        read: Bytes from storage.
        written: Bytes to storage.
        seconds: By activity: `unit`, all of it; in it `decode_wait`, in which the work waited for images to be
            decoded; `read` and `write` in storage, the seconds of several threads added up.
    """

    def __init__(self) -> None:
        from ray.util.metrics import Counter as RayCounter

        self.read = RayCounter("sppnet_bytes_read", "Bytes from storage", ("step",))
        self.written = RayCounter("sppnet_bytes_written", "Bytes to storage", ("step",))
        self.seconds = RayCounter("sppnet_seconds", "Seconds of units by activity", ("step", "activity"))

    def count(self, step: str, activity: Activity) -> None:
        """Count what a unit took."""
        for counter, moved in ((self.read, activity.bytes("read")), (self.written, activity.bytes("write"))):
            if moved:
                counter.inc(moved, tags={"step": step})
        for name, spent in activity.seconds().items():
            self.seconds.inc(spent, tags={"step": step, "activity": name})


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
        tags = _tags(job.phase)
        step = {"step": tags["step"]}
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

    def count_retry(self, phase: OpenPhase, kind: Kind) -> None:
        """Count a try that failed."""
        self.retried.inc(tags={**_tags(phase), "kind": kind})

    def set_in_flight(self, phase: OpenPhase, tasks: int) -> None:
        """Note how many tasks of a phase are in flight."""
        self.in_flight.set(tasks, tags=_tags(phase))


def _tags(phase: OpenPhase) -> dict[str, str]:
    return {"step": phase.spec.step, "phase": phase.phase.name}
