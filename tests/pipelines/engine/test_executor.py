from __future__ import annotations

import pytest

from pipelines.engine.executor import DeferredExecutor, one_line
from pipelines.executors.local import LocalExecutor
from sppnet.errors import ArtifactError, ConfigError, DataError
from tests.support.toy_fixtures import Toys


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ValueError("first\nsecond"), "ValueError: first"),
        (KeyError("key"), "KeyError: 'key'"),
        (RuntimeError(), "RuntimeError: "),
        (RuntimeError("\n  indented\n"), "RuntimeError: indented"),
        (ArtifactError("a is gone"), "a is gone"),
        (DataError("truncated", "ends early"), "truncated: ends early"),
    ],
)
def test_one_line(error: Exception, line: str) -> None:
    assert one_line(error) == line


def test_a_deferred_executor_is_made_for_the_first_unit_and_closed(toys: Toys) -> None:
    made: list[str] = []

    class Closing(LocalExecutor):
        def close(self) -> None:
            made.append("closed")

    def make() -> LocalExecutor:
        made.append("made")
        return Closing()

    executor = DeferredExecutor(make)
    assert toys.run(executor).done
    executor.close()
    assert made == ["made", "closed"]
    assert toys.run(executor).done == []
    executor.close()
    assert made == ["made", "closed"]


def test_a_deferred_executor_that_cant_be_made(toys: Toys) -> None:
    def refuse() -> LocalExecutor:
        raise ConfigError("no cluster")

    with pytest.raises(ConfigError, match=r"^no cluster$"):
        toys.run(DeferredExecutor(refuse))
