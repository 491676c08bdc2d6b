"""The whole job beside what a user would pick instead: tars to maps in Parquet, tars and windows to detections.

Each side runs in a process of its own, one after the other, in turns, on the same images, network, weights, windows
and SVMs, in bfloat16, with one thread a worker; that they make the same is checked first. The time is that of the whole
job, from files to files, workers that load the network included, and without the start of a local Ray. Each turn does
a quarter of the tars too: what the other three take more is the steady rate, that of a corpus that is large.
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
from jobs.bench.sides.files import first_tars, image_records, window_rows, write_files
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
        turns) with `least` and `most`; `ours_steady_per_s`, `peer_steady_per_s` and `steady_ratio`, without the start,
        and CPU time `ours_cpu_s_an_image` and `peer_cpu_s_an_image` likewise; `ours_cpu_s` and `peer_cpu_s` (of all
        processes from their start on; CPU time tells more than the rate where a machine is busy with other things);
        `ours_mb` and `peer_mb` (peak memory);
        `ours_written_mb` and `peer_written_mb`; `ours_lines` (of the recipe) and `peer_lines` (of code);
        `difference` (of what both made) and `machine`. What could not be measured is told in a `note`.

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
        return [row for task in tasks for row in _rows(replace(job, task=task), peers, repeats, shard)]


def check(given: Sequence[str], known: Sequence[str], name: str) -> None:
    """Raise `ConfigError` for a value of a list that is not known."""
    for value in given:
        if value not in known:
            raise ConfigError(f"{name}: '{value}' is not one of {', '.join(known)}")


def _rows(job: PipelineJob, wanted: Sequence[Side], repeats: int, shard: int) -> Iterator[dict[str, Any]]:
    peers = [side for side in wanted if side != "crops" or job.task == "detections"]
    able: list[Side] = [side for side in peers if side != "daft" or find_spec("daft")]
    jobs = [job_of(job, side) for side in ("ours", *able)]
    few = first_tars(job, max(1, job.images // shard // 4), shard)
    taken: dict[Side, list[tuple[Turn, Turn]]] = {each.side: [] for each in jobs}
    differences: dict[Side, float] = {}
    for turn in range(repeats):
        for each in jobs if turn % 2 == 0 else jobs[::-1]:
            taken[each.side].append(both_turns(each, few))
        if turn == 0:
            differences = compare(jobs)
        for each in jobs:
            shutil.rmtree(each.out)
    for side in peers:
        if side in able:
            whole = row(job, side, *([turn for _, turn in taken[one]] for one in ("ours", side)))
            steady = steady_rates(job, few.images, side, taken["ours"], taken[side])
            yield {**whole, **steady, "difference": differences.get(side), "machine": machine_name()}
        else:
            yield {"name": job.task, "peer": PEERS[side], "note": MISSING_DAFT}


def job_of(job: PipelineJob, side: Side) -> PipelineJob:
    """Return a side's job, in a folder of its own."""
    own = replace(job, side=side, out=f"{job.out}-{side}")
    return own if side != "crops" else replace(own, images=min(_CROP_IMAGES, job.images), crops=_CROPS)


def both_turns(job: PipelineJob, few: PipelineJob) -> tuple[Turn, Turn]:
    """Take a turn on few images, and one on all, whose output stays; of R-CNN's way, which is scaled, one is both."""
    if job.side == "crops" or few.images >= job.images:
        turn = take_turn(job)
        return turn, turn
    part = take_turn(replace(job, tars=few.tars, images=few.images))
    shutil.rmtree(job.out)
    return part, take_turn(job)


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


def steady_rates(
    job: PipelineJob,
    few: int,
    side: Side,
    ours: Sequence[tuple[Turn, Turn]],
    peer: Sequence[tuple[Turn, Turn]],
) -> dict[str, Any]:
    """Return what images after the first `few` take; nothing of R-CNN's way, which is timed without its start."""
    if side == "crops" or few >= job.images:
        return {}

    def more(turns: Sequence[tuple[Turn, Turn]], name: str) -> float:
        values = [statistics.median(getattr(turn[place], name) for turn in turns) for place in (0, 1)]
        return float(values[1] - values[0]) / (job.images - few)

    own, theirs = more(ours, "seconds"), more(peer, "seconds")
    if min(own, theirs) <= 0:
        return {"note": "too few images, or too busy a machine, for a steady rate"}
    cpu = {"ours_cpu_s_an_image": more(ours, "cpu_s"), "peer_cpu_s_an_image": more(peer, "cpu_s")}
    return {"ours_steady_per_s": 1 / own, "peer_steady_per_s": 1 / theirs, "steady_ratio": theirs / own, **cpu}


def row(job: PipelineJob, side: Side, ours: Sequence[Turn], peer: Sequence[Turn]) -> dict[str, Any]:
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
    return found | lines


def _lines(name: str) -> int:
    return code_lines(Path(__file__).parent / "peers" / f"{name}.py")
