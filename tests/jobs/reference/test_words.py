"""Words are read from docstrings, with their marks."""

from __future__ import annotations

from pydantic import BaseModel

from jobs.reference.words import Words, summary_of, words_of


class Base(BaseModel):
    """Something.

    Attributes:
        size: Of a thing. [pixels; section 4.1; Table 1]
        name: A name, such as [this] one.
    """

    size: int
    name: str
    unsaid: int = 0


class Derived(Base):
    """Something else, whose
    summary has two lines.

    More of it.

    Attributes:
        extra: What goes on
            over two lines; see `a[0]`.
        name: Its own. [appendix A]

    Attributes that follow a blank line are none.
        size: No.
    """

    extra: str = ""


def test_units_and_the_papers_parts_are_told_apart() -> None:
    assert words_of(Base) == {
        "size": Words("Of a thing.", "pixels", "section 4.1, Table 1"),
        "name": Words("A name, such as [this] one."),
    }


def test_a_class_has_its_bases_words_and_its_own_before_them() -> None:
    assert words_of(Derived) == {
        "size": Words("Of a thing.", "pixels", "section 4.1, Table 1"),
        "name": Words("Its own.", "", "appendix A"),
        "extra": Words("What goes on over two lines; see `a[0]`."),
    }


def test_a_summary_is_the_first_paragraph() -> None:
    assert summary_of(Derived.__doc__) == "Something else, whose summary has two lines."
    assert summary_of(None) == ""
