"""The page of the docs is what the code tells."""

from __future__ import annotations

import re

from jobs.reference.fields import Field, Section, sections
from jobs.reference.page import markdown_page
from tests.support.source_tree import ROOT


def test_the_docs_have_the_page_of_today() -> None:
    """If not: `sppnet help --markdown > docs/fields.md`."""
    assert (ROOT / "docs/fields.md").read_text() == markdown_page(sections())


def test_a_row_has_all_that_is_known() -> None:
    paths = Field("path", "text", "required", "yes, by the files' content, not by where they lie", "A | B.")
    units = Field("scales", "list of integer", "[1]", "no: it says which units are made", "Sides.", "pixels", "Table 1")
    page = markdown_page([Section("dataset.toy", "What.", (paths, units))])
    assert "\n| `path` | text | required | content | A \\| B. |  |  |\n" in page
    assert "\n| `scales` | list of integer | `[1]` | no | Sides. | pixels | Table 1 |\n" in page


def test_links_lead_to_headings() -> None:
    page = markdown_page(sections())
    headings = {re.sub(r"[.:]", "", title.lower()) for title in re.findall(r"^## (.*)$", page, re.MULTILINE)}
    assert set(re.findall(r"\(#([^)]*)\)", page)) == headings
