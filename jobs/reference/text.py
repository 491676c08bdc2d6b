"""The fields of a section for a terminal."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable

from jobs.reference.fields import DATASET, REQUIRED, Field, Section


def section_text(section: Section, width: int) -> str:
    """Return a section as lines of at most `width` characters, as far as words can be broken."""
    blocks = [textwrap.fill(f"{section.name}: {section.summary}", width)]
    blocks += [_field_text(field, width) for field in section.fields]
    if section.name == "ingest":
        blocks.append(f"The fields of a data set of each kind: sppnet help {DATASET}.KIND")
    return "\n\n".join(blocks)


def contents_text(sections: Iterable[Section], width: int) -> str:
    """Return what each section is, and what else can be asked."""
    rows = list(sections)
    left = max(len(row.name) for row in rows) + 2
    lines = []
    for row in rows:
        lines += textwrap.wrap(row.summary, width, initial_indent=f"{row.name:<{left}}", subsequent_indent=" " * left)
    more = "sppnet help NAME tells the fields of one; NAME.FIELD tells one of them, such as finetune.schedule.lr."
    return "\n".join([*lines, "", *textwrap.wrap(more, width)])


def _field_text(field: Field, width: int) -> str:
    """Return a field: its name with type, default and unit, what it means, and what follows from it."""
    default = REQUIRED if field.default == REQUIRED else f"default {field.default}"
    head = f"  {field.path}: {field.type}; {default}{f'; {field.unit}' if field.unit else ''}".replace("`", "")
    tail = f"Changes results: {field.changes_results}.{f' Paper: {field.paper}.' if field.paper else ''}"
    lines = textwrap.wrap(head, width, subsequent_indent=" " * 8)
    for text in (field.meaning, tail):
        lines += textwrap.wrap(text, width, initial_indent=" " * 6, subsequent_indent=" " * 6)
    return "\n".join(lines)
