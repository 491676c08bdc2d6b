"""Two toy stages for the engine's and executors' tests: `numbers` counts, `powers` raises to a power.

Files in the folder `marks` steer the units of `powers`; see `_Marks`. The folder is a runtime field, so steering never
changes a fingerprint.
"""

from __future__ import annotations

import json
import os
import signal
import time
import uuid
from pathlib import Path
from typing import Annotated

from pydantic import Field

from pipelines.engine.commits import Output, Quarantined
from pipelines.engine.fingerprint import content_digest
from pipelines.engine.looks import Look
from pipelines.engine.machine import GpuCount
from pipelines.engine.phases import Phase, Resources
from pipelines.engine.stage import COVERAGE, RUNTIME, Input, Stage, StageConfig
from sppnet.errors import ArtifactError, ConfigError


def register() -> None:
    """Makes the toy stages known in this process."""
    from pipelines.engine.registry import STAGES

    STAGES.update(
        numbers="tests.support.toy_stages:Numbers",
        powers="tests.support.toy_stages:Powers",
        halves="tests.support.toy_stages:Halves",
    )


class NumbersConfig(StageConfig):
    shards: int = 3
    size: int = Field(4, ge=1)
    file: Annotated[str, RUNTIME] = ""


class Numbers(Stage[NumbersConfig]):
    """Shards of consecutive numbers."""

    name = "numbers"
    makes = "numbers"
    config_type = NumbersConfig

    @classmethod
    def outside(cls, config):
        return {"file": config.file} if config.file else None

    @classmethod
    def look(cls, config, store, past):
        """Take a file's content for the identity of what is counted."""
        try:
            found = content_digest(Path(config.file).read_bytes())
        except OSError as error:
            raise ConfigError(f"{config.file} can't be read") from error
        return Look(digests={"file": found}, objects={"file.txt": found.encode()}, reread=False)

    def phases(self) -> list[Phase]:
        return [Phase("count", tuple(f"all/{number:06d}" for number in range(self.config.shards)))]

    def run(self, unit: str) -> Output:
        first = int(unit.split("/")[1]) * self.config.size
        numbers = list(range(first, first + self.config.size))
        return Output(json.dumps(numbers).encode(), ".json", rows=len(numbers), done=len(numbers))


class PowersConfig(StageConfig):
    numbers: Annotated[str, Input(("numbers", "powers"))]
    power: int = 2
    refuse: int = 0
    shards: Annotated[tuple[int, ...], COVERAGE] = (0, 1, 2)
    marks: Annotated[str, RUNTIME] = ""
    pause: Annotated[float, RUNTIME] = 0.0
    cpus: Annotated[float, RUNTIME] = 1.0
    gpus: Annotated[GpuCount, RUNTIME] = 0.0
    deadline: Annotated[float, RUNTIME] = 600.0


class Powers(Stage[PowersConfig]):
    """Every number to a power; numbers that `refuse` divides are quarantined."""

    name = "powers"
    makes = "powers"
    seeded = True
    config_type = PowersConfig

    @classmethod
    def check(cls, config, inputs):
        (numbers,) = inputs["numbers"]
        if isinstance(numbers, NumbersConfig) and max(config.shards, default=0) >= numbers.shards:
            raise ConfigError(f"shards: {max(config.shards)} is not among those of its input")

    def phases(self) -> list[Phase]:
        units = tuple(f"all/{number:06d}" for number in self.config.shards)
        wants = Resources(self.config.cpus, self.config.gpus, deadline_seconds=self.config.deadline)
        total = "sum/" + "_".join(map(str, self.config.shards))  # which units exist is not in the fingerprint
        return [Phase("raise", units, wants), Phase("sum", (total,), keyed=False)]

    def run(self, unit: str) -> Output:
        if unit.startswith("sum/"):
            total = sum(sum(json.loads(self.artifact.read(u)).values()) for u in self.phases()[0].units)
            return Output(json.dumps(total).encode(), ".json", rows=1, done=0, metrics={"total": total})
        Marks(self.config.marks).obey(unit)
        time.sleep(self.config.pause)
        numbers = json.loads(self.input("numbers").read(unit))
        refused = [n for n in numbers if self.config.refuse and n % self.config.refuse == 0]
        kept = {str(n): n**self.config.power for n in numbers if n not in refused}
        return Output(
            json.dumps(kept).encode(),
            ".json",
            rows=len(kept),
            done=len(kept),
            quarantined=tuple(Quarantined(str(n), "refused", f"{n} is refused", "powers") for n in refused),
            metrics={
                "kept": len(kept),
                "threads": os.environ.get("OMP_NUM_THREADS", ""),
                "gpu": os.environ.get("CUDA_VISIBLE_DEVICES", ""),
            },
        )


class HalvesConfig(StageConfig):
    numbers: Annotated[str, Input(("numbers", "halves"))]
    total: Annotated[str | None, Input(("powers",))] = None
    divisor: float = 2
    shards: Annotated[tuple[int, ...], COVERAGE] = (0, 1, 2)
    marks: Annotated[str, RUNTIME] = ""
    gpus: Annotated[float, RUNTIME] = 0.0
    together: Annotated[int, RUNTIME] = 1


class Halves(Stage[HalvesConfig]):
    """Every number divided, shard by shard; `total` is read whole."""

    name = "halves"
    makes = "halves"
    streamed = frozenset({"numbers"})
    config_type = HalvesConfig

    def reads(self, unit: str) -> list[tuple[str, str]]:
        return [(self.input("numbers").name, unit)]

    def bundle(self, unit: str) -> str | None:
        """Name so many shards that follow one another."""
        together = self.config.together
        return str(int(unit.rpartition("/")[2]) // together) if together > 1 else None

    def phases(self) -> list[Phase]:
        units = tuple(f"all/{number:06d}" for number in self.config.shards)
        return [Phase("halve", units, Resources(gpus=self.config.gpus))]

    def run(self, unit: str) -> Output:
        Marks(self.config.marks).obey(unit)
        numbers = [number / self.config.divisor for number in json.loads(self.input("numbers").read(unit))]
        return Output(json.dumps(numbers).encode(), ".json", rows=len(numbers), done=len(numbers))


class Marks:
    """Files that say what happens to a unit: their text is how often it happens, or for how many seconds."""

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder) if folder else None

    def set(self, kind: str, unit: str, value: float) -> None:
        (self.folder / self._name(kind, unit)).write_text(str(value))

    def hold(self, unit: str) -> None:
        """Lets the unit go no further than its beginning, in every process, until it is let go."""
        (self.folder / self._name("hold", unit)).touch()

    def let_go(self, unit: str) -> None:
        """Ends `hold`."""
        (self.folder / self._name("hold", unit)).unlink()

    def tries(self, unit: str) -> int:
        """How often the unit was begun."""
        return len(list(self.folder.glob(f"{self._name('began', unit)}-*")))

    def pids(self) -> list[int]:
        """The processes that began units."""
        return [int(path.read_text()) for path in self.folder.glob("began-*")]

    @staticmethod
    def _name(kind: str, unit: str) -> str:
        return f"{kind}-{unit.replace('/', '_')}"

    def _take(self, kind: str, unit: str) -> bool:
        """Uses up one of the times that something is to happen."""
        path = self.folder / self._name(kind, unit)
        times = int(path.read_text()) if path.exists() else 0
        if times:
            path.write_text(str(times - 1))
        return times > 0

    @staticmethod
    def _eat(step: int = 64 << 20, most: int = 6 << 30) -> None:
        """Takes memory until somebody ends this, or it has six gigabytes."""
        eaten = []
        while len(eaten) * step < most:
            eaten.append(b"\x01" * step)
            time.sleep(0.02)
        time.sleep(10)

    def obey(self, unit: str) -> None:
        if self.folder is None:
            return
        slow, seconds = self.folder / self._name("slow", unit), 0.0
        if slow.exists():  # used up before it is told that this began: whoever waits for that may kill at once
            seconds = float(slow.read_text())
            slow.unlink()
        began = self.folder / f"{self._name('began', unit)}-{uuid.uuid4().hex}"
        began.with_suffix(".tmp").write_text(str(os.getpid()))
        began.with_suffix(".tmp").rename(began)
        while (self.folder / self._name("hold", unit)).exists():
            time.sleep(0.02)
        time.sleep(seconds)
        if self._take("eat", unit):
            self._eat()
        if self._take("kill", unit):
            os.kill(os.getpid(), signal.SIGKILL)
        for kind, error in (
            ("fail", ValueError("told to fail\nsecond line")),
            ("config", ConfigError(f"{unit} can never work")),
            ("artifact", ArtifactError(f"{unit} is not there")),
            ("connection", ConnectionError("the store is away")),
        ):
            if self._take(kind, unit):
                raise error
