"""Weights as scripts leave them, against the names of the network that they were saved from."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
import torch

from sppnet.errors import ConfigError
from sppnet.networks.backbones import Backbone, BackboneSpec, build_backbone
from sppnet.networks.checkpoints import Loaded, load_found
from sppnet.networks.state_dicts import read_weights
from sppnet.networks.weights import write_safetensors

State = Mapping[str, torch.Tensor]
RESNET = BackboneSpec("torchvision:resnet18", cut="layer1")
SMALL = BackboneSpec("zf5", width=1 / 32)


def resnet() -> dict[str, torch.Tensor]:
    from torchvision.models import resnet18

    return {name: value for name, value in resnet18(weights=None).state_dict().items() if value.numel() < 50_000}


def behind(prefix: str, state: State) -> dict[str, torch.Tensor]:
    return {prefix + name: value for name, value in state.items()}


def load(spec: BackboneSpec, value: object, **options: Any) -> tuple[Backbone, Loaded]:
    sink = io.BytesIO()
    torch.save(value, sink)
    backbone = build_backbone(spec)
    return backbone, load_found(backbone, read_weights(sink.getvalue(), "w"), "w", **options)


def equal(backbone: Backbone, state: State) -> bool:
    return all(torch.equal(value, state[name]) for name, value in backbone.trunk.state_dict().items())


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: behind("module.", state),
        lambda state: {"state_dict": behind("module.model._orig_mod.", state), "epoch": 9},
        lambda state: {"state_dict": {**behind("model.", state), "loss.weight": torch.ones(3)}, "lr": 0.1},
        lambda state: behind("encoder.trunk.", state),
        lambda state: {"module": state, "optimizer": {"state": {0: {"exp_avg": torch.ones(2)}}}},
        lambda state: {"n_averaged": torch.tensor(7), **behind("module.", state)},
        lambda state: {re.sub(r"^layer1\.", "layer1._orig_mod.", name): value for name, value in state.items()},
        lambda state: {**state, "total_ops": torch.zeros(1), "layer1.0.total_params": torch.zeros(1)},
        lambda state: {**state, "epoch": 3, "fc.1.weight": torch.ones(2), "head.weight": torch.ones(2)},
        lambda state: {name: value for name, value in state.items() if not name.endswith("num_batches_tracked")},
    ],
)
def test_names_are_found_behind_anything_that_all_share(wrap: Callable[[State], object]) -> None:
    state = resnet()
    backbone, loaded = load(RESNET, wrap(state))
    assert equal(backbone, state)
    assert (loaded.beside, loaded.cast) == ({}, {})


def test_densenets_published_names() -> None:
    spec = BackboneSpec("torchvision:densenet121", cut="features.denseblock1.denselayer1")
    state = {name: torch.rand(value.shape) for name, value in build_backbone(spec).trunk.state_dict().items()}
    state = {name: value for name, value in state.items() if not name.endswith("num_batches_tracked")}
    old = {re.sub(r"(denselayer\d+\.(?:norm|conv))([12])\.", r"\1.\2.", name): value for name, value in state.items()}
    assert "features.denseblock1.denselayer1.norm.1.weight" in old
    backbone, _ = load(spec, old)
    found = backbone.trunk.state_dict()
    assert all(torch.equal(found[name], value) for name, value in state.items())
    assert int(found["features.norm0.num_batches_tracked"]) == 0


def test_several_networks_are_named_and_one_is_chosen() -> None:
    mine, other = resnet(), resnet()
    both = {"model": mine, "model_ema": {"n_averaged": torch.tensor(1), **behind("module.", other)}}
    with pytest.raises(
        ConfigError, match=r"w: holds 2 networks of these names, behind 'model', 'model_ema': .*state_dict: 'model'"
    ):
        load(RESNET, both)
    assert equal(load(RESNET, both, choice="model")[0], mine)
    assert equal(load(RESNET, both, choice="model_ema")[0], other)
    with pytest.raises(
        ConfigError, match=r"state_dict: w has no tensors .* behind 'ema', but: '(model|model_ema)', 'm"
    ):
        load(RESNET, both, choice="ema")
    deeper = {"student": behind("backbone.", mine), "teacher": {"inner": behind("backbone.", other)}}
    assert equal(load(RESNET, deeper, choice="teacher")[0], other)
    assert equal(load(RESNET, deeper, choice="student.backbone")[0], mine)
    with pytest.raises(ConfigError, match=r"state_dict: w has no tensors .* behind 'teach', but: 'student.backbone', "):
        load(RESNET, deeper, choice="teach")
    top = {**mine, **behind("encoder_k.", other)}
    with pytest.raises(ConfigError, match=r"behind '.', 'encoder_k'"):
        load(RESNET, top)
    assert equal(load(RESNET, top, choice="encoder_k")[0], other)
    assert equal(load(RESNET, top, choice=".")[0], mine)
    wider = build_backbone(BackboneSpec("zf5", width=1 / 16)).trunk.state_dict()
    small = build_backbone(SMALL).trunk.state_dict()
    assert equal(load(SMALL, {"wide": wider, "narrow": small})[0], small)


@pytest.mark.parametrize(("kind", "name"), [(torch.float16, "float16"), (torch.bfloat16, "bfloat16")])
def test_half_precision_is_cast_and_counted(kind: torch.dtype, name: str) -> None:
    state = {key: value.to(kind) for key, value in build_backbone(SMALL).trunk.state_dict().items()}
    backbone, loaded = load(SMALL, state)
    assert backbone.dtype == torch.float32
    assert all(torch.equal(value, state[key].float()) for key, value in backbone.trunk.state_dict().items())
    assert loaded.cast == {name: len(state)}


def test_a_head_beside_the_backbone_comes_along() -> None:
    state = build_backbone(SMALL).trunk.state_dict()
    head = {"head.layers.fc6.weight": torch.ones(2)}
    options: dict[str, Any] = {"inner": "backbone.trunk.", "is_beside": lambda name: "fc6" in name}
    for given in ({**state, **head}, {**behind("backbone.trunk.", state), **head}):
        for prefix in ("", "module.", "ours."):
            backbone, loaded = load(SMALL, behind(prefix, given), **options)
            assert equal(backbone, state)
            assert list(loaded.beside) == list(head)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"conv2.weight": None}, r"w: tensor 'conv2.weight' \[8, 8, 5, 5\] is missing, but there is 'conv\d.weight'"),
        ({"conv2.weight": torch.ones(3)}, r"tensor 'conv2.weight' has shape \[3\], the network needs \[8, 8, 5, 5\]"),
        ({"conv6.weight": torch.ones(3)}, r"w: tensor 'conv6.weight' \[3\] is unexpected"),
        ({"conv1.bias": torch.full((8,), torch.nan)}, "w: tensor 'conv1.bias' holds values that are no finite numbers"),
        ({"conv1.bias": torch.full((8,), 1e300, dtype=torch.float64)}, "holds values that are no finite numbers"),
        ({"conv1.bias": torch.ones(8, dtype=torch.complex64)}, "w: tensor 'conv1.bias' is complex64, weights are fl"),
        ({"conv1.bias": torch.ones(8, dtype=torch.bool)}, "w: tensor 'conv1.bias' is bool, weights are float16"),
        ({"conv1.bias": torch.ones(8, dtype=torch.int8)}, "w: tensor 'conv1.bias' is int8"),
        ({"conv1.bias": torch.ones(8, dtype=torch.float8_e4m3fn)}, "w: tensor 'conv1.bias' is float8_e4m3fn"),
        ({"conv1.bias": torch.ones(8).to_sparse()}, "w: tensor 'conv1.bias' is torch.sparse_coo, weights are plain"),
        ({"conv1.bias": torch.ones(8, device="meta")}, "w: tensor 'conv1.bias' is without values"),
        ({"conv1.bias": torch.zeros(1).expand(10**9, 10**9)}, r"has shape \[1000000000, 1000000000\]"),
    ],
)  # fmt: skip
@pytest.mark.filterwarnings("ignore:Validating sparse tensor invariants")
def test_the_first_wrong_tensor_is_named(change: dict[str, torch.Tensor | None], message: str) -> None:
    state = {**build_backbone(SMALL).trunk.state_dict(), **change}
    with pytest.raises(ConfigError, match=message) as caught:
        load(SMALL, {name: value for name, value in state.items() if value is not None})
    assert "\n" not in str(caught.value)


def test_another_network_is_told_by_what_it_holds() -> None:
    with pytest.raises(ConfigError, match=r"w: tensor 'conv1.weight' .*missing; 10 of .* 10 are; it holds stem.0, "):
        load(SMALL, {"stem.0": torch.ones(1), "blocks.0.weight": torch.ones(1)})
    partly = {name: value for name, value in build_backbone(SMALL).trunk.state_dict().items() if "5" not in name}
    with pytest.raises(ConfigError, match=r"w \(behind 'state_dict.net'\): tensor 'conv5.weight' .* is missing"):
        load(SMALL, {"state_dict": behind("net.", partly)})


@pytest.mark.parametrize("form", ["zip", "older", "safetensors"])
def test_damaged_files_load_or_are_told_in_one_line(form: str) -> None:
    """Mutated bytes, most of them where names and sizes are described."""
    backbone = build_backbone(SMALL)
    state, sink = backbone.trunk.state_dict(), io.BytesIO()
    torch.save({"model": state}, sink, _use_new_zipfile_serialization=form == "zip")
    whole = write_safetensors(state) if form == "safetensors" else sink.getvalue()
    random, told = np.random.default_rng(7), list[str]()
    for number in range(150):
        data = np.frombuffer(whole, np.uint8).copy()
        described = 2000 if number % 2 else len(data)
        places = (
            random.integers(len(data) - described, len(data)) if number % 4 == 1 else random.integers(0, described, 3)
        )
        data[places] = random.integers(0, 256, np.shape(places))
        cut = int(random.integers(1, len(data))) if number % 5 == 0 else len(data)
        try:
            load_found(backbone, read_weights(data[:cut].tobytes(), "w"), "w")
        except ConfigError as error:
            told.append(str(error))
    assert len(told) >= 50
    assert all(line.isprintable() and line.startswith("w") for line in told)
