"""The folder or prefix that takes the results of one command: whose they are, what was set aside, what is there."""

from __future__ import annotations

import json
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from typing import Any

from pipelines.engine.commits import Quarantined
from pipelines.engine.store import Store, StoreUnreachableError, open_store
from sppnet.errors import ArtifactError, ConfigError

INFO = "output.json"
LEDGER = "ledger.jsonl"
OPTIONS = "options"
"""What of an identity changes how results are written, not what they are."""
_OTHER = "give another folder"


class OutFolder:
    """A folder or object-store prefix for the results of one command.

    Args:
        out: The folder or URI.
        workspace: The command's workspace.
        identity: What the results are of, as JSON values by name: artifact, corpus, options.

    Raises:
        ConfigError: It is the workspace itself, holds the results of something else, or can't be written.

    Attributes:
        store: Its store.
    """

    def __init__(self, out: str, workspace: Store, identity: Mapping[str, Any]) -> None:
        self.store = open_store(out)
        self._out = out
        self._identity = json.loads(json.dumps(dict(identity)))
        if self.store.uri == workspace.uri:
            raise ConfigError(f"--out {out}: is the workspace; give another folder for the results")
        self._check()
        self._check_writable()

    def claim(self, info: Mapping[str, Any]) -> None:
        """Mark the folder as that of these results, and say what they hold.

        Raises:
            ConfigError: It holds the results of something else by now.
        """
        body = json.dumps({**self._identity, **info}, sort_keys=True, indent=1).encode()
        if not self.store.create(INFO, body):
            self._check()

    def write_ledger(self, entries: Iterable[tuple[str, Quarantined]], called: Callable[[str], str]) -> dict[str, Any]:
        """Write `ledger.jsonl`, a line for each image that was set aside, with its shard.

        Args:
            entries: The images.
            called: Returns the name of an image's `file` by its key.

        Returns:
            Counts: `quarantined`, and `reasons`.
        """
        lines = [{"shard": shard, "file": called(entry.key), **asdict(entry)} for shard, entry in entries]
        self.store.put(LEDGER, "".join(json.dumps(line, sort_keys=True) + "\n" for line in lines).encode())
        return {"quarantined": len(lines), "reasons": dict(Counter(line["reason"] for line in lines))}

    def _check(self) -> None:
        try:
            found = json.loads(self.store.read(INFO))
        except ArtifactError:
            return
        except ValueError:
            found = None
        other = {name: found.get(name) for name in self._identity} if isinstance(found, dict) else {}
        if any(other.get(name) != self._identity[name] for name in self._identity if name != OPTIONS):
            raise ConfigError(f"--out {self._out}: holds the results of another command, model or corpus; {_OTHER}")
        if other != self._identity:
            raise ConfigError(f"--out {self._out}: its files were written with {_told(other[OPTIONS])}; {_OTHER}")

    def _check_writable(self) -> None:
        probe = f".probe-{uuid.uuid4().hex}"
        try:
            self.store.put(probe, b"")
        except StoreUnreachableError as error:
            raise ConfigError(f"--out {self._out} can't be reached: {error}") from error
        self.store.delete(probe)


def _told(options: Any) -> str:
    given = options.items() if isinstance(options, dict) else ()
    return ", ".join(f"{name} {value}" for name, value in given if value is not None) or "other options"
