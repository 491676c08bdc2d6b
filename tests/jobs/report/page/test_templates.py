"""What all templates of the page keep to."""

from __future__ import annotations

from pathlib import Path

from jobs.report import page


def test_tables_scroll_in_boxes_of_their_own():
    """Or a phone would have to scroll the whole page sideways."""
    found = 0
    for template in Path(page.__file__).parent.glob("*.j2"):
        before, *parts = template.read_text().split("<table")
        for part in parts:
            assert before.rfind('<div class="scroll">') > before.rfind("</div>"), (template.name, part[:80])
            before, found = f"{before}<table{part}", found + 1
    assert found > 10
