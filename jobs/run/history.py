"""The folders of runs: what was run, when, and how it ended, kept for every run of a workspace.

    runs/<name>/last.json                        the folder of the run that was started last
    runs/<name>/<when>-<fingerprint>/            recipe.yaml  events/*.jsonl  summary.json  report.html

`<when>` is the time in UTC at which the run was started first, `<fingerprint>` says what it makes. The same run started
again goes on in its folder; another recipe or other values of the same name get a folder of their own. Of a folder's
objects only `summary.json`, `report.html` and the events of the attempt that goes on are ever written over, and
`last.json` beside it.
"""

from __future__ import annotations

import difflib
import json
import re
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pipelines.engine.fingerprint import fingerprint
from pipelines.engine.planning import PlannedStep
from pipelines.engine.runner import Engine
from pipelines.engine.stage import COVERAGE
from pipelines.engine.store import Store
from pipelines.engine.yaml_text import BYTES, parse_yaml
from sppnet.errors import ArtifactError, ConfigError
from sppnet.outside import parse_json

ROOT = "runs"
EVENTS, SUMMARY = "events", "summary.json"
_RECIPE, _REPORT, _LAST = "recipe.yaml", "report.html", "last.json"
_FOLDER = re.compile(r"(?P<when>\d{8}T\d{6}Z)-(?P<fingerprint>[0-9a-f]{12})")
_NAMES_SHOWN = 8


@dataclass(frozen=True, slots=True, order=True)
class RunKey:
    """What a run is known by: `<name>/<when>-<fingerprint>`.

    Attributes:
        name: Its recipe's name.
        when: When it was started first, UTC, such as `20261126T125959Z`.
        fingerprint: Of what it makes, see `run_fingerprint`.
    """

    name: str
    when: str
    fingerprint: str

    def __str__(self) -> str:
        return f"{self.name}/{self.folder}"

    @property
    def folder(self) -> str:
        """The last part of its folder's name."""
        return f"{self.when}-{self.fingerprint}"

    @classmethod
    def parse(cls, name: str, folder: str) -> RunKey | None:
        """Read a folder's name; None if it is no run's."""
        found = _FOLDER.fullmatch(folder)
        return cls(name, **found.groupdict()) if found else None


@dataclass(frozen=True, slots=True)
class RunFolder:
    """A run's folder in a workspace.

    Attributes:
        store: The workspace's store.
        key: What the run is known by.
    """

    store: Store
    key: RunKey

    def path(self, file: str) -> str:
        """Return the name in the store of one of the folder's objects."""
        return f"{ROOT}/{self.key}/{file}"

    def write(self, file: str, data: bytes) -> str:
        """Write an object, over an earlier one, and return its URI."""
        name = self.path(file)
        self.store.put(name, data)
        return f"{self.store.uri}/{name}"

    def write_report(self, page: str) -> str:
        """Write the run's page, over an earlier one, and return its URI."""
        return self.write(_REPORT, page.encode("utf-8"))

    def recipe(self) -> dict[str, Any]:
        """Read the recipe as it was run, with every default, as plain values.

        Raises:
            ArtifactError: It is missing or corrupt.
        """
        where = f"{self.store.uri}/{self.path(_RECIPE)}"
        data = self.store.read(self.path(_RECIPE), BYTES)
        found = parse_yaml(data, lambda _, why: ArtifactError(f"{where} is corrupt: {why}"))
        if not isinstance(found, dict):
            raise ArtifactError(f"{where} is corrupt: not a mapping")
        return found

    def events(self) -> list[dict[str, Any]]:
        """Read the events of the newest attempt; none before the first.

        Raises:
            ArtifactError: They are corrupt.
        """
        logs = self.store.list(self.path(EVENTS))
        if not logs:
            return []
        name = logs[-1].name

        def corrupt(why: str) -> ArtifactError:
            return ArtifactError(f"{self.store.uri}/{name} is corrupt: {why}; remove it")

        return [parse_json(line, corrupt) for line in self.store.read(name).splitlines()]


def utc_now() -> str:
    """Return the time in UTC as names of folders and files have it: `20261126T125959Z`."""
    return time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())


def run_fingerprint(engine: Engine) -> str:
    """Hash what a run makes: its recipe's name and seed, and each step's artifact with how much of it is made."""
    return fingerprint(
        {
            "name": engine.recipe.name,
            "seed": engine.recipe.seed,
            "steps": {step.name: [step.spec.artifact, step.spec.manifest, _coverage(step)] for step in engine.steps},
        }
    )


def _coverage(step: PlannedStep) -> Mapping[str, Any]:
    fields = step.config.fields_with(COVERAGE)
    return step.config.model_dump(mode="json", include=fields)


def start_run(engine: Engine) -> RunFolder:
    """Open the folder in which a run is recorded: that of the last run of its name if it is the same, else a new one.

    Raises:
        ArtifactError: The pointer to the last run is corrupt.
    """
    store, name = engine.workspace.store, engine.recipe.name
    last, own = last_run(store, name), run_fingerprint(engine)
    if last is not None and last.fingerprint == own:
        return RunFolder(store, last)
    folder = _new_folder(engine, own)
    store.put(f"{ROOT}/{name}/{_LAST}", json.dumps({"run": folder.key.folder}).encode())
    return folder


def _new_folder(engine: Engine, own: str) -> RunFolder:
    folder = RunFolder(engine.workspace.store, RunKey(engine.recipe.name, utc_now(), own))
    folder.store.create(folder.path(_RECIPE), engine.recipe.to_yaml().encode())
    return folder


def folder_of(engine: Engine) -> RunFolder | None:
    """Find the newest folder of a run, without opening one; None if it was never started."""
    own = run_fingerprint(engine)
    found = [key for key in list_runs(engine.workspace.store, engine.recipe.name) if key.fingerprint == own]
    return RunFolder(engine.workspace.store, found[-1]) if found else None


def report_folder(engine: Engine) -> RunFolder:
    """Find the newest folder of a run, for its report, or make one: artifacts may be there that other runs made."""
    return folder_of(engine) or _new_folder(engine, run_fingerprint(engine))


def last_run(store: Store, name: str) -> RunKey | None:
    """Read which run of a name was started last; None before the first.

    Raises:
        ArtifactError: The pointer is corrupt.
    """
    pointer = f"{ROOT}/{name}/{_LAST}"
    if not store.exists(pointer):
        return None
    try:
        found = RunKey.parse(name, json.loads(store.read(pointer))["run"])
    except (ValueError, TypeError, KeyError):
        found = None
    if found is None:
        raise ArtifactError(f"{store.uri}/{pointer} is corrupt: it names no run's folder; remove it and run again")
    return found


def list_runs(store: Store, name: str | None = None) -> list[RunKey]:
    """List the runs of a workspace, or those of one name, by name and then by time."""
    found = set()
    for entry in store.list(ROOT if name is None else f"{ROOT}/{name}"):
        parts = entry.name.split("/")
        if len(parts) > 3 and (key := RunKey.parse(parts[1], parts[2])):
            found.add(key)
    return sorted(found)


def find_run(store: Store, reference: str) -> RunFolder:
    """Find a run as a person names it.

    Args:
        store: The workspace's store.
        reference: A name, for the run of it that was started last; `name/when-fingerprint`; or the beginning of a
            fingerprint.

    Raises:
        ConfigError: No run, or more than one, goes by that.
        ArtifactError: The pointer to the last run is corrupt.
    """
    known = list_runs(store)
    for key in known:
        if str(key) == reference:
            return RunFolder(store, key)
    named = [key for key in known if key.name == reference]
    if named:
        return RunFolder(store, last_run(store, reference) or named[-1])
    alike = [key for key in known if reference and key.fingerprint.startswith(reference)]
    if len({(key.name, key.fingerprint) for key in alike}) > 1:
        raise ConfigError(f"run {reference}: several begin so: {_shown(map(str, alike))}; give more of one")
    if not alike:
        raise unknown_run(store, reference, known)
    return RunFolder(store, max(alike, key=lambda key: key.when))


def unknown_run(store: Store, reference: str, known: Iterable[RunKey]) -> ConfigError:
    """Make the error for a run that is not there: it names the nearest ones."""
    names = list(dict.fromkeys(text for key in known for text in (key.name, str(key))))
    if not names:
        return ConfigError(f"no run '{reference}' in {store.uri}: nothing was run there")
    near = difflib.get_close_matches(reference, names, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(near)}?" if near else f"there are: {_shown(names)}"
    return ConfigError(f"no run '{reference}' in {store.uri}; {hint}")


def _shown(texts: Iterable[str]) -> str:
    names = list(texts)
    more = f" and {len(names) - _NAMES_SHOWN} more" if len(names) > _NAMES_SHOWN else ""
    return ", ".join(names[:_NAMES_SHOWN]) + more
