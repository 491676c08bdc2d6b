"""An image's convolutions on a CPU, beside torch as it is and beside its compiler with frozen weights.

All run in this process on the same input, in turn (A B A B). The input is ready: decoding and resizing are not counted.
The compiler (`torch.compile` with inductor's freezing: ReLU fused, weights laid out once) is given each size anew, as
it does best; that takes it a minute a size, which is not counted either. Where it has no C++ compiler it is left out.
"""

from __future__ import annotations

import copy
import platform
from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
from torch import nn

from jobs.bench.inputs import IMAGE
from jobs.bench.timing import medians, timed_pairs
from sppnet.networks.backbones import Backbone, BackboneSpec, build_backbone
from sppnet.networks.inference import InferenceBackbone
from sppnet.networks.network import Precision
from sppnet.pooling.scales import resized_size

Convolve = Callable[[], torch.Tensor]

_CPU = torch.device("cpu")


def run(
    *,
    repeats: int = 7,
    architectures: Sequence[str] = ("squeezenet1_0", "zf5", "overfeat7"),
    scales: Sequence[int] = (480, 688, 1200),
    threads: Sequence[int] = (1, 2),
    precision: Precision = "bfloat16",
    compiler: bool = True,
) -> list[dict[str, Any]]:
    """Measure the convolutions of an image of 500 x 375 pixels.

    Args:
        repeats: Pairs of timed runs per row, after one warm-up of each.
        architectures: Names of backbones.
        scales: Short sides in pixels.
        threads: How many threads torch uses, each in turn.
        precision: Type to compute in.
        compiler: Whether torch's compiler is a peer too.

    Returns:
        One dict per network, scale, number of threads and peer: `name`, `peer`, `device`, `dtype`, `threads`, `ours_s`
        and `peer_s` (medians, seconds), `ratio` (median of `peer_s / ours_s` over the pairs), `least` and `most` (of
        the ratios), `apart` (the norm of the maps' difference by that of the peer's).
    """
    before = torch.get_num_threads()
    rows = []
    try:
        for name in architectures:
            torch.manual_seed(0)
            backbone = build_backbone(BackboneSpec(name)).eval()
            for scale in scales:
                for count in threads:
                    torch.set_num_threads(count)
                    rows += _rows(backbone, scale, repeats, precision, compiler=compiler)
    finally:
        torch.set_num_threads(before)
    return rows


def _rows(
    backbone: Backbone, scale: int, repeats: int, precision: Precision, *, compiler: bool
) -> list[dict[str, Any]]:
    fast = InferenceBackbone(backbone, precision)
    image = torch.randn(1, 3, *resized_size(IMAGE, scale).hw)
    image = image.to(fast.dtype, memory_format=torch.channels_last)
    peers = {"torch": _plain(backbone, image, precision)}
    compiled = _compiled(backbone.trunk, image) if compiler else None
    if compiled is not None:
        peers["torch.compile, weights frozen"] = compiled

    def ours() -> torch.Tensor:
        return fast(image)

    rows = []
    for peer, convolve in peers.items():
        maps, theirs = ours().float(), convolve().float()
        pairs = timed_pairs(ours, convolve, repeats, _CPU)
        ratios = [other / own for own, other in pairs]
        rows.append(
            {
                "name": f"{backbone.spec.architecture} at {scale}",
                "peer": peer,
                "device": f"cpu {platform.machine()}",
                "dtype": precision,
                "threads": torch.get_num_threads(),
                **medians(pairs),
                "least": min(ratios),
                "most": max(ratios),
                "apart": float((maps - theirs).norm() / theirs.norm()),
            }
        )
    return rows


def _plain(backbone: Backbone, image: torch.Tensor, precision: Precision) -> Convolve:
    @torch.inference_mode()
    def convolve() -> torch.Tensor:
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision == "bfloat16"):
            return cast("torch.Tensor", backbone(image))

    return convolve


def _compiled(trunk: nn.Module, image: torch.Tensor) -> Convolve | None:
    """Return a trunk compiled for one size, None where that can't be done."""
    import torch._dynamo
    import torch._inductor.config
    from torch._inductor.exc import InductorError

    torch._dynamo.reset()
    network = torch.compile(copy.deepcopy(trunk).to(image.dtype), dynamic=False)

    @torch.no_grad()
    def convolve() -> torch.Tensor:
        return cast("torch.Tensor", network(image))

    with torch._inductor.config.patch(freezing=True):
        try:
            convolve()
        except InductorError:  # no C++ compiler here
            return None
    return convolve
