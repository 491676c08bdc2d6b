"""`python -m tests.chaos`: trials for some time, each told in a line, and a table of all of them at the end."""

from __future__ import annotations

import argparse
import itertools
import os
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from tests.chaos.plans import Plan, plans
from tests.chaos.table import table
from tests.chaos.trial import Outcome, Trial
from tests.chaos.workloads import Undisturbed
from tests.support.cut_networks import can_cut
from tests.support.s3_server import S3Server


def main() -> int:
    """Run trials until the time is over; 1 if something was wrong in one."""
    options = _options()
    folder = Path(tempfile.mkdtemp(prefix="chaos-"))
    end = time.monotonic() + options.seconds
    outcomes: list[Outcome] = []
    with _server(folder, started=not options.no_s3) as server:
        undisturbed = Undisturbed(folder / "undisturbed")

        def work(plan: Plan) -> None:
            if time.monotonic() > end:
                return
            own = folder / f"trial-{plan.number}"
            outcome = Trial(plan, options.seed, own, server, undisturbed).go()
            outcomes.append(outcome)
            _tell(outcome)
            if not outcome.wrong:
                shutil.rmtree(own, ignore_errors=True)

        with ThreadPoolExecutor(options.jobs) as pool:
            list(pool.map(work, _chosen(options)))
    print(table(outcomes, options.seed))
    wrong = [outcome for outcome in outcomes if outcome.wrong]
    if wrong:
        print(f"{len(wrong)} trials went wrong; what they left is in {folder}")
    else:
        shutil.rmtree(folder, ignore_errors=True)
    return bool(wrong)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--seconds", type=float, default=600, help="no trial begins later")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=1, help="trials at once")
    parser.add_argument("--no-ray", action="store_true", help="only runs in one process")
    parser.add_argument("--no-s3", action="store_true", help="only on the local disk")
    parser.add_argument("--no-demo", action="store_true", help="only the toy stages")
    parser.add_argument("--only", default="", help="only faults whose name this pattern is found in")
    parser.add_argument("--workload", default="", help="only workloads whose title holds this, such as 'demo on Ray'")
    return parser.parse_args()


def _chosen(options: argparse.Namespace) -> Iterator[Plan]:
    """The trials, round after round, each round in another order."""
    numbers = itertools.count()
    for round_ in range(1000):
        seed = options.seed + round_
        ray, s3, demo = not options.no_ray, not options.no_s3, not options.no_demo
        for plan in plans(seed, ray=ray, s3=s3, demo=demo, networks=can_cut()):
            if re.search(options.only, plan.fault_name) and options.workload in plan.workload.title:
                yield Plan(next(numbers), plan.workload, plan.on_s3, plan.fault)


def _tell(outcome: Outcome) -> None:
    plan = outcome.plan
    what = f"{plan.number} {plan.workload.title} {'S3' if plan.on_s3 else 'disk'} {plan.fault_name}"
    how = f"disturbed={outcome.disturbed} codes={outcome.codes} orphans={outcome.orphans} {outcome.seconds:.0f} s"
    print(f"{'WRONG' if outcome.wrong else 'ok'} {what}: {how} {'; '.join(outcome.wrong)}", flush=True)


@contextmanager
def _server(folder: Path, *, started: bool) -> Iterator[S3Server | None]:
    """An S3 server that the environment points to."""
    if not started:
        yield None
        return
    own = folder / "s3"
    own.mkdir()
    server = S3Server(own)
    server.start()
    try:
        server.wait_until_up()
        os.environ.update(server.environment)
        yield server
    finally:
        server.kill()


if __name__ == "__main__":
    sys.exit(main())
