"""Commands that change a trained detector."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from jobs.commands.options import (
    DEFAULT_WORKSPACE,
    AddressOption,
    CpusOption,
    GpusOption,
    JsonOption,
    LocalOption,
    RecipeArgument,
    SetOption,
    VerboseOption,
    WorkspaceOption,
    command,
    executor_maker,
    open_engine,
)
from jobs.run.console import make_console

CategoryArgument = Annotated[str, typer.Argument(metavar="CATEGORY", help="The category's name.")]
DetectorOption = Annotated[str | None, typer.Option(help="The recipe's step that scores, if there are several.")]
RecipeOutOption = Annotated[
    str | None,
    typer.Option("--out", "-o", metavar="FILE", help="The changed recipe; default: NAME.yaml in this folder."),
]


def add_category(
    recipe: RecipeArgument,
    category: CategoryArgument,
    annotations: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="CSV table of its boxes: ImageID,LabelName,XMin,YMin,XMax,YMax. Default: the data set has them.",
        ),
    ] = None,
    unit: Annotated[str, typer.Option(help="What the boxes are told in: pixel, or fraction of the sides.")] = "pixel",
    columns: Annotated[
        list[str] | None,
        typer.Option("--column", metavar="image=NAME", help="Another name of a column of the table; repeatable."),
    ] = None,
    out: RecipeOutOption = None,
    detector: DetectorOption = None,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    local: LocalOption = False,
    address: AddressOption = None,
    cpus: CpusOption = None,
    gpus: GpusOption = None,
    overrides: SetOption = None,
    as_json: JsonOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Train one more category on the cached maps of a detector, and write the recipe that detects it too."""
    with command("add-category", as_json, verbose) as result:
        maker = executor_maker(local, address, cpus)
        from jobs.change.categories import Table, add_category, recipe_text
        from jobs.change.making import known_recipe, training_engine
        from jobs.run.making import make_missing

        base = known_recipe(open_engine(recipe, workspace, overrides, gpus=gpus))
        named = dict(_column(text) for text in columns or ())
        table = Table(str(annotations), unit, named) if annotations is not None else None
        added = add_category(base, category, detector, table)
        engine = training_engine(added.recipe, added.trained, set(base.steps), workspace)
        made = make_missing(engine, maker, make_console())
        file = out or f"{added.recipe.name}.yaml"
        _write(file, recipe_text(added.recipe))
        result.fields.update(recipe=file, detector=added.detector, trained=list(added.trained), seconds=made.seconds)
        make_console().print(f"{category} is trained: sppnet score IMAGES --recipe {file} --out DIR")
        made.check()


def remove_category(
    recipe: RecipeArgument,
    category: CategoryArgument,
    out: RecipeOutOption = None,
    detector: DetectorOption = None,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write the recipe of a detector without one of its categories; nothing is computed."""
    with command("remove-category", as_json) as result:
        from jobs.change.categories import recipe_text, remove_category
        from jobs.change.making import known_recipe

        base = known_recipe(open_engine(recipe, workspace, overrides))
        changed, score = remove_category(base, category, detector)
        file = out or f"{changed.name}.yaml"
        _write(file, recipe_text(changed))
        result.fields.update(recipe=file, detector=score)
        make_console().print(f"{category} is left out: sppnet score IMAGES --recipe {file} --out DIR")


def rename_category(
    recipe: RecipeArgument,
    category: CategoryArgument,
    name: Annotated[str, typer.Argument(metavar="NAME", help="What it is called from now on.")],
    out: RecipeOutOption = None,
    detector: DetectorOption = None,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write the recipe of a detector that calls one of its categories otherwise; nothing is computed."""
    with command("rename-category", as_json) as result:
        from jobs.change.categories import recipe_text, rename_category
        from jobs.change.making import known_recipe

        base = known_recipe(open_engine(recipe, workspace, overrides))
        changed, score = rename_category(base, category, name, detector)
        file = out or f"{changed.name}.yaml"
        _write(file, recipe_text(changed))
        result.fields.update(recipe=file, detector=score)
        make_console().print(f"{category} is called {name}: sppnet score IMAGES --recipe {file} --out DIR")


def _column(text: str) -> tuple[str, str]:
    from sppnet.errors import ConfigError

    what, sign, name = text.partition("=")
    if not sign or not name:
        raise ConfigError(f"--column {text}: expected image=NAME, category=NAME, xmin=NAME and so on")
    return what, name


def _write(file: str, text: str) -> None:
    """Write a recipe; never over another one that says something else."""
    from sppnet.errors import ConfigError

    path = Path(file)
    if path.exists() and path.read_text() != text:
        raise ConfigError(f"--out {file}: is there already and says something else; give another file")
    path.write_text(text)
