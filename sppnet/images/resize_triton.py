"""Images on a GPU to a network's input in one pass: resized, rounded, normalised, with a margin of zeros."""

# Kernels' parameters have no types that Python would know.
# mypy: disallow-untyped-defs=False, disallow-untyped-decorators=False, disallow-untyped-calls=False
# mypy: disallow-incomplete-defs=False
# ruff: noqa: ANN001, ANN202
from __future__ import annotations

import torch
import triton
import triton.language as tl

from sppnet.devices import on_its_device
from sppnet.sizes import Size

_PIXELS = 128


@triton.jit(do_not_specialize=["height", "width", "out_height", "out_width", "rows", "line"])
def _resize(
    images, table, out, height, width, out_height, out_width, rows, line, down, across,
    backwards: tl.constexpr, channels: tl.constexpr, block: tl.constexpr,
):  # fmt: skip
    """Make `block` pixels of a line `program_id(0)` of all images; see `resized_input` for what each is."""
    number = tl.program_id(0)
    y = number % rows
    image = images + (number // rows).to(tl.int64) * height * width * 3
    x = tl.program_id(1) * block + tl.arange(0, block)
    c = tl.arange(0, channels)
    used = ((y < out_height) & (x < out_width))[:, None] & (c < 3)[None, :]
    from_y = tl.maximum((y + 0.5) * down - 0.5, 0.0)
    from_x = tl.maximum((x + 0.5) * across - 0.5, 0.0)
    top, left = tl.minimum(from_y.to(tl.int32), height - 1), tl.minimum(from_x.to(tl.int32), width - 1)
    bottom, right = tl.minimum(top + 1, height - 1), tl.minimum(left + 1, width - 1)
    below, after = from_y - top, (from_x - left)[:, None]
    source = tl.where(c < 3, 2 - c, 0) if backwards else c
    upper, lower = image + top * width * 3 + source[None, :], image + bottom * width * 3 + source[None, :]
    left, right = left[:, None] * 3, right[:, None] * 3
    a, b = tl.load(upper + left, used, 0).to(tl.float32), tl.load(upper + right, used, 0).to(tl.float32)
    d, e = tl.load(lower + left, used, 0).to(tl.float32), tl.load(lower + right, used, 0).to(tl.float32)
    first, last = a + (b - a) * after, d + (e - d) * after
    level = tl.floor(first + (last - first) * below + 0.5).to(tl.int32)
    value = tl.load(table + level * 3 + c[None, :], used, 0.0)
    target = out + ((number.to(tl.int64) * line + x) * channels)[:, None] + c[None, :]
    tl.store(target, tl.where(used, value, 0.0), (x < line)[:, None] & (c < channels)[None, :])


def resized_input(
    images: torch.Tensor, size: Size, room: Size, table: torch.Tensor, channels: int, *, backwards: bool
) -> torch.Tensor:
    """Resize and normalise equally large images; nothing is checked and nothing waits for the device.

    Args:
        images: RGB, uint8 `[N, H, W, 3]` contiguous.
        size: to resize to, pixels.
        room: of the tensor that is returned, `size` or more.
        table: `[256, 3]` contiguous, every grey level's input value in the network's channel order.
        channels: of the tensor that is returned, a power of 2 from 4; those beyond the third are zeros.
        backwards: whether the network's channels are blue, green, red.

    Returns:
        `[N, channels, *room]` of the table's type, channels last in memory.
    """
    count, height, width, _ = images.shape
    out = torch.empty(
        (count, channels, *room.hw), dtype=table.dtype, device=images.device, memory_format=torch.channels_last
    )
    with on_its_device(images):
        _resize[count * room.height, triton.cdiv(room.width, _PIXELS)](
            images, table, out, height, width, *size.hw, *room.hw, height / size.height, width / size.width,
            backwards=backwards, channels=channels, block=_PIXELS,
        )  # fmt: skip
    return out
