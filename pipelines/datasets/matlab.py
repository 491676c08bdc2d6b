"""MATLAB files from outside, such as published windows and DET's devkit."""

from __future__ import annotations

import io
import zlib
from collections.abc import Sequence
from typing import Any

from sppnet.errors import ConfigError


def read_mat(data: bytes, names: Sequence[str], where: str) -> dict[str, Any]:
    """Read variables of a file of MATLAB's versions up to 7.

    Args:
        data: The file's bytes.
        names: The variables that are wanted.
        where: What the file is, for messages.

    Returns:
        Those of them that it holds, as scipy gives them.

    Raises:
        ConfigError: It is of version 7.3, damaged, or something else.
    """
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError

    try:
        found = loadmat(io.BytesIO(data), variable_names=list(names))
    except NotImplementedError as error:
        raise ConfigError(f"{where}: MATLAB 7.3 files are HDF5; save it with -v7") from error
    # A damaged file fails in any of the reader's steps.
    except (
        MatReadError, ValueError, TypeError, KeyError, IndexError, AttributeError, OSError, OverflowError, MemoryError,
        zlib.error,
    ) as error:  # fmt: skip
        raise ConfigError(f"{where}: not a MATLAB file ({error})") from error
    return {name: found[name] for name in names if name in found}
