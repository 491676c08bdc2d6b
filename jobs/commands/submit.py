"""`sppnet submit`: a run as a Ray job."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from jobs.commands.options import (
    DEFAULT_WORKSPACE,
    GpusOption,
    JsonOption,
    RecipeArgument,
    Result,
    SetOption,
    VerboseOption,
    WorkspaceOption,
    command,
)
from jobs.recipes import find_recipe
from jobs.run.console import make_console
from sppnet.errors import ConfigError, IncompleteError

if TYPE_CHECKING:
    from rich.console import Console

    from jobs.submit.baggage import Baggage
    from jobs.submit.job import Attempt, RunJob
    from jobs.submit.server import JobServer
    from pipelines.engine.store import Store


def submit(
    recipe: RecipeArgument,
    address: Annotated[
        str | None,
        typer.Option(
            envvar="RAY_API_SERVER_ADDRESS", metavar="URL", help="The head's dashboard, such as http://HOST:8265."
        ),
    ] = None,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    no_wait: Annotated[bool, typer.Option("--no-wait", help="Don't follow the job: print its id, and end.")] = False,
    stop: Annotated[bool, typer.Option("--stop", help="Stop the run's job, if one is running.")] = False,
    gpus: GpusOption = None,
    overrides: SetOption = None,
    as_json: JsonOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Run a recipe as a Ray job, and follow it. The same again follows the job that runs, or goes on with the next."""
    with command("submit", as_json, verbose) as result:
        from jobs.submit.server import dashboard_url

        url = dashboard_url(address)
        if stop and no_wait:
            raise ConfigError("--stop waits for the job's end: leave out --no-wait")
        options = ("--verbose",) if verbose else ()
        request = Request(recipe, workspace, tuple(overrides or ()), gpus, options, wait=not no_wait, stop=stop)
        asyncio.run(_submit(url, request, result))


@dataclass(frozen=True, slots=True)
class Request:
    """What a person asks for.

    Attributes:
        recipe: A file, its URI, or a built-in recipe's name.
        workspace: Folder or URI.
        overrides: `step.field=value`.
        gpus: GPUs of every unit that computes on them; None for what the recipe says.
        options: More options of the job's `sppnet run`.
        wait: Whether to follow the job.
        stop: Whether to stop it instead.
    """

    recipe: str
    workspace: str
    overrides: tuple[str, ...]
    gpus: str | None
    options: tuple[str, ...]
    wait: bool
    stop: bool


def _prepare(request: Request, console: Console) -> tuple[RunJob, Baggage, Store]:
    """Resolve the recipe, and say what of it can't travel."""
    from jobs.submit.baggage import local_roots, pack
    from jobs.submit.job import RunJob
    from pipelines.engine.asked_for import check_given
    from pipelines.engine.recipe import load_recipe
    from pipelines.engine.store import LocalStore, open_store

    loaded = load_recipe(find_recipe(request.recipe), request.overrides, request.gpus)
    check_given(loaded)
    store = open_store(request.workspace)
    if isinstance(store, LocalStore):
        console.print(f"workspace {store.uri} is a folder: the head and every node must have it at that path")
    for step, root in local_roots(loaded):
        console.print(f"{step}: the data set's folder {root} does not travel: every node must have it at that path")
    baggage = pack(loaded, store.uri)
    run = RunJob(loaded.name, f"{store.uri}/{baggage.name}", store.uri, request.options)
    return run, baggage, store


async def _submit(url: str, request: Request, result: Result) -> None:
    from jobs.submit.job import ensure_running, running
    from jobs.submit.server import JobServer, UnansweredError

    console = make_console()
    try:
        async with JobServer(url) as server:
            await server.check()  # first: to read a recipe takes seconds
            run, baggage, store = await asyncio.to_thread(_prepare, request, console)
            if request.stop:
                await _stop(server, await running(server, run), run, result, console)
                return
            count, size = await asyncio.to_thread(baggage.upload, store)
            if count:
                console.print(f"uploaded {count} files, {size / 1e6:.1f} MB, to {store.uri}")
            attempt = await ensure_running(server, run)
            console.print(_announcement(attempt, url, request.wait))
            result.fields.update(job=attempt.id, attempt=attempt.number, state="running")
            if request.wait:
                await _follow(server, attempt, result, console)
            elif not result.as_json:
                typer.echo(attempt.id)
    except UnansweredError as error:
        raise IncompleteError(f"the cluster at {url} does not answer ({error}); submit again") from error


def _announcement(attempt: Attempt, url: str, wait: bool) -> str:
    if not attempt.started:
        return f"job {attempt.id} is running already at {url}{': following it' if wait else ''}"
    before = f"; attempt {attempt.number - 1} {attempt.before}, this one goes on" if attempt.before else ""
    return f"job {attempt.id} submitted to {url}{before}"


async def _follow(server: JobServer, attempt: Attempt, result: Result, console: Console) -> None:
    from jobs.submit.following import Log, NotFollowedError, check_ending, follow

    log = Log(console.print)
    try:
        job = await follow(server, attempt.id, log)
    except asyncio.CancelledError as error:
        raise NotFollowedError(
            f"no longer following job {attempt.id}, which goes on; submit again to follow it, with --stop to stop it"
        ) from error
    told = {name: value for name, value in log.result.items() if name not in ("command", "exit_code", "error")}
    result.fields.update(told, state=job.state)
    check_ending(job, log.result)


async def _stop(server: JobServer, attempt: Attempt | None, run: RunJob, result: Result, console: Console) -> None:
    from jobs.submit.following import wait_for_end

    if attempt is None:
        console.print(f"no job {run.prefix}* is running at {server.url}")
        result.fields.update(job=None, state=None)
        return
    await server.stop(attempt.id)
    job = await wait_for_end(server, attempt.id)
    console.print(f"job {attempt.id} has ended ({job.state}); what is committed is kept")
    result.fields.update(job=attempt.id, attempt=attempt.number, state=job.state)
