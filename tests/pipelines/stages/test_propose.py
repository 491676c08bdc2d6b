"""propose: the windows are those of its methods, method after method, seeded by the image's key."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pipelines.artifacts.windows_and_maps import decode_windows
from pipelines.engine.looks import Past
from pipelines.engine.workspace import Workspace
from pipelines.stages.propose import Propose, ProposeConfig
from sppnet.errors import ConfigError
from sppnet.images.decoding import decode_image
from sppnet.networks.weights import write_safetensors
from sppnet.proposals.edge_boxes import edge_boxes
from sppnet.proposals.learned_edges import LearnedEdges
from sppnet.proposals.pidinet import read_pidinet
from sppnet.proposals.selective_search import selective_search
from sppnet.proposals.windows import join_windows
from sppnet.seeds import derive_seed
from tests.support.chain import Chain, accounts, equal_bytes
from tests.support.edge_networks import step_finder
from tests.support.proposing import PROPOSE, make_proposals

UNITS = ("train/000001", "val/000001")


@pytest.fixture(scope="module")
def proposals(drawn: Path, tmp_path_factory: pytest.TempPathFactory) -> Chain:
    """Windows by each method and by both: read them, don't change them."""
    made = make_proposals(
        tmp_path_factory.mktemp("proposals"),
        drawn,
        windows={**PROPOSE, "max_windows": 150},
        edges={**PROPOSE, "methods": ["edge-boxes"], "max_windows": 60},
        both={**PROPOSE, "methods": ["selective-search", "edge-boxes"], "max_windows": 80, "splits": ["val"]},
    )
    made.run()
    return made


def images_of(chain: Chain, unit: str) -> dict[str, np.ndarray]:
    return {record.key: decode_image(record.data) for record in chain.records(unit)}


def windows_of(chain: Chain, step: str, unit: str) -> dict[str, np.ndarray]:
    return {row.key: row.windows for row in decode_windows(chain.artifact(step).read(unit), unit)}


def searched(image: np.ndarray, key: str, **options: Any) -> np.ndarray:
    return selective_search(image, seed=derive_seed(0, "propose", key), **options)


def test_windows_are_those_of_selective_search(proposals: Chain) -> None:
    for unit in map(proposals.unit, UNITS):
        rows = windows_of(proposals, "windows", unit)
        for key, image in images_of(proposals, unit).items():
            expected = searched(image, key, max_windows=150)
            if key == "thin":
                assert key not in rows
                assert len(expected) == 0
                continue
            assert equal_bytes(rows[key], expected)


def test_windows_are_those_of_edge_boxes(proposals: Chain) -> None:
    for unit in map(proposals.unit, UNITS):
        rows = windows_of(proposals, "edges", unit)
        for key, image in images_of(proposals, unit).items():
            expected = edge_boxes(image, max_windows=60, min_side=20)
            assert (key in rows) == (len(expected) > 0) == (key not in ("thin", "plain"))
            assert key not in rows or equal_bytes(rows[key], expected)


def test_a_union_is_method_after_method(proposals: Chain) -> None:
    unit, edges = proposals.unit("val/000000"), 0
    rows = windows_of(proposals, "both", unit)
    for key, image in images_of(proposals, unit).items():
        parts = [searched(image, key, max_windows=80), edge_boxes(image, max_windows=80, min_side=20)]
        assert equal_bytes(rows[key], join_windows(parts))
        assert equal_bytes(rows[key][: len(parts[0])], parts[0])
        edges += len(parts[1])
    metrics = proposals.artifact("both").commit(unit).metrics
    assert metrics["windows"] == sum(map(len, rows.values())) <= metrics["selective-search"] + metrics["edge-boxes"]
    assert metrics["edge-boxes"] == edges > 0


def test_windows_lie_in_their_image_and_have_the_smallest_side(proposals: Chain) -> None:
    for step, most in (("windows", 150), ("edges", 60), ("both", 160)):
        for unit in proposals.units(step):
            for row in decode_windows(proposals.artifact(step).read(unit), unit):
                low, high = row.windows[:, :2], row.windows[:, 2:]
                assert (low >= 0).all()
                assert (high <= [row.width, row.height]).all()
                assert ((high - low) >= 20).all()
                assert 0 < len(row.windows) <= most


def test_every_key_is_done_or_quarantined(proposals: Chain) -> None:
    rows = list(accounts(proposals, "windows"))
    assert [found for _, found, _ in rows] == [wanted for _, _, wanted in rows] == [5, 5, 5, 5, 1]
    reasons = {step: set() for step in ("windows", "edges")}
    for step, found in reasons.items():
        found.update((q.key, q.reason, q.stage) for q in proposals.summaries[step].quarantined)
    assert reasons["windows"] == {("broken", "truncated", "ingest"), ("thin", "no-windows", "propose")}
    assert reasons["edges"] == reasons["windows"] | {("plain", "no-windows", "propose")}
    details = {q.key: q.detail for q in proposals.summaries["edges"].quarantined}
    assert details["plain"] == "edge boxes found no window of at least 20 px"


def test_the_seed_and_the_parameters_change_the_artifact(proposals: Chain) -> None:
    name = proposals.step("windows").spec.artifact
    for change in (
        {"min_side": 24},
        {"selective_search": {"k": [50]}},
        {"selective_search": {"resize_width": 500}},
        {"methods": ["selective-search", "edge-boxes"]},
    ):
        assert proposals.changed(windows=change).step("windows").spec.artifact != name
    assert proposals.changed(windows={"splits": ["train"]}).step("windows").spec.artifact == name
    reseeded = proposals.changed(seed=1)
    assert reseeded.step("windows").spec.artifact != name
    assert reseeded.step("images").spec.artifact == proposals.step("images").spec.artifact


def test_options_of_a_method_that_is_not_used_change_nothing(proposals: Chain) -> None:
    name, edges = (proposals.step(step).spec.artifact for step in ("windows", "edges"))
    other = {"edge_boxes": {"kappa": 1.0}}
    assert proposals.changed(windows=other).step("windows").spec.artifact == name
    assert proposals.changed(edges=other).step("edges").spec.artifact != edges


def test_the_artifact_names_its_edges(proposals: Chain) -> None:
    config = proposals.artifact("edges").preimage()["config"]
    assert config["edge_boxes"]["edges"] == "gradient"
    assert "model" not in config["edge_boxes"]
    assert "edge_boxes" not in proposals.artifact("windows").preimage()["config"]


def edge_config(model: Path | str | None, **options: Any) -> ProposeConfig:
    options["model"] = None if model is None else str(model)
    return ProposeConfig(stage="propose", images="images", methods=("edge-boxes",), edge_boxes=options)


def test_a_model_counts_by_its_content(tmp_path: Path) -> None:
    store = Workspace.open(str(tmp_path / "ws")).store

    def digests(model: Path) -> Mapping[str, Any]:
        config = edge_config(model)
        assert Propose.outside(config) == {"model": str(model)}
        return Propose.look(config, store, Past()).digests

    one, other = tmp_path / "one.yml", tmp_path / "other.yml"
    one.write_bytes(b"trees")
    shutil.copy(one, other)
    assert digests(one) == digests(other) != {}
    assert edge_config(one).semantic() == edge_config(other).semantic()
    assert edge_config(one).semantic()["edge_boxes"]["edges"] == "structured"
    other.write_bytes(b"other trees")
    assert digests(one) != digests(other)
    with pytest.raises(ConfigError, match=r"edge_boxes\.model: .*none\.yml can't be read: there is no such file"):
        digests(tmp_path / "none.yml")


def test_a_model_that_is_none_ends_the_step(proposals: Chain, tmp_path: Path) -> None:
    model = tmp_path / "model.yml"
    model.write_text("%YAML:1.0\n---\noptions: 3\n")
    wrong = proposals.copied(tmp_path / "ws", ("images",)).only("images", "edges")
    wrong = wrong.changed(edges={"edge_boxes": {"model": str(model)}})
    with pytest.raises(ConfigError, match=r"step edges: edge_boxes\.model .*model\.yml.* holds no forest"):
        wrong.stage("edges").run(wrong.unit("val/000000"))


@pytest.fixture
def pidinet(tmp_path: Path) -> Path:
    path = tmp_path / "edges.safetensors"
    path.write_bytes(step_finder())
    return path


def test_windows_on_learned_edges(proposals: Chain, tmp_path: Path, pidinet: Path) -> None:
    options = {"model": str(pidinet), "precision": "bfloat16", "edge_pixels": 5000}
    chain = proposals.copied(tmp_path / "ws", ("images",)).only("images", "edges")
    chain = chain.changed(edges={"edge_boxes": options})
    unit = chain.unit("val/000000")
    output = chain.stage("edges").run(unit)
    detector = LearnedEdges(read_pidinet(pidinet.read_bytes(), "edges"), precision="bfloat16", max_pixels=5000)
    images = images_of(chain, unit)
    rows = {row.key: row.windows for row in decode_windows(output.data, unit)}
    expected = {key: edge_boxes(image, detector=detector, max_windows=60, min_side=20) for key, image in images.items()}
    assert list(rows) == [key for key, windows in expected.items() if len(windows)] != []
    for key, windows in rows.items():
        assert equal_bytes(windows, expected[key])
        assert not equal_bytes(windows, edge_boxes(images[key], max_windows=60, min_side=20))


def test_pidinets_options_count_where_it_finds_the_edges(pidinet: Path) -> None:
    for model, kind in ((None, "gradient"), ("forest.yml.gz", "structured"), (str(pidinet), "learned")):
        found = edge_config(model, precision="bfloat16", edge_pixels=5000).semantic()["edge_boxes"]
        assert found["edges"] == kind
        assert "model" not in found
        assert ("precision" in found) == ("edge_pixels" in found) == (kind == "learned")
    assert (found["precision"], found["edge_pixels"]) == ("bfloat16", 5000)


def test_a_gpu_is_asked_for_by_pidinet_only(pidinet: Path) -> None:
    fields = {"stage": "propose", "images": "images", "edge_boxes": {"model": str(pidinet)}}
    both = ("edge-boxes", "selective-search")
    found = {
        (device, methods): ProposeConfig(**fields, device=device, methods=methods).resources().gpus
        for device in ("cpu", "auto", "cuda")
        for methods in (both, ("selective-search",))
    }
    assert [key for key, gpus in found.items() if gpus != 0] == [("auto", both), ("cuda", both)]
    assert found["cuda", both] == "auto"


def test_weights_of_another_network_are_told_before_anything_runs(proposals: Chain, tmp_path: Path) -> None:
    model = tmp_path / "other.safetensors"
    model.write_bytes(write_safetensors({"weight": torch.zeros(2)}))
    with pytest.raises(ConfigError, match=r"step edges: edge_boxes\.model .*other\.safetensors: holds no PiDiNet"):
        proposals.changed(edges={"edge_boxes": {"model": str(model)}})


def test_other_seeds_reorder_windows_only(proposals: Chain) -> None:
    """Priorities are random, the hierarchy is not: all windows together are the same set."""
    ((_, image),) = images_of(proposals, proposals.unit("val/000001")).items()
    one, other = (selective_search(image, seed=seed) for seed in (0, 1))
    assert not np.array_equal(one, other)
    assert set(map(tuple, one.tolist())) == set(map(tuple, other.tolist()))


def test_adding_a_split_makes_only_its_units(proposals: Chain, tmp_path: Path) -> None:
    copy = proposals.copied(tmp_path / "ws", ("images",)).only("images", "edges")
    first = copy.changed(edges={"splits": ["val"]})
    first.run()
    before = {unit: first.artifact("edges").commit(unit) for unit in first.units("edges")}
    assert list(before) == copy.shards("val")
    both = copy.changed(edges={"splits": ["train", "val"]})
    both.run()
    assert both.step("edges").spec.artifact == first.step("edges").spec.artifact
    assert len(both.artifact("edges").committed()) == 5
    assert all(both.artifact("edges").commit(unit) == commit for unit, commit in before.items())


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"splits": ["train", "test"]}, r"steps.windows.splits: split test is not among .*: train, val"),
        ({"methods": []}, r"steps.windows.methods"),
        ({"methods": ["edgeboxes"]}, r"steps.windows.methods.0: .*'edge-boxes'"),
        ({"methods": ["edge-boxes", "edge-boxes"]}, r"steps.windows.methods: each at most once"),
        ({"edge_boxes": {"kapa": 1}}, r"steps.windows.edge_boxes.kapa: unknown key; did you mean 'kappa'"),
        ({"edge_boxes": {"edge_pixels": 63}}, r"steps.windows.edge_boxes.edge_pixels: .* equal to 64"),
        ({"edge_boxes": {"alpha": 1}}, r"steps.windows.edge_boxes.alpha: .* less than or equal to 0.95"),
        ({"selective_search": {"k": [0]}}, r"steps.windows.selective_search.k.0: "),
    ],
)
def test_wrong_fields_are_refused(proposals: Chain, fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        proposals.changed(windows=fields)
