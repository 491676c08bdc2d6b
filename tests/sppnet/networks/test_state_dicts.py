from __future__ import annotations

import io
import zipfile
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


def torch_zip(pickle: bytes) -> bytes:
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w") as archive:
        archive.writestr("x/data.pkl", pickle)
        archive.writestr("x/version", "3")
    return sink.getvalue()


TENSORS = {"a.weight": torch.arange(6.0).reshape(2, 3), "a.count": torch.tensor(7)}


@pytest.mark.parametrize(
    "data",
    [
        write_safetensors(TENSORS),
        saved(TENSORS),
        saved(TENSORS, _use_new_zipfile_serialization=False),
        write_state_dict(TENSORS),
    ],
)
def test_both_formats_are_told_apart_by_content(data: bytes) -> None:
    groups = read_weights(data, "w")
    assert list(groups) == [""]
    found = groups[""]
    assert list(found) == list(TENSORS) or sorted(found) == sorted(TENSORS)
    assert all(torch.equal(found[name], TENSORS[name]) for name in TENSORS)


def test_every_mapping_of_a_checkpoint_that_holds_tensors_is_read() -> None:
    moments = {0: {"exp_avg": torch.ones(2)}}
    groups = read_weights(
        saved(
            {
                "epoch": 3,
                "model": TENSORS,
                "trainer": {"ema": TENSORS, "again": TENSORS},
                "optimizer": {"state": moments, "param_groups": [{"lr": 0.1}]},
                "best": torch.tensor(0.5),
            }
        ),
        "w",
    )
    assert {path: sorted(tensors) for path, tensors in groups.items()} == {
        "": ["best"],
        "model": ["a.count", "a.weight"],
        "optimizer.state.0": ["exp_avg"],
    }


def test_a_safetensors_header_that_looks_like_a_pickle() -> None:
    """The header's length comes first, and 0x280 is also how pickles of torch's older format begin."""
    for letters in range(440, 520):
        data = write_safetensors(TENSORS, {"note": "x" * letters})
        if data.startswith(b"\x80\x02"):
            break
    assert data.startswith(b"\x80\x02")
    assert torch.equal(read_weights(data, "w")[""]["a.weight"], TENSORS["a.weight"])


class Call:
    """Would run code if it were unpickled."""

    def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
        return open, ("should-not-be-made", "w")  # type: ignore[return-value]


def test_code_is_never_run(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    for value in (Call(), {"a": Call()}, nn.Linear(2, 2)):
        with pytest.raises(
            ConfigError,
            match=r"w: holds (io.open|torch.nn.modules.linear.Linear|_io.open) besides tensors, and objects",
        ):
            read_weights(saved(value), "w")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (saved(TENSORS)[:200], r"w: not a state dict of tensors \(200 bytes\), or damaged: "),
        (b"PK\x03\x04 and nothing", "w: not a state dict of tensors"),
        (b"\x80\x02 and nothing", "w: a pickle that torch did not save"),
        (saved(TENSORS, _use_new_zipfile_serialization=False)[:150], "w: not a state dict of tensors .*, or damaged"),
        (b"<!DOCTYPE html>", "w: a web page"),
        (b"version https://git-lfs.github.com/spec/v1\n", "w: a Git LFS pointer"),
        (b"\x0a\x0aCaffeNet\x12", r"w: neither a safetensors file nor one that torch saved \(11 bytes\)"),
        (b"", "w: not a whole safetensors file"),
        (saved([1, 2]), "w: not a state dict, but a list"),
        (saved({"a": [torch.ones(1)], "b": 3}), r"w: holds no tensors by name, but a \(list\), b \(int\)"),
        (saved({"a\x1b[1m": torch.ones(1)}), "w: not the name of a tensor: 'a .1m'"),
        (torch_zip(b"\x80\x02](l."), "w: not a state dict of tensors .*, or damaged: Unsupported operand 108"),
        (saved({}), "w: holds no tensors by name, but nothing"),
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
