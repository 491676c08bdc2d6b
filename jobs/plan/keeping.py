"""Which maps are stored where a recipe leaves it to the run (`keep: auto`), and why.

A split's maps are stored if making them once, storing them and reading them for every pass takes less time than making
them for every pass. Of a split that is stored, a step that makes its maps faster than it would read them makes them
all the same.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from jobs.plan.passes import MapPasses, making_work, map_passes
from jobs.plan.rates import Rates
from pipelines.engine.recipe import Recipe
from pipelines.engine.stage import StageConfig
from pipelines.stages.extract import ExtractConfig, KeptMaps
from sppnet.networks.costs import map_cost
from sppnet.sizes import Size

_TYPICAL = Size(500, 375)


def is_undecided(recipe: Recipe) -> bool:
    """Tell whether a recipe leaves anything to `decide_keeping`."""
    return any(
        isinstance(config, ExtractConfig) and config.keep == "auto" and config.kept is None
        for config in recipe.steps.values()
    )


def decide_keeping(recipe: Recipe, rates: Rates, size: Size = _TYPICAL) -> tuple[Recipe, list[str]]:
    """Decide for every step whose maps the run may store or not.

    Args:
        recipe: The recipe.
        rates: What a worker does in a second.
        size: Of a typical image, pixels.

    Returns:
        The recipe with the decisions, and a line each that says why.
    """
    steps: dict[str, StageConfig] = dict(recipe.steps)
    why: list[str] = []
    for name, config in recipe.steps.items():
        if isinstance(config, ExtractConfig) and config.keep == "auto" and config.kept is None:
            kept, lines = _Break(recipe, name, config, rates, size).decide()
            steps[name] = config.model_copy(update={"kept": kept})
            why += lines
    return replace(recipe, steps=steps), why


@dataclass(frozen=True)
class _Break:
    """Where storing the maps of a step pays."""

    recipe: Recipe
    name: str
    config: ExtractConfig
    rates: Rates
    size: Size

    def decide(self) -> tuple[KeptMaps, list[str]]:
        users = map_passes(self.recipe, self.name)
        stored = tuple(split for split in self.config.splits if self._pays(split, users))
        makers = {user.step for user in users if self._makes(user) or not set(user.times) <= set(stored)}
        read = {split for user in users if user.step not in makers for split in user.times}
        kept = KeptMaps(splits=tuple(split for split in stored if split in read), makers=tuple(sorted(makers)))
        return kept, [self._why(split, users, kept) for split in self.config.splits]

    def _pays(self, split: str, users: Sequence[MapPasses]) -> bool:
        made = sum(user.times.get(split, 0) * self._make(user.scales, flips=user.flips) for user in users)
        least = sum(
            user.times.get(split, 0) * min(self._read(user), self._make(user.scales, flips=user.flips))
            for user in users
        )
        return self._store() + least < made

    def _makes(self, user: MapPasses) -> bool:
        return self._make(user.scales, flips=user.flips) < self._read(user)

    def _make(self, scales: Iterable[int], *, flips: bool) -> float:
        """Seconds in which an image's maps are made."""
        work = making_work(self._spec, self.size, scales, self.config.precision) * (1 + flips)
        return math.fsum(work.seconds(self.rates).values())

    def _read(self, user: MapPasses) -> float:
        """Seconds in which an image's maps are fetched and decoded."""
        raw = self._raw(user.scales, flips=user.flips)
        return raw / self.rates.read + raw * self.rates.compression / self.rates.storage

    def _store(self) -> float:
        """Seconds in which an image's maps are made and stored, at all scales of the step."""
        raw = self._raw(self.config.scales, flips=self.config.flips)
        stored = raw / self.rates.encode + raw * self.rates.compression / self.rates.storage
        return self._make(self.config.scales, flips=self.config.flips) + stored

    def _raw(self, scales: Iterable[int], *, flips: bool) -> float:
        width = 2 if self.config.dtype == "float32" else 1
        return float(sum(map_cost(self._spec, self.size, scale).bytes for scale in scales) * width * (1 + flips))

    @property
    def _spec(self) -> Any:
        backbone: Any = self.recipe.steps[self.config.backbone]
        return backbone.spec()

    def _why(self, split: str, users: Sequence[MapPasses], kept: KeptMaps) -> str:
        passes = [(user, user.times[split]) for user in users if split in user.times]
        if not passes:
            return f"{self.name}: maps of {split} are used by no step, and not stored"
        making = max(1e3 * self._make(user.scales, flips=user.flips) for user, _ in passes)
        reading = max(1e3 * self._read(user) for user, _ in passes)
        told = ", ".join(f"{user.step}{f' {count} x' if count > 1 else ''}" for user, count in passes)
        if split not in kept.splits:
            what = "are made where they are used"
        else:
            making_their_own = [user.step for user, _ in passes if user.step in kept.makers]
            what = "are stored" + (f", but {', '.join(making_their_own)} make their own" if making_their_own else "")
        return (
            f"{self.name}: maps of {split} {what}: an image is made in {making:.3g} ms, read in {reading:.3g} ms, "
            f"stored in {1e3 * (self._store() - self._make(self.config.scales, flips=self.config.flips)):.3g} ms; "
            f"used by {told}"
        )
