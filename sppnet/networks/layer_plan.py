"""From a network's graph to steps: layers recognised, batch norms folded, ReLUs fused with convolutions.

What computes a layer is made by a kit: one for rows on a CPU, one for whole maps on a GPU. From the first layer on that
is not known, the rest of the network runs on whole maps as torch has it.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeGuard, TypeVar

import torch
from torch import fx, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_weights

from sppnet.networks.norms import ResponseNorm, WithinChannelNorm
from sppnet.networks.receptive_fields import is_plain, trace_layers
from sppnet.networks.timm_layers import NormActivation, SameConvolution

_NOTHING = (nn.Identity, nn.Dropout, nn.Dropout2d)
"""What does nothing in evaluation mode."""
_POINTWISE = (nn.BatchNorm2d, nn.LeakyReLU, nn.ELU, nn.GELU, nn.SiLU, nn.Hardswish, nn.Sigmoid, nn.Hardsigmoid)
_RELUS = frozenset({torch.relu, F.relu, F.relu_})
_SUMS = frozenset({operator.add, operator.iadd, torch.add})
_CONCATENATIONS = frozenset({torch.cat, torch.concat})


IMAGE = -1
"""The number of the image among the sources of a step."""

Layer = TypeVar("Layer")
"""What a kit makes."""
Made = TypeVar("Made", covariant=True)


class LayerKit(Protocol[Made]):
    """Makes what computes a layer."""

    def convolution(
        self, weight: torch.Tensor, bias: torch.Tensor | None, module: nn.Conv2d, ceiling: float | None
    ) -> Made:
        """Make a convolution with the activation behind it.

        Args:
            weight: `[O, C / groups, k, k]`.
            bias: `[O]`.
            module: the convolution whose geometry is taken.
            ceiling: of the activation: None for no activation at all, infinity for ReLU, 6 for ReLU6.
        """

    def max_pooling(self, module: nn.MaxPool2d) -> Made:
        """Make a max pooling of a map without any sign bit."""

    def across_channels(self, module: ResponseNorm) -> Made:
        """Make a `ResponseNorm` with the usual exponent."""

    def within_channel(self, module: WithinChannelNorm) -> Made:
        """Make a `WithinChannelNorm` with the usual exponent."""

    def pointwise(self, function: Callable[..., torch.Tensor], *, whole: bool, keeps_zeros: bool) -> Made:
        """Make a function of cells of the same place, one `[N, C, h, w]` an input.

        Args:
            function: what is computed.
            whole: whether it needs whole maps, such as squeeze-excitation.
            keeps_zeros: whether it gives zeros for zeros.
        """


@dataclass(frozen=True, slots=True)
class Step(Generic[Layer]):
    """A layer in its network.

    Attributes:
        layer: what it computes.
        sources: the steps, by number, that it reads; `IMAGE` is the image.
    """

    layer: Layer
    sources: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class LayerPlan(Generic[Layer]):
    """A network in steps.

    Attributes:
        steps: what is known of it; each reads earlier ones only.
        wanted: the steps whose outputs are needed whole: by the rest, or the network's only one.
        rest: what takes them, None where all is known.
        positive: whether the output has no sign bit.
    """

    steps: tuple[Step[Layer], ...]
    wanted: tuple[int, ...]
    rest: fx.GraphModule | None
    positive: bool


def plan_layers(network: nn.Module, kit: LayerKit[Layer]) -> LayerPlan[Layer]:
    """Recognise a network's layers.

    Args:
        network: in evaluation mode; takes images.
        kit: makes what computes them.

    Raises:
        ConfigError: it can't be traced.
    """
    graph = trace_layers(network)
    planner = _Planner(network, kit)
    for node in graph.nodes:
        planner.add(node)
    numbers, (output,) = planner.numbers, (node for node in graph.nodes if node.op == "output")
    last = output.all_input_nodes[0]
    if last in numbers:
        return LayerPlan(tuple(planner.steps), (numbers[last],), None, last in planner.positive)
    known = numbers.keys() | planner.absorbed
    border = [node for node in numbers if any(user not in known for user in node.users)]
    wanted = tuple(numbers[node] for node in border)
    return LayerPlan(tuple(planner.steps), wanted, _rest(network, graph, border), positive=False)


def _rest(network: nn.Module, graph: fx.Graph, border: list[fx.Node]) -> fx.GraphModule:
    """Return what a network does with the outputs of some of its nodes."""
    rest = fx.Graph()
    copies = {node: rest.placeholder(node.name) for node in border}
    for node in graph.nodes:
        if node.op == "placeholder" or node in copies:
            continue
        inputs = node.all_input_nodes
        if all(one in copies for one in inputs):
            copies[node] = rest.node_copy(node, copies.__getitem__)
    module = fx.GraphModule(network, rest)
    module.graph.eliminate_dead_code()
    module.recompile()
    return module.eval()


class _Planner(Generic[Layer]):
    """Turns nodes into steps, in the graph's order.

    Attributes:
        steps: found so far.
        numbers: of the nodes whose values steps make.
        positive: the nodes whose values have no sign bit.
        absorbed: nodes that are part of the step of a later one.
    """

    def __init__(self, network: nn.Module, kit: LayerKit[Layer]) -> None:
        self.steps = list[Step[Layer]]()
        self.numbers = dict[fx.Node, int]()
        self.positive = set[fx.Node]()
        self.absorbed = set[fx.Node]()
        self._modules = dict(network.named_modules())
        self._kit = kit

    def add(self, node: fx.Node) -> None:
        """Make a step of a node, if all before it are known and it is too."""
        if node.op == "placeholder":
            self.numbers[node] = IMAGE
        inputs = node.all_input_nodes
        if node in self.absorbed or node in self.numbers or not all(one in self.numbers for one in inputs):
            return
        module = self._module(node)
        if _overwrites(node, module) and any(len(one.users) > 1 for one in inputs):
            return  # others may see what it leaves
        if isinstance(module, nn.Conv2d):
            self._add_convolution(node, module)
        elif is_plain(module, _NOTHING):
            self._alias(node, inputs[0])
        elif inputs:
            layer, positive = self._layer(node, module, all(one in self.positive for one in inputs))
            if layer is not None:
                self._put(node, layer, inputs, positive=positive)

    def _layer(self, node: fx.Node, module: nn.Module | None, positive: bool) -> tuple[Layer | None, bool]:
        """Return the layer of a node that is no convolution, None if it isn't known, and whether its sign is."""
        kit, ceiling = self._kit, _ceiling(node, module)
        if ceiling is not None:
            return kit.pointwise(_Activation(ceiling), whole=False, keeps_zeros=True), True
        if isinstance(module, nn.MaxPool2d) and positive and _is_known_pooling(module):
            return kit.max_pooling(module), True
        if isinstance(module, ResponseNorm) and module.beta == 0.75:
            return kit.across_channels(module), positive
        if isinstance(module, WithinChannelNorm) and module.beta == 0.75:
            return kit.within_channel(module), positive
        if module is not None and is_plain(module, (NormActivation, *_POINTWISE)):
            return kit.pointwise(module, whole=False, keeps_zeros=False), False
        if module is not None:
            if not getattr(module, "keeps_geometry", False) or len(node.all_input_nodes) != 1:
                return None, False
            return kit.pointwise(module, whole=True, keeps_zeros=False), False
        function = _function(node)
        return (kit.pointwise(function, whole=False, keeps_zeros=True), positive) if function else (None, False)

    def _add_convolution(self, node: fx.Node, module: nn.Conv2d) -> None:
        """Add a convolution with the batch norm and the ReLU behind it."""
        plain = is_plain(module, nn.Conv2d) and module.padding_mode == "zeros" and not isinstance(module.padding, str)
        if not plain and not isinstance(module, SameConvolution):
            return
        inputs, last = node.all_input_nodes, node
        weight, bias = module.weight, module.bias
        norm = self._module(_only_user(last))
        ceiling = None
        if _folds(norm) and norm.running_mean is not None and norm.running_var is not None:
            weight, bias = fuse_conv_bn_weights(
                weight, bias, norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias
            )
            last = self._absorb(last)
            ceiling = _relu_ceiling(getattr(norm, "act", None))
        after = _only_user(last)
        if ceiling is None and after is not None:
            ceiling = _ceiling(after, self._module(after))
            last = last if ceiling is None else self._absorb(last)
        layer = self._kit.convolution(weight, bias, module, ceiling)
        self._put(last, layer, inputs, positive=ceiling is not None)

    def _absorb(self, node: fx.Node) -> fx.Node:
        """Make a node part of the step of its only user."""
        self.absorbed.add(node)
        (user,) = node.users
        return user

    def _put(self, node: fx.Node, layer: Layer, inputs: list[fx.Node], *, positive: bool) -> None:
        self.numbers[node] = len(self.steps)
        self.steps.append(Step(layer, tuple(self.numbers[one] for one in inputs)))
        if positive:
            self.positive.add(node)

    def _alias(self, node: fx.Node, same: fx.Node) -> None:
        self.numbers[node] = self.numbers[same]
        if same in self.positive:
            self.positive.add(node)

    def _module(self, node: fx.Node | None) -> nn.Module | None:
        return self._modules.get(str(node.target)) if node is not None and node.op == "call_module" else None


@dataclass(frozen=True, slots=True)
class _Activation:
    """ReLU without -0.0, up to a ceiling."""

    ceiling: float

    def __call__(self, values: torch.Tensor) -> torch.Tensor:
        return F.relu(values).clamp_(max=self.ceiling).add_(0.0)


def _only_user(node: fx.Node) -> fx.Node | None:
    return next(iter(node.users)) if len(node.users) == 1 else None


def _folds(module: nn.Module | None) -> TypeGuard[nn.BatchNorm2d]:
    """Return whether a module is a batch norm with at most a ReLU in it."""
    if isinstance(module, NormActivation):
        known = isinstance(module.act, nn.Identity) or _relu_ceiling(module.act) is not None
    else:
        known = module is not None and is_plain(module, nn.BatchNorm2d)
    return known


def _relu_ceiling(module: nn.Module | None) -> float | None:
    """Return what a module of ReLU cuts off above; None for any other."""
    if module is None or not is_plain(module, (nn.ReLU, nn.ReLU6)):
        return None
    return 6.0 if isinstance(module, nn.ReLU6) else float("inf")


def _ceiling(node: fx.Node, module: nn.Module | None) -> float | None:
    """Return what a ReLU cuts off above, infinity for the usual one; None for any other node."""
    ceiling = _relu_ceiling(module)
    if ceiling is not None:
        return ceiling
    relu = node.op == "call_function" and node.target in _RELUS
    relu |= node.op == "call_method" and node.target in ("relu", "relu_")
    return float("inf") if relu else None


def _overwrites(node: fx.Node, module: nn.Module | None) -> bool:
    """Return whether a node changes its input."""
    name = getattr(node.target, "__name__", str(node.target))
    inplace = getattr(module, "inplace", False) or node.kwargs.get("inplace", False)
    return bool(inplace) or node.target is operator.iadd or (module is None and name.endswith("_"))


def _is_known_pooling(module: nn.MaxPool2d) -> bool:
    """Return whether a pooling is torch's, of dense windows that are the same along both axes."""
    return (
        is_plain(module, nn.MaxPool2d)
        and module.dilation in (1, (1, 1))
        and all(
            isinstance(value, int) or value[0] == value[1]
            for value in (module.kernel_size, module.stride, module.padding)
        )
    )


def _function(node: fx.Node) -> Callable[..., Any] | None:
    """Return what a sum or a concatenation of channels does with its inputs, None for any other node."""
    if node.op != "call_function":
        return None
    if node.target in _SUMS and len(node.args) == 2 and all(isinstance(one, fx.Node) for one in node.args):
        return torch.add if not node.kwargs else None
    if node.target in _CONCATENATIONS and (node.args[1:] == (1,) or node.kwargs == {"dim": 1}):
        distinct = len(node.all_input_nodes) == len(node.args[0])  # type: ignore[arg-type]
        return _concatenate if distinct else None
    return None


def _concatenate(*values: torch.Tensor) -> torch.Tensor:
    return torch.cat(values, dim=1)
