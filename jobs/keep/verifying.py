"""`sppnet verify`: what is damaged, commit by commit, and what a repair takes away."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

from rich.console import Console

from jobs import formatting
from jobs.keep.target import Target
from pipelines.engine.damage import Damage
from pipelines.keeping.contents import Checked, Checking, check_contents
from pipelines.keeping.lineage import strangers
from pipelines.keeping.repair import Removal
from pipelines.keeping.verify import Findings, Spread, verify
from sppnet.errors import ArtifactError

_SHOWN = 200
_LINE_EVERY_SECONDS = 10.0


def run_verify(
    target: Target, console: Console, fields: dict[str, Any], *, deep: bool, repair: bool, address: str | None
) -> None:
    """Verify, tell, and repair if asked to.

    Args:
        target: What is looked through.
        console: Where it is told.
        fields: Takes the same as plain values.
        deep: Whether data is read.
        repair: Whether commits of damaged units are taken away.
        address: Of a Ray cluster whose workers read the data; None for threads of this process.

    Raises:
        ArtifactError: Something is damaged, and was not taken away.
        ConfigError: Nothing can be taken away: the workspace can't be written.
    """
    if repair:
        target.workspace.check_writable()
    with _spread(address, console) if deep else _nowhere() as spread:
        findings = verify(target.workspace, target.recipes, target.names, spread)
    _tell(findings, console, fields, deep=deep)
    for run, why in target.references.unknown.items() if target.recipe is None else ():
        console.print(f"run {run}: its accounts are not checked: {why}")
    if not findings.damaged:
        return
    removal = Removal.of(findings.damaged, target.every_recipe)
    fields["followers"] = [f"{artifact}/{unit}" for artifact, unit in removal.followers]
    counts = Counter(artifact for artifact, _ in removal.followers)
    for artifact, count in sorted(counts.items()):
        console.print(f"{artifact}: {count} unit{'s' * (count > 1)} made from what is damaged would not come out alike")
    for name in strangers(target.workspace, target.every_recipe, (*removal.changed, *removal.followers)):
        console.print(f"{name}: was made from such units and is of no run that is known; see whether it is to go")
    if repair:
        fields["taken"] = removal.carry_out(target.workspace)
        taken = len(fields["taken"])
        console.print(f"repair: {taken} commit{'s' * (taken != 1)} taken away; run again to make what they stood for")
    _end(target, [one for one in findings.damaged if not (repair and one.mendable)], repair=repair)


def _end(target: Target, left: Sequence[Damage], *, repair: bool) -> None:
    if not left:
        return
    more = f" and {len(left) - 1} more" if len(left) > 1 else ""
    mend = "see above" if repair else "sppnet verify --repair takes away what the next run is to make again"
    raise ArtifactError(f"{target.workspace.store.uri}: {len(left)} damaged: {left[0].line}{more}; {mend}")


def _tell(findings: Findings, console: Console, fields: dict[str, Any], *, deep: bool) -> None:
    fields.update(
        artifacts=findings.artifacts,
        units=findings.units,
        bytes=findings.bytes,
        deep=deep,
        damaged=[asdict(one) for one in findings.damaged],
    )
    for one in findings.damaged[:_SHOWN]:
        console.print(f"{one.reason}: {one.line}")
    if len(findings.damaged) > _SHOWN:
        console.print(f"and {len(findings.damaged) - _SHOWN} more; --json tells all")
    how = "data read" if deep else "names and sizes compared"
    console.print(
        f"{formatting.count(findings.artifacts)} artifacts, {formatting.count(findings.units)} units, "
        f"{formatting.size(findings.bytes)}: {how}, {len(findings.damaged) or 'nothing'} damaged"
    )


@contextmanager
def _nowhere() -> Iterator[None]:
    yield None


@contextmanager
def _spread(address: str | None, console: Console) -> Iterator[Spread]:
    """Have data read by threads of this process, or by the workers of a cluster."""
    from pipelines.executors import pieces

    if address is None:
        yield lambda checking, total: _told(pieces.on_threads(check_contents, checking), total, console)
        return
    from pipelines.executors.ray_core import RayExecutor

    executor = RayExecutor(address=address)

    def on_ray(checking: Iterable[Checking], total: int) -> Iterator[Checked]:
        cpus = executor.capacity().total("CPU")
        return _told(pieces.on_ray(check_contents, checking, cpus), total, console)

    try:
        yield on_ray
    finally:
        executor.close()


def _told(results: Iterable[Checked], total: int, console: Console) -> Iterator[Checked]:
    """Say every few seconds how far it is, at what rate, and how long it will take."""
    start = last = time.monotonic()
    read = 0
    for one in results:
        read += one.size
        now = time.monotonic()
        if now - last > _LINE_EVERY_SECONDS and read:
            last, rate = now, read / (now - start)
            left = formatting.duration((total - read) / rate)
            done = f"{formatting.size(read)} of {formatting.size(total)} read"
            console.print(f"{done}, {formatting.size(round(rate))}/s, about {left} left")
        yield one
