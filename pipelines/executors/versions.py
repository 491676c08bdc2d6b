"""The one version of sppnet that a run is made with: a driver's word for it, and what each process makes of it."""

from __future__ import annotations

import os
import platform

from sppnet import __version__
from sppnet.errors import ConfigError

VARIABLE = "SPPNET_RUN_VERSION"
"""Names the version of who submitted or drives the run, in the environment of every process that works for it."""
_UNKNOWN = "0+unknown"
"""What a checkout that is not installed is."""


def run_version() -> dict[str, str]:
    """Return the environment variable that tells this process's version to all that will work for it."""
    return {VARIABLE: __version__}


def told_version() -> dict[str, str]:
    """Return what a driver adds to its workers' environment; nothing if who submitted it has done so."""
    return {} if VARIABLE in os.environ else run_version()


def check_version() -> None:
    """Raise `ConfigError` if the run that this process works for is made with another version."""
    wanted = os.environ.get(VARIABLE, __version__)
    if wanted != __version__ and _UNKNOWN not in (wanted, __version__):
        raise ConfigError(
            f"the run is made with sppnet {wanted}, but {platform.node()} has {__version__}: install the same version "
            "on every node"
        )
