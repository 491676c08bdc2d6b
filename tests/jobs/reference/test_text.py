"""Fields for a terminal."""

from __future__ import annotations

from jobs.reference.fields import Field, Section
from jobs.reference.text import contents_text, section_text

ONE = Field("batch", "integer from `2`", "128", "yes", "Windows of a batch.", "windows", "section 4.1")
TWO = Field("maps", "name of a step", "required", "yes, by what that step makes", "The step that extracts.")
SECTION = Section("finetune", "What it does, in a line.", (ONE, TWO))


def test_a_field_is_told_with_all_that_is_known() -> None:
    assert section_text(SECTION, 100) == (
        "finetune: What it does, in a line.\n\n"
        "  batch: integer from 2; default 128; windows\n"
        "      Windows of a batch.\n"
        "      Changes results: yes. Paper: section 4.1.\n\n"
        "  maps: name of a step; required\n"
        "      The step that extracts.\n"
        "      Changes results: yes, by what that step makes."
    )


def test_lines_fit() -> None:
    assert max(map(len, section_text(SECTION, 40).split("\n"))) <= 40
    assert max(map(len, contents_text([SECTION, SECTION], 30).split("\n"))) <= 30


def test_where_data_sets_are_told_is_said() -> None:
    assert section_text(Section("ingest", "Reads.", ()), 80).endswith("sppnet help dataset.KIND")


def test_the_contents_have_a_line_for_each() -> None:
    lines = contents_text([SECTION, Section("score", "Another.", ())], 120).split("\n")
    assert lines[:2] == ["finetune  What it does, in a line.", "score     Another."]
