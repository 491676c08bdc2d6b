"""Extracting maps beside a bare loop of decoding, resizing and convolving that stores nothing.

Both sides run in this process in turn (A B A B), one image at a time on a CPU. Ours is the stage as a worker runs it:
a shard from the workspace, its images decoded once for all scales, its maps encoded, put and committed.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from jobs.bench.timing import device_name, median_rates, pick_device, timed_pairs
from jobs.bench.training_images import make_images, read_folder, store_images
from pipelines.artifacts.networks import UNIT, encode_backbone
from pipelines.engine.commits import Output
from pipelines.engine.stage import StageSpec
from pipelines.engine.work import build_stage, run_units
from pipelines.engine.workspace import Workspace
from pipelines.stages.extract import ExtractConfig
from sppnet.images.decoding import decode_image
from sppnet.networks.backbones import BackboneSpec, build_backbone, load_backbone
from sppnet.networks.map_maker import MapMaker
from sppnet.networks.network import Precision
from sppnet.networks.weights import read_safetensors

_PARTS = ("convolve_seconds", "decode_wait_seconds", "encode_wait_seconds")


def run(
    *,
    repeats: int = 5,
    images: str | None = None,
    count: int = 16,
    scales: Sequence[int] = (688,),
    architecture: str = "squeezenet1_0",
    width: float = 1.0,
    weights: str | None = None,
    precision: Precision = "bfloat16",
    device: str | torch.device | None = None,
) -> list[dict[str, Any]]:
    """Measure one worker.

    Args:
        repeats: Pairs of timed runs, after one of each to warm up.
        images: A folder of images, each folder in it a class; default: drawn ones, 500 x 375 JPEG.
        count: How many images are drawn, or read from the folder at most.
        scales: Short sides in pixels.
        architecture: The backbone.
        width: Multiplies its channels (Table 1's networks only).
        weights: File of its weights (safetensors, the publisher's names); random ones without.
        precision: Type in which it computes.
        device: Default: the CUDA device if there is one, else the CPU.

    Returns:
        One row: `name`, `device`, `precision`, `scales`, `images`, `ours_per_s` and `peer_per_s` (images a second,
        medians), `peer`, `ratio` (median of ours / peer over the pairs), `target`, `threads`, and the shares of ours
        that went into convolving (resizing included), waiting for decoded images, and waiting for the encoder.
    """
    place = pick_device(device)
    records = read_folder(Path(images), count) if images else make_images(count)
    torch.manual_seed(0)
    backbone = build_backbone(BackboneSpec(architecture, width=width)).eval()
    if weights is not None:
        load_backbone(backbone, read_safetensors(Path(weights).read_bytes(), weights), weights)
    with tempfile.TemporaryDirectory(prefix="sppnet-bench-") as folder:
        workspace = Workspace.open(folder)
        manifest = store_images(workspace.artifact("images-bench"), records)
        network = encode_backbone(backbone.spec, backbone.trunk.state_dict())
        workspace.artifact("network-bench").publish(UNIT, Output(network, ".safetensors", 1, 0), 0)
        config = ExtractConfig(
            stage="extract",
            images="images",
            backbone="network",
            splits=("train",),
            scales=tuple(scales),
            precision=precision,
            device="cuda" if place.type == "cuda" else "cpu",
        )
        inputs = (("backbone", ("network-bench",)), ("images", ("images-bench",)))
        spec = StageSpec(folder, "extract", "maps-bench", config.model_dump_json(), inputs, 0, manifest.digest)
        maker = MapMaker(backbone.to(place), precision)
        ours, bare = _Stage(spec), _Bare(maker, [record.data for record in records], tuple(scales))
        ours.run()
        bare.run()
        pairs = timed_pairs(ours.run, bare.run, repeats, place)
        return [
            {
                "name": f"extract {architecture}",
                "device": device_name(place),
                "precision": precision,
                "scales": list(scales),
                "images": len(records),
                "peer": "a bare loop of decoding, resizing and convolving",
                **median_rates(pairs, len(records)),
                "target": 0.95,
                "threads": torch.get_num_threads(),
                **ours.shares(),
            }
        ]


@dataclass(frozen=True)
class _Stage:
    """The stage's units, a shard at a time."""

    spec: StageSpec

    def run(self) -> None:
        stage = build_stage(self.spec)
        bundles: dict[str | None, list[str]] = {}
        for unit in stage.phases()[0].units:
            bundles.setdefault(stage.bundle(unit), []).append(unit)
        for units in bundles.values():
            run_units(self.spec, units)

    def shares(self) -> dict[str, float]:
        """Return parts of the units' seconds, by what they went into."""
        artifact = build_stage(self.spec).artifact
        commits = artifact.commits(sorted(artifact.committed()))
        whole = sum(commit.seconds for commit in commits)
        named = ((name, sum(float(commit.metrics[name]) for commit in commits)) for name in _PARTS)
        return {f"{name.removesuffix('_seconds')}_share": seconds / whole for name, seconds in named}


@dataclass(frozen=True)
class _Bare:
    """Decode, resize, convolve; nothing else."""

    maker: MapMaker
    images: Sequence[bytes]
    scales: tuple[int, ...]

    def run(self) -> None:
        size = self.maker.batch
        for start in range(0, len(self.images), size):
            made = self.maker([decode_image(data) for data in self.images[start : start + size]], self.scales)
            for maps in made:
                for values in maps.values():
                    values.cpu()
