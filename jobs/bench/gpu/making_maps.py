"""Files to maps on the device: decoders' rates, and MapMaker beside a bare loop of decode, resize, convolve, fetch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import torch

from jobs.bench.gpu.inputs import Row, Setup, image_files, zf5_and_overfeat7
from jobs.bench.timing import median_rates, pairs_within
from sppnet.arrays import Pixels
from sppnet.images.decoding import decode_by_gpu, decode_image
from sppnet.images.network_input import prepare_image
from sppnet.networks.backbones import Backbone
from sppnet.networks.map_maker import MapMaker


def run(setup: Setup) -> list[Row]:
    """Measure decoding on threads and on the GPU, and maps at all scales with and without graphs and batches."""
    files = [file.data for file in image_files(setup)]
    rows = [_decoding(setup, files)]
    if setup.device.type == "cuda":
        rows.append(_decoding_by_gpu(setup, files))
    # Of a few images: the bare loop takes them one at a time.
    shown = [decode_image(data) for data in files[: 2 * setup.batch]]
    for name, backbone in zf5_and_overfeat7(setup).items():
        rows.append(_maps(setup, name, backbone, shown, 1, graphs=True))
        if setup.device.type == "cuda":
            rows.append(_maps(setup, name, backbone, shown, 1, graphs=False))
            rows.append(_maps(setup, name, backbone, [shown[0]] * len(shown), setup.batch // 2, graphs=True))
    return rows


def _decoding(setup: Setup, files: Sequence[bytes]) -> Row:
    with ThreadPoolExecutor(setup.threads) as threads:
        return _decoding_row(
            setup, files, f"decode on {setup.threads} threads", lambda: list(threads.map(decode_image, files))
        )


def _decoding_by_gpu(setup: Setup, files: Sequence[bytes]) -> Row:
    with ThreadPoolExecutor(setup.threads) as threads:
        found = [decode_by_gpu(data, setup.device) for data in files[:8]]
        exact = [torch.from_numpy(decode_image(data)) for data in files[:8]]
        off = [
            float((one.cpu().int() - other.int()).abs().float().mean())
            for one, other in zip(found, exact, strict=True)
            if one is not None
        ]
        row = _decoding_row(
            setup,
            files,
            "decode by nvJPEG",
            lambda: list(threads.map(lambda data: decode_by_gpu(data, setup.device), files)),
        )
        return {**row, "refused": sum(one is None for one in found), "mean_grey_levels_off": max(off, default=None)}


def _decoding_row(setup: Setup, files: Sequence[bytes], name: str, ours: Callable[[], object]) -> Row:
    few = files[: max(1, len(files) // 8)]
    pairs = pairs_within(
        ours, lambda: [decode_image(data) for data in few], setup.seconds / 10, setup.device, min(3, setup.pairs)
    )
    pairs = [(own, peer * len(files) / len(few)) for own, peer in pairs]
    return {
        "name": name,
        "images": len(files),
        "bytes_an_image": sum(map(len, files)) // len(files),
        "peer": "one thread",
        **median_rates(pairs, len(files)),
    }


def _maps(setup: Setup, name: str, backbone: Backbone, images: Sequence[Pixels], batch: int, *, graphs: bool) -> Row:
    maker = MapMaker(backbone, setup.precision, together=batch, graphs=graphs)

    def ours() -> object:
        return maker(images, setup.scales)

    def bare() -> None:
        for image in images:
            for scale in setup.scales:
                _bare_map(setup, backbone, image, scale)

    pairs = pairs_within(ours, bare, setup.seconds / 10, setup.device, min(3, setup.pairs))
    return {
        "name": f"{name}, maps at {len(setup.scales)} scales, batches of {batch}{', without graphs' * (not graphs)}",
        "dtype": setup.precision,
        "images": len(images),
        "peer": "a bare loop: resize, autocast, fetch",
        **median_rates(pairs, len(images)),
        **_memory(setup),
    }


@torch.inference_mode()
def _bare_map(setup: Setup, backbone: Backbone, image: Pixels, scale: int) -> torch.Tensor:
    values = prepare_image(image, scale, backbone.preprocessing, setup.device)
    with torch.autocast(setup.device.type, dtype=torch.bfloat16):
        found: torch.Tensor = backbone(values)
    return found[0].permute(1, 2, 0).half().cpu()


def _memory(setup: Setup) -> Row:
    return {"peak_gb": torch.cuda.max_memory_allocated() / 1e9} if setup.device.type == "cuda" else {}
