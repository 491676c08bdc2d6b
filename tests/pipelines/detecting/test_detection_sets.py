from __future__ import annotations

import pytest

from pipelines.detecting.detection_sets import parse_top_per_set
from sppnet.errors import ConfigError


def test_top_per_set_as_it_is_typed() -> None:
    assert parse_top_per_set(None, 10) is None
    assert parse_top_per_set("30000", 10) == parse_top_per_set(30000, 10) == 30000
    assert parse_top_per_set("5/image", 10) == 50
    for wrong in ("0", "5/images", "-3", "all", ""):
        with pytest.raises(ConfigError, match="neither a number such as 30000 nor one per image"):
            parse_top_per_set(wrong, 10)
