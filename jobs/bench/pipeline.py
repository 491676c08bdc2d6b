"""The whole job beside what a user would pick instead: tars to maps in Parquet, tars and windows to detections.

Each side runs in a process of its own, one after the other, in turns, on the same images, network, weights, windows
and SVMs, in bfloat16, with one thread a worker; that they make the same is checked first. The time is that of the whole
job, from files to files, workers that load the network included, and without the start of a local Ray.
"""

from __future__ import annotations

import shutil
import statistics
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from jobs.bench.code_lines import code_lines
from jobs.bench.peers.job import TASKS, PipelineJob, Side, Task
from jobs.bench.sides import outputs
from jobs.bench.sides.files import image_records, window_rows, write_files
from jobs.bench.sides.ours import recipe_lines
from jobs.bench.sides.turns import Turn, take_turn
from jobs.bench.this_machine import cpus, machine_name
from sppnet.errors import ArtifactError, ConfigError

PEERS: Mapping[Side, str] = {"ray-data": "Ray Data", "daft": "Daft", "crops": "R-CNN's way, scaled"}
MISSING_DAFT = "daft is not installed; it comes with the extra: pip install 'sppnet[bench]'"
_FILES: Mapping[Side, tuple[str, ...]] = {
    "ray-data": ("on_ray_data", "torch_steps"),
    "daft": ("on_daft", "torch_steps"),
    "crops": ("crop_per_window",),
}
_CROP_IMAGES, _CROPS = 2, 32
_MOST_DIFFERENT: Mapping[Task, float] = {"maps": 0.02, "detections": 0.05}


def run(
    *,
    repeats: int = 5,
    images: str | None = None,
    count: int = 48,
    windows: int | str = 2000,
    scales: Sequence[int] = (688,),
    architecture: str = "squeezenet1_0",
    weights: str | None = None,
    categories: int = 20,
    tasks: Sequence[Task] = TASKS,
    peers: Sequence[Side] = tuple(PEERS),
    shard: int = 8,
    workers: int | None = None,
) -> list[dict[str, Any]]:
    """Measure this project beside its peers.

    Args:
        repeats: Turns of each side.
        images: Folder of JPEGs or of webdataset tars; drawn scenes without.
        count: At most so many images.
        windows: How many windows to make up an image, or Parquet files or a windows artifact that has them.
        scales: Short sides in pixels.
        architecture: Of the network.
        weights: File of its weights; random ones without.
        categories: Of the SVMs, which are random; in each, a twentieth of the windows scores above the threshold.
        tasks: `maps`, `detections`, or both.
        peers: `ray-data`, `daft`, `crops` (R-CNN's way: a few windows of two images, scaled; detections only).
        shard: Images of a tar.
        workers: Processes that convolve; by default one a CPU.

    Returns:
        One row a task and peer: `ours_per_s` and `peer_per_s` (images a second, medians), `ratio` (median over the
        turns) with `least` and `most`; `ours_cpu_s` and `peer_cpu_s` (of all processes from their start on: it tells
        more than the rate where a machine is busy with something else); `ours_mb` and `peer_mb` (peak memory);
        `ours_written_mb` and `peer_written_mb`; `ours_lines` (of the recipe) and `peer_lines` (of code);
        `difference` (of what both made) and `machine`. Of a peer that is not installed, a `note`.

    Raises:
        ConfigError: There are no images, or no such peer or task.
        ArtifactError: A peer made something else.
        IncompleteError: A side failed.
    """
    check(tasks, TASKS, "tasks")
    check(peers, tuple(PEERS), "peers")
    records = image_records(images, count)
    with tempfile.TemporaryDirectory() as folder:
        job = write_files(
            Path(folder),
            records,
            window_rows(records, windows),
            backbone={"architecture": architecture},
            weights=weights,
            scales=tuple(scales),
            categories=categories,
            shard=shard,
            workers=workers or cpus(),
        )
        return [row for task in tasks for row in _rows(replace(job, task=task), peers, repeats)]


def check(given: Sequence[str], known: Sequence[str], name: str) -> None:
    """Raise `ConfigError` for a value of a list that is not known."""
    for value in given:
        if value not in known:
            raise ConfigError(f"{name}: '{value}' is not one of {', '.join(known)}")


def _rows(job: PipelineJob, wanted: Sequence[Side], repeats: int) -> Iterator[dict[str, Any]]:
    peers = [side for side in wanted if side != "crops" or job.task == "detections"]
    able: list[Side] = [side for side in peers if side != "daft" or find_spec("daft")]
    jobs = [job_of(job, side) for side in ("ours", *able)]
    taken: dict[Side, list[Turn]] = {each.side: [] for each in jobs}
    differences: dict[Side, float] = {}
    for turn in range(repeats):
        for each in jobs if turn % 2 == 0 else jobs[::-1]:
            taken[each.side].append(take_turn(each))
        if turn == 0:
            differences = compare(jobs)
        for each in jobs:
            shutil.rmtree(each.out)
    for side in peers:
        if side in able:
            yield row(job, side, taken["ours"], taken[side], differences.get(side))
        else:
            yield {"name": job.task, "peer": PEERS[side], "note": MISSING_DAFT}


def job_of(job: PipelineJob, side: Side) -> PipelineJob:
    """Return a side's job, in a folder of its own."""
    own = replace(job, side=side, out=f"{job.out}-{side}")
    return own if side != "crops" else replace(own, images=min(_CROP_IMAGES, job.images), crops=_CROPS)


def compare(jobs: Sequence[PipelineJob]) -> dict[Side, float]:
    """Return how much each peer's output differs from ours, the first; raise `ArtifactError` where it is another."""
    ours, *peers = (job for job in jobs if job.side != "crops")
    read: Any = outputs.read_maps if ours.task == "maps" else outputs.read_detections
    differ: Any = outputs.maps_difference if ours.task == "maps" else outputs.detections_difference
    expected = read(ours)
    found = {peer.side: differ(expected, read(peer)) for peer in peers}
    for side, difference in found.items():
        if difference > _MOST_DIFFERENT[ours.task]:
            raise ArtifactError(
                f"bench pipeline: the {ours.task} of {PEERS[side]} differ from ours by {difference:.3g}"
            )
    return found


def row(
    job: PipelineJob, side: Side, ours: Sequence[Turn], peer: Sequence[Turn], difference: float | None
) -> dict[str, Any]:
    """Return the row of a task and a peer; see `run`."""
    windows = outputs.count_windows(job)
    crops = job_of(job, "crops")
    scaled = windows / (crops.images * crops.crops) / job.workers if side == "crops" else 1.0
    ratios = [scaled * theirs.seconds / own.seconds for own, theirs in zip(ours, peer, strict=True)]
    found = {
        "name": job.task,
        "peer": PEERS[side],
        "images": job.images,
        "windows": windows,
        "scales": len(job.scales),
        "workers": job.workers,
        "ours_per_s": job.images / statistics.median(turn.seconds for turn in ours),
        "peer_per_s": job.images / (scaled * statistics.median(turn.seconds for turn in peer)),
        "ratio": statistics.median(ratios),
        "least": min(ratios),
        "most": max(ratios),
        "turns": len(ratios),
    }
    for name, turns in (("ours", ours), ("peer", peer)):
        found[f"{name}_cpu_s"] = statistics.median(turn.cpu_s for turn in turns)
        found[f"{name}_mb"] = max(turn.peak_mb for turn in turns)
        found[f"{name}_written_mb"] = statistics.median(turn.written_mb for turn in turns)
    lines = {"ours_lines": recipe_lines(job), "peer_lines": sum(map(_lines, _FILES[side]))}
    return found | lines | {"difference": difference, "machine": machine_name()}


def _lines(name: str) -> int:
    return code_lines(Path(__file__).parent / "peers" / f"{name}.py")
