"""How well features serve another data set (sections 3.2 and 3.3): linear SVMs on l2-normalised vectors.

PASCAL VOC2007's classification (a category is in an image or not: 11-point AP) and Caltech101's (one class an image:
accuracy, mean over the classes, over several random splits into training and test images).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from sppnet.arrays import Array, Float32s, Integers
from sppnet.detection.svm_training import train_svm
from sppnet.errors import ConfigError, DataError
from sppnet.evaluation.classification import ClassResult, judge
from sppnet.evaluation.curves import FALSE_POSITIVE, IGNORED, TRUE_POSITIVE, CategoryResult, summarise
from sppnet.seeds import derive_seed

PRESENT, LEFT_OUT, ABSENT = 1, 0, -1
"""Whether an image shows a category; left out: it shows only objects of it that are marked difficult."""

_COLUMNS = 4096
_SHORTER = 4


@dataclass(frozen=True, slots=True)
class SvmSettings:
    """Of the one-vs-rest SVMs. The paper names none; these are liblinear's own defaults.

    Attributes:
        C: Cost of an example within the margin.
        positive_weight: Factor on the cost of positives.
        bias_scale: Value of the constant feature whose weight is the bias.
        seed: Of the order in which examples are visited.
    """

    C: float = 1.0
    positive_weight: float = 1.0
    bias_scale: float = 1.0
    seed: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class ClassSplit:
    """One split of a data set of classes.

    Attributes:
        train: int64 `[n]` rows to train on, class by class.
        test: int64 `[m]` rows to test on, class by class.
    """

    train: Integers
    test: Integers


def l2_normalise(features: Array) -> Float32s:
    """Scale features to norm 1; one that is all zeros stays so.

    Args:
        features: `[n, d]` of any float type.

    Raises:
        DataError: `nan-features`: a value is not finite.
    """
    values = np.array(features, dtype=np.float32)
    norms = np.linalg.norm(values, axis=1, keepdims=True)
    if not np.isfinite(norms).all():
        raise DataError(
            "nan-features", f"the feature of row {int(np.flatnonzero(~np.isfinite(norms))[0])} is not finite"
        )
    values /= np.where(norms > 0, norms, 1)
    return values


def presence(categories: Sequence[str], difficult: Sequence[bool], category: str) -> int:
    """Return VOC's label of an image for a category: `PRESENT`, `ABSENT` or `LEFT_OUT`.

    Args:
        categories: Category of each object of the image.
        difficult: Whether each object is marked difficult.
        category: The category asked for.
    """
    found = [hard for name, hard in zip(categories, difficult, strict=True) if name == category]
    if not found:
        return ABSENT
    return LEFT_OUT if all(found) else PRESENT


def one_vs_rest_scores(
    train: Float32s, labels: ArrayLike, test: Float32s, settings: SvmSettings | None = None
) -> Float32s:
    """Train one SVM on some images and score others.

    Args:
        train: `[n, d]` normalised features.
        labels: `[n]` of `PRESENT`, `ABSENT` and `LEFT_OUT`; the images left out are not trained on.
        test: `[m, d]` normalised features.
        settings: Of the SVM.

    Returns:
        float32 `[m]` scores.

    Raises:
        DataError: `one-class` without a positive or a negative.
        ConfigError: A setting is out of its range.
    """
    settings = settings or SvmSettings()
    signs = np.asarray(labels).reshape(-1)
    used = signs != LEFT_OUT
    weights, bias = train_svm(
        train if used.all() else train[used],
        signs[used],
        C=settings.C,
        positive_weight=settings.positive_weight,
        bias_scale=settings.bias_scale,
        seed=settings.seed % 2**31,
    )
    scores: Float32s = test @ weights + np.float32(bias)
    return scores


def is_far_smaller(count: int, length: int) -> bool:
    """Tell whether so many vectors span so much less than all their dimensions that `in_span` finds the axes."""
    return _SHORTER * count <= length


def in_span(train: Float32s, test: Float32s) -> tuple[Float32s, Float32s]:
    """Return images in coordinates of the space that the training images span, if its dimensions are far fewer.

    An SVM's weights are a combination of its training vectors, so that inner products are all that counts: its scores
    stay, up to rounding, and each of many SVMs on few long vectors costs a fraction.

    Args:
        train: `[n, d]` features.
        test: `[m, d]` features.

    Returns:
        float32 `[n, r]` and `[m, r]`, r at most n; as they came where n is above a quarter of d, since finding the axes
        takes n cubed, or where all training images are zeros.
    """
    count, length = train.shape
    if not is_far_smaller(count, length) or not train.any():
        return train, test
    products = np.zeros((count, count))  # in float64: small directions count, and their squares are smaller still
    for start in range(0, length, _COLUMNS):
        part = train[:, start : start + _COLUMNS].astype(np.float64)
        products += part @ part.T
    values, vectors = np.linalg.eigh(products)
    kept = values > values[-1] * count * np.finfo(np.float64).eps
    lengths = np.sqrt(values[kept])
    axes = vectors[:, kept]
    return (axes * lengths).astype(np.float32), (test @ train.T @ (axes / lengths)).astype(np.float32)


def voc07_class_ap(scores: ArrayLike, labels: ArrayLike) -> CategoryResult:
    """Return the average precision of ranking images by a category's score, by the devkit's rule (VOCevalcls).

    Args:
        scores: `[n]` scores of the images.
        labels: `[n]` of `PRESENT`, `ABSENT` and `LEFT_OUT`; the images left out are neither right nor wrong.
    """
    signs = np.asarray(labels).reshape(-1)
    outcomes = np.select([signs == PRESENT, signs == ABSENT], [TRUE_POSITIVE, FALSE_POSITIVE], IGNORED).astype(np.int8)
    values = np.asarray(scores, dtype=np.float64).reshape(-1)
    return summarise(values, outcomes, int(np.count_nonzero(signs == PRESENT)))


def draw_split(
    keys: Sequence[str], labels: Sequence[str], train_per_class: int, test_per_class: int, seed: int
) -> ClassSplit:
    """Draw images of every class to train on, and at most so many of the rest to test on.

    A class's draw depends on its own keys and the seed alone: not on other classes, nor on the order of the images.

    Args:
        keys: `n` image keys.
        labels: `n` classes.
        train_per_class: Images of each class to train on.
        test_per_class: At most so many others to test on; a smaller class gives what remains.
        seed: Of this split.

    Raises:
        ConfigError: A class has no image left to test on; the message names it.
    """
    rows: dict[str, list[int]] = {}
    for row, label in enumerate(labels):
        rows.setdefault(label, []).append(row)
    train, test = [], []
    for label in sorted(rows):
        own = sorted(rows[label], key=lambda row: keys[row])
        if len(own) <= train_per_class:
            raise ConfigError(
                f"class '{label}' has {len(own)} images: {train_per_class} to train on leave none to test on; "
                "lower train_per_class or exclude the class"
            )
        drawn = np.random.default_rng(derive_seed(seed, label)).permutation(own)
        train.append(np.sort(drawn[:train_per_class]))
        test.append(np.sort(drawn[train_per_class : train_per_class + test_per_class]))
    return ClassSplit(np.concatenate(train).astype(np.int64), np.concatenate(test).astype(np.int64))


def judge_split(
    features: Float32s, labels: Sequence[str], split: ClassSplit, settings: SvmSettings | None = None
) -> ClassResult:
    """Train one SVM a class on a split's training images, and judge the scores of its test images.

    Args:
        features: `[n, d]` normalised features of all images.
        labels: `n` classes.
        split: Rows to train and to test on.
        settings: Of the SVMs.

    Returns:
        Of the classes in alphabetical order.
    """
    classes = sorted(set(labels))
    own = np.array([classes.index(label) for label in labels])
    train, test = in_span(features[split.train], features[split.test])
    scores = [
        one_vs_rest_scores(train, np.where(own[split.train] == number, PRESENT, ABSENT), test, settings)
        for number in range(len(classes))
    ]
    return judge(np.stack(scores, axis=1), own[split.test], classes)
