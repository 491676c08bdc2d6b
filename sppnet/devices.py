"""Where tensors live: which device to compute on, and how arrays get there without waiting for it."""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec

import numpy as np
import torch

from sppnet.arrays import Array


def default_device() -> torch.device:
    """Return the GPU if there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


@cache
def has_triton() -> bool:
    """Tell whether Triton, which compiles the GPU kernels, is installed (it comes with torch on Linux)."""
    return find_spec("triton") is not None


def runs_triton(device: torch.device) -> bool:
    """Tell whether the Triton kernels run on a device."""
    return device.type == "cuda" and has_triton()


def upload(values: Array | torch.Tensor, device: torch.device) -> torch.Tensor:
    """Send an array to a device; a GPU gets it when it comes to it, while the caller goes on.

    Copies from ordinary memory wait for all that the device has still to do, those from pinned memory don't.
    """
    tensor = torch.from_numpy(np.ascontiguousarray(values)) if isinstance(values, np.ndarray) else values
    if device.type != "cuda":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)
