"""Fine-tuning's task: batches of pooled windows through fc6, fc7 and fc8, and the head that comes of it."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, cast

import torch
from torch import nn
from torch.nn import functional as F

from pipelines.artifacts.networks import SUFFIX, TrainedHead, encode_head
from pipelines.artifacts.window_samples import Part
from pipelines.engine.commits import Output
from pipelines.engine.workspace import Artifact
from pipelines.finetuning.batches import SampleFiles, WindowBatches
from pipelines.finetuning.config import FinetuneConfig
from pipelines.finetuning.windows import BACKGROUND
from pipelines.training.best_weights import kept_figures
from pipelines.training.task import Curve, Task
from pipelines.training.workers import Worker
from sppnet.detection.feature_scale import MEAN_NORM, feature_scale
from sppnet.networks.network import FcHead
from sppnet.pooling.pyramid import Pyramid


@dataclass(frozen=True, kw_only=True)
class FinetuneTaskInputs:
    """What a fine-tuning starts from.

    Attributes:
        config: Of the stage.
        artifact: That holds the samples.
        units: Its units that do.
        head: Before the first step.
        is_fresh: Whether no layer of the head was trained before.
        seed: Of the samples' order.
    """

    config: FinetuneConfig
    artifact: Artifact
    units: tuple[str, ...]
    head: FcHead
    is_fresh: bool
    seed: int


class FinetuneTask(Task):
    """One worker's part of a fine-tuning.

    Args:
        inputs: What it starts from.
        worker: The worker.

    Attributes:
        model: The head, on the worker's device.

    Raises:
        ConfigError: The split has no window on an object, or none on background.
    """

    examples: ClassVar[str] = "windows"

    def __init__(self, inputs: FinetuneTaskInputs, worker: Worker) -> None:
        self._config = config = inputs.config
        self._worker = worker
        self.batch = config.batch
        self.model: FcHead = inputs.head.to(worker.device)
        self._files = SampleFiles(inputs.artifact, inputs.units, inputs.seed)
        self._scale = self._input_scale() if inputs.is_fresh else 1.0
        self._batches = self._batches_of("objects", "background", config.steps, worker=(worker.rank, worker.world_size))

    def _batches_of(
        self, objects: Part, background: Part, steps: int, worker: tuple[int, int] = (0, 1)
    ) -> WindowBatches:
        return WindowBatches(
            self._files,
            batch=self._config.batch,
            objects=self._config.positives,
            steps=steps,
            parts=(objects, background),
            worker=worker,
            device=self._worker.device,
        )

    def _whole(self, objects: Part, background: Part, count: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the first batches of some parts, one behind the other."""
        with closing(self._batches_of(objects, background, count)) as batches:
            vectors, labels = zip(*map(batches.batch, range(count)), strict=True)
        return torch.cat(vectors), torch.cat(labels)

    def _input_scale(self) -> float:
        """Return the factor on pooled vectors while a fresh head trains.

        Learning rates mean nothing to layers whose inputs have any norm: an imported backbone's vectors may be
        hundreds of times longer than those of a network trained here. Fresh layers see the mean norm that SVMs see
        too, and `finish` folds the factor into fc6, so that the published head takes plain pooled vectors.
        """
        vectors = self._whole("objects", "background", 1)[0].float()
        # The default range of a layer's first weights is for inputs whose values, not whose norm, are about 1.
        _multiply_fc6(self.model, math.sqrt(vectors.shape[1]) / MEAN_NORM)
        return feature_scale(torch.linalg.vector_norm(vectors, dim=1).cpu().numpy())

    def loss(self, model: nn.Module, step: int) -> torch.Tensor:
        """Return the softmax loss of this worker's windows."""
        vectors, labels = self._batches.batch(step)
        logits = model(vectors * self._scale)
        # A sum over the worker's windows and a mean over the batch: slices need not be of one size.
        share = self._worker.world_size / self._config.batch
        return F.cross_entropy(logits.float(), labels, reduction="sum") * share

    @cached_property
    def _held_out(self) -> tuple[torch.Tensor, torch.Tensor] | None:
        parts: tuple[Part, Part] = ("held-out objects", "held-out background")
        if not all(map(self._files.has, parts)):
            return None
        return self._whole(*parts, self._config.held_out_batches)

    def measure(self) -> Mapping[str, float]:
        """Measure the accuracy on held-out windows: all, those on objects, and the latter with background left out."""
        if self._held_out is None:
            return {}
        vectors, labels = self._held_out
        starts = range(0, len(vectors), self._config.batch)
        parts = [vectors[start : start + self._config.batch] * self._scale for start in starts]
        logits = torch.cat([self.model(part) for part in parts])
        right, shown = (logits.argmax(dim=1) == labels).float(), labels > 0
        category = logits[shown, 1:].argmax(dim=1) + 1
        accuracy = float(right.mean())
        return {
            "held_out_error": 1 - accuracy,
            "held_out_accuracy": accuracy,
            "held_out_objects": float(right[shown].mean()),
            "held_out_categories": float((category == labels[shown]).float().mean()),
        }

    def finish(self, curve: Curve) -> Output:
        """Return the head with what it was trained for."""
        config = self._config
        head = copy.deepcopy(self.model)
        _multiply_fc6(head, self._scale)
        trained = TrainedHead(
            head=head,
            pyramid=Pyramid(config.levels),
            labels=(BACKGROUND, *config.categories),
            scales=config.scales,
            convention=config.convention,
            curve=tuple(curve),
        )
        metrics = {"steps": config.steps, **kept_figures(curve)}
        return Output(encode_head(trained), SUFFIX, rows=len(self.model.state_dict()), done=0, metrics=metrics)

    def close(self) -> None:
        """End the threads that read."""
        self._batches.close()


def _multiply_fc6(head: FcHead, factor: float) -> None:
    with torch.no_grad():
        cast(nn.Linear, head.layers["fc6"]).weight.mul_(factor)
