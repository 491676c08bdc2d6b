"""The `sppnet` command."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from typing import Annotated

import typer

from jobs.commands import apply, ask, change, export, keep, look, make, measure, runs, submit
from sppnet.huge_pages import ask_for_huge_pages

app = typer.Typer(
    name="sppnet",
    help="SPP-net as a batch pipeline: convolve every image once, cache the maps, pool any window of them.\n\n"
    "Exit codes: 0 done, 2 wrong usage or config, 3 shards incomplete, 4 too many quarantined, "
    "5 corrupt or missing artifact.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

for _function in (
    make.run,
    make.demo,
    submit.submit,
    look.plan,
    look.status,
    look.explain,
    look.report,
    runs.runs,
    runs.compare,
    apply.classify,
    apply.score,
    export.export,
    export.export_detections,
    change.add_category,
    change.remove_category,
    change.rename_category,
    keep.verify,
    keep.retry,
    keep.gc,
    keep.rm,
    look.doctor,
    ask.help_,
    measure.bench,
):
    app.command(_function.__name__.rstrip("_").replace("_", "-"))(_function)


def _version_line() -> str:
    """Tell this program's version, and those of what runs beneath it, as installed; nothing is imported for it."""
    found = {}
    for name in ("sppnet", "torch", "ray"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return f"sppnet {found.pop('sppnet')} ({', '.join(f'{name} {number}' for name, number in found.items())})"


def _show_version(asked: bool) -> None:
    if asked:
        typer.echo(_version_line())
        raise typer.Exit


@app.callback()
def _options(
    show_version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version and stop.")
    ] = False,
) -> None:
    """Take the options that stand before a command's name; its help is the app's own."""


def main() -> None:
    """Run the command that the process was started with."""
    ask_for_huge_pages()
    app()


if __name__ == "__main__":
    main()
