"""Which job a run is: its name, whether it is there already, and its next attempt."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from jobs.submit.server import Job, JobServer
from pipelines.engine.fingerprint import fingerprint
from pipelines.executors.versions import run_version

_TRIES = 5


@dataclass(frozen=True, slots=True)
class RunJob:
    """A run as jobs of a cluster: one attempt after the other, each of which goes on where the last one ended.

    Attributes:
        name: The recipe's.
        recipe: URI of the resolved recipe.
        workspace: URI of the workspace.
        options: More options of `sppnet run`.
    """

    name: str
    recipe: str
    workspace: str
    options: tuple[str, ...] = ()

    @property
    def prefix(self) -> str:
        """What the ids of all its attempts begin with: the same recipe on the same workspace is the same job."""
        return f"sppnet-{self.name}-{fingerprint({'recipe': self.recipe, 'workspace': self.workspace})}-"

    @property
    def entrypoint(self) -> str:
        """The command that the head runs."""
        return shlex.join(["sppnet", "run", self.recipe, "--workspace", self.workspace, "--json", *self.options])

    def attempts(self, jobs: Sequence[Job]) -> dict[int, Job]:
        """Pick its attempts from all jobs, by number, the first first."""
        found = {}
        for job in jobs:
            number = re.fullmatch(re.escape(self.prefix) + r"(\d+)", job.id)
            if number:
                found[int(number[1])] = job
        return dict(sorted(found.items()))


@dataclass(frozen=True, slots=True)
class Attempt:
    """One job of a run.

    Attributes:
        id: Its submission id.
        number: Counted from 1 on each cluster.
        started: Whether it was started now; else it was running.
        before: How the attempt before it ended; None if there was none.
    """

    id: str
    number: int
    started: bool
    before: str | None = None


async def running(server: JobServer, run: RunJob) -> Attempt | None:
    """Find the attempt that is pending or running."""
    for number, job in reversed(run.attempts(await server.jobs()).items()):
        if not job.ended:
            return Attempt(job.id, number, started=False)
    return None


async def ensure_running(server: JobServer, run: RunJob) -> Attempt:
    """Find the attempt that is pending or running, or start the next one.

    Who loses to somebody else who starts the same attempt at the same moment gets theirs.
    """
    for _ in range(_TRIES):
        known = run.attempts(await server.jobs())
        last, job = next(reversed(known.items()), (0, None))
        if job is not None and not job.ended:
            return Attempt(job.id, last, started=False)
        name = f"{run.prefix}{last + 1}"
        if await server.submit(name, run.entrypoint, run_version()):
            return Attempt(name, last + 1, started=True, before=job.state if job else None)
    raise AssertionError("each try finds one job more")
