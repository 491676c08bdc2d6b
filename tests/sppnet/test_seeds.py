"""Seeds are a pure function of the names that they are for."""

from __future__ import annotations

import hashlib

from hypothesis import given
from hypothesis import strategies as st

from sppnet.seeds import derive_seed

names = st.lists(st.text(alphabet="ab1", max_size=3) | st.integers(0, 20), max_size=3)


def test_a_seed_is_the_head_of_a_hash() -> None:
    digest = hashlib.sha256(b"7\x1ftrain-svms\x1f000001").digest()
    assert derive_seed(7, "train-svms", "000001") == int.from_bytes(digest[:8], "big") // 2


@given(st.integers(0, 9), names, names)
def test_other_names_give_other_seeds(seed: int, one: list[str | int], other: list[str | int]) -> None:
    same = [str(name) for name in one] == [str(name) for name in other]
    assert (derive_seed(seed, *one) == derive_seed(seed, *other)) == same
    assert derive_seed(seed, *one) != derive_seed(seed + 1, *one)
    assert 0 <= derive_seed(seed, *one) < 2**63


def test_where_names_are_parted_counts() -> None:
    assert derive_seed(0, "ab", "c") != derive_seed(0, "a", "bc") != derive_seed(0, "abc")
