"""How the pipeline grows: with workers, and with images.

Tars become maps, and tars with windows detections, by the real stages on a local Ray, each time in a process of its
own. With workers, what is measured is the rate of workers that have loaded what they need; with images, all that a
run takes, to which a straight line is fitted.
"""

from __future__ import annotations

import shutil
import statistics
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from jobs.bench.peers.job import TASKS, PipelineJob, Task
from jobs.bench.pipeline import check
from jobs.bench.sides.files import first_tars, image_records, window_rows, write_files
from jobs.bench.sides.turns import Turn, take_turn
from jobs.bench.this_machine import cpus, machine_name
from sppnet.errors import ConfigError

GROWTH = (1, 2, 4, 8)
_FITTED = ("seconds", "driver_cpu_s", "peak_mb")


def run(
    *,
    repeats: int = 3,
    images: str | None = None,
    count: int = 64,
    windows: int | str = 2000,
    scales: Sequence[int] = (688,),
    architecture: str = "squeezenet1_0",
    weights: str | None = None,
    tasks: Sequence[Task] = TASKS,
    workers: Sequence[int] | None = None,
    shard: int = 4,
) -> list[dict[str, Any]]:
    """Measure rates by workers, and costs by images.

    Args:
        repeats: Turns of each case.
        images: Folder of JPEGs or of webdataset tars; drawn scenes without.
        count: At most so many images; costs are measured with 1, 2, 4 and 8 eighths of them.
        windows: How many windows to make up an image, or Parquet files or a windows artifact that has them.
        scales: Short sides in pixels.
        architecture: Of the network.
        weights: File of its weights; random ones without.
        tasks: `maps` (extract), `detections` (score, maps made on the spot), or both.
        workers: Numbers of workers, the first is what the others are compared with; by default those of 1, 2 and 4 for
            which there are CPUs.
        shard: Images of a tar.

    Returns:
        By task, a row a number of workers: `per_s` (images a second, median), `speed_up` over the first and
        `efficiency` (speed-up for as many times the workers), medians over the turns. Then a row a number of images:
        `seconds`, `driver_cpu_s`, `peak_mb` (medians). Last, of each of the three, the fitted line's `start` and
        `per_image`, and its `residual`: the greatest distance from it, as a fraction of the largest value.

    Raises:
        ConfigError: There are too few images, or no such task.
        IncompleteError: A run failed.
    """
    check(tasks, TASKS, "tasks")
    records = image_records(images, count)
    if len(records) < GROWTH[-1] * shard:
        raise ConfigError(f"count: {len(records)} images are fewer than {GROWTH[-1]} tars of {shard}")
    wanted = tuple(workers) if workers else tuple(number for number in (1, 2, 4) if number <= cpus())
    with tempfile.TemporaryDirectory() as folder:
        job = write_files(
            Path(folder),
            records,
            window_rows(records, windows),
            backbone={"architecture": architecture},
            weights=weights,
            scales=tuple(scales),
            categories=20,
            shard=shard,
            workers=wanted[-1],
        )
        rows: list[dict[str, Any]] = []
        for task in tasks:
            rows += by_workers(replace(job, task=task), wanted, repeats)
            rows += by_images(replace(job, task=task), shard, repeats)
    return [row | {"machine": machine_name()} for row in rows]


def by_workers(job: PipelineJob, workers: Sequence[int], repeats: int) -> Iterator[dict[str, Any]]:
    """Yield the rows of the numbers of workers; see `run`."""
    jobs = [replace(job, workers=number, warm=True) for number in workers]
    turns = [_turns(jobs) for _ in range(repeats)]
    for place, number in enumerate(workers):
        speed_up = statistics.median(turn[0].seconds / turn[place].seconds for turn in turns)
        yield {
            "name": f"{job.task} by workers",
            "workers": number,
            "images": job.images,
            "per_s": job.images / statistics.median(turn[place].seconds for turn in turns),
            "speed_up": speed_up,
            "efficiency": speed_up * workers[0] / number,
        }


def by_images(job: PipelineJob, shard: int, repeats: int) -> Iterator[dict[str, Any]]:
    """Yield the rows of the numbers of images, and of the lines through them; see `run`."""
    jobs = [first_tars(job, part * job.images // GROWTH[-1] // shard, shard) for part in GROWTH]
    turns = [_turns(jobs) for _ in range(repeats)]
    images = [each.images for each in jobs]
    found = {name: [_median(turns, place, name) for place in range(len(jobs))] for name in _FITTED}
    for place, count in enumerate(images):
        values = {name: found[name][place] for name in _FITTED}
        yield {"name": f"{job.task} by images", "workers": job.workers, "images": count, **values}
    for name in _FITTED:
        yield {"name": f"{job.task} by images: {name}", "workers": job.workers, **fit(images, found[name])}


def _turns(jobs: Sequence[PipelineJob]) -> list[Turn]:
    found = []
    for job in jobs:
        found.append(take_turn(job))
        shutil.rmtree(job.out)
    return found


def _median(turns: Sequence[Sequence[Turn]], place: int, name: str) -> float:
    return float(statistics.median(getattr(turn[place], name) for turn in turns))


def fit(images: Sequence[int], values: Sequence[float]) -> dict[str, float]:
    """Fit a straight line; return its `start`, its slope `per_image`, and its `residual`, see `run`."""
    slope, start = np.polyfit(images, values, 1)
    distances = np.abs(np.asarray(values) - (start + slope * np.asarray(images)))
    return {"start": float(start), "per_image": float(slope), "residual": float(distances.max() / max(values))}
