"""The command that tells what stages, the fields of recipes and built-in recipes mean."""

from __future__ import annotations

import shutil
from typing import Annotated

import typer

from jobs.commands.options import JsonOption, command
from sppnet.errors import ConfigError

_MOST_COLUMNS = 120


def help_(
    context: typer.Context,
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="[STAGE[.FIELD]]",
            help="A stage, dataset.KIND or recipe; or a field of it; or the name of a built-in recipe.",
        ),
    ] = None,
    markdown: Annotated[bool, typer.Option("--markdown", help="All fields as a page of the docs.")] = False,
    schema: Annotated[bool, typer.Option("--schema", help="The JSON schema of recipes, for editors.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Tell what a stage does and what its fields mean; without a name, which stages there are."""
    with command("help", as_json) as result:
        if (name is not None) + markdown + schema + (as_json and (markdown or schema)) > 1:
            raise ConfigError("help: give one of a name, --markdown and --schema; --json is for names")
        from jobs.recipes import recipe_names
        from jobs.reference.fields import sections
        from jobs.reference.lookup import find
        from jobs.reference.page import markdown_page
        from jobs.reference.recipe_schema import schema_text
        from jobs.reference.recipes import recipe_note
        from jobs.reference.text import contents_text, section_text

        width = min(shutil.get_terminal_size().columns, _MOST_COLUMNS)
        if schema or markdown:
            typer.echo(schema_text() if schema else markdown_page(sections()), nl=False)
            return
        if name in recipe_names():
            note = recipe_note(name)
            result.fields["recipe"] = note.to_json()
            if not as_json:
                typer.echo(note.text())
            return
        root = context.find_root().command
        commands = list(getattr(root, "commands", {}))
        found = list(sections()) if name is None else [find(name, commands)]
        result.fields["sections"] = [section.to_json() for section in found]
        if not as_json:
            typer.echo(contents_text(found, width) if name is None else section_text(found[0], width))
