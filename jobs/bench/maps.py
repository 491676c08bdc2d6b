"""Storing maps and reading them back, beside two other ways to put the same values into Parquet with zstd, level 1.

One peer is the raw bytes of a map as one value; the other is a column of float16 numbers in Parquet's own encoding
`BYTE_STREAM_SPLIT`, which puts equal bytes of all numbers beside one another. Times are those of the processor, all
threads together: what a core gives, also on a busy machine. `ratio` is our rate over the peer's; `ours_share` and
`peer_share` are what is stored of the raw float16 bytes.
"""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from jobs.bench.timing import TimedPair, medians
from pipelines.artifacts.windows_and_maps import MapRow, decode_maps, encode_maps
from pipelines.drawing.scenes import draw_image
from sppnet.arrays import Floats, Pixels
from sppnet.errors import ConfigError
from sppnet.images.decoding import decode_image
from sppnet.images.network_input import prepare_image
from sppnet.networks.backbones import Backbone, BackboneSpec, build_backbone, load_backbone
from sppnet.networks.map_types import MapType, to_map_type
from sppnet.networks.network import Precision
from sppnet.networks.weights import read_safetensors
from sppnet.sizes import Size

_WIDTHS = (400, 500)  # of drawn scenes, pixels
_NONZERO = 0.2
"""Share of a channel's values that trained weights leave above zero: SqueezeNet's 0.18, AlexNet's 0.10."""


def run(
    *,
    repeats: int = 5,
    images: int = 4,
    scales: tuple[int, ...] = (480, 688, 1200),
    architectures: tuple[str, ...] = ("squeezenet1_0", "zf5"),
    weights: str | None = None,
    folder: str | None = None,
    precision: Precision = "bfloat16",
) -> list[dict[str, Any]]:
    """Measure bytes, encoding and decoding.

    Args:
        repeats: Pairs of timed runs, after one warm-up of each.
        images: How many images.
        scales: Short sides in pixels.
        architectures: Whose maps.
        weights: Safetensors file of the first architecture; without, weights are random, and a channel's values are
            shifted so that at most as many are above zero as with trained ones.
        folder: Photographs; without, scenes are drawn.
        precision: Type in which the convolutions compute.

    Returns:
        One dict per architecture, type of map, peer and direction: `name`, `dtype`, `maps`, `raw_bytes` as float16,
        `nonzero` share, `ours_share`, `peer_share`, `ours_s`, `peer_s`, `ratio`, `ours_gb_s` of raw float16, `peer`,
        `equal` (every value, in both).

    Raises:
        ConfigError: `folder` has too few JPEGs, or the weights don't fit.
    """
    drawn = (decode_image(draw_image(seed, _WIDTHS)) for seed in range(images))
    pictures = _photographs(Path(folder), images) if folder else list(drawn)
    rows = []
    for number, name in enumerate(architectures):
        backbone = build_backbone(BackboneSpec(name)).eval()
        trained = weights is not None and number == 0
        if trained:
            load_backbone(backbone, read_safetensors(Path(str(weights)).read_bytes(), str(weights)), str(weights))
        made = partial(_convolve, backbone, precision=precision) if trained else partial(_shifted, backbone, precision)
        found = [made(picture, scale) for picture in pictures for scale in scales]
        for dtype in get_args(MapType):
            rows += _rows(name, dtype, [to_map_type(values, dtype).numpy() for values in found], repeats)
    return rows


def _photographs(folder: Path, count: int) -> list[Pixels]:
    """Decode JPEGs below a folder, spread evenly over their sorted names."""
    paths = sorted(folder.rglob("*.jpg"))
    if len(paths) < count:
        raise ConfigError(f"folder: {folder} has {len(paths)} files *.jpg, {count} are wanted")
    return [decode_image(paths[place * len(paths) // count].read_bytes()) for place in range(count)]


@torch.inference_mode()
def _convolve(backbone: Backbone, picture: Pixels, scale: int, precision: Precision) -> torch.Tensor:
    image = prepare_image(picture, scale, backbone.preprocessing, mean_image=backbone.mean_image)
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision == "bfloat16"):
        values: torch.Tensor = backbone(image)[0]
    return values.permute(1, 2, 0).contiguous()


def _shifted(backbone: Backbone, precision: Precision, picture: Pixels, scale: int) -> torch.Tensor:
    """Leave the largest of each channel's values above zero, as the biases of trained weights do."""
    values = _convolve(backbone, picture, scale, "float32")
    flat = values.flatten(0, 1)
    bias = flat.kthvalue(max(1, round((1 - _NONZERO) * len(flat))), dim=0).values
    return (values - bias).relu().to(torch.bfloat16 if precision == "bfloat16" else torch.float32)


def _rows(name: str, dtype: MapType, maps: list[Floats], repeats: int) -> list[dict[str, Any]]:
    raw = sum(values.size for values in maps) * 2
    stored = _encode_ours(maps)
    common = {
        "dtype": dtype,
        "maps": len(maps),
        "raw_bytes": raw,
        "nonzero": sum(map(np.count_nonzero, maps)) * 2 / raw,
        "ours_share": len(stored) / raw,
    }
    rows = []
    for peer, encode in _PEERS.items():
        other = encode(maps)
        equal = _same(_decode_ours(stored), maps) and _same(_decode_peer(other, maps[0].dtype), maps)
        times = {
            "encode": _processor_pairs(partial(_encode_ours, maps), partial(encode, maps), repeats),
            "decode": _processor_pairs(
                partial(_decode_ours, stored), partial(_decode_peer, other, maps[0].dtype), repeats
            ),
        }
        for way, pairs in times.items():
            found = medians(pairs)
            told = {"ours_gb_s": raw / found["ours_s"] / 1e9, "peer": peer, "peer_share": len(other) / raw}
            rows.append({"name": f"{way} maps, {name}", **common, **found, **told, "equal": equal})
    return rows


def _same(found: list[Floats], maps: list[Floats]) -> bool:
    """Tell whether all bits are those of the maps."""
    return [values.tobytes() for values in found] == [values.tobytes() for values in maps]


def _processor_pairs(ours: Callable[[], object], peer: Callable[[], object], repeats: int) -> list[TimedPair]:
    """Time both sides in turn by the processor's clock."""

    def seconds(work: Callable[[], object]) -> float:
        start = time.process_time()
        work()
        return time.process_time() - start

    return [(seconds(ours), seconds(peer)) for _ in range(repeats)]


def _encode_ours(maps: list[Floats]) -> bytes:
    return encode_maps(MapRow("", 1, Size(1, 1), values) for values in maps)


def _decode_ours(data: bytes) -> list[Floats]:
    return [row.map for row in decode_maps(data, "maps")]


def _write(columns: list[pa.Array], **options: Any) -> bytes:
    """Write columns named `data` as row groups."""
    sink = io.BytesIO()
    schema = pa.schema([("data", columns[0].type)])
    with pq.ParquetWriter(
        sink, schema, compression="zstd", compression_level=1, use_dictionary=False, write_statistics=False, **options
    ) as writer:
        for column in columns:
            writer.write_table(pa.table({"data": column}, schema), row_group_size=len(column))
    return sink.getvalue()


def _encode_raw(maps: list[Floats]) -> bytes:
    return _write([pa.array([values.tobytes()], pa.large_binary()) for values in maps])


def _encode_split(maps: list[Floats]) -> bytes:
    return _write([pa.array(values.reshape(-1)) for values in maps], use_byte_stream_split=True)


def _decode_peer(data: bytes, dtype: np.dtype[Any]) -> list[Floats]:
    file = pq.ParquetFile(pa.BufferReader(data))
    columns = [file.read_row_group(number).column("data") for number in range(file.num_row_groups)]
    if pa.types.is_large_binary(columns[0].type):
        return [np.frombuffer(column[0].as_buffer(), dtype) for column in columns]
    return [column.to_numpy() for column in columns]


_PEERS: dict[str, Callable[[list[Floats]], bytes]] = {
    "raw bytes, zstd": _encode_raw,
    "BYTE_STREAM_SPLIT, zstd": _encode_split,
}
