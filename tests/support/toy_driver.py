"""A driver process for the fault tests: runs the toy recipe as the JSON in its one argument says."""

from __future__ import annotations

import json
import logging
import os
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from tests.support.toy_fixtures import Toys  # noqa: E402
from tests.support.toy_stages import register  # noqa: E402


def make_executor(kind: str, address: str | None) -> Any:
    if kind == "local":
        from pipelines.executors.local import LocalExecutor

        return LocalExecutor()
    from pipelines.executors.ray_core import RayExecutor

    environment = {
        "env_vars": {"PYTHONPATH": str(ROOT)},
        "worker_process_setup_hook": "tests.support.toy_stages.register",
    }
    return RayExecutor(address or "local", None if address else 2, runtime_env=environment)


def main() -> None:
    from sppnet.errors import SppError

    try:
        run()
    except SppError as error:
        print(f"{type(error).__name__}: {error}", flush=True)
        sys.exit(error.exit_code)


def command() -> None:
    """Runs as the command `sppnet` does: with its last line and exit code."""
    from jobs.run.ending import Ending

    try:
        run()
    except (Exception, KeyboardInterrupt, SystemExit) as error:
        ending = Ending.of(error)
        print(f"sppnet: {ending.error}", file=sys.stderr, flush=True)
        sys.exit(ending.exit_code)


def run() -> None:
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s %(message)s")
    arguments = json.loads(sys.argv[1])
    print("pid", os.getpid(), file=sys.stderr, flush=True)
    register()
    toys = Toys(arguments["workspace"], Path(arguments["marks"]))
    executor = make_executor(arguments["executor"], arguments.get("address"))
    if "patience" in arguments:
        executor._watch._patience = arguments["patience"]
    try:
        recorder = toys.run(executor, **arguments["fields"])
    finally:
        time.sleep(arguments.get("goodbye", 0))
        executor.close()
    print(f"made {len(recorder.done)}", flush=True)


if __name__ == "__main__":
    if "--as-command" in sys.argv:
        from jobs.guard import guarded

        guarded(command, ["toy"])
    else:
        main()
