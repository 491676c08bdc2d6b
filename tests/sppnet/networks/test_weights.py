from __future__ import annotations

import struct
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from sppnet.errors import ConfigError
from sppnet.networks.weights import load_state, read_metadata, read_safetensors, write_safetensors


def some_tensors() -> dict[str, torch.Tensor]:
    return {
        "b.weight": torch.arange(12, dtype=torch.float32).reshape(3, 4),
        "a.half": torch.tensor([1.5, -2.0], dtype=torch.bfloat16),
        "a.count": torch.tensor(7),
        "empty": torch.zeros(0, 3),
    }


def test_round_trip_keeps_values_dtypes_and_metadata() -> None:
    metadata = {"z": "1", "a": "grüß", "m": "3"}
    data = write_safetensors(some_tensors(), metadata)
    back = read_safetensors(data)
    assert set(back) == set(some_tensors())
    for name, tensor in some_tensors().items():
        assert back[name].dtype == tensor.dtype
        assert torch.equal(back[name], tensor)
    assert read_metadata(data) == metadata
    assert read_metadata(write_safetensors(some_tensors())) == {}


def test_bytes_depend_on_content_only() -> None:
    metadata = {name: name for name in "zyxwvutsrq"}
    backwards = dict(reversed(some_tensors().items()))
    versions = {write_safetensors(some_tensors(), metadata) for _ in range(10)}
    assert versions == {write_safetensors(backwards, dict(reversed(metadata.items())))}


def test_strided_and_shared_tensors_are_written_out() -> None:
    base = torch.arange(24, dtype=torch.float32).reshape(1, 2, 3, 4)
    tensors = {"x": base, "same": base, "last": base.to(memory_format=torch.channels_last), "part": base[:, :, 1:]}
    back = read_safetensors(write_safetensors(tensors))
    for name, tensor in tensors.items():
        assert torch.equal(back[name], tensor)


@pytest.mark.parametrize("length", [0, 4, 8, 60, -1])
def test_cut_bytes_are_a_config_error(length: int) -> None:
    data = write_safetensors(some_tensors(), {"a": "b"})[:length]
    with pytest.raises(ConfigError, match=r"head\.safetensors.*safetensors"):
        read_safetensors(data, "head.safetensors")


def header(text: str) -> bytes:
    return struct.pack("<Q", len(text)) + text.encode()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (header('{"a":' * 100_000), "h: not a.* safetensors file"),
        (header("[" * 100_000), "h: not a.* safetensors file"),
        (header(" " * ((16 << 20) + 1)), "h: a safetensors header of 16777217 bytes, at most 16777216 are read"),
        (struct.pack("<Q", 2**63) + b"{}", r"h: not a whole safetensors file \(10 bytes\)"),
        (header('{"a\x1b[1m\n":{"dtype":"F32","shape":[9],"data_offsets":[0,36]}}'), "h: not a.* safetensors file"),
        (header('{"a":{"dtype":"F99","shape":[0],"data_offsets":[0,0]}}'), "h: not a.* safetensors file"),
        (header('{"a":{"dtype":"F32","shape":[4294967296,4294967296,9],"data_offsets":[0,0]}}'), "h: not a.*"),
    ],
)
def test_hostile_headers_are_one_line(data: bytes, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        read_safetensors(data, "h")
    assert str(caught.value).isprintable()
    if b"dtype" not in data:
        with pytest.raises(ConfigError, match=message):
            read_metadata(data, "h")


@settings(max_examples=100)
@given(position=st.integers(0, 200), value=st.integers(0, 255))
def test_damaged_header_reads_or_is_a_config_error(position: int, value: int) -> None:
    data = bytearray(write_safetensors(some_tensors()))
    data[position % len(data)] = value
    for read in (read_safetensors, read_metadata):
        result: object = None
        try:
            result = read(bytes(data))
        except ConfigError as error:
            result = str(error)
        assert isinstance(result, dict) or str(result).startswith("weights: ")


def test_load_state_copies_and_converts() -> None:
    layer = nn.Linear(4, 3)
    load_state(layer, {"weight": torch.ones(3, 4, dtype=torch.float16), "bias": torch.full((3,), 2.0)}, "x")
    assert layer.weight.dtype == torch.float32
    assert layer(torch.ones(1, 4)).tolist() == [[6.0, 6.0, 6.0]]


def test_load_state_strips_a_prefix_and_ignores_named_tensors() -> None:
    layer = nn.Linear(2, 1)
    tensors = {
        "trunk.weight": torch.tensor([[3.0, 4.0]]),
        "trunk.bias": torch.tensor([5.0]),
        "head.weight": torch.zeros(9),
    }
    load_state(layer, tensors, "x", prefix="trunk.", ignore=["head."])
    assert layer(torch.tensor([[1.0, 10.0]])).item() == 48.0


def test_load_state_refuses_what_weights_are_not() -> None:
    layer = nn.Linear(2, 1)
    given = {"weight": torch.ones(1, 2), "bias": torch.ones(1, dtype=torch.complex64)}
    with pytest.raises(ConfigError, match="x: tensor 'bias' is complex64"):
        load_state(layer, given, "x")
    given["bias"] = torch.tensor([torch.inf])
    before = layer.weight.tolist()
    with pytest.raises(ConfigError, match="x: tensor 'bias' holds values that are no finite numbers"):
        load_state(layer, given, "x", finite=True)
    assert layer.weight.tolist() == before
    load_state(layer, given, "x")
    assert layer.bias.tolist() == [torch.inf]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"weight": None}, r"net\.safetensors: tensor 'weight' \[3, 4\] is missing"),
        (
            {"weight": torch.zeros(4, 3)},
            r"net\.safetensors: tensor 'weight' has shape \[4, 3\], the network needs \[3, 4\]",
        ),
        ({"extra": torch.zeros(2)}, r"net\.safetensors: tensor 'extra' \[2\] is unexpected"),
    ],
)
def test_first_wrong_tensor_is_named_and_nothing_is_loaded(
    change: dict[str, torch.Tensor | None], message: str
) -> None:
    layer = nn.Linear(4, 3)
    before = write_safetensors(layer.state_dict())
    tensors = {"weight": torch.zeros(3, 4), "bias": torch.zeros(3), **change}
    given_tensors = {name: tensor for name, tensor in tensors.items() if tensor is not None}
    with pytest.raises(ConfigError, match=message):
        load_state(layer, given_tensors, "net.safetensors")
    assert write_safetensors(layer.state_dict()) == before


def test_published_weights_are_read(shared: Path) -> None:
    data = (shared / "data/weights/squeezenet1_0-imagenet.safetensors").read_bytes()
    tensors = read_safetensors(data)
    assert sum(tensor.numel() for tensor in tensors.values()) == 1_248_424
    assert read_metadata(data)["architecture"] == "torchvision squeezenet1_0"
