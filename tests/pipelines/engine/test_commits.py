"""Commits: read back as they were, of their own unit only, with the versions that made them."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.engine.commits import DATA_NAME, EMPTY_SHARD, Commit, Quarantined, library_versions
from sppnet.errors import ArtifactError

text = st.text(max_size=20)
finite = st.floats(allow_nan=False, allow_infinity=False)
commits = st.builds(
    Commit,
    unit=text,
    attempt=text,
    data=st.none() | text,
    size=st.integers(0),
    sha256=st.none() | text,
    rows=st.integers(0),
    done=st.integers(0),
    quarantined=st.lists(st.builds(Quarantined, text, text, text, text), max_size=3).map(tuple),
    seconds=finite,
    metrics=st.dictionaries(text, st.integers() | finite | text | st.lists(finite, max_size=3), max_size=3),
    host=text,
    created=finite,
    versions=st.dictionaries(text, text, max_size=3),
)


@given(commits)
def test_a_commit_reads_back_as_it_was(commit: Commit) -> None:
    data = commit.to_json()
    assert Commit.from_json(data, "here") == commit
    assert Commit.from_json(data, "here").to_json() == data
    assert commit.keys == commit.done + len(commit.quarantined)


MADE = Commit("train/000000", "0123456789ab", "train/000000-0123456789ab.tar", 3, "s", 1, 1, (), 0.0, {}, "h", 0.0, {})


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"unit": "train/000001"}, "is of unit 'train/000001'"),
        ({"data": "train/000001-0123456789ab.tar"}, "which is no data of its unit"),
        ({"data": "train/000000-ffffffffffff.tar"}, "which is no data of its unit"),  # another attempt's
        ({"data": "../train/000000-0123456789ab.tar"}, "which is no data of its unit"),
    ],
)
def test_a_commit_names_its_own_unit_and_data_only(changes: dict[str, str], told: str) -> None:
    MADE.check_names("train/000000", "here")
    with pytest.raises(ArtifactError, match=f"^here: .*{told}; remove it and run again"):
        replace(MADE, **changes).check_names("train/000000", "here")


def test_data_names_have_unit_attempt_and_suffix() -> None:
    found = DATA_NAME.fullmatch("s0688/a-b-0123456789ab.tar.gz")
    assert found is not None
    assert found.groupdict() == {"unit": "s0688/a-b", "attempt": "0123456789ab", "suffix": ".tar.gz"}
    assert DATA_NAME.fullmatch("s0688/a-b.tar") is None


def test_some_reasons_stand_for_a_whole_shard() -> None:
    assert Quarantined("tar", EMPTY_SHARD, "", "ingest").is_shard
    assert not Quarantined("a", "truncated", "", "ingest").is_shard


def test_versions_are_told_of_what_is_installed() -> None:
    assert {"python", "torch", "numpy"} <= library_versions().keys()
