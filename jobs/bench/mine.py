"""Mining's inner step over stored shards, beside the bare computation on the same maps and windows in memory.

The bare side pools an image's windows as one batch, carries them through fc6 and fc7 where wanted, and scores all
categories with one matrix product. Ours does that and all that makes it mining: negatives by overlap, the hard ones of
each category, their features put together; and, `from storage`, reading a shard and encoding what was found. Both run
in turn in this process, so that a busy machine slows both. `ratio` is our rate as a fraction of the bare one's.
"""

from __future__ import annotations

import io
import json
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image

from jobs.bench.inputs import CHANNELS, HIDDEN, IMAGE, MAP, SCALE, proposal_windows
from jobs.bench.timing import device_name, medians, pick_device, seconds
from pipelines.artifacts.annotations import ImageAnnotation, ObjectAnnotation
from pipelines.artifacts.examples import Examples
from pipelines.artifacts.windows_and_maps import MapRow, WindowsRow, encode_maps, encode_windows
from pipelines.detecting.mining import HardExamples, Miner
from pipelines.detecting.negatives import NegativeRule
from pipelines.detecting.training_shards import TrainingShards
from pipelines.engine.commits import Output
from pipelines.engine.workspace import Workspace
from pipelines.shards.reading import IngestedImages, map_unit
from pipelines.shards.windowed import LabelledImage, WindowedImage
from pipelines.shards.writing import AnnotatedImage, write_images
from sppnet.detection.features import WindowFeatures
from sppnet.detection.svm import LinearSvms
from sppnet.networks.network import FcHead, HeadSpec, Layer, Precision
from sppnet.pooling.geometry import GEOMETRIES, windows_to_cells
from sppnet.pooling.pyramid import Pyramid
from sppnet.pooling.scales import scale_windows
from sppnet.pooling.windows import pool_windows


def run(
    *,
    repeats: int = 5,
    images: int = 4,
    windows: int = 2000,
    categories: int = 200,
    layers: tuple[Layer, ...] = ("pool5", "fc7"),
    hidden: tuple[int, int] = HIDDEN,
    hard: float = 0.001,
    device: str | torch.device | None = None,
) -> list[dict[str, Any]]:
    """Measure mining with and without storage.

    Args:
        repeats: Triples of timed runs per layer, after one warm-up of each.
        images: Images of the shard.
        windows: Windows of an image.
        categories: Categories that are scored.
        layers: Features to score, of a ZF-5 at scale 688.
        hidden: Outputs of fc6 and fc7.
        hard: Fraction of an image's windows that are hard for a category, of 2,000 two by default. What is found is
            encoded with its features, which at ten a category costs as much as finding it.
        device: Where to compute; default: the CUDA device if there is one, else the CPU.

    Returns:
        One dict per layer and way: `name`, `device`, `dtype`, `images`, `windows`, `categories`, `hard` negatives
        found, `ours_s` and `peer_s` (medians for all images), `windows_s` (ours, windows a second), `peer`, `ratio`
        (median of `peer_s / ours_s` over the pairs), `threads`.
    """
    place = pick_device(device)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        shards = store_shard(Workspace.open(folder), images, windows, categories)
        for layer in layers:
            rows += _rows(_Sides.build(shards, layer, categories, hidden, hard, place), repeats)
    return rows


def store_shard(workspace: Workspace, images: int, windows: int, categories: int, seed: int = 0) -> TrainingShards:
    """Store a shard of images of 500 x 375 pixels with their windows and maps, two thirds of whose values are 0."""
    rng = np.random.default_rng(seed)
    width, height = IMAGE
    names = [category_name(number) for number in range(categories)]
    parts = {kind: workspace.artifact(f"{kind}-bench") for kind in ("images", "windows", "maps")}
    sink = io.BytesIO()
    Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8)).save(sink, "JPEG", quality=60)
    drawn, boxes, maps = [], [], []
    for number in range(images):
        key = f"im{number:03d}"
        proposals = proposal_windows(windows, seed + number).astype(np.float32)
        chosen = proposals[rng.integers(0, windows, 3)]
        things = [_object(names[rng.integers(categories)], box) for box in chosen.tolist()]
        drawn.append(AnnotatedImage("jpg", sink.getvalue(), ImageAnnotation(key, width, height, tuple(things))))
        boxes.append(WindowsRow(key, width, height, proposals))
        grid = np.maximum(rng.standard_normal((*MAP.hw, CHANNELS), dtype=np.float32) - 0.43, 0).astype(np.float16)
        maps.append(MapRow(key, SCALE, IMAGE, grid))
    manifest = write_images(parts["images"], {"train": drawn}, names, images)
    (shard,) = manifest.units("train")
    parts["windows"].publish(shard, Output(encode_windows(boxes), ".parquet", images, images), 0)
    parts["maps"].publish(map_unit(SCALE, shard), Output(encode_maps(maps), ".parquet", images, images), 0)
    geometry = {"geometry": asdict(GEOMETRIES["zf5"]), "channels": CHANNELS}
    workspace.store.create("maps-bench/backbone.json", json.dumps(geometry).encode())
    return TrainingShards(
        IngestedImages(parts["images"], manifest), parts["windows"], parts["maps"], (SCALE,), "train", "bench"
    )


def _object(category: str, box: list[float]) -> ObjectAnnotation:
    x0, y0, x1, y1 = box
    return ObjectAnnotation(category, (x0, y0, x1, y1))


def category_name(number: int) -> str:
    """Return the name of a category: `c007`."""
    return f"c{number:03d}"


@dataclass(frozen=True)
class _Sides:
    """The three ways, on the same shard.

    Attributes:
        shards: The stored shard.
        images: The same in memory.
        on_device: Their maps and cells, for the bare side.
        miner: With SVMs for which some windows are hard.
    """

    shards: TrainingShards
    images: list[LabelledImage]
    on_device: list[tuple[torch.Tensor, Any]]
    miner: Miner

    @classmethod
    def build(
        cls,
        shards: TrainingShards,
        layer: Layer,
        categories: int,
        hidden: tuple[int, int],
        hard: float,
        device: torch.device,
    ) -> _Sides:
        images = list(shards.open(shards.units[0])[0])
        features = _features(layer, hidden, device)
        svms = _svms(features, images[0], categories, hard)
        rule = NegativeRule(0.3, strict=False, dedupe="overlap", dedupe_iou=0.7, threshold=-1.0, per_image=30)
        on_device = []
        for image in images:
            scaled = scale_windows(image.windows, image.image_wh, SCALE)
            cells = windows_to_cells(scaled, MAP, features.geometry)
            on_device.append((torch.tensor(image.maps[SCALE], device=device), cells))
        return cls(shards, images, on_device, Miner(rule, features, svms, "uint8"))

    @torch.inference_mode()
    def bare(self) -> list[torch.Tensor]:
        """Pool, and score all categories with one product."""
        features = self.miner.features
        found = []
        for grid, cells in self.on_device:
            pooled = pool_windows(grid, cells, features.pyramid).flatten(1)
            found.append(self.miner.svms.scores(features.upper(pooled)))
        return found

    def in_memory(self) -> list[Examples]:
        """Mine images that are at hand."""
        found = self._collection()
        for image in self.images:
            self.miner.mine(image, found)
        return found.joined()

    def from_storage(self) -> Output:
        """Mine the stored shard, to the bytes that would be committed."""
        found = self._collection()
        return self.shards.run(self.shards.units[0], lambda image: self.miner.mine(image, found), found.joined)

    def _collection(self) -> HardExamples:
        return HardExamples(self.miner.svms.categories, 30 * len(self.images))


def _features(layer: Layer, hidden: tuple[int, int], device: torch.device) -> WindowFeatures:
    pyramid = Pyramid()
    head = None
    # A GPU's half precision is what one would mine with there; a CPU's may be emulated.
    precision: Precision = "bfloat16" if device.type == "cuda" else "float32"
    if layer != "pool5":
        torch.manual_seed(0)
        head = FcHead.from_spec(HeadSpec(pyramid.bins * CHANNELS, hidden, 2, 0.0)).to(device).eval()
    return WindowFeatures(
        geometry=GEOMETRIES["zf5"],
        channels=CHANNELS,
        pyramid=pyramid,
        scales=(SCALE,),
        layer=layer,
        head=head,
        precision=precision,
        device=device,
    )


def _svms(features: WindowFeatures, image: WindowedImage, categories: int, hard: float) -> LinearSvms:
    """Make random SVMs, biased so that a few windows of an image are hard for each."""
    rng = np.random.default_rng(1)
    weights = rng.standard_normal((categories, features.dimension), dtype=np.float32)
    names = tuple(category_name(number) for number in range(categories))
    plain = LinearSvms(weights, np.zeros(categories, np.float32), names, 1.0, features.layer)
    scores = plain.scores(features(image.maps, image.image_wh, image.windows)).cpu().numpy()
    spread = scores.std(axis=0, keepdims=True).T
    biases = -1 - np.quantile(scores / spread.T, 1 - hard, axis=0)
    return LinearSvms(weights / spread, biases.astype(np.float32), names, 1.0, features.layer)


def _rows(sides: _Sides, repeats: int) -> list[dict[str, Any]]:
    features = sides.miner.features
    device = features.device
    ways: dict[str, Callable[[], Any]] = {"in memory": sides.in_memory, "from storage": sides.from_storage}
    hard = {"in memory": sum(map(len, sides.in_memory())), "from storage": sides.from_storage().rows}
    sides.bare()
    times = [(seconds(sides.bare, device), *(seconds(way, device) for way in ways.values())) for _ in range(repeats)]
    windows = sum(len(image.windows) for image in sides.images)
    rows = []
    for place, name in enumerate(ways, 1):
        found = medians([(each[place], each[0]) for each in times])
        rows.append(
            {
                "name": f"mine {features.layer}, {name}",
                "device": device_name(device),
                "dtype": f"float16 maps, {features.precision}",
                "images": len(sides.images),
                "windows": windows,
                "categories": len(sides.miner.svms.categories),
                "hard": hard[name],
                "threads": torch.get_num_threads(),
                "peer": "pool, fc and one product, in memory",
                **found,
                "windows_s": windows / found["ours_s"],
            }
        )
    return rows
