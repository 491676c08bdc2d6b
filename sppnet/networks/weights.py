"""Weights as safetensors bytes: never a pickle, so that loading an artifact can't run code."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable, Mapping

import torch
from torch import nn

from sppnet.errors import ConfigError
from sppnet.networks.torch_files import one_line
from sppnet.outside import parse_json

_HEADER_BYTES = 16 << 20
"""Of a safetensors file at most: 100 times what the largest classifiers have; parsing more would take seconds."""
_FLOATS = (torch.float32, torch.float16, torch.bfloat16, torch.float64)
_NUMBERS = (*_FLOATS, torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8)


def read_safetensors(data: bytes, where: str = "weights") -> dict[str, torch.Tensor]:
    """Read every tensor of a safetensors file, on the CPU.

    Args:
        data: the file's bytes.
        where: what the bytes are, for the error's message.

    Raises:
        ConfigError: the bytes are cut, damaged or not safetensors.
    """
    import safetensors.torch
    from safetensors import SafetensorError

    _check_length(data, where)
    try:
        return dict(safetensors.torch.load(data))
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            f"{where}: not a whole safetensors file ({len(data)} bytes), or damaged: {one_line(error)}"
        ) from error


def read_metadata(data: bytes, where: str = "weights") -> dict[str, str]:
    """Read a safetensors file's metadata, `{}` where it has none.

    Raises:
        ConfigError: the header is cut or damaged.
    """
    header = _read_header(data, where)[0]
    metadata = header.get("__metadata__", {})
    if not isinstance(metadata, dict):
        raise ConfigError(f"{where}: metadata is not a mapping")
    return {str(key): str(value) for key, value in metadata.items()}


def write_safetensors(tensors: Mapping[str, torch.Tensor], metadata: Mapping[str, str] | None = None) -> bytes:
    """Write tensors to safetensors bytes: equal tensors and metadata give equal bytes.

    Args:
        tensors: by name, of any device, strides and dtype; shared storage is written out per name.
        metadata: strings kept in the header.
    """
    import safetensors.torch

    plain = {name: _plain(tensors[name]) for name in sorted(tensors)}
    data = safetensors.torch.save(plain, dict(metadata) if metadata else None)
    if not metadata:
        return data
    # The library writes metadata in the order of a hash map with a random seed; write the header again, sorted.
    header, body = _read_header(data, "weights")
    header["__metadata__"] = dict(sorted(metadata.items()))
    encoded = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    encoded += b" " * (-len(encoded) % 8)
    return b"".join((struct.pack("<Q", len(encoded)), encoded, memoryview(data)[body:]))


def load_state(
    module: nn.Module,
    tensors: Mapping[str, torch.Tensor],
    where: str,
    *,
    prefix: str = "",
    ignore: Iterable[str] = (),
    finite: bool = False,
) -> None:
    """Copy tensors into a module's parameters and buffers, converting their dtype; all of them or none.

    Args:
        module: what is loaded.
        tensors: by name: `prefix` + the module's own name.
        where: what the tensors are, for the error's message.
        prefix: stripped from the tensors' names.
        ignore: beginnings of full names that may be there and are not for this module.
        finite: whether infinities and what is no number are refused.

    Raises:
        ConfigError: naming the first missing, unexpected or wrongly shaped tensor, or one of a type or with values
            that weights don't have.
    """
    state = module.state_dict()
    for name, target in state.items():
        given = tensors.get(prefix + name)
        if given is None:
            raise ConfigError(f"{where}: tensor '{prefix}{name}' {list(target.shape)} is missing")
        if given.shape != target.shape:
            shapes = f"{list(given.shape)}, the network needs {list(target.shape)}"
            raise ConfigError(f"{where}: tensor '{prefix}{name}' has shape {shapes}")
        _check_type(given, target, f"{where}: tensor '{prefix}{name}'")
    ignored = tuple(ignore)
    known = {prefix + name for name in state}
    for name in sorted(set(tensors) - known):
        if not name.startswith(ignored):
            raise ConfigError(f"{where}: tensor '{name}' {list(tensors[name].shape)} is unexpected")
    if finite:  # of what fits only: a view of one value may claim to have any shape
        for name, target in state.items():
            if not bool(torch.isfinite(tensors[prefix + name].to(target.dtype)).all()):
                raise ConfigError(f"{where}: tensor '{prefix}{name}' holds values that are no finite numbers")
    with torch.no_grad():
        for name, target in state.items():
            target.copy_(tensors[prefix + name])


def _check_type(given: torch.Tensor, target: torch.Tensor, what: str) -> None:
    """Raise `ConfigError` for a tensor that can't become one of a network's by a cast."""
    kind = str(given.dtype).removeprefix("torch.")
    if given.layout != torch.strided or given.is_meta:
        raise ConfigError(f"{what} is {'without values' if given.is_meta else given.layout}, weights are plain tensors")
    if given.dtype not in (_FLOATS if target.is_floating_point() else _NUMBERS):
        raise ConfigError(f"{what} is {kind}, weights are float16, bfloat16, float32 or float64")


def _plain(tensor: torch.Tensor) -> torch.Tensor:
    """Return a tensor on the CPU, in standard strides, that owns exactly its storage."""
    return tensor.detach().to("cpu").clone(memory_format=torch.contiguous_format)


def _check_length(data: bytes, where: str) -> int:
    """Return the length of a safetensors file's header, bounded; raise `ConfigError` for a file that is cut."""
    length = int.from_bytes(data[:8], "little")
    if len(data) < 8 or length > len(data) - 8:
        raise ConfigError(f"{where}: not a whole safetensors file ({len(data)} bytes)")
    if length > _HEADER_BYTES:
        raise ConfigError(f"{where}: a safetensors header of {length} bytes, at most {_HEADER_BYTES} are read")
    return length


def _read_header(data: bytes, where: str) -> tuple[dict[str, object], int]:
    """Return a safetensors file's header and the offset of its tensors' bytes."""
    length = _check_length(data, where)
    header = parse_json(data[8 : 8 + length], lambda why: ConfigError(f"{where}: not a safetensors file: {why}"))
    if not isinstance(header, dict):
        raise ConfigError(f"{where}: not a safetensors file: its header is not a mapping")
    return header, 8 + length
