"""The files that `bench pipeline` and `bench scale` work on: tars of images, their windows, a network and SVMs."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from jobs.bench.inputs import IMAGE, proposal_windows
from jobs.bench.peers.job import THRESHOLD, PipelineJob
from jobs.bench.peers.torch_steps import read_network
from pipelines.artifacts.image_tars import ImageRecord, encode_images
from pipelines.artifacts.windows_and_maps import WindowsRow, encode_windows
from pipelines.datasets.tar_samples import image_of, read_samples
from pipelines.datasets.window_files import OURS, read_window_files
from pipelines.drawing.scenes import draw_image
from pipelines.shards.reading import decode_record
from sppnet.arrays import Float64s
from sppnet.detection.features import WindowFeatures
from sppnet.detection.svm import LinearSvms
from sppnet.errors import ConfigError
from sppnet.images.decoding import probe_size
from sppnet.networks.backbones import BackboneSpec, build_backbone
from sppnet.networks.checkpoints import load_found
from sppnet.networks.map_maker import MapMaker
from sppnet.networks.state_dicts import read_weights
from sppnet.networks.weights import write_safetensors
from sppnet.pooling.pyramid import Pyramid
from sppnet.seeds import derive_seed

_DRAWN_WIDTHS = (400, 500)
_SHARE = 0.05  # of the windows that score above the threshold, in each category
_CALIBRATED_ON = 4


def image_records(images: str | None, count: int) -> list[ImageRecord]:
    """Return JPEGs: of a folder or of tars, spread evenly, or drawn.

    Args:
        images: A folder of images, a folder of webdataset tars, or None for drawn scenes.
        count: At most so many.

    Raises:
        ConfigError: There is no JPEG.
    """
    if images is None:
        drawn = (draw_image(derive_seed(0, "bench", number), _DRAWN_WIDTHS) for number in range(count))
        return [_record(f"{number:06d}", data) for number, data in enumerate(drawn)]
    found = list(_in_tars(Path(images))) or list(_in_folder(Path(images)))
    if not found:
        raise ConfigError(f"images: {images} holds neither .tar nor .jpg files")
    chosen = [found[place * len(found) // count] for place in range(count)] if len(found) > count else found
    return [_record(key, data if isinstance(data, bytes) else data.read_bytes()) for key, data in chosen]


def _in_tars(folder: Path) -> Iterator[tuple[str, bytes | Path]]:
    for tar in sorted(folder.glob("*.tar")):
        for key, members in read_samples(tar.read_bytes(), str(tar)).items():
            if "jpg" in members:
                yield key.replace("/", "_"), image_of(key, members).data


def _in_folder(folder: Path) -> Iterator[tuple[str, bytes | Path]]:
    yield from ((path.stem, path) for path in sorted(folder.rglob("*.jpg")))


def _record(key: str, data: bytes) -> ImageRecord:
    return ImageRecord(key, "jpg", data, *probe_size(data))


def window_rows(records: Sequence[ImageRecord], windows: int | str) -> list[WindowsRow]:
    """Return the windows of images.

    Args:
        records: The images.
        windows: How many windows to make up an image, or where those are that a program proposed: Parquet files, or
            the folder of a windows artifact.

    Raises:
        ConfigError: The files can't be read.
        DataError: They hold no windows of an image.
    """
    if isinstance(windows, int):
        boxes = [_made_up(record, windows, number) for number, record in enumerate(records)]
    else:
        found = read_window_files((windows,), OURS)
        boxes = [found.windows(record.key, record.width, record.height, OURS) for record in records]
    return [
        WindowsRow(record.key, record.width, record.height, own.astype(np.float32))
        for record, own in zip(records, boxes, strict=True)
    ]


def _made_up(record: ImageRecord, windows: int, number: int) -> Float64s:
    factors = np.array([record.width, record.height] * 2) / [*IMAGE, *IMAGE]
    made: Float64s = proposal_windows(windows, number) * factors
    return made


def write_files(
    folder: Path,
    records: Sequence[ImageRecord],
    windows: Sequence[WindowsRow],
    *,
    backbone: Mapping[str, Any],
    weights: str | None,
    scales: tuple[int, ...],
    categories: int,
    shard: int,
    workers: int,
) -> PipelineJob:
    """Write what the sides read.

    Args:
        folder: Where.
        records: The images.
        windows: Theirs, in the same order.
        backbone: The network; see `PipelineJob`.
        weights: Its weights, a file; None for random ones.
        scales: Short sides in pixels.
        categories: Of the SVMs, which are random; a twentieth of the windows scores above the threshold in each.
        shard: Images of a tar.
        workers: See `PipelineJob`.

    Returns:
        A job on them, of this project, to maps.
    """
    tars = folder / "tars"
    tars.mkdir(parents=True)
    for start in range(0, len(records), shard):
        (tars / f"{start // shard:06d}.tar").write_bytes(encode_images(records[start : start + shard]))
    files = {name: folder / name for name in ("windows.parquet", "svms.safetensors", "weights.safetensors")}
    files["windows.parquet"].write_bytes(encode_windows(windows))
    files["weights.safetensors"].write_bytes(_weights(backbone, weights))
    job = PipelineJob(
        side="ours",
        task="maps",
        tars=str(tars),
        windows=str(files["windows.parquet"]),
        svms=str(files["svms.safetensors"]),
        weights=str(files["weights.safetensors"]),
        backbone=backbone,
        scales=scales,
        workers=workers,
        out=str(folder / "out"),
        images=len(records),
    )
    few = list(zip(records, windows, strict=True))[:: max(1, len(records) // _CALIBRATED_ON)]
    svms = make_svms(job, few, categories)
    files["svms.safetensors"].write_bytes(write_safetensors(*svms.to_tensors()))
    return job


def first_tars(job: PipelineJob, tars: int, shard: int) -> PipelineJob:
    """Return a job on the first of its tars, which hold `shard` images each."""
    folder = Path(f"{job.tars}-{tars}")
    if not folder.is_dir():
        folder.mkdir()
        for tar in sorted(Path(job.tars).glob("*.tar"))[:tars]:
            shutil.copy(tar, folder)
    return replace(job, tars=str(folder), images=tars * shard)


def _weights(fields: Mapping[str, Any], path: str | None) -> bytes:
    torch.manual_seed(0)
    backbone = build_backbone(BackboneSpec.from_dict(fields))
    if path is not None:
        load_found(backbone, read_weights(Path(path).read_bytes(), path), path)
    return write_safetensors(backbone.trunk.state_dict())


def make_svms(job: PipelineJob, images: Sequence[tuple[ImageRecord, WindowsRow]], categories: int) -> LinearSvms:
    """Make random SVMs for which a twentieth of the windows of some images are detections before suppression."""
    backbone = read_network(job)
    make = MapMaker(backbone, "bfloat16")
    features = WindowFeatures(
        geometry=backbone.geometry, channels=backbone.channels, pyramid=Pyramid(), scales=job.scales
    )
    weights = np.random.default_rng(0).standard_normal((categories, features.dimension), dtype=np.float32)
    names = tuple(f"c{number:03d}" for number in range(categories))
    plain = LinearSvms(weights, np.zeros(categories, np.float32), names, 1.0, "pool5")
    parts = []
    for record, row in images:
        (maps,) = make([decode_record(record)], job.scales)
        parts.append(plain.scores(features.pooled_tensors(maps, record.size, row.windows)).numpy())
    scores = np.concatenate(parts)
    spread = scores.std(axis=0) + 1e-6
    biases = THRESHOLD - np.quantile(scores / spread, 1 - _SHARE, axis=0)
    return LinearSvms(weights / spread[:, None], biases.astype(np.float32), names, 1.0, "pool5")
