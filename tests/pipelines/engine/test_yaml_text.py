"""YAML that is none, or stands for more than it says, is refused in a line and at once."""

from __future__ import annotations

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from pipelines.engine.yaml_text import BYTES, parse_yaml
from sppnet.errors import ConfigError

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


def refused(where: str, why: str) -> ConfigError:
    return ConfigError(f"text{where}: {why}")


@given(VALUES)
def test_what_yaml_writes_is_read_as_yaml_reads_it(value: object) -> None:
    text = yaml.safe_dump(value)
    assert parse_yaml(text, refused) == yaml.safe_load(text) == value


def billion_laughs(merge: bool) -> str:
    lines = ["a0: &a0 {x: 1}"]
    for i in range(1, 12):
        many = ", ".join([f"*a{i - 1}"] * 10)
        lines.append(f"a{i}: &a{i} {{<<: [{many}]}}" if merge else f"a{i}: &a{i} [{many}]")
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (billion_laughs(merge=False), "more than 100000 values"),
        (billion_laughs(merge=True), "more than 100000 values"),
        ("[" * 100 + "]" * 100, "nested deeper than 50 levels"),
        ("[" * 100_000, "nested too deep"),
        ("{a: " * 5_000, "nested too deep"),
        ("&a [*a]", "nested deeper than 50 levels"),
        ("1" * 5_000, "a number of absurd length"),
        ("x: " + ":".join(["1"] * 5_000), "a number of absurd length"),
        ("a" * (BYTES + 1), f"{BYTES + 1} bytes, at most {BYTES} are read"),
        ("a: 1\nb: 2\na: 3", " at line 3: not YAML ('a' is given twice)"),
        ("a: *b", "found undefined alias 'b'"),
        ("a\x07b", "not YAML"),
        ("2026-99-99", "not YAML (month must be in 1..12)"),
        ("!!python/object/apply:os.system [ls]", "could not determine a constructor"),
        ("? [a]\n: b", "found unhashable key"),
        ("--- a\n--- b", "but found another document"),
    ],
)
def test_hostile_texts(text: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_yaml(text, refused)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


def test_no_document_is_nothing() -> None:
    assert parse_yaml(b"# a remark\n", refused) is None
