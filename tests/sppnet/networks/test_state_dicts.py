from __future__ import annotations

import io
from collections.abc import Callable

import pytest
import torch
from torch import nn

from sppnet.errors import ConfigError
from sppnet.networks.state_dicts import read_weights, write_state_dict
from sppnet.networks.weights import write_safetensors


def saved(value: object, **options: bool) -> bytes:
    sink = io.BytesIO()
    torch.save(value, sink, **options)
    return sink.getvalue()


TENSORS = {"a.weight": torch.arange(6.0).reshape(2, 3), "a.count": torch.tensor(7)}


@pytest.mark.parametrize(
    "data",
    [
        write_safetensors(TENSORS),
        saved(TENSORS),
        saved(TENSORS, _use_new_zipfile_serialization=False),
        saved({"model": TENSORS, "epoch": 9}),
        saved({"state_dict": TENSORS}),
        write_state_dict(TENSORS),
    ],
)
def test_both_formats_are_told_apart_by_content(data: bytes) -> None:
    found = read_weights(data, "w")
    assert list(found) == list(TENSORS) or sorted(found) == sorted(TENSORS)
    assert all(torch.equal(found[name], TENSORS[name]) for name in TENSORS)


class Call:
    """Would run code if it were unpickled."""

    def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
        return open, ("should-not-be-made", "w")  # type: ignore[return-value]


def test_code_is_never_run(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    for value in (Call(), {"a": Call()}, nn.Linear(2, 2)):
        with pytest.raises(ConfigError, match="w: not a state dict of tensors"):
            read_weights(saved(value), "w")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (saved(TENSORS)[:200], r"w: not a state dict of tensors \(200 bytes\): "),
        (b"PK\x03\x04 and nothing", "w: not a state dict of tensors"),
        (b"\x80\x02 and nothing", "w: not a state dict of tensors"),
        (b"", "w: not a whole safetensors file"),
        (saved([1, 2]), "w: not a state dict, but a list"),
        (saved({"a": torch.ones(1), "b": 3}), "w: not a state dict: 'b' is a int, no tensor"),
    ],
)
def test_other_files_give_one_line(data: bytes, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        read_weights(data, "w")
    assert "\n" not in str(caught.value)


def test_a_view_is_written_without_its_storage() -> None:
    large = torch.zeros(1_000_000)
    data = write_state_dict({"a": large[:3], "b": torch.ones(2, 2).t()})
    assert len(data) < 10_000
    found = torch.load(io.BytesIO(data), weights_only=True)
    assert found["a"].tolist() == [0, 0, 0]
    assert found["b"].shape == (2, 2)
