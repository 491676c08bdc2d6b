"""`sppnet bench`: this project beside its peers."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from rich.table import Table

from jobs.commands.options import JsonOption, command
from jobs.run.console import make_console
from sppnet.errors import ConfigError

_MOST_COLUMNS = 14


def bench(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Which measure; 'list' names them.")],
    repeats: Annotated[
        int | None, typer.Option(min=1, help="Timed repetitions of each side; default: the measure's own.")
    ] = None,
    device: Annotated[str | None, typer.Option(help="cpu or cuda; default: a GPU if there is one.")] = None,
    minutes: Annotated[
        float | None, typer.Option(min=0, help="What a measure of several parts may take; default: its own.")
    ] = None,
    options: Annotated[
        list[str] | None,
        typer.Option("--option", metavar="NAME=VALUE", help="An argument of the measure; repeatable."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Measure this project beside its peer, in one run on the same inputs."""
    with command("bench", as_json) as result:
        from jobs.bench.registry import measure, measure_names

        if name == "list":
            result.fields["measures"] = measure_names()
            make_console().print("\n".join(measure_names()))
            return
        rows = measure(name, **{"repeats": repeats, "device": device, "minutes": minutes, **_values(options or [])})
        make_console().print(_table(rows))
        result.fields["measures"] = rows


def _table(rows: list[dict[str, Any]]) -> Table:
    """Show a line a row; or, where a row says too much for a line, a column."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    cells = [
        [f"{row[c]:.4g}" if isinstance(row.get(c), float) else str(row.get(c, "")) for c in columns] for row in rows
    ]
    if len(columns) <= _MOST_COLUMNS:
        table = Table(*columns)
        for line in cells:
            table.add_row(*line)
        return table
    table = Table(show_header=False)
    for column, values in zip(columns, zip(*cells, strict=True), strict=True):
        table.add_row(column, *values)
    return table


def _cell(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _values(options: list[str]) -> dict[str, Any]:
    """Read `NAME=VALUE` options; values are YAML."""
    found = {}
    for option in options:
        name, equals, value = option.partition("=")
        if not (name and equals):
            raise ConfigError(f"--option {option}: expected NAME=VALUE")
        found[name.replace("-", "_")] = _value(option, value)
    return found


def _value(option: str, text: str) -> Any:
    from pipelines.engine.yaml_text import parse_yaml

    return parse_yaml(text, lambda _, why: ConfigError(f"--option {option}: the value is {why}"))
