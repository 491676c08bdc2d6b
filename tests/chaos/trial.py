"""One trial: a run that is disturbed, run again until it is done, and compared with one that was not."""

from __future__ import annotations

import random
import re
import shutil
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from pipelines.engine.workspace import Workspace
from pipelines.keeping.garbage import find_garbage
from tests.chaos.faults import DRIVER_KILLED, Family, NetworkFault, ProcessFault, StorageFault
from tests.chaos.plans import NO_MEMORY, TWO_AND_GC, Plan
from tests.chaos.workloads import SHARDS, Left, Run, Toy, Undisturbed
from tests.support.cut_networks import switch
from tests.support.fault_proxy import fault_proxy
from tests.support.ray_cluster import RayCluster
from tests.support.s3_server import BUCKET, S3Server
from tests.support.small_demo import contents, orphans
from tests.support.toy_stages import Marks

_PATIENCE_SECONDS = 400.0
_LEAVE_SECONDS = 30.0
_KILLS = 3
# Stands for the hour of `gc --age 1h`: far more than the units here take from their data to their commits.
_GC_AGE_SECONDS = 8.0
_SPARE_BYTES = 2 << 30


@dataclass
class Outcome:
    """What came of a trial.

    Attributes:
        plan: The trial.
        disturbed: How often something was done to it: signals sent, or requests spoiled.
        codes: Exit codes of its runs, in order.
        orphans: Data objects that no commit names, for `gc`.
        seconds: What it took.
        wrong: What is not as it should be.
    """

    plan: Plan
    disturbed: int = 0
    codes: list[int] = field(default_factory=list)
    orphans: int = 0
    seconds: float = 0.0
    wrong: list[str] = field(default_factory=list)


class Trial:
    """A trial at work.

    Args:
        plan: What it does.
        seed: The harness's.
        folder: Where everything of it lies.
        server: The S3 server, if there is one.
        undisturbed: What the workload leaves when nothing happens.
        kills: How often a run is disturbed by a signal and begun again, at most.
    """

    def __init__(
        self,
        plan: Plan,
        seed: int,
        folder: Path,
        server: S3Server | None,
        undisturbed: Undisturbed,
        kills: int = _KILLS,
    ) -> None:
        self._plan = plan
        self._dice = random.Random(f"{seed}/{plan.number}")
        self._folder = folder
        self._server = server
        self._undisturbed = undisturbed
        self._kills = kills
        self._scratch = Path(tempfile.mkdtemp(prefix="ch-", dir="/tmp"))  # short enough for Ray's sockets
        where = f"{seed}-{plan.number}-{time.time_ns():x}"
        self._workspace = f"s3://{BUCKET}/{where}" if plan.on_s3 else str(folder / "workspace")
        self._outcome = Outcome(plan)

    def go(self) -> Outcome:
        """Run it; what is wrong is in the outcome."""
        start = time.monotonic()
        try:
            self._disturb()
            self._compare()
        except AssertionError as error:
            self._outcome.wrong.append(" ".join(str(error).split())[:300] or "an assertion failed")
        finally:
            shutil.rmtree(self._scratch, ignore_errors=True)
        self._outcome.seconds = time.monotonic() - start
        return self._outcome

    def _disturb(self) -> None:
        fault = self._plan.fault
        if isinstance(fault, StorageFault):
            self._with_sick_storage(fault)
        elif isinstance(fault, ProcessFault):
            for _ in range(self._kills):
                if not self._with_signal(fault):
                    break
        elif isinstance(fault, NetworkFault):
            self._with_cut_network(fault)
        elif fault == NO_MEMORY:
            self._without_memory()
        elif fault == TWO_AND_GC:
            self._with_gc_beside()
        else:
            self._with_two_drivers()
        if not self._outcome.codes or self._outcome.codes[-1]:
            self._finish(self._start({}), (0,), "")

    def _start(self, variables: dict[str, str]) -> Run:
        return self._plan.workload.start(self._workspace, self._folder, self._scratch, variables)

    def _with_sick_storage(self, fault: StorageFault) -> None:
        assert self._server is not None
        spoiled = 0
        rule = fault.rule(self._dice)

        def counted(request):
            nonlocal spoiled
            found = rule(request)
            spoiled += found is not None
            return found

        with fault_proxy(self._server.environment["AWS_ENDPOINT_URL"]) as proxy:
            proxy.rule = counted
            run = self._start({"AWS_ENDPOINT_URL": proxy.url})
            self._finish(run, (0, fault.code) if fault.code else (0,), fault.says)
        self._outcome.disturbed = spoiled
        if fault.code and spoiled and self._outcome.codes[-1] == 0:
            self._outcome.wrong.append("met the fault and ended with 0")

    def _with_signal(self, fault: ProcessFault) -> bool:
        """Run, disturb it once, and wait for its end; tell whether it is to be run again."""
        before = self._committed()
        run = self._start({})
        family = Family(run.process.pid)
        try:
            # Somewhere in the middle: after a unit more, and a random while.
            self._wait_for_units(run, before + self._dice.randrange(1, 5))
            sent = False
            for _ in range(self._kills if fault.codes == (0,) else 1):  # what a run survives comes again
                time.sleep(self._dice.uniform(0, 0.6))
                if not family.hit(fault, _PATIENCE_SECONDS, lambda: run.process.poll() is not None):
                    break
                sent = True
                self._outcome.disturbed += 1
            self._finish(run, (*fault.codes, 0) if sent else (0,), fault.says, family)
        finally:
            family.end()
        return sent and self._outcome.codes[-1] != 0

    def _with_cut_network(self, fault: NetworkFault) -> None:
        """Run on a cluster of machines; cut one of them off somewhere in the middle."""
        assert self._server is not None
        with switch() as machines, fault_proxy(self._server.environment["AWS_ENDPOINT_URL"], machines.ip) as store:
            variables = {**self._server.environment, "AWS_ENDPOINT_URL": store.url}
            cluster = RayCluster(variables, switch=machines)
            try:
                head = cluster.start_head(0)
                nodes = [cluster.start_node(1) for _ in range(2)]
                where = self._workspace, self._folder, self._scratch
                run = Toy.on(cluster).start(*where, {**variables, **cluster.client_environment})
                self._wait_for_units(run, self._dice.randrange(1, 6))
                machine = (head if fault.head else self._dice.choice(nodes)).machine
                machine.pull()
                self._outcome.disturbed = 1
                if fault.seconds:
                    time.sleep(self._dice.uniform(*fault.seconds))
                    machine.plug()
                self._finish(run, fault.codes, fault.says)
            finally:
                cluster.end()

    def _without_memory(self) -> None:
        """Run where one unit takes more and more memory, until Ray ends it; it does so twice."""
        memory = psutil.virtual_memory()
        most = (memory.total - memory.available + _SPARE_BYTES) / memory.total
        marks = self._folder / "marks"
        marks.mkdir(parents=True)
        Marks(marks).set("eat", f"all/{self._dice.randrange(SHARDS):06d}", 2)
        run = self._start({"RAY_memory_usage_threshold": f"{most:.3f}", "RAY_memory_monitor_refresh_ms": "100"})
        self._finish(run, (0,), "")
        self._outcome.disturbed = run.said().count("Ray ended the unit")

    def _with_gc_beside(self) -> None:
        """Run two at once, kill one of them, and collect garbage all the time, as if seconds were hours."""
        ended, collector = threading.Event(), threading.Thread(target=lambda: self._collect_until(ended))
        collector.start()
        try:
            one, other = self._start({}), self._start({})
            family = Family(one.process.pid)
            self._wait_for_units(one, self._dice.randrange(1, 6))
            sent = family.hit(DRIVER_KILLED, _PATIENCE_SECONDS, lambda: one.process.poll() is not None)
            self._outcome.disturbed = int(sent)
            self._finish(one, (*DRIVER_KILLED.codes, 0), DRIVER_KILLED.says, family)
            self._finish(other, (0,), "")
        finally:
            ended.set()
            collector.join()

    def _collect_until(self, ended: threading.Event) -> None:
        while not ended.wait(0.5):
            self._collect(time.time() - _GC_AGE_SECONDS)

    def _collect(self, before: float) -> None:
        """Collect garbage as `gc` does, but for other processes' scratch."""
        for garbage in find_garbage(Workspace.open(self._workspace), before):
            if garbage.kind != "scratch":
                garbage.take()

    def _with_two_drivers(self) -> None:
        one = self._start({})
        time.sleep(self._dice.uniform(0, 2))
        other = self._start({})
        self._outcome.disturbed = 1
        self._finish(one, (0,), "")
        self._finish(other, (0,), "")

    def _wait_for_units(self, run: Run, wanted: int) -> None:
        """Wait until so many units exist, or the run has ended."""
        end = time.monotonic() + _PATIENCE_SECONDS
        while run.process.poll() is None and self._committed() < wanted and time.monotonic() < end:
            time.sleep(0.3)

    def _committed(self) -> int:
        """How many units exist."""
        workspace = Workspace.open(self._workspace)
        artifacts = {name.split("/", 1)[0] for name in self._undisturbed.left(self._plan.workload).contents}
        return sum(len(workspace.artifact(name).committed()) for name in artifacts)

    def _finish(self, run: Run, codes: tuple[int, ...], says: str, family: Family | None = None) -> None:
        """Wait for a run's end; note what is not as documented, and who is left."""
        family = family or Family(run.process.pid)
        end = time.monotonic() + _PATIENCE_SECONDS
        while run.process.poll() is None and time.monotonic() < end:
            family.look()
            time.sleep(0.5)
        if run.process.poll() is None:
            run.process.kill()
            run.process.wait()
            self._outcome.wrong.append(f"did not end within {_PATIENCE_SECONDS:g} s")
        code, line = run.process.returncode, run.last_line()
        self._outcome.codes.append(code)
        if code not in codes:
            self._outcome.wrong.append(f"exit code {code} ({line or run.said()[-200:]})")
        elif code and not re.fullmatch(says, line):
            self._outcome.wrong.append(f"exit code {code} with the line {line!r}")
        left = family.leftovers(_LEAVE_SECONDS)
        if left:
            self._outcome.wrong.append(f"left behind: {left}")
            family.end()
            psutil.wait_procs(family.look(), timeout=10)

    def _compare(self) -> None:
        """Compare with a run that nothing happened to."""
        workload = self._plan.workload
        expected = self._undisturbed.left(workload)
        found = Left.of(workload, self._workspace, self._folder)
        if found.contents != expected.contents:
            differ = [name for name in expected.contents if found.contents.get(name) != expected.contents[name]]
            more = sorted(found.contents.keys() - expected.contents.keys())
            self._outcome.wrong.append(f"other contents: {differ[:3]} {more[:3]}")
        if found.ledger != expected.ledger:
            self._outcome.wrong.append(f"another ledger: {found.ledger} for {expected.ledger}"[:300])
        self._outcome.orphans = len(orphans(self._workspace))
        self._collect(time.time() + _GC_AGE_SECONDS)  # nobody runs any more: all that is left belongs to nothing
        if left := orphans(self._workspace):
            self._outcome.wrong.append(f"not taken by gc: {left[:3]}")
        if contents(self._workspace) != expected.contents:
            self._outcome.wrong.append("gc has taken what belongs to something")
