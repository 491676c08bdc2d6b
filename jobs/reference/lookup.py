"""What `sppnet help NAME` tells: a section, a field with those below it, or which name is nearest."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from jobs.recipes import recipe_names
from jobs.reference.fields import DATASET, RECIPE, Section, kind_section, recipe_section, stage_section
from pipelines.datasets.kinds import KINDS, OWN
from pipelines.engine.nearest import nearest
from pipelines.engine.registry import stage_names
from sppnet.errors import ConfigError

_INGEST = f"ingest.{DATASET}."


def find(name: str, commands: Iterable[str] = ()) -> Section:
    """Find what is told under a name.

    Args:
        name: A stage, `dataset.KIND` or `recipe`; or one of its fields, such as `finetune.schedule.lr`.
        commands: Names of commands, which tell their own.

    Returns:
        The section, with those fields only that were asked for.

    Raises:
        ConfigError: There is no such name; the message has the nearest one.
    """
    if name in commands:
        raise ConfigError(f"help {name}: that is a command, which tells its options itself: sppnet {name} --help")
    asked = name.removeprefix("ingest.") if name.startswith(_INGEST) else name
    known = [RECIPE, *stage_names(), *(f"{DATASET}.{kind}" for kind in (*KINDS, OWN))]
    parts = asked.split(".")
    of_own = asked == f"{DATASET}.{OWN}" or asked.startswith(f"{DATASET}.{OWN}.")
    own = f"{DATASET}.{OWN}" if of_own else ".".join(parts[:2]) if parts[0] == DATASET else parts[0]
    if own not in known:
        raise ConfigError(
            f"help {name}: no such stage, kind of data set or recipe{nearest(own, [*known, *recipe_names()])}"
        )
    section = _section(own)
    path = asked.removeprefix(own).removeprefix(".")
    if not path:
        return section
    fields = tuple(field for field in section.fields if field.path == path or field.path.startswith(f"{path}."))
    if not fields:
        paths = [f"{own}.{field.path}" for field in section.fields]
        raise ConfigError(f"help {name}: no such field{nearest(asked, paths)}")
    return replace(section, fields=fields)


def _section(name: str) -> Section:
    if name == RECIPE:
        return recipe_section()
    head, _, kind = name.partition(".")
    return kind_section(kind) if head == DATASET else stage_section(head)
