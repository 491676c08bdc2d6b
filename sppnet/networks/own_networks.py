"""Networks of the user's own packages: `package.module:factory`, whose forward gives the map.

What may be imported at all, `sppnet.own_parts` says.
"""

from __future__ import annotations

import copy

import torch
from torch import fx, nn

from sppnet.errors import ConfigError
from sppnet.networks.receptive_fields import trace_layers
from sppnet.networks.timm_models import in_known_layers
from sppnet.own_parts import own_code, resolve, told

_FIELD = "backbone.architecture"
_MORE = 4


def build_model(path: str) -> nn.Module:
    """Call a factory, without arguments; layers of timm's that are known get their geometry.

    Raises:
        ConfigError: It may not be called here, raises something, or gives no module.
    """
    device, factory = torch.get_default_device(), resolve(path)
    try:
        with own_code():
            network = factory()
    except Exception as error:
        if device.type == "meta":  # it computes with values, which the meta device has not
            with torch.device("cpu"):
                return build_model(path).to(device)
        raise ConfigError(f"{_FIELD}: {path} raised {told(error)}") from error
    if not isinstance(network, nn.Module):
        raise ConfigError(f"{_FIELD}: {path} gave a value of type {type(network).__name__}, no torch.nn.Module")
    if device.type == "meta":  # a copy: the factory may keep what it gave
        network = copy.deepcopy(network).to(device)
    return in_known_layers(network)


def whole_network(network: nn.Module, path: str) -> nn.Module:
    """Return a network in its operations, as one that is cut is; its parameters keep their names.

    Raises:
        ConfigError: It can't be traced.
    """
    if isinstance(network, nn.Sequential):
        return network
    try:
        graph = trace_layers(network.eval())
    except ConfigError as error:
        raise ConfigError(f"{_FIELD}: {path}: {error}") from error
    return fx.GraphModule(network, graph, type(network).__name__).train()


def check_map(trunk: nn.Module, stride: int, side: int, path: str) -> None:
    """Check, on shapes alone, that a network gives maps, and a cell more for each stride of pixels more.

    Args:
        trunk: On the meta device, in evaluation mode.
        stride: Pixels between cells, as traced.
        side: Of an image that has cells, pixels.
        path: What it is, for messages.

    Raises:
        ConfigError: It gives something else, or its forward raises something.
    """
    shapes, larger = [], side + _MORE * stride
    for pixels in (side, larger):
        try:
            with torch.inference_mode(), own_code():
                maps = trunk(torch.empty(1, 3, pixels, pixels, device="meta"))
        except Exception as error:
            raise ConfigError(
                f"{_FIELD}: {path}: its forward raised {told(error)} on images of {pixels} pixels"
            ) from error
        if not isinstance(maps, torch.Tensor) or maps.ndim != 4 or not maps.is_floating_point():
            shape = list(maps.shape) if isinstance(maps, torch.Tensor) else type(maps).__name__
            raise ConfigError(
                f"{_FIELD}: {path}: its forward gives {shape}, expected maps [N, C, h, w] of a float type"
            )
        shapes.append(tuple(maps.shape[2:]))
    (rows, columns), more = shapes
    if more != (rows + _MORE, columns + _MORE):
        raise ConfigError(
            f"{_FIELD}: {path}: images of {side} and {larger} pixels have maps of {rows} x {columns} and {more[0]} x "
            f"{more[1]} cells, which is no stride of {stride} pixels"
        )
