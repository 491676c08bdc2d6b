"""`python -m jobs.bench.gpu`: `sppnet bench gpu` where only the library's dependencies are installed."""

from __future__ import annotations

import argparse
import json
import sys
from importlib.util import find_spec
from pathlib import Path

NEEDED = {
    "torch": "torch",
    "torchvision": "torchvision",
    "numpy": "numpy",
    "numba": "numba",
    "cv2": "opencv-python-headless",
    "PIL": "pillow",
    "scipy": "scipy",
}
"""What is imported, and what installs it."""


def main(arguments: list[str] | None = None) -> int:
    """Run the benchmark, or one part of it; return the exit code."""
    options = _parser().parse_args(arguments)
    missing = [package for module, package in NEEDED.items() if find_spec(module) is None]
    if missing:
        print(f"missing: python -m pip install {' '.join(missing)}", file=sys.stderr)  # noqa: T201
        return 2
    from jobs.bench.gpu.runner import make_report, run_part
    from jobs.bench.timing import pick_device
    from sppnet.errors import SppError

    device = pick_device(options.device)
    try:
        if options.part:
            options.out.write_text(json.dumps(run_part(options.part, options.seconds, device, options.jpegs)))
            return 0
        report = make_report(options.minutes, device, options.jpegs, options.out)
    except SppError as error:
        print(error, file=sys.stderr)  # noqa: T201
        return error.exit_code
    for line in report.failures:
        print(f"FAILED {line}", file=sys.stderr)  # noqa: T201
    print(f"{len(report.rows)} rows in {options.out}, {len(report.failures)} failed")  # noqa: T201
    return 1 if report.failures else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m jobs.bench.gpu", description=__doc__)
    parser.add_argument("--minutes", type=float, default=8.0, help="that all parts may take together, about")
    parser.add_argument("--device", help="cuda or cpu; default: a GPU if there is one")
    parser.add_argument("--jpegs", type=Path, help="a folder of JPEGs; default: drawn ones")
    parser.add_argument("--out", type=Path, default=Path("bench-gpu.json"), help="file of the report")
    parser.add_argument("--part", help="run this part only, in this process, for --seconds")
    parser.add_argument("--seconds", type=float, default=60.0, help="with --part")
    return parser


if __name__ == "__main__":
    sys.exit(main())
