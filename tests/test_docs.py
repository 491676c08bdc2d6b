"""The docs name no command and no option that is not there, and no page or heading either."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from jobs.cli import app
from jobs.recipes import recipe_names
from pipelines.engine.recipe import parse_recipe
from pipelines.engine.registry import stage_type
from tests.support.in_process import Bench, sppnet
from tests.support.source_tree import ROOT

PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "infra").rglob("*.md")])
COMMANDS: Any = typer.main.get_command(app)
ASSIGNED = re.compile(r"""\b([A-Z]+)=("[^"]*"|'[^']*'|[^\s;]+)""")
MENTIONED = re.compile(r"`sppnet ([a-z][a-z-]*)([^`]*)`")
CODE = re.compile(r"(?<=\n\n)((?: {4,}\S.*\n(?:\n(?= {4}))?)+)")
CALL = re.compile(r"(?:^\s*|-- |\w:\S+ )(?:\.venv/bin/)?sppnet ([a-z].*)$")


def commands_of(text: str, known: dict[str, str] | None = None) -> list[list[str]]:
    """The command lines of a page's code, as words: variables put in, comments away, optional words kept.

    Args:
        text: The page, or a part of it that begins with an empty line.
        known: The variables that were set before; those that are set here are added.
    """
    code = "".join(CODE.findall(re.sub(r"\\\n\s*", "", text)))
    known = {} if known is None else known
    found = []
    for line in re.sub(r"\s#\s.*", "", code).split("\n"):
        for name, value in ASSIGNED.findall(line):
            known[name] = value.strip("\"'").replace(f"${name}", known.get(name, ""))
        for part in re.split(r";\s|&&\s|\s[|>]\s", re.sub(r"\[(--[^\]]*\]?\"?)\]", r"\1", line)):
            if call := CALL.search(part):
                found.append(shlex.split(re.sub(r"\$([A-Z]+)", lambda name: known.get(name[1], name[0]), call[1])))
    return found


SHOWN_COMMANDS = [
    pytest.param(words, id=f"{page.relative_to(ROOT)}: {' '.join(words)[:60]}")
    for page in PAGES
    for words in commands_of(page.read_text())
]


@pytest.mark.parametrize("words", SHOWN_COMMANDS)
def test_a_command_that_is_shown_can_be_given(words: list[str]) -> None:
    """Parsed, not run; a recipe that is named is one of those that there are."""
    assert words[0] in COMMANDS.commands, f"no command {words[0]}"
    context = COMMANDS.commands[words[0]].make_context(words[0], words[1:])
    recipe = context.params.get("recipe")
    if recipe is not None and recipe.islower() and not recipe.endswith(".yaml"):
        assert recipe in recipe_names()


def test_they_are_found() -> None:
    assert len(SHOWN_COMMANDS) > 30
    text = (
        'A\n\n    GPU="--gpus 1"; CPU=2\n\n    sppnet run demo \\\n      $GPU --cpus $CPU   # so\n'
        "    kubectl exec head -- sppnet runs ; .venv/bin/sppnet gc [--dry-run]\nsppnet no\n"
    )
    assert commands_of(text) == [["run", "demo", "--gpus", "1", "--cpus", "2"], ["runs"], ["gc", "--dry-run"]]


MARK = re.compile(r"<!-- not run: needs \S.* -->\n\n$")
NOT_RUN = {"README.md": "clusters and data sets, as told in docs/", "docs/results.md": "data sets, and up to hours"}
"""Pages of whose commands none is run, and what they need."""
STAND_INS = {"RECIPE": "mine.yaml", "s3://bucket/prefix": "./workspace"}


def commands_to_run(text: str) -> list[list[str]]:
    """The commands of a page's code that is not marked, in their order."""
    known: dict[str, str] = {}
    found = []
    for block in CODE.finditer(text):
        commands = commands_of(f"\n\n{block[0]}", known)
        found += [] if MARK.search(text, 0, block.start()) else commands
    return [[STAND_INS.get(word, word) for word in words] for words in found]


RUN = {
    page: commands
    for page in PAGES
    if str(page.relative_to(ROOT)) not in NOT_RUN and (commands := commands_to_run(page.read_text()))
}


@pytest.mark.parametrize("page", RUN, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_pages_commands_run_in_their_order(page: Path, made: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a small recipe `mine.yaml`, half of it made, in the workspace that is the default."""
    made.recipe.rename(made.folder / "mine.yaml")
    monkeypatch.chdir(made.folder)
    for words in RUN[page]:
        done = sppnet(*words)
        assert done.code == 0, (words, done.lines)


def test_a_command_is_run_unless_a_mark_says_what_it_needs() -> None:
    marked = "<!-- not run: needs Docker -->\n\n    sppnet gc\n    X=1; sppnet runs\n\n"
    text = f"A\n\n    sppnet runs\n\n{marked}B\n\n    sppnet plan $X\n"
    assert commands_to_run(text) == [["runs"], ["plan", "1"]]
    assert sum(map(len, RUN.values())) > 20
    marks = [mark for page in PAGES for mark in re.findall(r"<!-- not run.*", page.read_text())]
    assert [mark for mark in marks if not MARK.search(f"{mark}\n\n")] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_what_is_mentioned_is_there(page: Path) -> None:
    wrong = []
    for name, rest in MENTIONED.findall(page.read_text()):
        command = COMMANDS.commands.get(name)
        options = {option for param in command.params for option in param.opts} | {"--help"} if command else set()
        wrong += [f"{name} {option}" for option in re.findall(r"--[a-z-]+", rest) if option not in options]
        wrong += [] if command else [name]
    assert wrong == []


def anchors(page: Path) -> set[str]:
    """Where links into a page may lead."""
    titles = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    plain = [re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles]
    return set(plain)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    wrong = []
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if "://" in target or target.startswith("mailto:"):
            continue
        path, _, anchor = target.partition("#")
        other = (page.parent / path).resolve() if path else page
        if not other.exists() or (anchor and other.suffix == ".md" and anchor not in anchors(other)):
            wrong.append(target)
    assert wrong == []


SITE: dict[str, Any] = yaml.safe_load((ROOT / "mkdocs.yml").read_text())
DOCS = [page for page in PAGES if page.parent.name == "docs"]


def pages_of(nav: Any) -> list[str]:
    """The pages of the site's navigation."""
    if isinstance(nav, str):
        return [nav]
    return [page for part in (nav.values() if isinstance(nav, dict) else nav) for page in pages_of(part)]


def test_every_page_is_in_the_sites_navigation_once() -> None:
    assert sorted(pages_of(SITE["nav"])) == [page.name for page in DOCS]
    assert SITE["strict"] is True


def test_what_the_api_page_names_is_there() -> None:
    names = re.findall(r"^::: (\S+)$", (ROOT / "docs/api.md").read_text(), re.MULTILINE)
    assert len(names) > 15
    assert [name for name in names if not (ROOT / f"{name.replace('.', '/')}.py").is_file()] == []


RECIPES = [
    pytest.param(text, id=f"{page.name}: {number}")
    for page in DOCS
    for number, text in enumerate(re.findall(r"```yaml\n(.*?)```", page.read_text(), re.DOTALL))
    if "apiVersion:" not in text
]


@pytest.mark.parametrize("text", RECIPES)
def test_a_recipe_or_a_step_that_is_shown_can_be_read(text: str) -> None:
    raw = yaml.safe_load(text)
    if "steps" in raw:
        parse_recipe(raw, "shown")
    else:
        for step in raw.values():
            stage_type(step["stage"]).config_type.model_validate(step)
