"""The `sppnet` command; `python -m jobs` in a checkout that is not installed."""

from __future__ import annotations

import sys

from jobs.extras import missing_extra
from jobs.guard import guarded
from sppnet.errors import ConfigError


def main() -> None:
    """Run the command in a child that has its last word said for it, should it be ended without one."""
    guarded(_run, sys.argv[1:])


def _run() -> None:
    """Run the command, or say in one line what it lacks where only the library `sppnet` is installed."""
    try:
        from jobs.cli import main as run

        run()
    except ModuleNotFoundError as error:
        line = missing_extra(error)
        if line is None:
            raise
        print(f"sppnet: {line}", file=sys.stderr)  # noqa: T201
        sys.exit(ConfigError.exit_code)


if __name__ == "__main__":
    main()
