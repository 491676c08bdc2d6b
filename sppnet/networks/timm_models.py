"""timm's classifiers as backbones: building them by name, in layers whose geometry is known, and what they want.

timm is an extra: `pip install 'sppnet[timm]'`.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import torch
from torch import nn

from sppnet.errors import ConfigError
from sppnet.images.network_input import Preprocessing
from sppnet.networks.cuts import nearest
from sppnet.networks.timm_layers import NormActivation, SameConvolution

# They keep positions. Some scale channels by a mean over the whole map, as squeeze-excitation does: see `build_model`
# of `torchvision_models`.
_KEEP_POSITIONS = (
    "DropPath", "SqueezeExcite", "SEModule", "EffectiveSEModule", "EcaModule", "LayerScale", "LayerScale2d",
    "GroupNormAct", "LayerNormAct", "LayerNormAct2d", "FrozenBatchNormAct2d", "RmsNorm2d", "Mlp",
    "GlobalResponseNormMlp",
)  # fmt: skip


def build_model(name: str) -> nn.Module:
    """Build one of timm's networks with fresh weights, ready to be cut; its parameters have timm's names.

    Raises:
        ConfigError: timm isn't installed, or has no network of that name.
    """
    create = _timm(name).create_model
    try:
        network: nn.Module = create(name, pretrained=False)
    except (NotImplementedError, RuntimeError):  # it computes with values, which the meta device has not
        device = torch.get_default_device()
        with torch.device("cpu"):
            network = create(name, pretrained=False).to(device)
    return in_known_layers(network)


@lru_cache(maxsize=64)
def model_pixels(name: str) -> Preprocessing:
    """Return what timm says that a network's own weights want: of its tag's, or its first ones.

    Raises:
        ConfigError: timm isn't installed, has no network of that name, or it wants other images than RGB.
    """
    config = _timm(name).models.get_pretrained_cfg(name)
    mean, std = ((0.5, 0.5, 0.5),) * 2 if config is None else (config.mean, config.std)
    try:
        scaled_mean, scaled_std = (tuple(round(255.0 * value, 6) for value in values) for values in (mean, std))
        return Preprocessing("rgb", scaled_mean, scaled_std)  # type: ignore[arg-type]
    except (TypeError, ConfigError) as error:
        raise ConfigError(f"backbone.architecture: timm's {name} takes no RGB images: {error}") from error


def in_known_layers(network: nn.Module) -> nn.Module:
    """Put layers that are known here in the place of timm's of the same values; all names stay.

    Modules are told by their class's name and what they are made of, so that no timm is needed for it.
    """
    for module in list(network.modules()):
        for name, child in module.named_children():
            kind = type(child).__name__
            if kind == "Conv2dSame" and isinstance(child, nn.Conv2d):
                setattr(module, name, SameConvolution(child))
            elif kind == "BatchNormAct2d" and isinstance(child, nn.BatchNorm2d):
                setattr(module, name, NormActivation(child, _only_act(child)))
            elif kind in _KEEP_POSITIONS:
                child.keeps_geometry = True  # type: ignore[assignment]
    return network


def _only_act(norm: nn.Module) -> nn.Module:
    """Return what activates a normalisation; raise `ConfigError` if it does something else besides."""
    parts = dict(norm.named_children())
    act = parts.pop("act", nn.Identity())
    for name, part in parts.items():
        if not isinstance(part, nn.Identity):
            raise ConfigError(f"a normalisation with {name} {type(part).__name__} is not known")
    return act


def _timm(name: str) -> Any:
    """Return timm, which has a network of a name."""
    try:
        import timm
    except ImportError as error:
        raise ConfigError(
            f"backbone.architecture: timm:{name} needs timm, which can't be imported ({error}): "
            "pip install 'sppnet[timm]'"
        ) from error
    plain, _, tag = name.partition(".")
    if ":" in name or not timm.is_model(name):
        raise ConfigError(f"timm has no network {name!r}{nearest(plain, timm.list_models())}")
    try:
        timm.models.get_pretrained_cfg(name)
    except RuntimeError as error:
        known = [one.partition(".")[2] for one in timm.list_pretrained(f"{plain}.*")]
        raise ConfigError(f"timm has no weights {tag!r} of {plain}, but: {', '.join(known) or 'none'}") from error
    return timm
