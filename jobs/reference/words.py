"""The words of config fields: the `Attributes` of their classes' docstrings.

What is said of a field may end in brackets with its unit and the parts of the paper that it follows:
`batch: Windows of a batch, over all workers. [windows; section 4.1]`.
"""

from __future__ import annotations

import inspect
import re
from dataclasses import dataclass

from pydantic import BaseModel

_ENTRY = re.compile(r"^    (\w+): (.*)$")
_MARKS = re.compile(r"^(.*?)\s*\[([^\[\]]+)\]$")
_PAPER = re.compile(r"(?i)(section|table|figure|appendix) ")
NO_UNIT = "no unit"
"""Marks a number that has none."""


@dataclass(frozen=True, slots=True)
class Words:
    """What is said of a field.

    Attributes:
        meaning: What it means.
        unit: Of its numbers; empty if it has none.
        paper: Where the paper has it; empty if nowhere.
    """

    meaning: str
    unit: str = ""
    paper: str = ""

    @classmethod
    def parse(cls, text: str) -> Words:
        """Split what stands in a docstring."""
        found = _MARKS.match(text)
        if found is None:
            return cls(text)
        marks = [mark.strip() for mark in found[2].split(";")]
        paper = [mark for mark in marks if _PAPER.match(mark)]
        return cls(found[1], ", ".join(mark for mark in marks if mark not in paper), ", ".join(paper))


def words_of(model: type[BaseModel]) -> dict[str, Words]:
    """Return the words of a config's fields, its bases' too, by name; fields without any are missing."""
    found: dict[str, Words] = {}
    for parent in reversed(model.__mro__):
        if issubclass(parent, BaseModel):
            texts = _attributes(inspect.cleandoc(parent.__dict__.get("__doc__") or ""))
            found.update((name, Words.parse(text)) for name, text in texts.items())
    return {name: found[name] for name in model.model_fields if name in found}


def summary_of(docstring: str | None) -> str:
    """Return a docstring's first paragraph in one line."""
    return " ".join(inspect.cleandoc(docstring or "").partition("\n\n")[0].split())


def _attributes(docstring: str) -> dict[str, str]:
    """Return the entries of a docstring's `Attributes` as they stand there, each in one line."""
    found: dict[str, str] = {}
    name = ""
    _, _, entries = docstring.partition("\nAttributes:\n")
    for line in entries.split("\n"):
        entry = _ENTRY.match(line)
        if entry:
            name = entry[1]
            found[name] = entry[2]
        elif name and line.startswith(" " * 8):
            found[name] += f" {line.strip()}"
        else:
            break
    return found
