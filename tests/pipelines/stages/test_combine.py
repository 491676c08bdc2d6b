"""combine: the union of several detectors' scored windows, worked out again by hand; what does not fit is refused."""

from __future__ import annotations

import json
from collections import Counter

import numpy as np
import pytest

from pipelines.artifacts.detections import DetectionTable, decode_detection_table
from pipelines.artifacts.detectors import read_detector
from pipelines.artifacts.windows_and_maps import WindowsRow, decode_windows, encode_windows
from pipelines.detecting.detector_sources import DetectorSource
from pipelines.engine.commits import Output, Quarantined
from pipelines.shards.map_sources import StoredMaps
from pipelines.shards.windowed import ShardInputs
from sppnet.boxes import nms
from sppnet.errors import ArtifactError, ConfigError
from tests.support.chain import CATEGORIES, Chain, write_weights
from tests.support.stored_rows import regressed

READ = {"images": "images", "windows": "windows"}


@pytest.fixture(scope="module")
def ensemble(chain, tmp_path_factory) -> Chain:
    """Three detectors: the chain's, one of the same maps at one scale, and one of another network and fewer windows."""
    folder = tmp_path_factory.mktemp("ensemble")
    weights = write_weights(folder / "other.safetensors", seed=7)
    copy = chain.copied(folder / "ws", ("images", "windows", "network", "maps", "svms", "regressors", "plain", "full"))
    trained = {**chain.steps["svms"], "rounds": 1}
    steps = {
        **copy.steps,
        "svms-coarse": {**trained, "scales": [160], "categories": list(reversed(CATEGORIES))},
        "coarse": {"stage": "score", **READ, "maps": "maps", "svms": "svms-coarse"},
        "network-2": {**chain.steps["network"], "path": str(weights)},
        "maps-2": {**chain.steps["maps"], "backbone": "network-2"},
        "windows-2": {**chain.steps["windows"], "max_windows": 40},
        "svms-2": {**trained, "maps": "maps-2"},
        "second": {
            "stage": "score",
            "images": "images",
            "windows": "windows-2",
            "maps": "maps-2",
            "svms": "svms-2",
            "splits": [],
        },
        "both": {"stage": "combine", "images": "images", "detections": ["full", "coarse"]},
        "all": {"stage": "combine", "images": "images", "detections": ["both", "second"], "nms_iou": 0.4},
        "metrics": {"stage": "evaluate", "images": "images", "detections": ["full", "both", "all"]},
    }
    made = Chain(copy.data, steps, copy.root)
    made.run()
    return made


def scored(chain: Chain, step: str, shard: str) -> dict[str, tuple]:
    """A member's windows with every category's score, and what regresses them, by image."""
    (source,) = DetectorSource.of_detections(chain.artifact(step))
    detector = read_detector(source.svms, source.regressors, source.maps)
    inputs = ShardInputs(chain.artifact("images"), source.windows, source.maps, source.scales)
    found = {}
    for image in inputs.open(shard)[0]:
        scores = detector.svms.scores(detector.features(image.maps, image.image_wh, image.windows)).numpy()
        columns = [detector.svms.categories.index(category) for category in CATEGORIES]
        found[image.key] = (image, detector, scores[:, columns])
    return found


def by_image(table: DetectionTable) -> dict[tuple[str, str], list]:
    found: dict[tuple[str, str], list] = {}
    for row in table.rows():
        found.setdefault((row.key, row.category), []).append(row)
    return found


@pytest.mark.parametrize(
    ("step", "members", "iou"), [("both", ("full", "coarse"), 0.3), ("all", ("full", "coarse", "second"), 0.4)]
)
@pytest.mark.parametrize("title", ["val/000000", "val/000001"])
def test_it_is_the_union_suppressed(ensemble: Chain, step: str, members: tuple[str, ...], iou: float, title) -> None:
    shard = ensemble.unit(title)
    parts = [scored(ensemble, member, shard) for member in members]
    found = by_image(decode_detection_table(ensemble.artifact(step).read(shard), shard))
    winners: Counter[int] = Counter()
    for key in parts[0]:
        images, detectors, scores = zip(*(part[key] for part in parts), strict=True)
        windows = np.concatenate([image.windows for image in images])
        owner = np.repeat(np.arange(len(images)), [len(image.windows) for image in images])
        for k, category in enumerate(CATEGORIES):
            values = np.concatenate([value[:, k] for value in scores])
            above = np.flatnonzero(values > -1.5)
            kept = above[nms(windows[above], values[above], iou)][:100]
            rows = found.pop((key, category), [])
            assert [row.box for row in rows] == [tuple(windows[window]) for window in kept]
            np.testing.assert_allclose([row.score for row in rows], values[kept], atol=1e-5)
            for row, window in zip(rows, kept, strict=True):
                winners[owner[window]] += 1
                detector, image = detectors[owner[window]], images[owner[window]]
                moved = regressed(detector, category, image, windows[window][None])
                assert (row.regressed is None) == (moved is None)
                if moved is not None:
                    np.testing.assert_allclose(row.regressed, moved[0], rtol=1e-4, atol=1e-3)
    assert found == {}
    assert len(winners) == len(members)  # every detector gives some


def test_one_member_is_its_own_detections(ensemble: Chain) -> None:
    steps = {**ensemble.steps, "alone": {"stage": "combine", "images": "images", "detections": ["full"]}}
    alone = Chain(ensemble.data, steps, ensemble.root)
    for shard in alone.shards("val"):
        assert alone.stage("alone").run(shard).data == ensemble.artifact("full").read(shard)


def test_the_account(ensemble: Chain) -> None:
    summary = ensemble.summaries["all"]
    assert (summary.keys, summary.done, summary.own_quarantined) == (6, 6, 0)
    assert ensemble.summaries["second"].units == 0
    assert summary.metrics["windows"] == sum(
        len(entry[0].windows)
        for shard in ensemble.shards("val")
        for m in ("full", "coarse", "second")
        for entry in scored(ensemble, m, shard).values()
    )


def test_it_is_evaluated_like_any_other(ensemble: Chain) -> None:
    body = json.loads(ensemble.artifact("metrics").read("metrics"))
    assert [row["name"] for row in body["rows"]] == ["full", "full+bb", "both", "both+bb", "all", "all+bb"]
    for row in body["rows"]:
        assert set(row["categories"]) == set(CATEGORIES)
        assert row["voc07_map"] is not None


def test_maps_are_read_once(ensemble: Chain, monkeypatch: pytest.MonkeyPatch) -> None:
    """Members of one backbone share the reading of its maps, at all scales that any of them needs."""
    opened = []
    real = StoredMaps.open
    monkeypatch.setattr(
        StoredMaps, "open", lambda self, *args: (opened.append((self.maps.name, self.scales)), real(self, *args))[1]
    )
    ensemble.stage("all").run(ensemble.unit("val/000001"))
    assert opened == [(ensemble.artifact("maps").name, (160, 240)), (ensemble.artifact("maps-2").name, (160, 240))]


def test_a_key_that_one_member_can_not_use_is_set_aside(ensemble: Chain, tmp_path) -> None:
    copy = ensemble.copied(tmp_path / "ws", tuple(name for name in ensemble.steps if name not in ("all", "metrics")))
    artifact, unit = copy.artifact("windows-2"), copy.unit("val/000000")
    commit = artifact.commit(unit)
    rows = decode_windows(artifact.read(unit), unit)
    key = rows[1].key
    rows[1] = WindowsRow(key, rows[1].width, rows[1].height, np.full((3, 4), 7, np.float32))  # no window has an area
    artifact.store.delete(f"{artifact.name}/_commits/{unit}.json")
    artifact.publish(unit, Output(encode_windows(rows), ".parquet", commit.rows, commit.done, commit.quarantined), 0)
    steps = {name: step for name, step in ensemble.steps.items() if name != "metrics"}
    steps["all"] = {**steps["all"], "max_quarantined": 0.5}
    summary = Chain(copy.data, steps, copy.root).run()["all"]
    assert [(q.key, q.reason, q.stage) for q in summary.quarantined] == [(key, "no-windows", "combine")]
    assert summary.done == 5


def test_a_shard_without_windows(ensemble: Chain, tmp_path) -> None:
    """All of its images were set aside by propose: they stay so, and nothing is found."""
    copy = ensemble.copied(tmp_path / "ws", tuple(name for name in ensemble.steps if name not in ("all", "metrics")))
    artifact, unit = copy.artifact("windows-2"), copy.unit("val/000001")
    (row,) = decode_windows(artifact.read(unit), unit)
    artifact.store.delete(f"{artifact.name}/_commits/{unit}.json")
    aside = Quarantined(row.key, "no-windows", "none", "propose")
    artifact.publish(unit, Output(encode_windows([]), ".parquet", 0, 0, (aside,)), 0)
    output = Chain(copy.data, ensemble.steps, copy.root).stage("all").run(unit)
    assert (output.done, output.rows, output.quarantined) == (0, 0, (aside,))
    assert len(decode_detection_table(output.data, unit)) == 0


def test_members_must_fit(ensemble: Chain) -> None:
    steps = {**ensemble.steps}
    more = {**steps, "more": steps["images"], "all": {**steps["all"], "images": "more"}}
    with pytest.raises(ConfigError, match=r"detections: 'both' is made from .* 'images', not from those of 'more'"):
        Chain(ensemble.data, more, ensemble.root)
    with pytest.raises(ConfigError, match=r"both.detections: 'full': split train is not among those of its input: val"):
        ensemble.changed(both={"splits": ["train"]})
    with pytest.raises(ConfigError, match=r"steps.metrics.split: split val is not among"):
        ensemble.changed(metrics={"detections": ["second"]})


def test_other_categories(ensemble: Chain) -> None:
    names = ("images", "windows", "network", "maps", "svms", "plain")
    steps = {name: ensemble.steps[name] for name in names}
    steps["svms-few"] = {**ensemble.steps["svms-coarse"], "categories": ["car", "fish"]}
    steps["few"] = {**ensemble.steps["coarse"], "svms": "svms-few"}
    steps["mixed"] = {"stage": "combine", "images": "images", "detections": ["plain", "few"]}
    message = (
        "step mixed: detections: 'plain' and 'few' detect different categories: "
        "only 'plain' has bottle, house; only 'few' has fish"
    )
    with pytest.raises(ConfigError, match=message):
        Chain(ensemble.data, steps, ensemble.root).run()


def test_detections_that_do_not_tell_their_detector(ensemble: Chain, tmp_path) -> None:
    lost = ensemble.copied(tmp_path / "ws", ("full",)).artifact("full")
    body = {**lost.preimage(), "inputs": {"windows": [], "maps": [], "svms": [], "regressors": []}}
    lost.store.put(f"{lost.name}/artifact.json", json.dumps(body).encode())
    with pytest.raises(ArtifactError, match="does not tell what it was made from"):
        DetectorSource.of_detections(lost)
