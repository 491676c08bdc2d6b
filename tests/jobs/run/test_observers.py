"""Several observers are told the same; accounts are kept in order."""

from __future__ import annotations

import pytest

from jobs.run.observers import Accounts, Observers
from pipelines.executors.local import LocalExecutor
from sppnet.errors import IncompleteError
from tests.support.toy_fixtures import Recorder, Toys


def test_every_observer_is_told_everything(toys: Toys) -> None:
    toys.marks.set("fail", "all/000002", 1)
    one, other, accounts = Recorder(), Recorder(), Accounts()
    with pytest.raises(IncompleteError):
        toys.engine().run(LocalExecutor(), Observers(one, other, accounts))
    assert vars(one) == vars(other)
    assert one.started == [("count", 3, 3), ("raise", 4, 4)]
    assert [failure.unit for failure in one.failed] == ["all/000002"]
    assert accounts.summaries == one.summaries
    assert [summary.step for summary in accounts.summaries] == ["count"]
