"""What lies beside the images of a data set and is none of them: counted and named, so that no input vanishes."""

from __future__ import annotations

import posixpath
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from pipelines.engine.codec import decode, encode

OBJECT = "left_out.json"
"""The object of a look that holds it."""
HIDDEN = "hidden"
NO_EXTENSION = "no extension"
_NAMED = 100
"""So many are named; all are counted."""


@dataclass(frozen=True, slots=True)
class LeftOut:
    """What was left out. It changes no result, so it is in no identity.

    Attributes:
        counts: Files by extension, lower case with the dot; `hidden`, `no extension`, or what else they are.
        named: Lines for people: folders that can't be read, links to nothing, tars without images.
    """

    counts: Mapping[str, int] = field(default_factory=dict)
    named: tuple[str, ...] = ()

    @classmethod
    def of(cls, names: Iterable[str], hidden: int = 0, named: Sequence[str] = ()) -> LeftOut:
        """Count files by their extensions.

        Args:
            names: Their names.
            hidden: So many more are hidden, or in hidden folders.
            named: See `LeftOut`.
        """
        counts = Counter(posixpath.splitext(name)[1].lower() or NO_EXTENSION for name in names)
        if hidden:
            counts[HIDDEN] += hidden
        return cls(dict(sorted(counts.items())), tuple(named))

    @classmethod
    def summed(cls, parts: Iterable[LeftOut]) -> LeftOut:
        """Return several as one."""
        counts: Counter[str] = Counter()
        named: list[str] = []
        for part in parts:
            counts.update(part.counts)
            named += part.named
        if len(named) > _NAMED:
            named = [*named[:_NAMED], f"and {len(named) - _NAMED} more"]
        return cls(dict(sorted(counts.items())), tuple(dict.fromkeys(named)))

    def describe(self) -> str:
        """Say it in a line, `3 .txt, 1 hidden; sub/: Permission denied`; empty for nothing."""
        counted = ", ".join(f"{count} {what}" for what, count in self.counts.items())
        return "; ".join(filter(None, (counted, *self.named)))

    def encode(self) -> bytes:
        """Encode it as JSON."""
        return encode(self)

    @classmethod
    def decode(cls, data: bytes, where: str) -> LeftOut:
        """Decode what `encode` gave; raise `ArtifactError` naming `where` if it is something else."""
        return decode(cls, data, where)
