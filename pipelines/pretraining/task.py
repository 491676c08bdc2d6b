"""One worker's part of a pre-training: the network, its batches, its loss and what is measured."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from pipelines.artifacts.networks import SUFFIX, encode_network
from pipelines.engine.workspace import Output
from pipelines.pretraining.batches import CropBatches, fit_colours, load_example
from pipelines.pretraining.device_batches import DeviceBatches
from pipelines.pretraining.examples import CropExample, EpochOrder
from pipelines.shards.image_cache import ImageCache, Pixels
from pipelines.training.best_weights import kept_figures
from pipelines.training.loop import Curve, Task, Worker
from sppnet.images.network_input import normalise_images
from sppnet.images.training_crops import ColourJitter
from sppnet.networks.backbones import Backbone, build_backbone
from sppnet.networks.network import FcHead, SppNetwork
from sppnet.seeds import derive_seed

if TYPE_CHECKING:
    from pipelines.stages.pretrain import Pretrain


class PretrainTask(Task):
    """One worker's part of a pre-training.

    Attributes:
        model: The whole network, on the worker's device.
        batches: This worker's slices of all batches.
    """

    def __init__(self, stage: Pretrain, worker: Worker) -> None:
        self._stage = stage
        self._config = config = stage.config
        self._worker = worker
        self._labels = stage.classes()
        self.model: SppNetwork = build_network(stage, len(self._labels)).to(worker.device)
        mean = self.model.backbone.mean_image
        self._mean = None if mean is None else mean.to(worker.device)
        short_side = None if config.view == "object" else config.short_side
        # The shards of this group, of the next, and of the held-out part.
        self._cache = ImageCache(stage.input("images"), short_side, config.cache_bytes, 2 * config.shards + 1)
        training = [example for example in stage.examples if not config.held_out(example.key)]
        self._held_out_examples = [example for example in stage.examples if config.held_out(example.key)]
        self._cutter = config.cutter(self._colours(training))
        crops = CropBatches(
            EpochOrder(training, config.shards, derive_seed(stage.seed, stage.name)),
            self._cache,
            self._cutter,
            self._labels,
            sizes=config.epoch_sizes(derive_seed(stage.seed, stage.name, "sizes")),
            batch=config.batch,
            steps=config.steps,
            worker=(worker.rank, worker.world_size),
            seed=derive_seed(stage.seed, stage.name, "crops"),
            threads=config.threads or max(2, round(config.cpus)),
        )
        self.batches = DeviceBatches(crops, self._to_network, worker.device, config.steps)

    def _colours(self, training: list[CropExample]) -> ColourJitter | None:
        """How colours are altered: along the data set's principal components, or else along those of some images."""
        statistics, strength = self._stage.statistics, self._config.colour
        if statistics is not None and strength:
            return statistics.colours(strength)
        return fit_colours(self._cache, training, strength)

    def loss(self, model: nn.Module, step: int) -> torch.Tensor:
        """Softmax loss of this worker's samples."""
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
        """Accuracy on samples of held-out images, at the first size."""
        if self._held_out is None:
            return {}
        samples, labels = self._held_out
        starts = range(0, len(samples), self._config.batch)
        parts = [self.model(self._to_network(samples[at : at + self._config.batch])).argmax(1).cpu() for at in starts]
        accuracy = float((torch.cat(parts) == labels).float().mean())
        return {"held_out_error": 1 - accuracy, "held_out_accuracy": accuracy}

    def finish(self, curve: Curve) -> Output:
        """The network with what its classes are."""
        model, config = self.model, self._config
        sizes = config.network_sizes()
        data = encode_network(model.backbone, model.head, model.pyramid, self._labels, curve, sizes=sizes)
        metrics = {"steps": config.steps, "classes": len(self._labels)}
        metrics |= kept_figures(curve)
        return Output(data, SUFFIX, rows=len(model.state_dict()), done=0, metrics=metrics)

    def close(self) -> None:
        """Ends the threads that cut."""
        self.batches.close()


def build_network(stage: Pretrain, classes: int) -> SppNetwork:
    """Builds the network of a stage's config with fresh weights, on the CPU, with its mean image if it has one."""
    config = stage.config
    backbone = build_backbone(config.spec())
    pyramid = config.pyramid(backbone)
    if config.mean == "per-pixel" and stage.statistics is not None:
        backbone.mean_image = _in_channel_order(stage.statistics.mean_image, backbone)
    head = FcHead(pyramid.bins * backbone.channels, config.hidden, classes, config.dropout)
    return SppNetwork(backbone, pyramid, head)


def _in_channel_order(mean_rgb: np.ndarray[tuple[int, ...], np.dtype[np.float32]], backbone: Backbone) -> torch.Tensor:
    mean = torch.from_numpy(mean_rgb)
    return mean.flip(0) if backbone.preprocessing.channel_order == "bgr" else mean
