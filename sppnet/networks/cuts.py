"""Keeping a network up to a named layer: what comes before the cut makes the maps, the rest is dropped."""

from __future__ import annotations

import difflib
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from typing import Any

from torch import fx, nn

from sppnet.errors import ConfigError
from sppnet.networks.receptive_fields import trace_layers

CLASSIFIERS = frozenset({"classifier", "fc", "head", "heads", "pre_logits"})
"""What torchvision's and timm's models call their layers after the convolutions."""
_GLOBAL_MODULES = (nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d, nn.Flatten)
_GLOBAL_NAMES = frozenset({"adaptive_avg_pool2d", "adaptive_max_pool2d", "flatten", "mean", "view", "reshape"})
_NOT_ACTIVATIONS = (nn.MaxPool2d, nn.AvgPool2d, nn.Dropout, nn.Identity)


def cut_network(network: nn.Module, name: str, what: str) -> nn.Module:
    """Keep a network up to and with the module of a dotted name; the parameters keep their names.

    Nested `nn.Sequential`s are cut by their children, any other network along its traced graph, where a module that
    is called several times counts with its last call.

    Args:
        network: takes images `[N, 3, H, W]`.
        name: such as `relu5`, `features.12` or `layer3`.
        what: the network's name, for messages.

    Raises:
        ConfigError: the network has no such module, or can't be traced.
    """
    if isinstance(network, nn.Sequential):
        return _cut_sequential(network, name, name, what)
    return _cut_graph(network, name, what)


def last_activation(network: nn.Module, what: str) -> str:
    """Name the module behind which the convolutions of a classifier end: before global pooling and the classifier.

    Pooling and dropout at the very end are left out, so that it is VGG's last ReLU. Of nested modules that end with
    the same layer the outermost is named, such as `layer4`.

    Raises:
        ConfigError: the network can't be traced, or has no convolutional part.
    """
    nodes = list(_trace(network, what).nodes)
    modules = dict(network.named_modules())
    found: fx.Node | None = None
    for node in nodes:
        owners = _owners(node)
        if owners and owners[0].partition(".")[0] in CLASSIFIERS:
            break
        module = modules.get(str(node.target)) if node.op == "call_module" else None
        function = getattr(node.target, "__name__", str(node.target))
        if isinstance(module, _GLOBAL_MODULES) or (not owners and function in _GLOBAL_NAMES):
            break
        if owners and not isinstance(module, _NOT_ACTIVATIONS):
            found = node
    name = next((owner for owner in _owners(found) if _last_call(nodes, owner) is found), None) if found else None
    if name is None:
        raise ConfigError(f"backbone.cut: {what} has no plain convolutional trunk; name a module to cut at")
    return name


def put_first(network: fx.GraphModule, name: str, module: nn.Module) -> None:
    """Have a module see a traced network's images before all its layers do."""
    network.add_submodule(name, module)
    images = next(node for node in network.graph.nodes if node.op == "placeholder")
    with network.graph.inserting_after(images):
        first = network.graph.call_module(name, (images,))
    images.replace_all_uses_with(first)
    first.update_arg(0, images)
    network.recompile()


def nearest(name: str, known: Iterable[str]) -> str:
    """Return `, did you mean ...?` for a misspelt name, or nothing."""
    close = difflib.get_close_matches(name, list(known), n=1)
    return f", did you mean {close[0]!r}?" if close else ""


def _cut_sequential(network: nn.Module, name: str, whole: str, what: str) -> nn.Sequential:
    first, _, rest = name.partition(".")
    children: Mapping[str, nn.Module] = dict(network.named_children())
    if not isinstance(network, nn.Sequential) or first not in children:
        have = ", ".join(children) if isinstance(network, nn.Sequential) else "no parts to cut at"
        raise ConfigError(f"backbone.cut: {whole!r} is no module of {what}; {name!r} not in: {have}")
    names = list(children)[: list(children).index(first) + 1]
    kept = OrderedDict((child, children[child]) for child in names)
    if rest:
        kept[first] = _cut_sequential(kept[first], rest, whole, what)
    return nn.Sequential(kept)


def _cut_graph(network: nn.Module, name: str, what: str) -> fx.GraphModule:
    graph = _trace(network, what)
    last = _last_call(graph.nodes, name)
    if last is None:
        called = {owner for node in graph.nodes for owner in _owners(node)}
        raise ConfigError(f"backbone.cut: {name!r} is no module of {what}{nearest(name, called)}")
    for node in reversed(list(graph.nodes)):
        if node is last:
            break
        graph.erase_node(node)
    graph.output(last)
    kept = fx.GraphModule(network, graph, type(network).__name__)
    kept.graph.eliminate_dead_code()  # a branch that only the dropped layers used
    kept.delete_all_unused_submodules()
    kept.recompile()
    return kept.train()


def _trace(network: nn.Module, what: str) -> fx.Graph:
    """Trace in evaluation mode: auxiliary classifiers and random depth are for training the whole network."""
    try:
        return trace_layers(network.eval())
    except ConfigError as error:
        raise ConfigError(f"{what}: {error}") from error


def _last_call(nodes: Iterable[fx.Node], name: str) -> fx.Node | None:
    """Return the last operation that happens inside a module."""
    return next((node for node in reversed(list(nodes)) if name in _owners(node)), None)


def _owners(node: fx.Node) -> list[str]:
    """Return the dotted names of the modules that an operation happens in, outermost first."""
    stack: Mapping[str, Any] = node.meta.get("nn_module_stack", {})
    return [path for path, _ in stack.values()]
