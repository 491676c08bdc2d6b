"""Pre-training's images a second: the real chain, beside a bare loop of the same network on random tensors.

`train` is the whole chain of the `pretrain` stage (shards, decoding, crops, normalisation, the training loop) against
the same network stepped on tensors that lie on the device: what the chain costs where the device is the limit.
`input` is the chain's batches alone against a bare loop of decode, resize, crop on as many threads: what it costs
where decoding is. Both sides of a row run in this process in turn (A B A B). Checkpoints are left out of both.
"""

from __future__ import annotations

import statistics
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from jobs.bench.timing import device_name, median_rates, pick_device, seconds, timed_pairs
from jobs.bench.training_images import make_images, read_folder, store_images
from pipelines.artifacts.manifest import Manifest
from pipelines.engine.stage import StageSpec
from pipelines.engine.work import build_stage, run_unit
from pipelines.engine.workspace import Workspace
from pipelines.pretraining.config import PretrainConfig
from pipelines.pretraining.task import PretrainTask, build_network
from pipelines.stages.pretrain import Pretrain
from pipelines.training.config import Rate
from pipelines.training.loop import Training
from pipelines.training.optimizer import make_sgd
from pipelines.training.workers import LocalWorker
from sppnet.arrays import Pixels
from sppnet.errors import ConfigError
from sppnet.images.decoding import decode_image
from sppnet.images.training_crops import crop_origin, resize_short_side
from sppnet.networks.network import SppNetwork
from sppnet.sizes import Size

TARGETS = {"train": 0.95, "input": 0.9}
"""Least ratio of ours to the peer's: for `train` where the device is the limit, for `input` where decoding is."""
_WARM = 1
_LONG = 10**6  # steps of a schedule that no measure comes to the end of


def run(
    *,
    repeats: int = 5,
    images: str | Path | None = None,
    ray: bool = False,
    architecture: str = "zf5",
    size: int = 224,
    short_side: int = 256,
    batch: int = 32,
    steps: int | None = None,
    count: int = 256,
    threads: int | None = None,
    width: float = 1.0,
    device: str | torch.device | None = None,
) -> list[dict[str, Any]]:
    """Measure both parts of pre-training on one device.

    Args:
        repeats: Pairs of timed runs of `steps` steps per row, after some steps of each to warm up.
        images: A folder of images, each folder in it a class; default: drawn ones, 500 x 375 JPEG.
        ray: Whether the chain also runs under Ray Train, with one worker on a local Ray.
        architecture: The network, with SPP and the paper's fc layers.
        size: Side of its input, in pixels.
        short_side: What images are resized to before they are cropped, in pixels.
        batch: Images of a step.
        steps: Timed steps of a run; default: 50 on a GPU, 1 on a CPU.
        count: How many images are drawn, or read from the folder at most.
        threads: Threads that decode; default: one for each CPU.
        width: Multiplies the network's channels.
        device: Default: the CUDA device if there is one, else the CPU. On CUDA the network runs in bfloat16.

    Returns:
        One dict per row: `name`, `device`, `dtype`, `network`, `size`, `batch`, `threads`, `ours_per_s` and
        `peer_per_s` (images a second, medians), `peer`, `ratio` (median of ours / peer over the pairs), `target`.

    Raises:
        ConfigError: A folder without images of two classes.
    """
    place = pick_device(device)
    steps = steps or (50 if place.type == "cuda" else 1)
    threads = threads or torch.get_num_threads()
    records = read_folder(Path(images), count) if images else make_images(count)
    config = PretrainConfig(
        stage="pretrain",
        images="images",
        view="image",
        architecture=architecture,
        width=width,
        size=(size,),
        short_side=short_side,
        batch=batch,
        precision="bfloat16" if place.type == "cuda" else "float32",
        holdout=0,
        plateau=None,
        schedule=(Rate(lr=1e-3, steps=_LONG),),
        log_every=_LONG,
        measure_every=_LONG,
        checkpoint_every=_LONG,
        cache_bytes=1,  # every image is decoded anew, as in a data set that no cache holds
        threads=threads,
        gpus=1 if place.type == "cuda" else 0,
    )
    with tempfile.TemporaryDirectory(prefix="sppnet-bench-") as folder:
        workspace = Workspace.open(folder)
        manifest = store_images(workspace.artifact("images-bench"), records)
        spec = _indexed(workspace, config, "network-bench", manifest)
        rows = [_train_row(spec, place, steps, repeats), _input_row(spec, [r.data for r in records], steps, repeats)]
        if ray:
            rows.append(_ray_row(workspace, config, manifest, rows[0], steps, repeats))
    return rows


def _indexed(workspace: Workspace, config: PretrainConfig, name: str, manifest: Manifest) -> StageSpec:
    """Make a step's index, and return its spec."""
    inputs = (("images", ("images-bench",)),)
    spec = StageSpec(workspace.store.uri, "pretrain", name, config.model_dump_json(), inputs, 0, manifest.digest)
    for unit in _stage(spec).phases()[0].units:
        run_unit(spec, unit)
    return spec


def _stage(spec: StageSpec) -> Pretrain:
    stage = build_stage(spec)
    if not isinstance(stage, Pretrain):
        raise ConfigError(f"step {spec.step} is no pretrain step")
    return stage


def _train_row(spec: StageSpec, device: torch.device, steps: int, repeats: int) -> dict[str, Any]:
    """Time the stage's own loop beside the bare one, each with a network of its own."""
    stage = _stage(spec)
    training = Training(stage, LocalWorker(device))
    task = PretrainTask(stage.task_inputs(), training.worker)
    place = training.begin(task)
    bare = BareLoop(build_network(stage.config, len(stage.classes())), stage.config, device)

    def ours(count: int = steps) -> None:
        nonlocal place
        for _ in range(count):
            training.advance(place)
            place += 1
        task.batches.wait()  # as many batches are made as are used: what was made ahead is no gift

    def peer() -> None:
        for _ in range(steps):
            bare.step()

    try:
        ours(_WARM)
        bare.step()
        return _common(stage.config, device) | {
            "name": "train",
            "peer": "bare loop on random tensors",
            **median_rates(timed_pairs(ours, peer, repeats, device), steps * stage.config.batch),
            "target": TARGETS["train"],
        }
    finally:
        task.close()


class BareLoop:
    """A network stepped on one batch of random tensors: what the device does at best.

    Args:
        network: The network.
        config: Optimizer, batch, size and precision.
        device: Where it computes.
    """

    def __init__(self, network: SppNetwork, config: PretrainConfig, device: torch.device) -> None:
        self.network: nn.Module = network.to(device).train()
        self._device = device
        self._lower = config.precision == "bfloat16"
        self._optimizer = make_sgd(
            network, lr=config.schedule[0].lr, momentum=config.momentum, weight_decay=config.weight_decay
        )
        generator = torch.Generator().manual_seed(0)
        shape, classes = (config.batch, 3, config.size[0], config.size[0]), network.head.spec.classes
        images = torch.randn(shape, generator=generator).to(memory_format=torch.channels_last)
        self._images = images.to(device)
        self._labels = torch.randint(classes, (config.batch,), generator=generator).to(device)

    def step(self) -> torch.Tensor:
        """Do one step of SGD, and return its loss, on the device."""
        with torch.autocast(self._device.type, dtype=torch.bfloat16, enabled=self._lower):
            loss = F.cross_entropy(self.network(self._images).float(), self._labels)
        self._optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        self._optimizer.step()
        return loss.detach()


def _input_row(spec: StageSpec, encoded: list[bytes], steps: int, repeats: int) -> dict[str, Any]:
    """Time the stage's batches, not normalised, beside a bare loop over the images' bytes."""
    stage = _stage(spec)
    config = stage.config
    task = PretrainTask(stage.task_inputs(), LocalWorker(torch.device("cpu")))
    batches, threads = task.batches.crops, config.threads or 1
    count, place = max(steps, 8), 0
    with ThreadPoolExecutor(threads) as pool:

        def ours() -> None:
            nonlocal place
            for _ in range(count):
                batches.batch(place)
                place += 1
            batches.wait()

        def peer() -> None:
            for step in range(count):
                data = [encoded[(step * config.batch + at) % len(encoded)] for at in range(config.batch)]
                np.stack(list(pool.map(lambda one: bare_crop(one, config.short_side, config.size[0]), data)))

        try:
            ours()
            peer()
            return _common(config, torch.device("cpu")) | {
                "name": "input",
                "dtype": "uint8",
                "peer": "bare decode, resize, crop",
                **median_rates(timed_pairs(ours, peer, repeats, torch.device("cpu")), count * config.batch),
                "target": TARGETS["input"],
            }
        finally:
            task.close()


def bare_crop(data: bytes, short_side: int, size: int) -> Pixels:
    """Decode, resize and crop one image: uint8 `[size, size, 3]`."""
    image = resize_short_side(decode_image(data), short_side)
    top, left = crop_origin(Size.of(image), size, "five", np.random.default_rng(0))
    return image[top : top + size, left : left + size]


def _ray_row(
    workspace: Workspace, config: PretrainConfig, manifest: Manifest, train: dict[str, Any], steps: int, repeats: int
) -> dict[str, Any]:
    """Time one worker of Ray Train on `steps` more steps, so that neither start nor end of a training counts."""
    from pipelines.executors.ray_core import RayExecutor

    def trained(number: int, count: int) -> float:
        """Time a whole training of so many steps."""
        short = config.model_copy(update={"schedule": (Rate(lr=1e-3, steps=count),)})
        spec = _indexed(workspace, short, f"network-ray-{number}-{count}", manifest)
        phase = _stage(spec).training_phase()
        return seconds(lambda: executor.train(spec, phase, "model"), torch.device("cpu"))

    executor = RayExecutor("local")
    try:
        rates = []
        for number in range(repeats):
            short, long = (trained(number, k * steps) for k in (1, 3))
            rates.append(2 * steps * config.batch / (long - short))
    finally:
        executor.close()
    ours = statistics.median(rates)
    return train | {"name": "train, Ray Train", "ours_per_s": ours, "ratio": ours / train["peer_per_s"]}


def _common(config: PretrainConfig, device: torch.device) -> dict[str, Any]:
    return {
        "name": "",
        "device": device_name(device),
        "dtype": config.precision,
        "network": f"{config.architecture} x{config.width:g}",
        "size": config.size[0],
        "batch": config.batch,
        "threads": config.threads,
    }
