"""How often each step reads the maps: what decides whether they are worth keeping."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from jobs.plan.shapes import Shapes
from jobs.plan.work import Work


@dataclass(frozen=True, slots=True)
class MapPass:
    """One step's reading of the maps of one split.

    Attributes:
        maps: The step that makes them, or crops.
        split: The split.
        scales: Which ones, each once.
        times: How often each image's are read, those of its mirror image counted too.
        objects_only: Whether only windows on objects are pooled from them.
    """

    maps: str
    split: str
    scales: tuple[int, ...]
    times: int
    objects_only: bool = False


def map_passes(shapes: Shapes, step: str) -> list[MapPass]:
    """Return how a step reads maps; nothing for one that reads none."""
    config = shapes.config(step)
    ways: Mapping[str, Callable[[], list[MapPass]]] = {
        "finetune": lambda: _training(config, 1 + config.flips, 1 + config.flips),
        "train-svms": lambda: _training(config, 1 + config.rounds, 1),
        "train-regressors": lambda: [MapPass(config.maps, config.split, _once(config.scales), 1, objects_only=True)],
        "score": lambda: _scoring(shapes, step),
        "combine": lambda: _scoring(shapes, step),
    }
    return ways[config.stage]() if config.stage in ways else []


def reading_work(shapes: Shapes, step: str) -> Work:
    """Count all of a step's reading of maps."""
    return sum(
        (
            shapes.reading(one.maps, one.scales) * (one.times * _images(shapes, step, one))
            for one in map_passes(shapes, step)
        ),
        Work(),
    )


def images_read(shapes: Shapes, step: str) -> int:
    """Count the images whose maps a step reads, each as often as it is read, at whatever scales."""
    return sum(one.times * _images(shapes, step, one) for one in map_passes(shapes, step))


def scoring_steps(shapes: Shapes, step: str) -> list[Any]:
    """Return the configs of the steps whose detectors a step scores with, those of steps that combine among them."""
    config = shapes.config(step)
    if config.stage == "score":
        return [config]
    return [member for other in config.detections for member in scoring_steps(shapes, other)]


def _images(shapes: Shapes, step: str, one: MapPass) -> int:
    return shapes.corpus.count(shapes.config(step).images, one.split)


def _training(config: Any, times: int, positive_times: int) -> list[MapPass]:
    scales = _once(config.scales)
    more = [MapPass(config.maps, split, scales, positive_times, True) for split in config.positive_splits]
    return [MapPass(config.maps, config.split, scales, times), *more]


def _scoring(shapes: Shapes, step: str) -> list[MapPass]:
    """Detectors that share maps read them together, once."""
    scales: dict[str, set[int]] = {}
    for member in scoring_steps(shapes, step):
        used = scales.setdefault(member.maps, set())
        used.update(shapes.config(member.svms).scales)
        used.update(shapes.config(member.regressors).scales if member.regressors else ())
    splits = shapes.config(step).splits
    return [MapPass(maps, split, tuple(sorted(used)), 1) for maps, used in scales.items() for split in splits]


def _once(scales: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(sorted(set(scales)))
