"""The paper's and the authors' rules as options of train-svms, its bounds, and what it refuses."""

from __future__ import annotations

import numpy as np
import pytest

from pipelines.artifacts.examples import Examples, open_examples
from pipelines.artifacts.windows_and_maps import WindowsRow, decode_windows, encode_windows
from pipelines.detecting.gathering import SHARED
from pipelines.detecting.set_limits import SetLimits, mine_bytes, solve_bytes
from pipelines.detecting.training_sets import SetBuilder
from pipelines.detecting.training_shards import TrainingShards
from pipelines.engine.commits import Output, Quarantined
from pipelines.engine.work import build_stage, run_unit
from pipelines.engine.workspace import Workspace
from pipelines.shards.reading import IngestedImages
from pipelines.shards.windowed import LabelledImage
from sppnet.boxes import iou_matrix
from sppnet.detection.mining import first_responses, name_fraction
from sppnet.detection.sampling import svm_negatives
from sppnet.errors import ConfigError
from tests.support.tiny_training import INPUTS, make_training_workspace, rewrite_maps, svms_spec, train, trained
from tests.support.tiny_workspace import CATEGORIES, CHANNELS, SCALES, read_manifest

SHARD = "train/000001"


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return make_training_workspace(tmp_path_factory.mktemp("options"), images=12, shard_size=4)


@pytest.fixture(scope="module")
def wider(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """Eight images, and six of a split `more`."""
    return make_training_workspace(tmp_path_factory.mktemp("wider"), images=8, shard_size=4, more=6)


@pytest.fixture(scope="module")
def plain(workspace: Workspace):
    """SVMs by the defaults."""
    return train(svms_spec(workspace, "svms-plain"))


def images_of(workspace: Workspace, shard: str = SHARD) -> list[LabelledImage]:
    images, windows, maps = (workspace.artifact(name) for name in INPUTS.values())
    ingested = IngestedImages(images, read_manifest(workspace))
    return list(TrainingShards(ingested, windows, maps, SCALES, "train", "test").open(shard)[0])


def read(workspace: Workspace, artifact: str, unit: str, category: str) -> Examples:
    (found,) = open_examples(workspace.artifact(artifact), unit).read((category,))
    return found


def boxes_of(image: LabelledImage, *categories: str) -> np.ndarray:
    return np.array([o.box for o in image.annotation.objects if o.category in categories], np.float32).reshape(-1, 4)


def gathered(workspace: Workspace, name: str, category: str, **fields) -> list[Examples]:
    spec = svms_spec(workspace, f"svms-{name}", **fields)
    build_stage(spec).prepare()
    for shard in ("train/000000", SHARD, "train/000002"):
        run_unit(spec, f"gather/{shard}")
    return [read(workspace, f"svms-{name}", f"gather/{s}", category) for s in ("train/000000", SHARD, "train/000002")]


class TestNegatives:
    @pytest.mark.parametrize("dedupe", ["overlap", "response-box", "none"])
    def test_random_ones_obey_the_rule_for_doubles(self, workspace: Workspace, dedupe: str) -> None:
        parts = gathered(workspace, f"rule-{dedupe}", SHARED, dedupe=dedupe, dedupe_iou=0.4, random_negatives=1000)
        geometry = build_stage(svms_spec(workspace, f"svms-rule-{dedupe}"))._features.geometry
        for image in images_of(workspace):
            objects = boxes_of(image, *CATEGORIES)
            expected = svm_negatives(image.windows, objects, dedupe_iou=0.4 if dedupe == "overlap" else None)
            if dedupe == "response-box":
                first = first_responses(image.windows, image.image_wh, SCALES, geometry)
                expected = expected[first[expected]]
            found = [window for key, window in parts[1].names() if key == image.key]
            assert found == expected.tolist()

    def test_each_rule_leaves_out_more_than_none(self, workspace: Workspace) -> None:
        def count(**rule) -> int:
            name = "-".join(map(str, rule.values()))
            return sum(map(len, gathered(workspace, name, SHARED, random_negatives=1000, **rule)))

        alone = count(dedupe="none")
        assert 0 < count(dedupe="overlap", dedupe_iou=0.4) < alone
        assert 0 < count(dedupe="response-box") < alone

    def test_at_most_or_less_than(self, workspace: Workspace, tmp_path) -> None:
        """A window of exactly the overlap is a negative of the paper's, not of the release's."""
        copy = make_training_workspace(tmp_path, images=4, shard_size=4)
        image = images_of(copy, "train/000000")[0]
        x0, y0, x1, y1 = image.annotation.objects[0].box
        half = np.array([[x0, y0, x1, y0 + (y1 - y0) / 4]], np.float32)
        assert iou_matrix(half, boxes_of(image, *CATEGORIES)).max() == 0.25
        windows = copy.artifact("windows-tiny")
        rows = decode_windows(windows.read("train/000000"), "")
        rows[0] = WindowsRow(rows[0].key, rows[0].width, rows[0].height, half)
        windows.store.delete("windows-tiny/_commits/train/000000.json")
        windows.publish("train/000000", Output(encode_windows(rows), ".parquet", 4, 4), 0)
        for strict in (False, True):
            spec = svms_spec(copy, f"svms-strict{strict}", strict=strict, negative_iou=0.25)
            build_stage(spec).prepare()
            run_unit(spec, "gather/train/000000")
            shared = read(copy, f"svms-strict{strict}", "gather/train/000000", SHARED)
            assert ((image.key, 0) in shared.names()) is not strict

    def test_hard_ones_without_limit_or_threshold(self, workspace: Workspace, plain) -> None:
        """All windows that are negatives at all, where everything counts as hard."""
        spec = svms_spec(
            workspace, "svms-whole", dedupe="none", hard_threshold=-1e6, evict_threshold=None, hard_per_image=None
        )
        stage = build_stage(spec)
        stage.prepare()
        for category in CATEGORIES:
            commit = plain.artifact.commit(f"solve-0/{category}")
            stage.artifact.publish(f"solve-0/{category}", Output(plain.artifact.read_commit(commit), ".st", 1, 0), 0)
        run_unit(spec, f"mine-1/{SHARD}")
        for category in CATEGORIES:
            found = read(workspace, "svms-whole", f"mine-1/{SHARD}", category)
            clear = [svm_negatives(i.windows, boxes_of(i, category), dedupe_iou=None) for i in images_of(workspace)]
            assert len(found) == sum(map(len, clear)) > 30
            for image in images_of(workspace):
                scores = found.scores[[key == image.key for key in found.keys]]
                assert (np.diff(scores) <= 0).all()

    def test_a_shard_gives_its_share_of_the_hardest(self, workspace: Workspace) -> None:
        spec = {"max_hard_negatives": 9, "hard_share": 2.0}
        stage = train(svms_spec(workspace, "svms-share", **spec))
        whole = train(svms_spec(workspace, "svms-no-share", max_hard_negatives=9, hard_share=100.0))
        for category in CATEGORIES:
            part = read(workspace, "svms-share", f"mine-1/{SHARD}", category)
            every = read(workspace, "svms-no-share", f"mine-1/{SHARD}", category)
            assert len(part) == min(6, len(every))  # 2 x 9 / 3 shards
            assert sorted(part.scores) == sorted(every.scores)[-len(part) :]
        # No shard had more than twice its share of the nine hardest: the SVMs are those of all.
        assert trained(stage).weights.shape == trained(whole).weights.shape


class TestBounds:
    def test_training_sets_are_bounded_and_drawn_by_names(self, workspace: Workspace, plain) -> None:
        limits = {"max_positives": 2, "max_random_negatives": 25, "max_object_negatives": 3, "max_hard_negatives": 4}
        stage = train(svms_spec(workspace, "svms-bounded", **limits))
        for number in (0, 1):
            for category in CATEGORIES:
                metrics = stage.artifact.commit(f"solve-{number}/{category}").metrics
                assert metrics["positives"] == 2
                assert metrics["negatives"] <= 25 + 3 + 4 * number
        shared = sum(len(read(workspace, "svms-bounded", f"gather/train/00000{i}", SHARED)) for i in range(3))
        counts = {stage.artifact.commit(f"solve-0/{category}").metrics["negatives"] for category in CATEGORIES}
        assert counts == {min(25, shared) + 3}

    def test_random_negatives_are_thinned_where_they_are_gathered(self, workspace: Workspace, plain) -> None:
        parts = gathered(workspace, "thin", SHARED, max_random_negatives=10)
        every = [read(workspace, "svms-plain", f"gather/train/00000{i}", SHARED) for i in range(3)]
        names = [name for part in every for name in part.names()]
        fraction = (10 + 6 * np.sqrt(10)) / (12 * 20)
        expected = [name for name in names if name_fraction(3, *name) < fraction]
        assert [name for part in parts for name in part.names()] == expected
        assert 10 <= len(expected) < len(names) / 2

    def test_stated_memory(self, workspace: Workspace) -> None:
        assert solve_bytes(1000, 4096, "float16") == 1000 * 4096 * 6.25
        assert solve_bytes(1000, 4096, "uint8") == 1000 * 4096 * 5.125
        assert mine_bytes(200, 100, 4096, "float16") == 200 * 100 * 4096 * 6.25
        assert mine_bytes(200, 100, 4096, "uint8") == 200 * 100 * 4096 * 3.125
        limits = SetLimits(positives=None, random=30_000, objects=20_000, hard=50_000)
        assert limits.rows(images=60_000, random=20, hard=30) == 60_000 + 30_000 + 20_000 + 50_000
        assert limits.rows(images=12, random=20, hard=30) == 12 + 240 + 120 + 360
        assert limits.rows(images=12, random=20, hard=None) == 12 + 240 + 120 + 50_000
        stage = build_stage(svms_spec(workspace, "svms-memory"))
        assert stage.phases()[1].resources.memory_bytes == 0  # nothing is known before it is prepared
        stage.prepare()
        dimension = 14 * CHANNELS
        assert stage.phases()[1].resources.memory_bytes == solve_bytes(12 + 240 + 120 + 360, dimension, "uint8")
        assert stage._memory()["mine_bytes"] == mine_bytes(3, 4 * 30, dimension, "uint8")

    def test_images_that_give_positives_only_bound_positives_only(self, wider: Workspace) -> None:
        """Memory holds an object of each of them; random and hard negatives are bounded as without them."""
        alone, both = (
            build_stage(svms_spec(wider, f"svms-memory{len(s)}", positive_splits=s)) for s in ((), ("more",))
        )
        alone.prepare()
        both.prepare()
        dimension = 14 * CHANNELS
        assert alone._memory()["solve_bytes"] == solve_bytes(8 + 160 + 80 + 240, dimension, "uint8")
        assert both._memory()["solve_bytes"] == solve_bytes(8 + 6 + 160 + 80 + 240, dimension, "uint8")
        assert (
            both._memory()["mine_bytes"] == alone._memory()["mine_bytes"] == mine_bytes(3, 4 * 30, dimension, "uint8")
        )
        limits = SetLimits(positives=10, random=100, objects=0, hard=0)
        assert limits.rows(images=8, random=2, hard=0, positive_images=1) == 9 + 16
        assert limits.rows(images=8, random=2, hard=0, positive_images=6) == 10 + 16

    def test_random_negatives_are_thinned_by_the_images_that_have_some(self, wider: Workspace) -> None:
        fields = {"max_random_negatives": 20, "positive_splits": ("more",)}
        spec = svms_spec(wider, "svms-thin", **fields)
        build_stage(spec).prepare()
        run_unit(spec, f"gather/{SHARD}")
        every = svms_spec(wider, "svms-not-thin")
        build_stage(every).prepare()
        run_unit(every, f"gather/{SHARD}")
        names = read(wider, "svms-not-thin", f"gather/{SHARD}", SHARED).names()
        fraction = (20 + 6 * np.sqrt(20)) / (8 * 20)
        expected = [name for name in names if name_fraction(3, *name) < fraction]
        assert read(wider, "svms-thin", f"gather/{SHARD}", SHARED).names() == expected
        assert 0 < len(expected) < len(names)

    def test_positives_are_drawn_from_all_splits(self, wider: Workspace) -> None:
        stage = train(svms_spec(wider, "svms-drawn", positive_splits=("more",), max_positives=4, rounds=0))
        builder = SetBuilder(
            stage._shards, stage.artifact, CATEGORIES, stage.config.limits(), 0.3, strict=False, seed=stage.seed
        )
        kept_of_more = 0
        for category in CATEGORIES:
            units = [f"gather/{shard}" for shard in stage._shards.units]
            groups = [g for unit in units for g in open_examples(stage.artifact, unit).read((category,))]
            rows = [
                (name_fraction(stage.seed, key, window), key, feature.astype(np.float32))
                for group in groups
                for (key, window), score, feature in zip(group.names(), group.scores, group.floats(), strict=True)
                if score > 0
            ]
            assert len(rows) > 4
            rows.sort(key=lambda row: row[0])
            found = builder.build(category, 0, None, None)
            assert found.positives == 4 == stage.artifact.commit(f"solve-0/{category}").metrics["positives"]
            assert np.array_equal(found.features[:4], [feature for *_, feature in rows[:4]])
            kept_of_more += sum(key >= "im100" for _, key, _ in rows[:4])
        assert 0 < kept_of_more < 12

    def test_images_without_an_object_are_not_pooled(self, wider: Workspace, monkeypatch) -> None:
        """Of a split that gives positives only just the objects of the categories are."""
        stage = build_stage(svms_spec(wider, "svms-disc", positive_splits=("more",), categories=("disc",)))
        pooled: list[int] = []
        kind = type(stage._features)
        whole = kind.pooled
        monkeypatch.setattr(kind, "pooled", lambda s, m, wh, boxes: pooled.append(len(boxes)) or whole(s, m, wh, boxes))
        stage.run("gather/more/000000")
        counts = [len(boxes_of(image, "disc")) for image in images_of(wider, "more/000000")]
        assert pooled == [count for count in counts if count]
        assert 0 in counts

    def test_rounds_of_svms_are_read_once_a_process(self, plain, monkeypatch: pytest.MonkeyPatch) -> None:
        stage, reads = build_stage(plain.spec), []
        read_unit = type(stage.artifact).read
        monkeypatch.setattr(type(stage.artifact), "read", lambda a, unit: reads.append(unit) or read_unit(a, unit))
        for shard in ("train/000000", "train/000001", "train/000002"):
            stage.run(f"mine-1/{shard}")
        assert sorted(unit for unit in reads if unit.startswith("solve")) == [
            f"solve-0/{c}" for c in sorted(CATEGORIES)
        ]


class TestSolver:
    def test_liblinear_finds_the_same_svms(self, workspace: Workspace, plain) -> None:
        other = trained(train(svms_spec(workspace, "svms-liblinear", solver="liblinear", rounds=0)), 0)
        ours = trained(plain, 0)
        values = np.random.default_rng(0).random((50, ours.weights.shape[1])).astype(np.float32)
        np.testing.assert_allclose(other.scores(values), ours.scores(values), atol=0.05)
        assert not np.array_equal(other.weights, ours.weights)

    @pytest.mark.parametrize("fields", [{"c": 0.1}, {"positive_weight": 5.0}, {"bias_scale": 1.0}, {"mean_norm": 5.0}])
    def test_its_parameters_reach_it(self, workspace: Workspace, plain, fields) -> None:
        name = f"svms-{next(iter(fields))}"
        found = trained(train(svms_spec(workspace, name, rounds=0, **fields)), 0)
        assert not np.allclose(
            found.weights * found.feature_scale, trained(plain, 0).weights * trained(plain, 0).feature_scale
        )

    def test_more_rounds_and_no_eviction(self, workspace: Workspace) -> None:
        kept = train(svms_spec(workspace, "svms-kept", rounds=3, evict_threshold=None))
        evicting = train(svms_spec(workspace, "svms-evicting", rounds=3))
        fewer = 0
        for category in CATEGORIES:
            counts = [kept.artifact.commit(f"solve-{r}/{category}").metrics["negatives"] for r in range(4)]
            assert counts == sorted(counts)  # without eviction the set only grows
            fewer += evicting.artifact.commit(f"solve-3/{category}").metrics["negatives"] < counts[3]
        assert fewer > 0

    def test_a_threshold_at_which_what_is_mined_leaves_is_refused(self, workspace: Workspace) -> None:
        stage = build_stage(svms_spec(workspace, "svms-refused", evict_threshold=-0.5))
        with pytest.raises(ConfigError, match=r"evict_threshold: -0.5 is above hard_threshold -1.0"):
            stage.check(stage.config, {})


class TestBadInput:
    def test_an_image_for_positives_only_is_accounted_for(self, tmp_path) -> None:
        workspace = make_training_workspace(tmp_path, images=4, shard_size=4, more=4)
        for scale in SCALES:
            unit = f"s{scale:04d}/more/000000"
            rewrite_maps(workspace, unit, lambda row: row.map * (np.nan if row.key == "im101" else 1))
        stage = train(svms_spec(workspace, positive_splits=("more",)))
        commit = stage.artifact.commit("gather/more/000000")
        assert [(q.key, q.reason, q.stage) for q in commit.quarantined] == [("im101", "nan-features", "train-svms")]
        assert (commit.done, commit.keys) == (3, 4)
        assert np.isfinite(trained(stage).weights).all()

    def test_a_category_without_a_positive(self, workspace: Workspace) -> None:
        spec = svms_spec(workspace, "svms-none", split="train", categories=("disc", "ring"), max_positives=1)
        stage = build_stage(spec)
        stage.prepare()
        for shard in ("train/000000", SHARD, "train/000002"):
            run_unit(spec, f"gather/{shard}")
        with pytest.raises(ConfigError, match="category 'bar' has no object in split 'train'; remove it"):
            stage.run("solve-0/bar")

    def test_a_shard_whose_windows_were_all_set_aside(self, tmp_path) -> None:
        workspace = make_training_workspace(tmp_path, images=8, shard_size=4)
        windows, keys = workspace.artifact("windows-tiny"), [f"im{i:03d}" for i in range(4, 8)]
        windows.store.delete(f"windows-tiny/_commits/{SHARD}.json")
        aside = tuple(Quarantined(key, "no-windows", "none", "propose") for key in keys)
        windows.publish(SHARD, Output(encode_windows([]), ".parquet", 0, 0, aside), 0)
        stage = train(svms_spec(workspace))
        assert stage.artifact.commit(f"gather/{SHARD}").quarantined == aside
        assert stage.artifact.commit(f"mine-1/{SHARD}").rows == 0
        assert trained(stage).weights.shape == (3, 14 * CHANNELS)

    @pytest.mark.parametrize("kind", ["none", "empty", "outside", "nan"])
    def test_an_image_without_a_good_window(self, tmp_path, kind: str) -> None:
        """No window at all, windows without area or beyond the image are no reason to stop; others are set aside."""
        workspace = make_training_workspace(tmp_path, images=8, shard_size=4)
        windows = workspace.artifact("windows-tiny")
        rows = decode_windows(windows.read(SHARD), "")
        bad = {
            "none": np.zeros((0, 4)),
            "empty": np.tile([30.0, 30, 30, 30], (40, 1)),
            "outside": np.tile([900.0, 900, 950, 950], (40, 1)),
            "nan": np.full((3, 4), np.nan),
        }[kind]
        rows[1] = WindowsRow(rows[1].key, rows[1].width, rows[1].height, bad.astype(np.float32))
        windows.store.delete(f"windows-tiny/_commits/{SHARD}.json")
        windows.publish(SHARD, Output(encode_windows(rows), ".parquet", 4, 4), 0)
        stage = train(svms_spec(workspace))
        aside = [(q.key, q.reason) for q in stage.artifact.commit(f"mine-1/{SHARD}").quarantined]
        assert aside == ([(rows[1].key, "bad-windows")] if kind == "nan" else [])
        assert np.isfinite(trained(stage).weights).all()

    @pytest.mark.parametrize("value", [np.nan, np.inf])
    def test_features_that_are_not_finite(self, tmp_path, value: float) -> None:
        workspace = make_training_workspace(tmp_path, images=8, shard_size=4)
        for scale in SCALES:
            rewrite_maps(
                workspace, f"s{scale:04d}/{SHARD}", lambda row: row.map * 0 + value if row.key == "im005" else row.map
            )
        stage = train(svms_spec(workspace))
        for unit in (f"gather/{SHARD}", f"mine-1/{SHARD}"):
            aside = stage.artifact.commit(unit).quarantined
            assert [(q.key, q.reason, q.stage) for q in aside] == [("im005", "nan-features", "train-svms")]
        assert np.isfinite(trained(stage).weights).all()
