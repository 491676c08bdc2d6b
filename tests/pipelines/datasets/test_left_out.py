"""What lies beside the images: counted by extension, and named."""

from __future__ import annotations

import pytest

from pipelines.datasets.contents import Contents
from pipelines.datasets.left_out import LeftOut
from sppnet.errors import ArtifactError


def test_counts_are_by_extension_in_any_spelling() -> None:
    found = LeftOut.of(("a.TXT", "b/c.txt", "d.tar", "README"), hidden=2, named=("x: closed",))
    assert found.counts == {".tar": 1, ".txt": 2, "hidden": 2, "no extension": 1}
    assert found.describe() == "1 .tar, 2 .txt, 2 hidden, 1 no extension; x: closed"
    assert LeftOut.decode(found.encode(), "here") == found
    assert LeftOut().describe() == ""
    with pytest.raises(ArtifactError, match="here is corrupt"):
        LeftOut.decode(b"[]", "here")


def test_the_folders_of_a_data_set_are_summed_each_once() -> None:
    contents = Contents()
    contents.leave_out("a", LeftOut.of(("x.txt",), named=("p: closed",)))
    contents.leave_out("a", LeftOut.of(("x.txt",), named=("p: closed",)))  # of another split
    contents.part("1").leave_out("a", LeftOut.of(("y.txt", "z.md")))
    assert contents.left_out == LeftOut({".md": 1, ".txt": 2}, ("p: closed",))
    many = LeftOut(named=tuple(map(str, range(103))))
    assert LeftOut.summed([many]).named[-2:] == ("99", "and 3 more")
