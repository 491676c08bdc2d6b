"""Fields of recipes that may name own parts: which they name, and that a run takes them along to its workers.

Only the recipe that somebody runs allows what it names, see `sppnet.own_parts`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from sppnet.errors import ConfigError
from sppnet.own_parts import OwnPart, allowed, entry_point_path, is_import_path, resolve
from sppnet.own_parts import allow as allow_part


@dataclass(frozen=True, slots=True)
class OwnParts:
    """Marks a field whose value, or whose list's values, may be import paths.

    Attributes:
        group: Of the entry points whose names may stand for import paths.
        by_content: Whether what they give is known by its content, so that no fingerprint follows their source.
    """

    group: str
    by_content: bool = False

    def path_of(self, name: str, known: Callable[[str], bool]) -> str:
        """Return a name, or the import path that it stands for.

        Args:
            name: As it was given.
            known: Whether a name is one of sppnet's own, which no package can take over.

        Raises:
            ValueError: Packages disagree about it.
        """
        if known(name) or ":" in name:
            return name
        try:
            return entry_point_path(self.group, name) or name
        except ConfigError as error:
            raise ValueError(str(error)) from error


def named_parts(config: BaseModel, *, followed: bool = False) -> Iterator[tuple[str, str]]:
    """Yield the import paths that a config and the configs in it name, each after its place in the config.

    Args:
        config: Of a step.
        followed: Whether only those are wanted whose source a fingerprint follows.
    """
    for field, info in type(config).model_fields.items():
        value: Any = getattr(config, field)
        marks = [mark for mark in info.metadata if isinstance(mark, OwnParts)]
        if marks and not (followed and marks[0].by_content):
            for place, name in [(field, value)] if isinstance(value, str) else _numbered(field, value):
                if is_import_path(name):
                    yield place, name
        parts = _numbered(field, value) if isinstance(value, tuple) else [(field, value)]
        for place, part in parts:
            if isinstance(part, BaseModel):
                yield from ((f"{place}.{below}", name) for below, name in named_parts(part, followed=followed))


def _numbered(field: str, names: Iterable[Any]) -> list[tuple[str, Any]]:
    return [(f"{field}.{number}", name) for number, name in enumerate(names)]


def check_parts(config: BaseModel, where: str, *, allow: bool) -> None:
    """Import the own parts that a config names, or see to it that they were allowed before.

    Args:
        config: Of a step.
        where: The step, for messages.
        allow: Whether they may be run.

    Raises:
        ConfigError: They may not, or can't be imported.
    """
    for place, path in named_parts(config):
        try:
            if allow:
                allow_part(path)
            else:
                resolve(path)
        except ConfigError as error:
            raise ConfigError(f"{where}.{place}: {error}") from error


def parts_of(configs: Iterable[BaseModel], *, followed: bool = False) -> tuple[OwnPart, ...]:
    """Return what is known of the own parts that configs name, each once; see `named_parts`."""
    paths = {path for config in configs for _, path in named_parts(config, followed=followed)}
    return tuple(allowed(path) for path in sorted(paths))


def identities(parts: Iterable[OwnPart]) -> Mapping[str, Any]:
    """Return what a fingerprint follows of own parts, by their paths."""
    return {f"code {part.path}": part.identity() for part in parts}
