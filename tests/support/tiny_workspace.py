"""A small workspace with images, windows and maps whose categories can be told apart; no stage is run."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from pipelines.artifacts.annotations import ImageAnnotation, ObjectAnnotation
from pipelines.artifacts.manifest import Manifest, Shard
from pipelines.artifacts.networks import UNIT, encode_backbone
from pipelines.artifacts.windows_and_maps import MapRow, WindowsRow, encode_maps, encode_windows
from pipelines.engine.commits import Output
from pipelines.engine.stage import StageConfig, StageSpec
from pipelines.engine.workspace import Workspace
from pipelines.shards.reading import map_unit
from pipelines.shards.writing import AnnotatedImage, write_shard
from sppnet.networks.backbones import BackboneSpec, build_backbone
from sppnet.pooling.scales import resized_size
from sppnet.sizes import Size

CATEGORIES = ("disc", "ring", "bar")
COLOURS = {"disc": (220, 40, 40), "ring": (40, 220, 40), "bar": (40, 40, 220)}
SCALES = (120, 240)
SIZE = Size(160, 120)
CHANNELS = 8
BACKBONE = BackboneSpec("zf5", width=CHANNELS / 256)


def make_annotation(key: str, number: int) -> ImageAnnotation:
    rng = np.random.default_rng(number)
    things = []
    for place in range(2):
        category = CATEGORIES[(number + place) % len(CATEGORIES)]
        side = rng.integers(40, 64)
        x, y = 8 + 78 * place, rng.integers(4, SIZE[1] - side - 4)
        box = (float(x), float(y), float(x + side), float(y + side))
        difficult = number % 5 == 0 and place == 1
        things.append(ObjectAnnotation(category, box, subcategory=f"{category}-{number % 2}", difficult=difficult))
    return ImageAnnotation(key, *SIZE, tuple(things))


def draw(annotation: ImageAnnotation, number: int) -> bytes:
    rng = np.random.default_rng(1000 + number)
    pixels = rng.integers(90, 150, (SIZE[1], SIZE[0], 3), dtype=np.uint8)
    for thing in annotation.objects:
        x0, y0, x1, y1 = map(int, thing.box)
        colour = np.array(COLOURS[thing.category]) // (1 if thing.subcategory.endswith("0") else 2)
        pixels[y0:y1, x0:x1] = colour
        if thing.category == "ring":
            pixels[y0 + 12 : y1 - 12, x0 + 12 : x1 - 12] = 120
    sink = io.BytesIO()
    Image.fromarray(pixels).save(sink, "PNG")
    return sink.getvalue()


def make_windows(annotation: ImageAnnotation, number: int) -> np.ndarray:
    rng = np.random.default_rng(2000 + number)
    boxes = [np.array(thing.box) for thing in annotation.objects]
    near = [box + rng.uniform(-8, 8, 4) for box in boxes for _ in range(6)]
    away = [box + rng.choice([-1, 1], 2)[[0, 1, 0, 1]] * rng.uniform(18, 30) for box in boxes for _ in range(12)]
    windows = np.stack([*near, *away])
    limit = np.array([*SIZE, *SIZE])
    windows = np.clip(windows, 0, limit)
    keep = (windows[:, 2] - windows[:, 0] > 8) & (windows[:, 3] - windows[:, 1] > 8)
    return windows[keep].astype(np.float32)


def make_map(annotation: ImageAnnotation, scale: int, number: int) -> np.ndarray:
    """A map in which channel k is lit under objects of category k."""
    rng = np.random.default_rng(3000 + number)
    width, height = resized_size(SIZE, scale)
    grid = rng.uniform(0, 0.3, (max(1, height // 16), max(1, width // 16), CHANNELS))
    for thing in annotation.objects:
        x0, y0, x1, y1 = (round(edge * scale / min(SIZE) / 16) for edge in thing.box)
        grid[y0 : max(y1, y0 + 1), x0 : max(x1, x0 + 1), CATEGORIES.index(thing.category)] += 3.0
    return grid.astype(np.float16)


def plain_manifest(splits: Mapping[str, Sequence[str]], categories: Sequence[str], shard_size: int) -> Manifest:
    """A manifest whose shards are called after their place, for readable tests: `train/000000` and so on."""

    def shards(split: str, keys: Sequence[str]) -> Iterator[Shard]:
        for number, start in enumerate(range(0, len(keys), shard_size)):
            name = f"{split}/{number:06d}"
            yield Shard(name, name, tuple(keys[start : start + shard_size]))

    return Manifest({split: tuple(shards(split, keys)) for split, keys in splits.items()}, tuple(categories))


def make_workspace(root: Path, images: int = 24, shard_size: int = 6, more: int = 0) -> Workspace:
    """Writes `images-tiny`, `windows-tiny`, `maps-tiny` and `network-tiny` with a train split, and a split `more`."""
    workspace = Workspace.open(str(root))
    store = {kind: workspace.artifact(f"{kind}-tiny") for kind in ("images", "windows", "maps", "network")}
    splits = {"train": [f"im{number:03d}" for number in range(images)]}
    if more:
        splits["more"] = [f"im{number:03d}" for number in range(100, 100 + more)]
    manifest = plain_manifest(splits, CATEGORIES, shard_size)
    manifest.write(workspace.store)
    for unit in (unit for split in splits for unit in manifest.units(split)):
        own = [(key, int(key[2:])) for key in manifest.keys(unit)]
        notes = {key: make_annotation(key, number) for key, number in own}
        images = [AnnotatedImage("png", draw(notes[key], number), notes[key]) for key, number in own]
        write_shard(store["images"], manifest.shard(unit), images)
        rows = [WindowsRow(key, *SIZE, make_windows(notes[key], number)) for key, number in own]
        store["windows"].publish(unit, Output(encode_windows(rows), ".parquet", len(own), len(own)), 0)
        for scale in SCALES:
            maps = [MapRow(key, scale, SIZE, make_map(notes[key], scale, number)) for key, number in own]
            store["maps"].publish(map_unit(scale, unit), Output(encode_maps(maps), ".parquet", len(own), len(own)), 0)
    backbone = build_backbone(BACKBONE)
    geometry = {"receptive_field": 139, "stride": 16, "padding": 55, "released": [21, 6.5, 16]}
    info = {"spec": BACKBONE.to_dict(), "geometry": geometry, "channels": CHANNELS}
    workspace.store.create("maps-tiny/backbone.json", json.dumps(info).encode())
    network = encode_backbone(BACKBONE, backbone.trunk.state_dict())
    store["network"].publish(UNIT, Output(network, ".safetensors", 1, 0), 0)
    return workspace


def read_manifest(workspace: Workspace) -> Manifest:
    """The one manifest of a workspace."""
    (entry,) = workspace.store.list("manifests")
    return Manifest.read(workspace.store, Path(entry.name).stem)


def make_spec(workspace: Workspace, config: StageConfig, artifact: str, seed: int = 3, **inputs: str) -> StageSpec:
    """The spec of one step whose inputs are artifacts of the tiny workspace."""
    pairs = tuple(sorted((field, (name,)) for field, name in inputs.items()))
    manifest = read_manifest(workspace).digest if "images" in inputs else ""
    return StageSpec(workspace.store.uri, config.stage, artifact, config.model_dump_json(), pairs, seed, manifest)
