"""All fields as a page of the docs."""

from __future__ import annotations

from collections.abc import Iterable

from jobs.reference.fields import REQUIRED, Field, Section

_HEAD = """\
# Every field of a recipe

Written by `sppnet help --markdown`; the words are those of the code. In a terminal: `sppnet help finetune.batch`; in an
editor: the schema `docs/recipe.schema.json`, see [architecture.md](architecture.md).

*Results* says whether a field changes results, and so the name of what the step makes: *yes*, or *content*: only as far
as the content of what it names does, not its place; *no*: it changes speed or place, or which units there are.
"""


def markdown_page(sections: Iterable[Section]) -> str:
    """Return the page: a table for each section."""
    rows = list(sections)
    links = "\n".join(f"- [{row.name}](#{_anchor(row.name)}): {row.summary}" for row in rows)
    return "\n".join([_HEAD, links, *map(_section, rows)])


def _section(section: Section) -> str:
    lines = [
        f"\n## {section.name}\n",
        f"{section.summary}\n",
        "| field | values | default | results | meaning | unit | paper |",
        "| --- | --- | --- | --- | --- | --- | --- |",
        *map(_row, section.fields),
        "",
    ]
    return "\n".join(lines)


def _row(field: Field) -> str:
    default = field.default if field.default == REQUIRED else f"`{field.default}`"
    cells = (
        f"`{field.path}`",
        field.type,
        default,
        _results(field.changes_results),
        field.meaning,
        field.unit,
        field.paper,
    )
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _results(told: str) -> str:
    word, _, more = told.partition(" ")
    return "content" if more.startswith("by") and "not by where" in more else word.rstrip(",:")


def _anchor(name: str) -> str:
    """Return the anchor that GitHub and mkdocs give a heading."""
    return name.lower().replace(".", "").replace(":", "")
