"""How fast one worker is, and how much comes of an image: every number of a plan that shapes don't give."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from difflib import get_close_matches

from sppnet.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Rates:
    """What a worker does in a second, and what images, windows and features come to.

    A worker is one CPU core, with a GPU where `macs` is a GPU's. All but `macs` have defaults: speeds are those of one
    core of a server CPU with AVX-512 while a second worker is busy on the other core; amounts are those of PASCAL
    VOC2007 photographs with SqueezeNet's maps, as the recipe `voc07` made them. `read_rates` replaces any of them.

    Attributes:
        macs: Multiply-accumulates a second of convolutions and fully connected layers, in bfloat16.
        read: Bytes a second of maps that are read back, decompressed.
        storage: Bytes a second that a worker moves to the storage or from it.
        float32: Speed of multiply-accumulates in float32, as a part of `macs`.
        decode: Pixels a second of encoded images.
        records: Images a second that are read, checked and packed, decoding apart.
        drawing: Images a second that are drawn, and once more for their annotations.
        resize: Pixels a second of images resized and normalised for the network, at their new size.
        encode: Raw bytes a second of maps compressed and stored.
        selective_search: Images a second of 500 x 375 pixels.
        edge_boxes: Images a second of 500 x 375 pixels.
        learned_edges: Images a second of 500 x 375 pixels through the small PiDiNet, before EdgeBoxes' own work.
        pooling: Values a second of pooled vectors from one map.
        spreading: Values a second of pooled vectors put in order, where windows choose among several scales.
        scoring: Multiply-accumulates a second of features with SVMs and regressors.
        scanning: Values a second of features that are read for that, for all categories at once.
        widening: Values a second of stored features made float32 for the solver.
        negatives: Windows a second that are compared with objects and with one another.
        examples: Bytes a second of features encoded or read back, decompressed.
        streamed: Bytes a second, one a value, of fine-tuning's samples that are read back, decompressed.
        solving: Values a second that a pass of an SVM's solver goes through.
        passes: Passes of the solver, rows that are left out of one counted as the part that they are.
        gram: Multiply-accumulates a second of Gram matrices and of their factors, in float64, always on a CPU.
        updates: Weights a second that a training step casts, decays and moves.
        samples: Training crops a second that are cut and altered, decoding apart.
        crops: Windows a second that are warped for R-CNN's way.
        detections: Detections a second that are suppressed from among their neighbours, and stored.
        judged: Detections a second that are matched with objects.
        overlaps: Pairs a second of a window and an object whose overlap is taken.
        start: Seconds in which a worker starts a step: imports, weights.
        compression: Stored bytes of a map over its raw float16 bytes.
        pool5_compression: The same of pooled vectors.
        object_compression: The same of pooled vectors of windows on objects, which train box regression.
        fc_compression: The same of fc6 and fc7.
        view_compression: The same of pooled vectors of whole images and large views of them.
        pool5_stepped: Stored bytes of pooled vectors in steps of a byte over those of the same ones as float16.
        fc_stepped: The same of fc6 and fc7.
        objects: Objects of the categories in an image.
        overlapping: Windows on an object, by fine-tuning's rule, the object itself among them.
        nearby: Windows of an image on background, by fine-tuning's rule.
        regressed: Examples for box regression that an object has, itself one of them.
        uneven: Mean square over squared mean of the categories' numbers of examples.
        pool5_hard: Hard negatives of an image, category and round among pooled vectors.
        fc_hard: The same among fc6 and fc7.
        hard_share: The same at most, as a part of an image's windows: where those are few.
        pool5_detections: Detections of an image and category, by SVMs on pooled vectors.
        fc_detections: The same by SVMs on fc6 and fc7.
        detection_share: The same at most, as a part of an image's windows: where those are few.
        window_bytes: Stored bytes of a window.
        detection_bytes: Stored bytes of a detection.
        regressed_bytes: Stored bytes of a detection with its regressed box.
        record_bytes: Stored bytes of an image beside its own: annotation and the tar's padding.
        pixel_bytes: Encoded bytes of a pixel, where the images can't be looked at.
        index_bytes: Stored bytes of a training example's place in pre-training's index.
        curve_bytes: Stored bytes of a category's curves of precision and recall.
        sums_bytes: Stored bytes of a shard's sums of recall, for one kind of windows.
        recall_bytes: Stored bytes of the curves of recall of one kind of windows.
        classes: Classes of a network whose recipe does not name them.
        where: What the rates were measured on, for the table's title.
    """

    macs: float
    # Speeds. Each was timed on its own with the artifacts of a run of `voc07`, in one thread, and then, where the run's
    # commits showed it slower beside a second worker (memory is shared), set to what the commits say.
    read: float = 2.5e9  # `bench maps`: 3.0e9 to 3.4e9 alone
    storage: float = 5e8  # a local disk; object storage gives a worker 1e8 to 5e8
    float32: float = 0.25  # fc6 of 2,000 windows: 2.2 s against 0.55 s
    decode: float = 2.5e8  # 32 photographs in 23 ms
    records: float = 2500.0  # 11,205 images of 64 x 64 pixels in 4.9 s
    drawing: float = 10.5  # 60 images of the recipe `demo` in 5.7 s beside another load
    resize: float = 2e8  # 1.9e8 at scale 688, 3.8e8 at 1200, without decoding
    encode: float = 1.5e9  # `bench maps`: 1.8e9 to 1.9e9 alone
    selective_search: float = 18.0  # `bench proposals`: 0.055 s an image
    edge_boxes: float = 4.2  # 942 images in 231 s beside another load, 226 s by its quickest shards
    learned_edges: float = (
        9.0  # 154 images in float32: 0.108 s each; in bfloat16 0.062 s, the large network 0.68 and 0.20 s
    )
    pooling: float = 2.5e9  # 2,142 windows x 25,600 values in 15.4 ms, which is 3.5e9, alone
    spreading: float = 7e8  # the same from five maps: 79.4 ms, which is 8.6e8 after pooling, alone
    scoring: float = 8e10  # 2,142 x 25,600 with 4, 20 and 200 categories: 6.2, 15.1 and 119.9 ms, alone: 9.4e10
    scanning: float = 1.4e10  # of the same: 3.5 to 3.9 ms whatever the categories
    widening: float = 3e9  # 2,048 rows of 25,600 in steps of a byte in 13.9 ms, alone
    negatives: float = 1.2e6  # random negatives of 4 images of 2,000 windows in 6.0 ms
    examples: float = (
        1.5e9  # rows of 25,600, alone: in steps of a byte 2.5e9 and 3.4e9 back, as float16 1.3e9 and 1.9e9
    )
    streamed: float = 1e9  # a block of 1,024 samples of 25,600 values in 23 ms, alone
    solving: float = 1.5e9  # 2.5e9, 10 GB/s of float32, alone
    passes: float = 10.0  # 5,404 x 25,600: 46 passes, most over a few rows, in 0.55 s
    gram: float = 2.2e10  # 1,200 rows of 25,600: 1.8e10; whole solves of 5 categories: 2.2e10
    updates: float = 1.8e8  # a step of 26.2M weights with a batch of 128: 189 ms, of which products 42 ms
    samples: float = 2000.0  # pre-training of claims-classification: crops of 224 pixels beside the network's steps
    crops: float = 600.0  # 9,375 crops of claims-detection in 75 s, their convolutions included
    detections: float = 1.2e5  # 295 from 3,385 windows above the threshold in 2.4 ms
    judged: float = 1e6  # five rows of `voc07` in 0.45 s
    overlaps: float = 1e7  # claims-detection: four kinds of windows of 460 images in 0.8 s
    start: float = 1.0  # importing a network's weights: 1.2 s
    # Amounts, from the commits of the same run, but for maps and for rows in steps, which are packed anew since.
    compression: float = 0.15  # 2,468 MB over five scales; `bench maps`: 0.157 of SqueezeNet's, 0.127 of a ZF-5's
    pool5_compression: float = 0.36  # 0.23 to 0.44
    object_compression: float = 0.26  # SqueezeNet's 0.30 and 0.31, a narrow ZF-5's 0.19
    fc_compression: float = 0.58  # 0.575 and 0.594
    view_compression: float = 0.46  # 0.465 of Caltech101's, SqueezeNet's
    fc_stepped: float = 0.61  # 0.56 in the recipe `demo`, and 1.09 times as much since zeros are left out
    pool5_stepped: float = (
        0.69  # 0.63 on objects, 0.65 on background, of SqueezeNet's maps, and 1.08 times as much since
    )
    objects: float = 2.5  # 1,216 of five categories in 482 images; ILSVRC DET's validation set: 2.8 of 200
    overlapping: float = 18.5  # 7,459 windows on 403 objects of 192 photographs
    nearby: float = 336.0  # of the same photographs, 2,142 windows each
    regressed: float = 12.0  # 14,369 examples of 1,216 objects, difficult ones without any
    uneven: float = 1.33  # 1,244 to 5,991 of five categories
    pool5_hard: float = 18.0  # 43,499 of 482 images and 5 categories
    fc_hard: float = 9.0  # 21,537
    hard_share: float = 0.03  # 7,161 where an image has 100 windows
    pool5_detections: float = 70.0  # 154,764 of 460 images and 5 categories, which is 67; 63 to 98 of other detectors
    fc_detections: float = 2.0  # 3,990, fine-tuned fc7 at five scales; at one 23, a network's that is less sure 90
    detection_share: float = 0.2  # 48,254 and 42,321 where an image has 100 windows
    window_bytes: float = 6.0  # 5.8 of selective search, 6.2 of EdgeBoxes
    detection_bytes: float = 10.0
    regressed_bytes: float = 24.0
    record_bytes: float = 2000.0  # 2,150 of VOC's; headers and padding of two members alone are 1,536 on average
    pixel_bytes: float = 0.5  # VOC2007's own photographs 0.46; ILSVRC's 0.5 to 0.6
    index_bytes: float = 61.0  # 9,078 examples in 552 kB
    curve_bytes: float = 1900.0  # 25 curves in 47 kB
    sums_bytes: float = 3700.0  # 60 of 20 categories in 220 kB
    recall_bytes: float = 23000.0  # 4 of 20 categories in 92 kB
    classes: float = 1000.0  # ImageNet's
    where: str = "given"


NAMES = tuple(field.name for field in fields(Rates) if field.name != "where")
"""What `read_rates` takes."""


def read_rates(given: Sequence[str], rates: Rates) -> Rates:
    """Replace rates by `NAME=VALUE` options.

    Args:
        given: Such as `pooling=2e11`; of a name that comes twice the last counts.
        rates: What to replace them in.

    Raises:
        ConfigError: No such rate, or its value is not a positive number.
    """
    found: dict[str, float] = {}
    for text in given:
        name, _, value = text.partition("=")
        if name not in NAMES:
            near = get_close_matches(name, NAMES, n=1)
            raise ConfigError(f"--rate {text}: no rate '{name}'; {_hint(near)}")
        found[name] = _positive(text, value)
    return replace(rates, **found)  # type: ignore[arg-type]  # `where` is not among the names


def _hint(near: Sequence[str]) -> str:
    return f"did you mean '{near[0]}'?" if near else f"there are: {', '.join(NAMES)}"


def _positive(text: str, value: str) -> float:
    try:
        number = float(value)
    except ValueError:
        number = 0.0
    if not 0.0 < number < float("inf"):
        raise ConfigError(f"--rate {text}: expected NAME=VALUE with a positive number, such as macs=1e12")
    return number
