"""Which of a file's tensors are a network's: wrapped, renamed, and beside others, as training scripts leave them.

Tensors are found by the network's own names, whatever stands before them: `module.` of data parallelism, `model.` of
Lightning, the keys of a checkpoint, or anything else that all of them share.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import torch

from sppnet.errors import ConfigError
from sppnet.networks.backbones import Backbone, load_backbone
from sppnet.networks.cuts import nearest
from sppnet.networks.state_dicts import Groups

_WRAPPERS = frozenset({"module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"})
"""What torch's wrappers put between a network's names: data parallelism, compiling, sharding, checkpointing."""
_COUNTERS = frozenset({"n_averaged", "total_ops", "total_params"})
"""What averaging and counting of operations leave among the weights."""
_BATCHES = "num_batches_tracked"
"""Counted by batch norms since torch 0.4.1, and used in training only: weights from before have none."""
_DENSE_LAYER = re.compile(r"(denselayer\d+\.(?:norm|conv))\.([12])\.")
"""DenseNet's published names, from when a module's name could have a dot."""
_TOP = "."
_Place: TypeAlias = tuple[str, str]
"""A group's path, and what stands before the network's names in there."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """What came of loading a backbone from a file.

    Attributes:
        beside: the file's tensors that are known not to be the backbone's, by name.
        cast: how many tensors had another floating type than the network's, by that type's name.
    """

    beside: Mapping[str, torch.Tensor]
    cast: Mapping[str, int]


def load_found(
    backbone: Backbone,
    groups: Groups,
    where: str,
    *,
    choice: str | None = None,
    inner: str = "",
    is_beside: Callable[[str], bool] = lambda name: False,
) -> Loaded:
    """Find a backbone's weights in a file and load them.

    Args:
        backbone: what is loaded.
        groups: the file's tensors, as `read_weights` gives them.
        where: what they are, for messages.
        choice: what stands before the names of the network that is meant, where a file holds several.
        inner: a prefix that may stand before the backbone's names, and not before those beside.
        is_beside: tells from a name, without what stands before all of them, whether it is of something else.

    Raises:
        ConfigError: the network is not in there, or several are and none is chosen; a tensor is wrongly shaped, of a
            type that weights don't have, or holds values that are no finite numbers.
    """
    state = backbone.trunk.state_dict()
    shapes = {name: value.shape for name, value in state.items() if not name.endswith(_BATCHES)}
    named = {path: _own_names(tensors) for path, tensors in groups.items()}
    path, prefix, others = _find(named, shapes, where, choice)
    root = prefix.removesuffix(inner)
    group = {name: value for name, value in named[path].items() if not name.startswith(others)}
    outer = {name.removeprefix(root): value for name, value in group.items() if name.startswith(root)}
    beside = {name: value for name, value in outer.items() if is_beside(name)}
    inside = prefix.removeprefix(root)
    mine = {
        name.removeprefix(inside): value
        for name, value in outer.items()
        if name.startswith(inside) and name not in beside
    }
    label = _label(path, prefix)
    behind = where if label == _TOP else f"{where} (behind {label!r})"
    _check_names(mine, shapes, behind)
    counted = {name: torch.zeros_like(value) for name, value in state.items() if name.endswith(_BATCHES)}
    load_backbone(backbone, counted | mine, behind, finite=True)
    cast = Counter(str(mine[name].dtype).removeprefix("torch.") for name in shapes)
    cast.pop(str(backbone.dtype).removeprefix("torch."), None)
    return Loaded(beside, cast)


def _own_names(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return tensors without what wrappers put into their names, and by the names of today."""
    found: dict[str, torch.Tensor] = {}
    for name, value in tensors.items():
        parts = [part for part in name.split(".") if part not in _WRAPPERS]
        if parts and parts[-1] not in _COUNTERS:
            found[_DENSE_LAYER.sub(r"\1\2.", ".".join(parts))] = value
    return found


def _find(
    named: Groups, shapes: Mapping[str, torch.Size], where: str, choice: str | None
) -> tuple[str, str, tuple[str, ...]]:
    """Return in which group and behind which prefix the network's tensors are, and further prefixes of others'."""
    counts: Counter[_Place] = Counter()
    for path, tensors in named.items():
        for name in tensors:
            parts = name.split(".")
            for start in range(len(parts)):
                if ".".join(parts[start:]) in shapes:
                    counts[path, "".join(f"{part}." for part in parts[:start])] += 1
    whole = [place for place, count in counts.items() if count == len(shapes)]
    path, prefix = _choose(named, shapes, where, counts, choice)
    inner = [other for there, other in whole if there == path and other.startswith(prefix) and other != prefix]
    return path, prefix, tuple(inner)


def _choose(
    named: Groups, shapes: Mapping[str, torch.Size], where: str, counts: Counter[_Place], choice: str | None
) -> _Place:
    """Return the place that has all of the network's tensors, or the one that has most, for the message."""
    if choice is not None:
        known = ", ".join(repr(_label(*place)) for place, _ in counts.most_common(5)) or "none"
        chosen = {place: count for place, count in counts.items() if f"{_label(*place)}.".startswith(f"{choice}.")}
        if not chosen:
            raise ConfigError(f"state_dict: {where} has no tensors of the network behind {choice!r}, but: {known}")
        counts = Counter(chosen)
    whole = [place for place, count in counts.items() if count == len(shapes)]
    if len(whole) > 1:  # of another width, say
        whole = [place for place in whole if _fits(named, place, shapes)] or whole
    if len(whole) > 1:
        labels = [_label(*place) for place in whole]
        raise ConfigError(
            f"{where}: holds {len(whole)} networks of these names, behind {', '.join(map(repr, labels))}: "
            f"choose one, such as state_dict: {labels[0]!r}"
        )
    if whole or counts:
        return whole[0] if whole else counts.most_common(1)[0][0]
    return max(named, key=lambda path: len(named[path])), ""


def _fits(named: Groups, place: _Place, shapes: Mapping[str, torch.Size]) -> bool:
    path, prefix = place
    return all(named[path][prefix + name].shape == shape for name, shape in shapes.items())


def _label(path: str, prefix: str) -> str:
    """Return what people call a place in a checkpoint: its keys and the prefix of its names, a dot for the top."""
    return f"{path}.{prefix}".strip(".") or _TOP


def _check_names(mine: Mapping[str, torch.Tensor], shapes: Mapping[str, torch.Size], where: str) -> None:
    """Raise `ConfigError` naming the first tensor that is missing, with what there is instead."""
    missing = [name for name in shapes if name not in mine]
    if missing:
        name = missing[0]
        alike = nearest(name, mine).replace("did you mean", "but there is").rstrip("?")
        more = f"; {len(missing)} of the network's {len(shapes)} are" if len(missing) > 1 else ""
        held = ", ".join(list(mine)[:3])
        raise ConfigError(
            f"{where}: tensor '{name}' {list(shapes[name])} is missing{alike}{more}; it holds {held or 'none'}, ..."
        )
