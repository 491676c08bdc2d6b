"""How many rows a data object holds, told from the object itself, where its layout says so."""

from __future__ import annotations

from pipelines.artifacts.image_tars import decode_images
from pipelines.artifacts.parquet import count_rows, open_data
from pipelines.engine.commits import Commit
from pipelines.engine.workspace import Artifact


def rows_in(artifact: Artifact, commit: Commit) -> int | None:
    """Count the rows of a Parquet file or the images of a tar; None for other data.

    Raises:
        ArtifactError: The object is missing, or is none of its kind.
    """
    if commit.data is None:
        return None
    where = f"{artifact.name}/{commit.data}"
    if commit.data.endswith(".parquet"):
        return count_rows(open_data(artifact, commit), where)
    if commit.data.endswith(".tar"):
        return sum(1 for _ in decode_images(artifact.store.read(where), where))
    return None
