"""One worker's part of a pre-training: the network, its batches, its loss and what is measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from pipelines.artifacts.networks import SUFFIX, encode_network
from pipelines.engine.commits import Output
from pipelines.engine.workspace import Artifact
from pipelines.pretraining.batches import CropBatches, fit_colours, load_example
from pipelines.pretraining.config import PretrainConfig
from pipelines.pretraining.device_batches import DeviceBatches
from pipelines.pretraining.examples import CropExample, EpochOrder
from pipelines.shards.image_cache import ImageCache
from pipelines.training.best_weights import kept_figures
from pipelines.training.task import Curve, Task
from pipelines.training.workers import Worker
from sppnet.arrays import Pixels
from sppnet.images.network_input import normalise_images
from sppnet.images.statistics import PixelStatistics
from sppnet.images.training_crops import ColourJitter
from sppnet.networks.backbones import Backbone, build_backbone
from sppnet.networks.network import FcHead, SppNetwork
from sppnet.seeds import derive_seed


@dataclass(frozen=True, kw_only=True)
class PretrainTaskInputs:
    """What a pre-training starts from.

    Attributes:
        config: Of the stage.
        images: The images artifact.
        examples: All examples of the split, held-out ones too, in the order of its shards.
        labels: The classes, in the order of the network's outputs.
        statistics: The data set's, if a step makes them.
        seed: What all seeds of the training derive from.
    """

    config: PretrainConfig
    images: Artifact
    examples: Sequence[CropExample]
    labels: tuple[str, ...]
    statistics: PixelStatistics | None
    seed: int

    def derive_seed(self, *names: str) -> int:
        """Derive the seed of one of the things that are drawn."""
        return derive_seed(self.seed, self.config.stage, *names)


class PretrainTask(Task):
    """One worker's part of a pre-training.

    Args:
        inputs: What it starts from.
        worker: The worker.

    Attributes:
        model: The whole network, on the worker's device.
        batches: This worker's slices of all batches.
    """

    def __init__(self, inputs: PretrainTaskInputs, worker: Worker) -> None:
        self._inputs = inputs
        self._config = config = inputs.config
        self._worker = worker
        self.batch = config.batch
        self._labels = inputs.labels
        self.model: SppNetwork = build_network(config, len(self._labels), inputs.statistics).to(worker.device)
        mean = self.model.backbone.mean_image
        self._mean = None if mean is None else mean.to(worker.device)
        short_side = None if config.view == "object" else config.short_side
        # The shards of this group, of the next, and of the held-out part.
        self._cache = ImageCache(inputs.images, short_side, config.cache_bytes, 2 * config.shards + 1)
        training = [example for example in inputs.examples if not config.held_out(example.key)]
        self._held_out_examples = [example for example in inputs.examples if config.held_out(example.key)]
        self._cutter = config.cutter(self._colours(training))
        crops = CropBatches(
            EpochOrder(training, config.shards, inputs.derive_seed()),
            self._cache,
            self._cutter,
            self._labels,
            sizes=config.epoch_sizes(inputs.derive_seed("sizes")),
            batch=config.batch,
            steps=config.steps,
            worker=(worker.rank, worker.world_size),
            seed=inputs.derive_seed("crops"),
            threads=config.threads or max(2, round(config.cpus)),
        )
        self.batches = DeviceBatches(crops, self._to_network, worker.device, config.steps)

    def _colours(self, training: list[CropExample]) -> ColourJitter | None:
        """Choose how colours are altered: along the data set's principal components, or those of some images."""
        statistics, strength = self._inputs.statistics, self._config.colour
        if statistics is not None and strength:
            return statistics.colours(strength)
        return fit_colours(self._cache, training, strength)

    def loss(self, model: nn.Module, step: int) -> torch.Tensor:
        """Return the softmax loss of this worker's samples."""
        images, target = self.batches.batch(step)
        share = self._worker.world_size / self._config.batch
        return F.cross_entropy(model(images).float(), target, reduction="sum") * share

    def _to_network(self, samples: Pixels) -> torch.Tensor:
        return normalise_images(samples, self.model.backbone.preprocessing, self._worker.device, mean_image=self._mean)

    @cached_property
    def _held_out(self) -> tuple[Pixels, torch.Tensor] | None:
        chosen = [example for example in self._held_out_examples if example.label in self._labels]
        chosen = chosen[: self._config.held_out_samples]
        if not chosen:
            return None
        cutter = self._cutter.at_size(self._config.size[0])
        samples = [cutter.cut_centre(*load_example(self._cache, example)) for example in chosen]
        return np.stack(samples), torch.tensor([self._labels.index(example.label) for example in chosen])

    def measure(self) -> Mapping[str, float]:
        """Measure the accuracy on samples of held-out images, at the first size."""
        if self._held_out is None:
            return {}
        samples, labels = self._held_out
        starts = range(0, len(samples), self._config.batch)
        parts = [self.model(self._to_network(samples[at : at + self._config.batch])).argmax(1).cpu() for at in starts]
        accuracy = float((torch.cat(parts) == labels).float().mean())
        return {"held_out_error": 1 - accuracy, "held_out_accuracy": accuracy}

    def finish(self, curve: Curve) -> Output:
        """Return the network with what its classes are."""
        model, config = self.model, self._config
        sizes = config.network_sizes()
        data = encode_network(model.backbone, model.head, model.pyramid, self._labels, curve, sizes=sizes)
        metrics = {"steps": config.steps, "classes": len(self._labels)}
        metrics |= kept_figures(curve)
        return Output(data, SUFFIX, rows=len(model.state_dict()), done=0, metrics=metrics)

    def close(self) -> None:
        """End the threads that cut."""
        self.batches.close()


def build_network(config: PretrainConfig, classes: int, statistics: PixelStatistics | None = None) -> SppNetwork:
    """Build the network of a config with fresh weights, on the CPU.

    Args:
        config: Of the stage.
        classes: How many classes it tells apart.
        statistics: The data set's, for its mean image if the config wants one.
    """
    backbone = build_backbone(config.spec())
    pyramid = config.pyramid(backbone)
    if config.mean == "per-pixel" and statistics is not None:
        backbone.mean_image = _in_channel_order(statistics.mean_image, backbone)
    head = FcHead(pyramid.bins * backbone.channels, config.hidden, classes, config.dropout)
    return SppNetwork(backbone, pyramid, head)


def _in_channel_order(mean_rgb: np.ndarray[tuple[int, ...], np.dtype[np.float32]], backbone: Backbone) -> torch.Tensor:
    mean = torch.from_numpy(mean_rgb)
    return mean.flip(0) if backbone.preprocessing.channel_order == "bgr" else mean
