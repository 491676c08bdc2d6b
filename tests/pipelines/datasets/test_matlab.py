from __future__ import annotations

import io

import numpy as np
import pytest
from scipy.io import savemat

from pipelines.datasets.matlab import read_mat
from sppnet.errors import ConfigError


def mat(**variables: object) -> bytes:
    sink = io.BytesIO()
    savemat(sink, variables, do_compression=True)
    return sink.getvalue()


def test_the_wanted_variables_are_read() -> None:
    data = mat(boxes=np.arange(8.0).reshape(2, 4), images=np.array(["a", "bc"], object), other=1)
    found = read_mat(data, ["images", "boxes", "absent"], "windows.mat")
    assert list(found) == ["images", "boxes"]
    assert found["boxes"].tolist() == [[0, 1, 2, 3], [4, 5, 6, 7]]
    assert [str(name[0]) for name in found["images"].ravel()] == ["a", "bc"]


@pytest.mark.parametrize("data", [b"", b"PNG", b"MATLAB 5.0 MAT-file".ljust(124) + b"\x00\x01IM" + b"\xff" * 40])
def test_what_is_no_matlab_file_is_told(data: bytes) -> None:
    with pytest.raises(ConfigError, match=r"^windows\.mat: not a MATLAB file"):
        read_mat(data, ["boxes"], "windows.mat")


def test_a_damaged_file_is_told_wherever_it_is_cut() -> None:
    data = mat(boxes=np.random.default_rng(0).normal(size=(9, 4)))
    for size in range(129, len(data), 7):
        with pytest.raises(ConfigError, match=r"^windows\.mat: not a MATLAB file"):
            read_mat(data[:size], ["boxes"], "windows.mat")


def test_version_7_3_is_told_apart() -> None:
    header = b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(124) + b"\x00\x02IM"
    with pytest.raises(ConfigError, match=r"^windows\.mat: MATLAB 7\.3 files are HDF5; save it with -v7"):
        read_mat(header + b"\x89HDF\r\n\x1a\n" + bytes(100), ["boxes"], "windows.mat")
