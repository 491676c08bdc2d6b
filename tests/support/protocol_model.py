"""Every order in which actors' calls to an object store can come about, with calls that fail and actors that die.

What an actor does next depends on nothing but what its calls gave so far. So an actor is run again from its start with
those answers, up to the call that has none yet: no threads, and each prefix is run once. A state is what the store
holds and how far each actor has come; all states are visited, each once.
"""

from __future__ import annotations

import itertools
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, NamedTuple

Verdict = Literal["ok", "fails", "lost"]
"""Of one call: it is done; it is not, and an error is raised; it is done, and its answer is lost."""
VERDICTS: tuple[Verdict, ...] = ("ok", "fails", "lost")
OLD, NEW = 0.0, 1e9
"""When an object was written: long ago, so that its writer has ended or is taken for dead, or just now."""


class Call(NamedTuple):
    """A call to the store."""

    method: str
    path: str
    data: bytes = b""


class Answer(NamedTuple):
    """What a call gave, or what it raised."""

    value: Any = None
    error: str = ""


class _Wants(BaseException):  # no error: `except Exception` must let it through
    def __init__(self, call: Call) -> None:
        self.call = call


class ModelFiles:
    """What `ObjectStore` needs of a file system of fsspec's; gives the answers known, and stops at the next call."""

    def __init__(self) -> None:
        self.answers: Iterator[Answer] = iter(())

    def _ask(self, call: Call) -> Any:
        answer = next(self.answers, None)
        if answer is None:
            raise _Wants(call)
        if answer.error:
            raise {"exists": FileExistsError, "missing": FileNotFoundError, "away": OSError}[answer.error](call.path)
        return answer.value

    def cat_file(self, path: str, start: int | None = None, end: int | None = None, **_: Any) -> bytes:
        return bytes(self._ask(Call("read", path))[start:end])

    def pipe_file(self, path: str, data: bytes, mode: str = "overwrite") -> None:
        self._ask(Call("create" if mode == "create" else "put", path, data))

    def find(self, path: str, detail: bool = True) -> Any:
        return self._ask(Call("list", path))

    def rm_file(self, path: str) -> None:
        self._ask(Call("delete", path))


class Object(NamedTuple):
    """An object: its bytes, and who wrote it."""

    data: bytes
    writer: str


Objects = Mapping[str, Object]


@dataclass(frozen=True)
class Actor:
    """Somebody who calls the store.

    Attributes:
        name: Its name.
        act: What it does.
        dies: Whether it may be killed.
        faulty: Whether its calls may fail.
    """

    name: str
    act: Callable[[], Any]
    dies: bool = True
    faulty: bool = True


class Ended(NamedTuple):
    """How an actor ended: what it returned, or what it raised; neither if it died."""

    value: Any = None
    error: Exception | None = None
    died: bool = False


@dataclass(frozen=True)
class State:
    """A moment: what is stored, what each actor's calls gave so far, who is dead, and which faults there were."""

    objects: tuple[tuple[str, Object], ...] = ()
    answers: tuple[tuple[Answer, ...], ...] = ()
    dead: frozenset[str] = frozenset()
    faults: int = 0
    story: tuple[str, ...] = field(default=(), compare=False)

    def stored(self) -> dict[str, Object]:
        return dict(self.objects)


class Model:
    """All that can come about between some actors.

    Args:
        files: The store's file system.
        actors: Who acts.
        faults: How many calls may fail, and deaths happen, at most.
        begin: Is called before an actor is run from its start, with its name: what is random must be equal each time.

    Attributes:
        states: How many were visited.
    """

    def __init__(self, files: ModelFiles, actors: list[Actor], *, faults: int, begin: Callable[[str], None]) -> None:
        self._files = files
        self._actors = actors
        self._faults = faults
        self._begin = begin
        self._known: dict[tuple[str, tuple[Answer, ...]], Call | Ended] = {}
        self.states = 0

    def visit(self, check: Callable[[State, Mapping[str, Ended | None]], None], objects: Objects | None = None) -> None:
        """Visit every state and check it.

        Args:
            check: Is given a state, and how each actor has ended, None if it has not.
            objects: What is stored at first.
        """
        first = State(tuple((objects or {}).items()), ((),) * len(self._actors))
        seen, todo = {first}, [first]
        while todo:
            state = todo.pop()
            self.states += 1
            moves = [self._next(number, state) for number in range(len(self._actors))]
            check(
                state, {a.name: m if isinstance(m, Ended) else None for a, m in zip(self._actors, moves, strict=True)}
            )
            for after in self._after(state, moves):
                if after not in seen:
                    seen.add(after)
                    todo.append(after)

    def _next(self, number: int, state: State) -> Call | Ended:
        """What an actor does next."""
        actor, answers = self._actors[number], state.answers[number]
        if actor.name in state.dead:
            return Ended(died=True)
        if (actor.name, answers) not in self._known:
            self._files.answers = iter(answers)
            self._begin(actor.name)
            found: Call | Ended
            try:
                found = Ended(actor.act())
            except _Wants as wanted:
                found = wanted.call
            except Exception as error:  # it is what the actor ends with
                found = Ended(error=error)
            self._known[actor.name, answers] = found
        return self._known[actor.name, answers]

    def _after(self, state: State, moves: list[Call | Ended]) -> Iterator[State]:
        """Every state that may come next."""
        left = state.faults < self._faults
        gone = {actor.name for actor, move in zip(self._actors, moves, strict=True) if isinstance(move, Ended)}
        for number, (actor, call) in enumerate(zip(self._actors, moves, strict=True)):
            if isinstance(call, Ended):
                continue
            for verdict in VERDICTS if left and actor.faulty else VERDICTS[:1]:
                yield self._called(state, number, call, verdict, gone)
            if left and actor.dies:
                told = (*state.story, f"{actor.name} dies")
                yield replace(state, dead=state.dead | {actor.name}, faults=state.faults + 1, story=told)

    def _called(self, state: State, number: int, call: Call, verdict: Verdict, gone: set[str]) -> State:
        objects, actor = state.stored(), self._actors[number].name
        answer = Answer(error="away")
        if verdict != "fails":
            found = apply(objects, call, actor, gone)
            answer = found if verdict == "ok" else answer
        answers = list(state.answers)
        answers[number] = (*answers[number], answer)
        told = f"{actor}: {call.method} {call.path.split('/', 2)[-1]} {verdict} {answer.error}"
        stored = tuple(sorted(objects.items()))
        faults = state.faults + (verdict != "ok")
        return State(stored, tuple(answers), state.dead, faults, (*state.story, told))


class _Listing(tuple[Any, ...]):
    """A listing as what `find` returns, and hashable."""

    def items(self) -> Iterator[tuple[str, dict[str, Any]]]:
        return ((path, {"size": size, "mtime": written, "type": "file"}) for path, size, written in self)


def apply(objects: dict[str, Object], call: Call, actor: str, gone: set[str]) -> Answer:
    """Does a call, as a store does that is consistent: all of it at one moment."""
    if call.method == "list":
        listed = [(path, one) for path, one in sorted(objects.items()) if path.startswith(call.path)]
        return Answer(_Listing((path, len(one.data), OLD if one.writer in gone else NEW) for path, one in listed))
    if call.method == "create" and call.path in objects:
        return Answer(error="exists")
    if call.method in ("create", "put"):
        objects[call.path] = Object(call.data, actor)
        return Answer()
    if call.path not in objects:
        return Answer(error="missing")
    if call.method == "delete":
        del objects[call.path]
        return Answer()
    return Answer(objects[call.path].data)


class Numbered:
    """Stands in for `uuid`: names that are equal each time that an actor is run from its start."""

    def __init__(self) -> None:
        self.begin("")

    def begin(self, actor: str) -> None:
        self._actor, self._count = actor, itertools.count()

    def uuid4(self) -> Any:
        number, actor = next(self._count), self._actor

        class Name:
            hex = f"{zlib.crc32(actor.encode()):08x}{number:04x}"

        return Name
