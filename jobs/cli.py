"""The `sppnet` command."""

from __future__ import annotations

import typer

from jobs.commands import apply, export, look, make, measure

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
    look.plan,
    look.status,
    look.explain,
    look.report,
    apply.classify,
    apply.score,
    export.export,
    export.export_detections,
    look.doctor,
    measure.bench,
):
    app.command(_function.__name__.replace("_", "-"))(_function)


def main() -> None:
    """Entry point."""
    app()


if __name__ == "__main__":
    main()
