"""MATLAB files from outside, such as published windows and DET's devkit."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

from pipelines.datasets.mat_bounds import check_mat
from sppnet.errors import ConfigError
from sppnet.outside import parsing

_VERSION = slice(124, 126)
_HDF5 = (b"\x00\x02", b"\x02\x00")


def read_mat(data: bytes, names: Sequence[str], where: str) -> dict[str, Any]:
    """Read variables of a file of MATLAB's versions up to 7.

    Args:
        data: The file's bytes.
        names: The variables that are wanted.
        where: What the file is, for messages.

    Returns:
        Those of them that it holds, as scipy gives them.

    Raises:
        ConfigError: It is of version 7.3, damaged, something else, or claims more than it holds (see `mat_bounds`).
    """
    from scipy.io import loadmat

    if data[_VERSION] in _HDF5:
        raise ConfigError(f"{where}: MATLAB 7.3 files are HDF5; save it with -v7")
    with parsing(lambda why: ConfigError(f"{where}: not a MATLAB file that can be read ({why})")):
        check_mat(data)
        found = loadmat(io.BytesIO(data), variable_names=list(names))
    return {name: found[name] for name in names if name in found}
