"""Where tensors live: which device to compute on, and how arrays get there without waiting for it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import cache, lru_cache
from importlib.util import find_spec

import numpy as np
import torch
from torch.nn import functional as F

from sppnet.arrays import Array

# Rows of a matrix product on a GPU: by 4096 columns they are one tile for nearly every multiprocessor of an H100.
_GPU_ROWS = 1024


def default_device() -> torch.device:
    """Return the GPU if there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


@cache
def has_triton() -> bool:
    """Tell whether Triton, which compiles the GPU kernels, is installed (it comes with torch on Linux)."""
    return find_spec("triton") is not None


@cache
def has_bfloat_units(device: torch.device) -> bool:
    """Tell whether a device is an NVIDIA GPU of 2020 or later (Ampere): older ones and others lack what kernels use."""
    if device.type != "cuda" or torch.version.hip is not None:
        return False
    return torch.cuda.get_device_capability(device) >= (8, 0)


def runs_triton(device: torch.device) -> bool:
    """Tell whether the Triton kernels run on a device."""
    return has_triton() and has_bfloat_units(device)


def on_its_device(tensor: torch.Tensor) -> AbstractContextManager[object]:
    """Launch kernels of Triton's where a tensor is: it takes the current GPU otherwise."""
    return torch.cuda.device(tensor.device) if tensor.is_cuda else nullcontext()


def upload(values: Array | torch.Tensor, device: torch.device) -> torch.Tensor:
    """Send an array to a device; a GPU gets it when it comes to it, while the caller goes on.

    Copies from ordinary memory wait for all that the device has still to do, those from pinned memory don't.
    """
    tensor = torch.from_numpy(np.ascontiguousarray(values)) if isinstance(values, np.ndarray) else values
    if device.type != "cuda" or tensor.is_cuda:
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)


@lru_cache(maxsize=256)
def constant(values: tuple[float, ...], dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    """Return numbers as a tensor `[n]` on a device, to be read only: the same one each time.

    They are sent once, since sending a few numbers waits for all that a GPU has still to do.
    """
    with torch.inference_mode(mode=False):  # whatever mode the first caller is in, others may train
        return torch.tensor(values, dtype=dtype, device=device)


def in_parts(function: Callable[[torch.Tensor], torch.Tensor], rows: torch.Tensor, at_once: int) -> torch.Tensor:
    """Apply a function to a matrix some rows at a time, and return what it gives behind one another.

    A GPU takes always equally many, the last part filled up with zeros: its matrix products are chosen by their shape,
    so what lies beside a row changes no bit of its result.

    Args:
        function: from `[m, d]` to `[m, k]`, row by row.
        rows: `[n, d]`.
        at_once: rows that the CPU takes.
    """
    on_gpu = rows.device.type == "cuda"
    size = _GPU_ROWS if on_gpu else max(1, at_once)
    parts = list(torch.split(rows, size))
    if on_gpu:
        parts[-1] = F.pad(parts[-1], (0, 0, 0, size - len(parts[-1])))
    return torch.cat([function(part) for part in parts])[: len(rows)]
