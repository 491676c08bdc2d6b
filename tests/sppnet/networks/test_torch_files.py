from __future__ import annotations

import argparse
import io
import pickle
import zipfile
from collections import OrderedDict

import numpy as np
import pytest
import torch
from torch import nn

from sppnet.errors import ConfigError
from sppnet.networks.torch_files import check_torch_file, is_torch_file, one_line, other_kind


def saved(value: object, **options: object) -> bytes:
    sink = io.BytesIO()
    torch.save(value, sink, **options)
    return sink.getvalue()


def zipped(members: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w", compression) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return sink.getvalue()


def twice(number: int) -> bytes:
    """Pickle a tuple that holds the one before twice."""
    return bytes([ord("0"), ord("("), ord("h"), number, ord("h"), number, ord("t"), ord("q"), number + 1])


LAUGHS = b"\x80\x02})q\0" + b"".join(map(twice, range(60))) + b"K\x01s."
TENSORS = OrderedDict(a=torch.ones(2, dtype=torch.bfloat16), b=nn.Parameter(torch.ones(2, 2)))


@pytest.mark.parametrize("new", [True, False])
def test_what_is_pickled_besides_tensors_is_named(new: bool) -> None:
    def foreign(value: object) -> list[str]:
        data = saved(value, _use_new_zipfile_serialization=new)
        assert is_torch_file(data)
        return check_torch_file(data, "w")

    assert foreign({"model": TENSORS, "epoch": 3, "size": torch.Size((1, 2))}) == []
    assert foreign({"args": argparse.Namespace(lr=0.1), "model": TENSORS}) == ["argparse.Namespace"]
    assert "torch.nn.modules.linear.Linear" in foreign(nn.Linear(2, 2))
    assert any("scalar" in name and "numpy" in name for name in foreign({"best": np.float64(0.7)}))


def test_a_pickle_that_allocates_is_no_part_of_tensors() -> None:
    """`bytearray(10**12)` is a few bytes of pickle."""
    small = pickle.dumps([bytearray, 8], protocol=2)
    assert check_torch_file(zipped({"x/data.pkl": small}), "w") == ["__builtin__.bytearray"]


def test_archives_that_inflate() -> None:
    bomb = zipped({"x/data.pkl": saved({}), "x/data/0": bytes(40_000_000)}, zipfile.ZIP_DEFLATED)
    assert len(bomb) < 100_000
    with pytest.raises(ConfigError, match=r"w: \d+ bytes that would inflate to 4\d{7}: no weights compress so well"):
        check_torch_file(bomb, "w")
    members = zipfile.ZipFile(io.BytesIO(saved({"a": torch.zeros(100_000)})))
    packed = zipped({name: members.read(name) for name in members.namelist()}, zipfile.ZIP_DEFLATED)
    assert check_torch_file(packed, "w") == []  # a small one may


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (zipped({"a.npy": b"x", "b.npy": b"y"}), "w: a zip archive that torch did not save .it holds a.npy, b.npy"),
        (zipped({"m/code/x.py": b"", "m/constants.pkl": b"", "m/data.pkl": b"."}), "w: a TorchScript archive"),
        (zipped({"x/data.pkl": b"\x80\x02c"}), "w: not a state dict of tensors"),
        (saved({"a": 1}, pickle_protocol=4), "w: saved with pickle protocol 4, which can't be read safely"),
        (pickle.dumps({"a": 1}), "w: a pickle that torch did not save"),
        (zipped({"x/data.pkl": b"\x80\x02})" + b"\x85" * 10_000 + b"K\x01s."}), "is nested 1001 deep"),
        (zipped({"x/data.pkl": LAUGHS}), r"nested \d+ deep, of \d{8} values"),
    ],
    ids=["npz", "script", "cut", "protocol", "pickle", "nested", "laughs"],
)
def test_archives_of_other_kinds_are_named(data: bytes, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        check_torch_file(data, "w")
    assert str(caught.value).isprintable()


def test_a_description_of_too_many_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sppnet.networks.torch_files._PARTS", 1000)
    assert check_torch_file(zipped({"x/data.pkl": b"\x80\x02" + b"}0" * 400 + b"}."}), "w") == []
    with pytest.raises(ConfigError, match="w: its description has more than 1000 parts"):
        check_torch_file(zipped({"x/data.pkl": b"\x80\x02" + b"}0" * 600 + b"}."}), "w")


def test_other_kinds_and_one_line() -> None:
    assert other_kind(b"\x1f\x8b\x08") == "compressed with gzip: unpack it first"
    assert other_kind(bytes(257) + b"ustar\0") == "a tar archive: unpack it first"
    assert other_kind(b"\x10\0\0\0\0\0\0\0{}") == ""
    assert one_line("a\x1b[1mb\n c", 6) == "a [1mb"
