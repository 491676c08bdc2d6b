"""Rows as objects have them, and as the commits of a whole chain of stages say."""

from __future__ import annotations

import pytest

from pipelines.artifacts.parquet import open_data
from pipelines.artifacts.row_counts import rows_in
from pipelines.engine.commits import Output
from pipelines.engine.workspace import Workspace
from sppnet.errors import ArtifactError
from tests.support.chain import Chain


def test_objects_have_as_many_rows_as_their_commits_say(chain: Chain) -> None:
    counted = 0
    for name in chain.engine.workspace.artifact_names():
        artifact = chain.engine.workspace.artifact(name)
        for unit in artifact.committed():
            commit = artifact.commit(unit)
            rows = rows_in(artifact, commit)
            is_counted = str(commit.data).endswith((".parquet", ".tar"))
            assert (rows == commit.rows) if is_counted else (rows is None)
            counted += is_counted
    assert counted > 20


def test_what_is_no_file_of_its_kind_is_named(tmp_path) -> None:
    artifact = Workspace.open(str(tmp_path)).artifact("maps-c0ffee123456")
    commit = artifact.publish("a", Output(b"PAR1 not", ".parquet", 1, 1), 0.0)
    with pytest.raises(ArtifactError, match=rf"^maps-c0ffee123456/{commit.data}: not a Parquet file"):
        rows_in(artifact, commit)


def test_parts_of_data_that_is_gone_name_its_commit(tmp_path) -> None:
    artifact = Workspace.open(str(tmp_path)).artifact("maps-c0ffee123456")
    commit = artifact.publish("a", Output(b"PAR1 gone", ".parquet", 1, 1), 0.0)
    artifact.store.delete(f"{artifact.name}/{commit.data}")
    with pytest.raises(ArtifactError, match=rf"/{commit.data} does not exist; remove _commits/a\.json and run again$"):
        rows_in(artifact, commit)
    nothing = artifact.publish("none", Output(None, "", 0, 0), 0.0)
    with pytest.raises(ArtifactError, match=r"^maps-c0ffee123456/none has no data$"):
        open_data(artifact, nothing)
