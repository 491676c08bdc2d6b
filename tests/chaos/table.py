"""The table of trials by fault, as Markdown."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence

from tests.chaos.trial import Outcome


def table(outcomes: Sequence[Outcome], seed: int) -> str:
    """One row a fault: trials, how often it struck, how the runs ended, what was left, what went wrong."""
    rows = defaultdict(list)
    for outcome in outcomes:
        rows[outcome.plan.fault_name].append(outcome)
    lines = [
        f"Seed {seed}: {len(outcomes)} trials.",
        "",
        "| fault | trials | struck | exit codes | orphans | wrong |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for name, some in sorted(rows.items()):
        codes = Counter(code for outcome in some for code in outcome.codes)
        told = ", ".join(f"{code}: {count}" for code, count in sorted(codes.items()))
        struck, left, wrong = (
            sum(outcome.disturbed for outcome in some),
            sum(outcome.orphans for outcome in some),
            sum(bool(outcome.wrong) for outcome in some),
        )
        lines.append(f"| {name} | {len(some)} | {struck} | {told} | {left} | {wrong} |")
    return "\n".join(lines)
