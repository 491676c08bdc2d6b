"""Where a command writes what is for people: the console, and the log."""

from __future__ import annotations

import logging
import sys

from rich.console import Console

_LOG_WIDTH = 160


def make_console() -> Console:
    """Make the console for everything but results; results go to standard output."""
    # No markup: a message may well hold brackets, such as a tensor's shape or a box.
    width = None if sys.stderr.isatty() else _LOG_WIDTH  # a log file is as wide as its tables need
    return Console(stderr=True, soft_wrap=True, highlight=False, markup=False, emoji=False, width=width)


def set_up_logging(verbose: bool) -> None:
    """Send warnings (with `verbose` also information) to standard error."""
    logging.basicConfig(
        level=logging.INFO if verbose else logging.WARNING,
        format="%(asctime)s %(levelname)s %(name)s %(message)s",
        stream=sys.stderr,
    )
    for name in ("aiobotocore", "botocore"):  # each opened store tells where its credentials and endpoint come from
        logging.getLogger(name).setLevel(logging.WARNING)
