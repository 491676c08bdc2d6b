"""The protocols of the `transfer` stage: what is fitted to features, image by image, and how it is judged.

Both share one interface, so that the stage knows neither: the splits that they read, the parts of the work that are
units of their own, one part's figures, and the figures of all parts as one row of the result.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeAlias

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from pipelines.artifacts.class_metrics import confusions_body, figures_body, rounded
from sppnet.arrays import Float32s
from sppnet.errors import ConfigError, DataError
from sppnet.evaluation.classification import ClassResult
from sppnet.evaluation.transfer import (
    PRESENT,
    SvmSettings,
    draw_split,
    judge_split,
    one_vs_rest_scores,
    presence,
    voc07_class_ap,
)


@dataclass(frozen=True, slots=True)
class ImageLabels:
    """What one image shows.

    Attributes:
        key: The image's key.
        split: Its split.
        categories: Category of each object.
        difficult: Whether each object is marked difficult.
    """

    key: str
    split: str
    categories: tuple[str, ...]
    difficult: tuple[bool, ...]


class Voc07Protocol(BaseModel):
    """PASCAL VOC2007's classification (section 3.2): is the category in the image?

    Attributes:
        kind: `voc07`.
        train: Splits whose images the SVMs are trained on.
        test: The split that is judged.
        categories: Categories to judge; by default all of the data set.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["voc07"] = "voc07"
    train: Annotated[tuple[str, ...], Field(min_length=1)] = ("trainval",)
    test: str = "test"
    categories: Annotated[tuple[str, ...], Field(min_length=1)] | None = None

    @model_validator(mode="after")
    def _apart(self) -> Voc07Protocol:
        if self.test in self.train:
            raise ValueError(f"split {self.test} is both trained and tested on")
        return self

    @property
    def splits(self) -> tuple[str, ...]:
        """All splits that are read."""
        return tuple(dict.fromkeys((*self.train, self.test)))

    @property
    def named(self) -> tuple[str, ...]:
        """The categories that the config names."""
        return self.categories or ()

    def parts(self, categories: tuple[str, ...]) -> tuple[str, ...]:
        """Return the categories, of those that the data set has."""
        return self.categories or categories

    def takes(self, key: str, categories: Sequence[str]) -> bool:
        """Tell whether an image is used: each is."""
        return True

    def fit(
        self, images: Sequence[ImageLabels], values: Float32s, part: str, settings: SvmSettings, seed: int
    ) -> dict[str, Any]:
        """Average precision of a category's SVM on the test split.

        Args:
            images: What each image shows.
            values: `[n, d]` normalised features of the images.
            part: The category.
            settings: Of the SVM.
            seed: Of random splits; there are none here.

        Raises:
            ConfigError: No training image shows the category.
            DataError: `one-class`: all training images show it.
        """
        labels = np.array([presence(image.categories, image.difficult, part) for image in images])
        tested = np.array([image.split == self.test for image in images])
        if not (labels[~tested] == PRESENT).any():
            raise ConfigError(f"no image of {', '.join(self.train)} shows it; leave it out of protocol.categories")
        scores = one_vs_rest_scores(values[~tested], labels[~tested], values[tested], settings)
        result = voc07_class_ap(scores, labels[tested])
        ap = None if np.isnan(result.voc07_ap) else rounded(result.voc07_ap)
        return {"ap": ap, "positives": result.positives, "images": int(tested.sum())}

    def row(self, figures: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
        """Return the mean AP over the categories that the test split has, and the AP of each."""
        aps = {category: found["ap"] for category, found in figures.items()}
        known = [ap for ap in aps.values() if ap is not None]
        return {
            "images": max(found["images"] for found in figures.values()),
            "members": [],
            "figures": figures_body({"voc07_map": [float(np.mean(known)) if known else None]}),
            "classes": aps,
        }


class Caltech101Protocol(BaseModel):
    """Caltech101's (section 3.3): which class is it? Averaged over random splits of the images.

    The paper counts 9,144 images in 102 categories: the folder BACKGROUND_Google is one of them, and stays in unless
    `exclude` names it.

    Attributes:
        kind: `caltech101`.
        split: The split that holds all images.
        train_per_class: Images of each class to train on. [images; section 3.3]
        test_per_class: At most so many others of each class to test on. [images; section 3.3]
        repeats: How many random splits. [splits; section 3.3]
        exclude: Classes to leave out.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["caltech101"]
    split: str = "all"
    train_per_class: Annotated[int, Field(ge=1)] = 30
    test_per_class: Annotated[int, Field(ge=1)] = 50
    repeats: Annotated[int, Field(ge=1, le=1000)] = 10
    exclude: tuple[str, ...] = ()

    @property
    def splits(self) -> tuple[str, ...]:
        """All splits that are read."""
        return (self.split,)

    @property
    def named(self) -> tuple[str, ...]:
        """The classes that the config names."""
        return self.exclude

    def parts(self, categories: tuple[str, ...]) -> tuple[str, ...]:
        """Return numbers of the random splits."""
        return tuple(f"{number:03d}" for number in range(self.repeats))

    def takes(self, key: str, categories: Sequence[str]) -> bool:
        """Tell whether an image's class is used.

        Args:
            key: The image's.
            categories: Those of its objects.

        Raises:
            DataError: `not-one-class`: it shows none or several.
        """
        classes = set(categories)
        if len(classes) != 1:
            raise DataError("not-one-class", f"{key} shows {len(classes)} classes")
        return not classes & set(self.exclude)

    def fit(
        self, images: Sequence[ImageLabels], values: Float32s, part: str, settings: SvmSettings, seed: int
    ) -> dict[str, Any]:
        """Return the confusion matrix of one random split.

        Args:
            images: What each image shows.
            values: `[n, d]` normalised features of the images.
            part: Number of the split.
            settings: Of the SVMs.
            seed: Of the random split.

        Raises:
            ConfigError: A class has no image left to test on.
        """
        labels = [image.categories[0] for image in images]
        keys = [image.key for image in images]
        split = draw_split(keys, labels, self.train_per_class, self.test_per_class, seed)
        result = judge_split(values, labels, split, settings)
        return {"labels": list(result.labels), "confusion": result.confusion.tolist(), "in_top5": result.in_top5}

    def row(self, figures: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
        """Return the mean and deviation of each figure over the splits, and the splits' summed confusions."""
        results = [
            ClassResult(tuple(found["labels"]), np.array(found["confusion"]), found["in_top5"])
            for found in figures.values()
        ]
        summed = sum(results[1:], results[0])
        return {
            "images": results[0].images,
            "members": list(figures),
            "figures": figures_body({name: [result.figures[name] for result in results] for name in summed.figures}),
            "classes": {name: rounded(value) for name, value in summed.accuracies.items()},
            **confusions_body(summed),
        }


TransferProtocol: TypeAlias = Annotated[Voc07Protocol | Caltech101Protocol, Field(discriminator="kind")]
