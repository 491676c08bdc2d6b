"""`sppnet bench`: this project beside its peers."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.table import Table

from jobs.commands.options import JsonOption, command
from jobs.console import make_console


def bench(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Which measure; 'list' names them.")],
    repeats: Annotated[int, typer.Option(min=1, help="Timed repetitions of each side.")] = 7,
    as_json: JsonOption = False,
) -> None:
    """Measure this project beside its peer, in one run on the same inputs."""
    with command("bench", as_json) as result:
        from jobs.bench.registry import measure, measure_names

        if name == "list":
            result.fields["measures"] = measure_names()
            make_console().print("\n".join(measure_names()))
            return
        rows = measure(name, repeats)
        columns = list(dict.fromkeys(key for row in rows for key in row))
        table = Table(*columns)
        for row in rows:
            table.add_row(*(f"{row[c]:.4g}" if isinstance(row.get(c), float) else str(row.get(c, "")) for c in columns))
        make_console().print(table)
        result.fields["measures"] = rows
