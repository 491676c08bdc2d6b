"""Weights as others save them: torch's state dicts and checkpoints (`.pth`), read without running any code.

The project's own artifacts are safetensors (`sppnet.networks.weights`); this is the only place that meets torch's
format. Which of a checkpoint's tensors are a network's is told by `sppnet.networks.checkpoints`.
"""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from typing import TypeAlias

import torch

from sppnet.errors import ConfigError
from sppnet.networks.torch_files import SAVE_ALONE, check_torch_file, is_torch_file, one_line, other_kind
from sppnet.networks.weights import read_safetensors

Groups: TypeAlias = Mapping[str, Mapping[str, torch.Tensor]]
"""Tensors by name, by where a checkpoint keeps them: the keys to there with dots between, empty for the top."""

_DEPTH = 5
"""Mappings within mappings that are looked into: a trainer's checkpoint has three."""
_NAME = 500
"""Letters of a name at most."""


def read_weights(data: bytes, where: str) -> Groups:
    """Read tensors by name, on the CPU, from a safetensors file or one of torch's, told apart by their content.

    Of a checkpoint, every mapping that holds tensors is read; its other values are left out.

    Args:
        data: the file's bytes.
        where: what they are, for the error's message.

    Raises:
        ConfigError: the file is neither, is damaged, or holds more than tensors and plain values.
    """
    if not is_torch_file(data):
        kind = other_kind(data)
        if kind:
            raise ConfigError(f"{where}: {kind}; weights are safetensors or a state dict that torch saved")
        if data[8:] and data[8:9] != b"{":
            raise ConfigError(f"{where}: neither a safetensors file nor one that torch saved ({len(data)} bytes)")
        return {"": _named(read_safetensors(data, where), where)}
    found = _load(data, where)
    if not isinstance(found, Mapping):
        raise ConfigError(f"{where}: not a state dict, but a {type(found).__name__}: {SAVE_ALONE}")
    groups = _groups(found, where)
    if not groups:
        held = one_line(", ".join(f"{name} ({type(value).__name__})" for name, value in list(found.items())[:5]))
        raise ConfigError(f"{where}: holds no tensors by name, but {held or 'nothing'}: {SAVE_ALONE}")
    _check_storages(groups, len(data), where)
    return groups


def write_state_dict(tensors: Mapping[str, torch.Tensor]) -> bytes:
    """Write tensors as a state dict that `torch.load(..., weights_only=True)` reads."""
    sink = io.BytesIO()
    # Clones: a view would bring all of its storage with it.
    torch.save({name: tensor.detach().cpu().clone() for name, tensor in tensors.items()}, sink)
    return sink.getvalue()


def _load(data: bytes, where: str) -> object:
    foreign = check_torch_file(data, where)
    if foreign:
        more = f" and {len(foreign) - 3} more" if len(foreign) > 3 else ""
        raise ConfigError(
            f"{where}: holds {', '.join(foreign[:3])}{more} besides tensors, and objects are not loaded from files: "
            f'{SAVE_ALONE} - or, of a checkpoint, torch.save(checkpoint["model"], "weights.pth")'
        )
    try:
        return torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except Exception as error:  # torch's reader fails in many ways on a damaged file
        # Beside the reason, torch says how to load the file all the same: nothing that can be done here.
        found = re.search(r"WeightsUnpickler error:\s*([^\n]+)", str(error))
        reason = one_line(found[1] if found else str(error).partition("\n")[0])
        raise ConfigError(f"{where}: not a state dict of tensors ({len(data)} bytes), or damaged: {reason}") from error


def _groups(found: Mapping[object, object], where: str) -> dict[str, dict[str, torch.Tensor]]:
    groups: dict[str, dict[str, torch.Tensor]] = {}
    seen: set[int] = set()  # a pickle may hold one mapping under many names
    level = [("", found)]
    for _ in range(_DEPTH):
        below = []
        for path, mapping in level:
            tensors = {str(name): value for name, value in mapping.items() if isinstance(value, torch.Tensor)}
            if tensors:
                groups[path] = _named(tensors, where)
            for name, value in mapping.items():
                if isinstance(value, Mapping) and id(value) not in seen:
                    seen.add(id(value))
                    below.append((f"{path}.{one_line(name, _NAME)}".lstrip("."), value))
        level = below
    return groups


def _named(tensors: dict[str, torch.Tensor], where: str) -> dict[str, torch.Tensor]:
    """Return tensors whose names people can read; refuse others."""
    for name in tensors:
        if len(name) > _NAME or not name.isprintable():
            raise ConfigError(f"{where}: not the name of a tensor: {one_line(name, 60)!r}")
    return tensors


def _check_storages(groups: Groups, size: int, where: str) -> None:
    """Refuse tensors of more bytes than the file has, before a value of them is read."""
    storages = {
        tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes()
        for tensors in groups.values()
        for tensor in tensors.values()
        if tensor.layout == torch.strided and tensor.device.type == "cpu"
    }
    if sum(storages.values()) > 8 * size + (16 << 20):
        raise ConfigError(f"{where}: its tensors claim {sum(storages.values())} bytes, the file has {size}")
