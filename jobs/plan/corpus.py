"""How much there is to work on, and how fast: the numbers that a plan multiplies."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch

from sppnet.backbones import BackboneSpec, build_backbone
from sppnet.costs import map_cost
from sppnet.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Corpus:
    """The images of a plan.

    Attributes:
        images: How many images a split has, by `split`, or by `step.split` where steps that ingest differ.
        size_wh: Width and height of a typical one, pixels.
        windows: Windows of an image.
        image_bytes: Mean bytes of an encoded image.
    """

    images: Mapping[str, int]
    size_wh: tuple[int, int] = (500, 375)
    windows: int = 2000
    image_bytes: int = 110_000

    def count(self, step: str, *splits: str) -> int:
        """Images of some splits of a step that ingests.

        Raises:
            ConfigError: The size of a split is not known.
        """
        return sum(self._count(step, split) for split in splits)

    def _count(self, step: str, split: str) -> int:
        for name in (f"{step}.{split}", split):
            if name in self.images:
                return self.images[name]
        known = ", ".join(self.images) or "none"
        raise ConfigError(f"the size of split '{split}' is not known (known: {known}); give it: --images {split}=N")


@dataclass(frozen=True, slots=True)
class Rates:
    """What one worker does in a second.

    Attributes:
        macs: Multiply-accumulates of convolutions and of fully connected layers.
        read: Bytes of cached maps read back, decompressed.
        proposals: Images of 500 x 375 pixels that selective search takes.
        compression: Stored bytes of a map over its raw float16 bytes.
        where: What they were measured on, for the table's title.
    """

    macs: float
    read: float = 1e9
    proposals: float = 7.0
    compression: float = 0.25
    where: str = field(default="given")


def measure_rates(precision: str = "bfloat16", seconds: float = 1.0) -> Rates:
    """Times a few convolutions of ZF-5 at 688 on this machine's device, and takes the defaults for the rest."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    spec = BackboneSpec("zf5")
    backbone = build_backbone(spec).to(device).eval()
    image = torch.zeros(1, 3, 688, 917, device=device)
    spent, done = 0.0, -1  # the first pass warms up
    with torch.inference_mode(), torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bfloat16"):
        while spent < seconds:
            start = time.perf_counter()
            backbone(image)
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            done += 1
            spent += time.perf_counter() - start if done else 0.0
    macs = map_cost(spec, (688, 917)).macs * done / spent
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else f"CPU, {torch.get_num_threads()} threads"
    return Rates(macs, where=f"{name}, {precision}")
