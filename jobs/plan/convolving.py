"""Costs of the stages that look at images, and of those that train networks."""

from __future__ import annotations

import math

from jobs.plan.passes import images_passed, map_work
from jobs.plan.shapes import Shapes, backbone_parameters, head_parameters, stored_parameters
from jobs.plan.work import Work
from pipelines.finetuning.batches import GROUP_BLOCKS
from pipelines.finetuning.sampling import BLOCK_BYTES
from sppnet.networks.backbones import build_backbone
from sppnet.networks.costs import HALF, head_macs, map_cost
from sppnet.pooling.pyramid import Pyramid
from sppnet.pooling.scales import resized_size
from sppnet.proposals.methods import METHODS
from sppnet.sizes import Size

_BACKWARD = 3
"""A training step costs its forward pass three times: the gradients of the inputs and of the weights are products of
the same size each."""
_USUAL_WINDOWS = 2142  # of the images that rates of windows come from


def ingested_splits(shapes: Shapes, step: str) -> tuple[str, ...]:
    """Find the splits of a step that ingests: kinds of data sets name theirs in a list or a mapping, or have none."""
    named = tuple(getattr(shapes.config(step).dataset, "splits", None) or ())
    own = tuple(key.removeprefix(f"{step}.") for key in shapes.corpus.images if key.startswith(f"{step}."))
    return named or own


def ingest_work(shapes: Shapes, step: str) -> Work:
    """Count decoding every image once, to check it, and storing it as it came; also drawing it, if it is drawn."""
    corpus, rates, splits = shapes.corpus, shapes.rates, ingested_splits(shapes, step)
    images = corpus.count(step, *splits)
    stored = corpus.encoded_bytes(rates, step, *splits) + images * rates.record_bytes
    drawn = images if shapes.config(step).dataset.kind == "drawn" else 0
    return Work.of(stored, records=images, decode=corpus.pixels(step, *splits), drawing=drawn)


def propose_work(shapes: Shapes, step: str) -> Work:
    """Count windows by each method; the time that one takes grows with the image. Nobody knows that of own ones."""
    config = shapes.config(step)
    images = shapes.corpus.count(config.images, *config.splits)
    typical = images * shapes.corpus.typical_pixels / (500 * 375)
    written = images * shapes.windows(step) * shapes.rates.window_bytes
    taken = [method.replace("-", "_") for method in config.methods if method in METHODS]
    if config.edges == "learned":
        taken.append("learned_edges")
    return Work.of(written, **dict.fromkeys(taken, typical))


def weights_work(shapes: Shapes, step: str) -> Work:
    """Count importing a network: its convolutions, and its fc layers where the step says how to read them."""
    spec, head = shapes.backbone(step), shapes.config(step).head
    parameters = backbone_parameters(spec)
    if head is not None:
        pooled = Pyramid(head.levels).bins * map_cost(spec, Size.square(224)).shape[2]
        parameters += head_parameters((pooled, *shapes.hidden(step), shapes.classes(head.labels)))
    return Work.of(stored_parameters(parameters), start=1)


def extract_work(shapes: Shapes, step: str) -> Work:
    """Count every image whose maps are stored through the convolutions once a scale, its mirror image likewise."""
    config = shapes.config(step)
    images = shapes.corpus.count(config.images, *config.stored)
    one = Work.of(decode=shapes.corpus.typical_pixels)  # once for all scales
    for scale in config.scales:
        cost = shapes.map_cost(config.backbone, scale)
        raw = cost.bytes * (2 if config.dtype == "float32" else 1)
        pixels = math.prod(resized_size(shapes.corpus.size, scale))
        stored = raw * shapes.rates.compression
        one += Work.of(stored, resize=pixels, encode=raw, storage=stored)
        one += Work.product(cost.macs, config.precision)
    return one * (images * (1 + int(config.flips)))


def pretrain_work(shapes: Shapes, step: str) -> Work:
    """Count the whole network on crops of images (sections 2.3, 3.1 and 4.5)."""
    config, spec = shapes.config(step), shapes.backbone(step)
    low, high = config.random_size or (0, -1)
    sides = range(low, high + 1) or config.size
    convolutions = sum(map_cost(spec, Size.square(side)).macs for side in sides) / len(sides)
    channels = map_cost(spec, Size.square(max(sides))).shape[2]
    bins = config.pyramid(build_backbone(spec)).bins
    head = (bins * channels, *config.hidden, shapes.classes(config.subcategories))
    parameters = backbone_parameters(spec) + head_parameters(head)
    samples = config.steps * config.batch
    listed = shapes.corpus.count(config.images, config.split)
    # More images than are kept decoded: each sample decodes one.
    decoded = samples * shapes.corpus.pixels(config.images, config.split) / listed
    work = Work.product(_BACKWARD * samples * (convolutions + head_macs(head)), config.precision)
    stored = stored_parameters(parameters) + listed * shapes.rates.index_bytes
    return work + Work.of(stored, samples=samples, decode=decoded, updates=config.steps * parameters)


def finetune_samples(shapes: Shapes, step: str) -> float:
    """Count the windows that fine-tuning's pass over the maps pools and stores."""
    config, rates, corpus = shapes.config(step), shapes.rates, shapes.corpus
    both = corpus.count(config.images, config.split)
    more = corpus.count(config.images, *config.positive_splits)
    share = shapes.windows(config.windows) / _USUAL_WINDOWS
    objects = (both + more) * rates.objects * max(1.0, rates.overlapping * share) * (1 + int(config.flips))
    return float(objects + both * min(config.negatives(both), rates.nearby * share))


def finetune_work(shapes: Shapes, step: str) -> Work:
    """Count the pass over the maps, and fc6, fc7 and fc8 on windows that are streamed from what it stored (4.1)."""
    config = shapes.config(step)
    pooled = Pyramid(config.levels).bins * shapes.channels(config.maps)
    sizes = (pooled, *shapes.hidden(step), len(config.categories) + 1)
    samples, stored = config.steps * config.batch, finetune_samples(shapes, step)
    # Nothing is below fc6: no gradient of its inputs is wanted.
    macs = _BACKWARD * head_macs(sizes) - sizes[0] * sizes[1]
    parameters = head_parameters(sizes)
    raw = HALF * pooled
    return (
        map_work(shapes, step)
        + shapes.pooling(config.maps, pooled, len(set(config.scales))) * stored
        + Work.product(samples * macs, config.precision)
        + Work.of(
            stored_parameters(parameters) + stored * raw * shapes.compression("pool5", "uint8"),
            negatives=images_passed(shapes, step) * shapes.windows(config.windows),
            examples=stored * raw,
            streamed=samples * pooled,  # a byte a value
            storage=(stored + samples) * raw * shapes.compression("pool5", "uint8"),
            updates=config.steps * parameters,
        )
    )


def finetune_memory(shapes: Shapes, step: str) -> float:
    """Return a trainer's memory: weights, their gradients and momenta, and the samples at hand of both kinds."""
    config = shapes.config(step)
    pooled = Pyramid(config.levels).bins * shapes.channels(config.maps)
    parameters = head_parameters((pooled, *shapes.hidden(step), len(config.categories) + 1))
    return 3 * stored_parameters(parameters) + 2 * 2 * GROUP_BLOCKS * BLOCK_BYTES
