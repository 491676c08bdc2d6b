"""Costs of the stages that classify whole images, and of those that learn from what they make (section 3)."""

from __future__ import annotations

import math
from typing import Any

from jobs.plan.shapes import Shapes
from jobs.plan.work import Work
from pipelines.classifying.transfer_protocols import Caltech101Protocol
from sppnet.classification.views import PAPER_SIZE
from sppnet.evaluation.transfer import is_far_smaller
from sppnet.networks.backbones import build_backbone
from sppnet.networks.costs import HALF, head_macs, map_cost
from sppnet.pooling.pyramid import Pyramid
from sppnet.pooling.scales import resized_size
from sppnet.sizes import Size

_OUTPUTS = {"fc6": 1, "fc7": 2, "scores": 3}
_FLOAT32 = 4
_FACTORED = 4
"""Finding the axes of a space takes so many times the cube of its dimensions."""


def classify_work(shapes: Shapes, step: str) -> Work:
    """Count every image's distinct views through the convolutions, pooling, and fc layers where they are wanted."""
    config, corpus = shapes.config(step), shapes.corpus
    spec = shapes.backbone(config.network)
    sets = config.view_sets(config.size or _trained_size(shapes.config(config.network)))
    views = list(dict.fromkeys(view for one in sets.values() for view in one.views(corpus.size)))
    crops = [Size.square(view.size) for view in views if not view.on_map]
    planes = [
        resized_size(corpus.size, scale) for scale, _ in {(view.scale, view.flip) for view in views if view.on_map}
    ]
    lengths = feature_lengths(shapes, step)
    one = Work.of(
        decode=corpus.typical_pixels,
        resize=sum(math.prod(resized_size(corpus.size, scale)) for scale in {view.scale for view in views}),
        pooling=len(views) * lengths[0],
    )
    macs = sum(map_cost(spec, size).macs for size in (*crops, *planes))
    one += Work.product(macs + len(views) * head_macs(lengths), config.precision)
    raw, stored = _stored_bytes(shapes, step)
    return (one + Work.of(stored, examples=raw, storage=stored)) * corpus.count(config.images, *config.splits)


def _trained_size(network: Any) -> int:
    """Return the size that a network was trained at, where its step tells."""
    return int(network.network_sizes()[0]) if network.stage == "pretrain" else PAPER_SIZE


def feature_lengths(shapes: Shapes, step: str) -> tuple[int, ...]:
    """Return the lengths of the layers of a step that classifies, from the pooled vector's to its output's."""
    config = shapes.config(step)
    network, spec = shapes.config(config.network), shapes.backbone(config.network)
    pyramid = _pyramid(config, network, spec)
    pooled = pyramid.bins * map_cost(spec, Size.square(PAPER_SIZE)).shape[2]
    if config.output == "pool5":
        return (pooled,)
    labels = network.subcategories if network.stage == "pretrain" else network.head and network.head.labels
    layers = (*shapes.hidden(config.network), shapes.classes(labels))
    return (pooled, *layers[: _OUTPUTS[config.output]])


def _pyramid(config: Any, network: Any, spec: Any) -> Pyramid:
    if config.levels:
        return Pyramid(config.levels)
    if network.stage == "pretrain":
        found: Pyramid = network.pyramid(build_backbone(spec))
        return found
    return Pyramid(network.head.levels) if network.head is not None else Pyramid()


def _stored_bytes(shapes: Shapes, step: str) -> tuple[float, float]:
    """Return the bytes of an image's outputs, of all view sets, as they are and as they are stored."""
    config, rates = shapes.config(step), shapes.rates
    values = len(config.views) * feature_lengths(shapes, step)[-1]
    if config.output == "scores":
        return float(_FLOAT32 * values), float(_FLOAT32 * values)
    raw = values * (HALF if config.dtype == "float16" else _FLOAT32)
    return float(raw), raw * (rates.view_compression if config.output == "pool5" else rates.fc_compression)


def transfer_work(shapes: Shapes, step: str) -> Work:
    """Count reading the features of every set, and the SVMs of every category or random split (sections 3.2, 3.3)."""
    config = shapes.config(step)
    protocol, images = config.protocol, shapes.corpus.count(config.images, *config.protocol.splits)
    known = shapes.categories(config.images)  # a data set is looked at once for all features
    total = Work.of(records=images)
    for name in config.features:
        raw, stored = _stored_bytes(shapes, name)
        length = feature_lengths(shapes, name)[-1]
        read = Work.of(examples=images * raw, storage=images * stored)
        fitted = _split_work if isinstance(protocol, Caltech101Protocol) else _categories_work
        total += read + fitted(shapes, step, length, known) * len(shapes.config(name).views)
    return total


def _categories_work(shapes: Shapes, step: str, length: int, known: int | None) -> Work:
    """Count VOC07's: an SVM a category on all training images."""
    config, corpus = shapes.config(step), shapes.corpus
    trained = corpus.count(config.images, *config.protocol.train)
    tested = corpus.count(config.images, config.protocol.test)
    return _svm(shapes, trained, tested, length) * _categories(shapes, config, known)


def _split_work(shapes: Shapes, step: str, length: int, known: int | None) -> Work:
    """Count Caltech101's: an SVM a class on each split's few images, in the space that these span if it is smaller."""
    config = shapes.config(step)
    protocol = config.protocol
    images = shapes.corpus.count(config.images, protocol.split)
    classes = known or max(1, images // (protocol.train_per_class + protocol.test_per_class))
    trained = min(classes * protocol.train_per_class, images)
    tested = min(classes * protocol.test_per_class, images - trained)
    spanned = Work()
    if is_far_smaller(trained, length):
        spanned = Work.of(gram=trained**2 * length + _FACTORED * trained**3)
        spanned += Work.product(tested * trained * (length + trained), "float32")
        length = trained
    return (spanned + _svm(shapes, trained, tested, length) * classes) * int(protocol.repeats)


def _svm(shapes: Shapes, trained: int, tested: int, length: int) -> Work:
    solving = trained * length * shapes.rates.passes
    return Work.of(solving=solving) + Work.product(tested * length, "float32")


def transfer_parts(shapes: Shapes, step: str) -> int:
    """Count the categories of VOC07, or the random splits of Caltech101."""
    config = shapes.config(step)
    if isinstance(config.protocol, Caltech101Protocol):
        return int(config.protocol.repeats)
    return _categories(shapes, config, shapes.categories(config.images))


def _categories(shapes: Shapes, config: Any, known: int | None) -> int:
    """Count the categories that VOC07's protocol names, or those of the data set, or else as many as are usual."""
    return len(config.protocol.categories or ()) or known or round(shapes.rates.classes)


def judge_work(shapes: Shapes, step: str) -> Work:
    """Count comparing every image's scores with its class, for each set of views."""
    config = shapes.config(step)
    sets = sum(len(shapes.config(name).views) for name in config.scores)
    return Work.of(judged=shapes.corpus.count(config.images, config.split) * sets)


def statistics_work(shapes: Shapes, step: str) -> Work:
    """Count decoding and resizing every image of a split (section 3.1)."""
    config, corpus = shapes.config(step), shapes.corpus
    images = corpus.count(config.images, config.split)
    resized = math.prod(resized_size(corpus.size, config.short_side))
    return Work.of(decode=corpus.pixels(config.images, config.split), resize=images * resized)
