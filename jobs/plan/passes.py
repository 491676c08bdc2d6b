"""How often each step goes through the maps of which images: what its reading costs, or making them instead."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from jobs.plan.shapes import Shapes
from jobs.plan.work import Work
from pipelines.engine.recipe import Recipe
from pipelines.stages.extract import ExtractConfig
from sppnet.networks.backbones import BackboneSpec
from sppnet.networks.costs import map_cost
from sppnet.pooling.scales import resized_size
from sppnet.sizes import Size


@dataclass(frozen=True, slots=True)
class MapPasses:
    """How a step goes through maps.

    Attributes:
        step: Its name.
        scales: The scales that it takes.
        times: By split, how often it takes each image's maps.
        flips: Whether it takes those of the mirrored images too.
    """

    step: str
    scales: frozenset[int]
    times: Mapping[str, int]
    flips: bool = False


def map_passes(recipe: Recipe, maps: str) -> list[MapPasses]:
    """Tell which steps of a recipe go through the maps of a step, and how often."""
    found = []
    for name, config in recipe.steps.items():
        sources: list[Any] = [recipe.steps[step] for step in _scored(recipe, name) if _maps_of(recipe, step) == maps]
        if sources and (times := _times(config)):
            scales = frozenset(scale for source in sources for scale in _scales(recipe, source))
            found.append(MapPasses(name, scales, times, bool(getattr(config, "flips", False))))
    return found


def step_passes(recipe: Recipe, step: str) -> dict[str, MapPasses]:
    """Tell how a step goes through maps, by the step that makes them, crops included."""
    sources = {source for name in _scored(recipe, step) if (source := _maps_of(recipe, name)) is not None}
    found = {maps: [one for one in map_passes(recipe, maps) if one.step == step] for maps in sorted(sources)}
    return {maps: own[0] for maps, own in found.items() if own}


def images_passed(shapes: Shapes, step: str) -> int:
    """Count the images whose maps a step goes through, each as often as it does."""
    return sum(
        times * (1 + one.flips) * shapes.corpus.count(shapes.config(step).images, split)
        for one in step_passes(shapes.recipe, step).values()
        for split, times in one.times.items()
    )


def map_work(shapes: Shapes, step: str) -> Work:
    """Count reading all the maps that a step goes through, or making them where they are not stored."""
    total = Work()
    for maps, one in step_passes(shapes.recipe, step).items():
        made = shapes.config(maps)
        for split, times in one.times.items():
            stored = not isinstance(made, ExtractConfig) or (split in made.stored and made.supplies(step))
            each = shapes.reading(maps, tuple(one.scales)) if stored else _making(shapes, made, one)
            count = times * shapes.corpus.count(shapes.config(step).images, split)
            total += each * (count * (1 + one.flips))
    return total


def _making(shapes: Shapes, made: ExtractConfig, one: MapPasses) -> Work:
    return making_work(shapes.backbone(made.backbone), shapes.corpus.size, one.scales, made.precision)


def making_work(spec: BackboneSpec, size: Size, scales: Iterable[int], precision: str) -> Work:
    """Count making one image's maps: decoding it, then resizing and convolving it once a scale.

    Args:
        spec: The convolutions.
        size: Of the image, pixels.
        scales: Short sides that it is resized to.
        precision: Type that they compute in.
    """
    work = Work.of(decode=math.prod(size))
    for scale in scales:
        macs = map_cost(spec, size, scale).macs
        work += Work.of(resize=math.prod(resized_size(size, scale))) + Work.product(macs, precision)
    return work


def scoring_steps(shapes: Shapes, step: str) -> list[Any]:
    """Return the configs of the steps whose detectors a step scores with, those of steps that combine among them."""
    return [shapes.config(name) for name in _scored(shapes.recipe, step)]


def _maps_of(recipe: Recipe, step: str) -> str | None:
    found = recipe.steps[step].references().get("maps", ())
    return found[0] if found else None


def _scored(recipe: Recipe, step: str) -> list[str]:
    """Return a step itself, or the steps that score behind one that combines."""
    if recipe.steps[step].stage != "combine":
        return [step]
    return [name for part in recipe.steps[step].references()["detections"] for name in _scored(recipe, part)]


def _times(config: Any) -> dict[str, int]:
    """Tell how often a step takes the maps of each split."""
    if config.stage in ("score", "combine", "activations"):
        return dict.fromkeys(config.splits, 1)
    once = dict.fromkeys(getattr(config, "positive_splits", ()), 1)
    return {**once, config.split: 1 + getattr(config, "rounds", 0)}


def _scales(recipe: Recipe, config: Any) -> tuple[int, ...]:
    if config.stage != "score":
        return tuple(config.scales)
    trained = config.references()
    detectors: list[Any] = [recipe.steps[step] for field in ("svms", "regressors") for step in trained[field]]
    return tuple(scale for detector in detectors for scale in detector.scales)
