"""Batches of crops: what is cut, by how many threads and workers, at which size."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pipelines.engine.workspace import Artifact
from pipelines.pretraining.batches import CropBatches, Cutter, centre_crop, fit_colours, load_example, square_around
from pipelines.pretraining.device_batches import DeviceBatches
from pipelines.pretraining.examples import CropExample, EpochOrder, examples_of
from pipelines.shards.image_cache import ImageCache
from sppnet.images.network_input import CAFFE_128, normalise_images
from sppnet.images.training_crops import EpochSizes, TrainingCrops
from sppnet.sizes import Size
from tests.support.tiny_workspace import SIZE, make_annotation, make_workspace


def examples_in(images: int, shard_size: int) -> list[CropExample]:
    notes = [make_annotation(f"im{number:03d}", number) for number in range(images)]
    return [
        CropExample(f"train/{int(note.key[2:]) // shard_size:06d}", note.key, label, box)
        for note in notes
        for label, box in examples_of(note, "object", difficult=False)
    ]


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return make_workspace(tmp_path_factory.mktemp("batches"), images=12, shard_size=3).artifact("images-tiny")


EXAMPLES = examples_in(12, 3)
SIZES = EpochSizes((48,))
LABELS = sorted({example.label for example in EXAMPLES})


def make_batches(
    images: Artifact,
    worker: tuple[int, int] = (0, 1),
    sizes: EpochSizes = SIZES,
    threads: int = 1,
    examples: list[CropExample] = EXAMPLES,
    steps: int = 20,
) -> CropBatches:
    cutter = Cutter("object", TrainingCrops(short_side=64, size=64), 0.5, "object", (1.0, 1.5), 0.1)
    cache = ImageCache(images, None, 1 << 18, shards=3)
    order = EpochOrder(examples, 2, seed=1)
    options: dict[str, Any] = {"batch": 10, "steps": steps, "worker": worker, "seed": 4, "threads": threads}
    return CropBatches(order, cache, cutter, LABELS, sizes=sizes, **options)


def test_workers_share_the_very_batch_of_one(images: Artifact) -> None:
    whole, parts = make_batches(images), [make_batches(images, (rank, 3)) for rank in range(3)]
    for step in (0, 7):
        samples, labels = whole.batch(step)
        shared = [part.batch(step) for part in parts]
        assert [len(classes) for _, classes in shared] == [4, 3, 3]
        for rank, (pixels, classes) in enumerate(shared):
            assert np.array_equal(pixels, samples[rank::3])
            assert np.array_equal(classes, labels[rank::3])
    for batches in (whole, *parts):
        batches.close()


def test_fewer_shards_than_workers_still_share_every_batch(images: Artifact) -> None:
    one_shard = [example for example in EXAMPLES if example.unit == "train/000002"]
    whole = make_batches(images, examples=one_shard)
    parts = [make_batches(images, (rank, 4), examples=one_shard) for rank in range(4)]
    samples, labels = whole.batch(3)
    for rank, part in enumerate(parts):
        pixels, classes = part.batch(3)
        assert np.array_equal(pixels, samples[rank::4])
        assert np.array_equal(classes, labels[rank::4])
        part.close()
    whole.close()


def test_threads_change_nothing(images: Artifact) -> None:
    one, many = make_batches(images, threads=1), make_batches(images, threads=5)
    for step in range(20):
        (a, b), (c, d) = one.batch(step), many.batch(step)
        assert np.array_equal(a, c)
        assert np.array_equal(b, d)
    many.wait()
    for batches in (one, many):
        batches.close()


def test_no_more_than_a_few_batches_are_ahead(images: Artifact) -> None:
    batches = make_batches(images)
    for step in range(18):
        batches.batch(step)
        assert sorted(batches._started.numbers) == [step, step + 1, step + 2]
    for step in (18, 19):
        batches.batch(step)
    assert batches._started.numbers == (19,)
    batches.close()


def test_epochs_take_turns_with_the_sizes(images: Artifact) -> None:
    assert len(EXAMPLES) == 21  # 24 objects, 3 of them difficult
    batches = make_batches(images, sizes=EpochSizes((48, 32)))
    sides = [batches.batch(step)[0].shape[1] for step in range(9)]
    assert sides == [48] * 3 + [32] * 2 + [48] * 2 + [32] * 2
    batches.close()


def test_a_random_size_lasts_an_epoch(images: Artifact) -> None:
    sizes = EpochSizes((64,), (40, 64), seed=8)
    batches = make_batches(images, sizes=sizes)
    sides = [batches.batch(step)[0].shape[1] for step in range(9)]
    first, second, third, fourth = (sizes.of(epoch) for epoch in range(4))
    assert sides == [first] * 3 + [second] * 2 + [third] * 2 + [fourth] * 2
    assert len({first, second, third, fourth}) > 1
    batches.close()


def test_an_unreadable_image_ends_the_batch_not_in_a_hang(images: Artifact) -> None:
    missing = [CropExample("train/000009", "im000", LABELS[0], (0, 0, 9, 9))]
    batches = make_batches(images, examples=missing, threads=2)
    with pytest.raises(Exception, match="train/000009"):
        batches.batch(0)
    batches.close()


@pytest.mark.parametrize("ahead", [False, True])
def test_the_networks_input_is_the_samples_normalised(images: Artifact, ahead: bool) -> None:
    plain = make_batches(images, steps=6)
    cpu = torch.device("cpu")
    ready = DeviceBatches(
        make_batches(images, steps=6), lambda samples: normalise_images(samples, CAFFE_128), cpu, 6, ahead=ahead
    )
    for step in range(2, 6):  # a training that goes on from a checkpoint starts anywhere
        samples, labels = plain.batch(step)
        tensor, classes = ready.batch(step)
        assert torch.equal(tensor, normalise_images(samples, CAFFE_128))
        assert torch.equal(classes, torch.from_numpy(labels))
        ready.wait()
    ready.close()
    plain.close()


def test_a_square_holds_the_object_and_stays_inside() -> None:
    ramp = np.zeros((100, 200, 3), np.uint8)
    ramp[:, :, 0], ramp[:, :, 1] = np.arange(200)[None], np.arange(100)[:, None]

    def corners(crop: np.ndarray) -> list[int]:
        return [*crop[0, 0, :2].tolist(), *crop[-1, -1, :2].tolist()]

    assert corners(square_around(ramp, (80, 40, 120, 60), 1.5, (0, 0))) == [70, 20, 129, 79]
    assert corners(square_around(ramp, (80, 40, 120, 60), 1.0, (0.25, -0.5))) == [90, 10, 129, 49]
    assert corners(square_around(ramp, (0, 0, 40, 40), 1.5, (0, 0))) == [0, 0, 59, 59]
    assert corners(square_around(ramp, (20, 10, 180, 90), 1.0, (0, 0))) == [20, 0, 179, 99]
    assert corners(centre_crop(ramp, (80, 40, 120, 60), 40)) == [80, 30, 119, 69]
    assert corners(centre_crop(ramp, (180, 0, 200, 20), 50)) == [150, 0, 199, 49]


@pytest.mark.parametrize("view", ["crop", "object", "image"])
@pytest.mark.parametrize("hw", [(120, 160), (20, 33)])
def test_every_view_gives_samples_of_the_networks_size(tmp_path: Path, view: Any, hw: tuple[int, int]) -> None:
    """An image smaller than a crop is enlarged to the short side first."""
    image = np.random.default_rng(0).integers(0, 255, (*hw, 3), dtype=np.uint8)
    cutter = Cutter(view, TrainingCrops(short_side=120, size=64)).at_size(48)
    rng = np.random.default_rng(1)
    resized = TrainingCrops(short_side=120, size=120, flip=False).sample(image, rng) if hw[0] < 64 else image
    height, width = resized.shape[:2]
    for box in ((10.0, 10.0, 60.0, 50.0), (0.0, 0.0, width, height), (width - 10.0, height - 20.0, width, height)):
        assert cutter.cut(resized, box, rng).shape == (48, 48, 3)
        assert np.array_equal(cutter.cut_centre(resized, box), cutter.cut_centre(resized, box))


def test_an_object_larger_than_any_crop_is_cut_at_its_centre_or_not_reached() -> None:
    cutter = Cutter("crop", TrainingCrops(short_side=100, size=40, flip=False, where="uniform"))
    ramp = np.zeros((100, 200, 3), np.uint8)
    ramp[:, :, 0], ramp[:, :, 1] = np.arange(200)[None], np.arange(100)[:, None]
    large, small = (20.0, 10.0, 180.0, 90.0), (60.0, 20.0, 100.0, 50.0)
    assert not cutter.reaches(Size(200, 100), large)
    assert cutter.reaches(Size(200, 100), small)
    assert cutter.cut(ramp, large, np.random.default_rng(0))[0, 0, :2].tolist() == [80, 30]
    by_iou = Cutter("crop", cutter.crops, overlap="iou")
    assert by_iou.reaches(Size(200, 100), small)
    assert not by_iou.reaches(Size(200, 100), (60.0, 20.0, 70.0, 30.0))  # far smaller than the crop
    assert Cutter("object", cutter.crops).reaches(Size(200, 100), large)
    # The image as it is stored is twice as large: the box counts in its pixels.
    assert cutter.reaches(Size(400, 200), tuple(2 * edge for edge in small))
    assert not cutter.reaches(Size(400, 200), tuple(2 * edge for edge in large))


def test_what_is_reached_is_what_a_crop_of_the_cached_image_overlaps(images: Artifact) -> None:
    """The index decides from sizes alone; the crop is then taken of the resized image."""
    for size, minimum in ((40, 0.9), (24, 0.6), (64, 0.3)):
        cutter = Cutter("crop", TrainingCrops(short_side=64, size=size, flip=False, where="uniform"), minimum, "iou")
        cache = ImageCache(images, 64, 1 << 20, shards=4)
        for example in EXAMPLES:
            image, box = load_example(cache, example)
            found = cutter.crops.sample_around(image, box, np.random.default_rng(0), min_overlap=minimum, overlap="iou")
            assert (found is not None) == cutter.reaches(Size(*SIZE), example.box)


def test_colours_of_some_images_or_none(images: Artifact) -> None:
    cache = ImageCache(images, None, 1 << 20, shards=4)
    assert fit_colours(cache, EXAMPLES, 0) is None
    found = fit_colours(cache, EXAMPLES, 0.2)
    assert found is not None
    assert found.strength == 0.2
    assert found == fit_colours(ImageCache(images, None, 1 << 20, shards=4), EXAMPLES, 0.2)
    assert 0 < found.eigenvalues[0] < found.eigenvalues[2] < 1
