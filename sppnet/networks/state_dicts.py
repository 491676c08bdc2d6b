"""State dicts as torch saves them (`.pth`), for exchange with torchvision: read without running any code.

The project's own artifacts are safetensors (`sppnet.networks.weights`); this is the only place that meets torch's
format.
"""

from __future__ import annotations

import io
from collections.abc import Mapping

import torch

from sppnet.errors import ConfigError
from sppnet.networks.weights import read_safetensors

_MAGICS = (b"PK\x03\x04", b"\x80\x02")
"""How torch's files begin: a zip archive, and the older bare stream."""
_WRAPPERS = ("state_dict", "model")
"""Under which training scripts keep the state dict among other things."""


def read_weights(data: bytes, where: str) -> dict[str, torch.Tensor]:
    """Read tensors by name, on the CPU, from a safetensors file or a saved state dict, told apart by their content.

    A checkpoint that keeps its state dict under `state_dict` or `model` is unwrapped.

    Args:
        data: the file's bytes.
        where: what they are, for the error's message.

    Raises:
        ConfigError: the file is neither, is damaged, or holds more than tensors by name.
    """
    if not data.startswith(_MAGICS):
        return read_safetensors(data, where)
    try:
        found = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except Exception as error:  # torch's reader fails in many ways on a damaged file
        reason = str(error).strip().partition("\n")[0]
        raise ConfigError(f"{where}: not a state dict of tensors ({len(data)} bytes): {reason}") from error
    for name in _WRAPPERS:
        if isinstance(found, Mapping) and isinstance(found.get(name), Mapping):
            found = found[name]
    if not isinstance(found, Mapping):
        raise ConfigError(f"{where}: not a state dict, but a {type(found).__name__}")
    for name, value in found.items():
        if not isinstance(value, torch.Tensor):
            raise ConfigError(f"{where}: not a state dict: {name!r} is a {type(value).__name__}, no tensor")
    return {str(name): value for name, value in found.items()}


def write_state_dict(tensors: Mapping[str, torch.Tensor]) -> bytes:
    """Write tensors as a state dict that `torch.load(..., weights_only=True)` reads."""
    sink = io.BytesIO()
    # Clones: a view would bring all of its storage with it.
    torch.save({name: tensor.detach().cpu().clone() for name, tensor in tensors.items()}, sink)
    return sink.getvalue()
