"""The paper's and the authors' rules as options of train-svms, its bounds, and what it refuses."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tiny_training import INPUTS, make_training_workspace, rewrite_maps, svms_spec, train, trained
from tiny_workspace import BACKBONE, CATEGORIES, CHANNELS, SCALES

from pipelines.detectors import read_svms
from pipelines.examples import open_examples
from pipelines.manifest import Manifest
from pipelines.networks import UNIT, TrainedHead, encode_head, encode_network
from pipelines.schemas import Examples, WindowsRow, decode_windows, encode_windows
from pipelines.stage import build_stage, run_unit
from pipelines.stages.extract import ExtractConfig
from pipelines.stages.propose import ProposeConfig
from pipelines.stages.train_svms import TrainSvms
from pipelines.svm_examples import SHARED, SetBuilder, SetLimits, TrainingSet, mine_bytes, solve_bytes
from pipelines.windowed import ShardInputs, WindowedImage
from pipelines.workspace import Output, Quarantined, Workspace
from sppnet.backbones import build_backbone
from sppnet.boxes import iou_matrix
from sppnet.errors import ConfigError
from sppnet.mining import first_responses, name_fraction
from sppnet.network import FcHead, HeadSpec
from sppnet.pyramid import Pyramid
from sppnet.sampling import svm_negatives
from sppnet.seeds import derive_seed
from sppnet.svm import feature_scale, train_svm

SHARD = "train/000001"


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return make_training_workspace(tmp_path_factory.mktemp("options"), images=12, shard_size=4)


@pytest.fixture(scope="module")
def plain(workspace: Workspace):
    """SVMs by the defaults."""
    return train(svms_spec(workspace, "svms-plain"))


def images_of(workspace: Workspace, shard: str = SHARD) -> list[WindowedImage]:
    inputs = [workspace.artifact(name) for name in INPUTS.values()]
    return list(ShardInputs(*inputs, SCALES).open(shard)[0])


def read(workspace: Workspace, artifact: str, unit: str, category: str) -> Examples:
    (found,) = open_examples(workspace.artifact(artifact), unit).read((category,))
    return found


def boxes_of(image: WindowedImage, *categories: str) -> np.ndarray:
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
                first = first_responses(image.windows, image.image_wh[::-1], SCALES, geometry)
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
        assert solve_bytes(1000, 4096) == 1000 * 4096 * 6.25
        assert mine_bytes(200, 100, 4096) == 200 * 100 * 4096 * 2 * 3.125
        limits = SetLimits(positives=None, random=30_000, objects=20_000, hard=50_000)
        assert limits.rows(images=60_000, random=20, hard=30) == 60_000 + 30_000 + 20_000 + 50_000
        assert limits.rows(images=12, random=20, hard=30) == 12 + 240 + 120 + 360
        assert limits.rows(images=12, random=20, hard=None) == 12 + 240 + 120 + 50_000
        stage = build_stage(svms_spec(workspace, "svms-memory"))
        assert stage.phases()[1].resources.memory_bytes == 0  # nothing is known before it is prepared
        stage.prepare()
        dimension = 14 * CHANNELS
        assert stage.phases()[1].resources.memory_bytes == solve_bytes(12 + 240 + 120 + 360, dimension)
        assert stage._memory()["mine_bytes"] == mine_bytes(3, 4 * 30, dimension)

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


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """With a split whose annotations may not be exhaustive."""
    return make_training_workspace(tmp_path_factory.mktemp("positives"), images=8, shard_size=4, more=6)


@pytest.fixture(scope="module")
def both(place: Workspace):
    """SVMs of train's examples and the other split's objects."""
    return train(svms_spec(place, "svms-both", positive_splits=("more",)))


class TestPositiveSplits:
    """`more` gives objects only, as ILSVRC DET's training images do (section 4.5)."""

    def test_units(self, both) -> None:
        units = {phase.name: phase.units for phase in both.phases()}
        shards = ("train/000000", "train/000001")
        assert units["gather"] == tuple(f"gather/{s}" for s in (*shards, "more/000000", "more/000001"))
        assert units["mine-1"] == tuple(f"mine-1/{s}" for s in shards)

    def test_only_objects_are_gathered(self, place: Workspace, both) -> None:
        for shard in ("more/000000", "more/000001"):
            (file, where) = open_examples(both.artifact, f"gather/{shard}"), images_of(place, shard)
            groups = {group.category: group for group in file.read((*CATEGORIES, SHARED))}
            assert SHARED not in groups
            for category, group in groups.items():
                wanted = [(i.key, o.box) for i in where for o in i.annotation.objects if o.category == category]
                assert list(zip(group.keys, map(tuple, group.boxes), strict=True)) == wanted
            commit = both.artifact.commit(f"gather/{shard}")
            assert (commit.done, commit.metrics.get("norm_count", 0)) == (len(where), 0)

    @pytest.mark.parametrize("category", CATEGORIES)
    def test_a_set_is_trains_negatives_and_the_positives_of_both(self, place: Workspace, both, category: str) -> None:
        alone = train(svms_spec(place, "svms-alone"))
        mine, without = (
            SetBuilder(s._shards, s.artifact, CATEGORIES, s.config.limits(), 0.3, strict=False, seed=s.seed).build(
                category, 0, None, None
            )
            for s in (both, alone)
        )
        things = [
            (image, thing.box) for shard in ("more/000000", "more/000001") for image in images_of(place, shard)
            for thing in image.annotation.objects if thing.category == category and not thing.difficult
        ]  # fmt: skip
        assert mine.positives == without.positives + len(things) > without.positives
        assert np.array_equal(mine.features[mine.positives :], without.features[without.positives :])
        vectors = {row.tobytes() for row in mine.features[: mine.positives]}
        for image, box in things:
            own = both._features(image.maps, image.image_wh, np.array([box], np.float32))
            assert np.asarray(own, np.float32)[0].tobytes() in vectors

    def test_each_svm_is_train_svm_of_the_set(self, place: Workspace, both) -> None:
        """In the last round too, whose negatives are of `train` alone; the norms' sample is as well."""
        config = both.config
        scale = feature_scale([both._shards.mean_norm(both.artifact)], config.mean_norm)
        negatives = [read(place, "svms-both", f"gather/train/{n:06d}", SHARED).features for n in (0, 1)]
        norms = np.linalg.norm(np.concatenate(negatives).astype(np.float64), axis=1)
        assert scale == pytest.approx(config.mean_norm / norms.mean(), rel=1e-5)
        for category in CATEGORIES:
            last = read_svms(both.artifact, (f"solve-0/{category}",))
            builder = SetBuilder(
                both._shards, both.artifact, CATEGORIES, config.limits(), 0.3, strict=False, seed=both.seed
            )
            found = builder.build(category, 1, last, config.evict_threshold)
            weights, bias = train_svm(
                found.features * np.float32(scale), found.labels, C=config.c, positive_weight=config.positive_weight,
                bias_scale=config.bias_scale, seed=derive_seed(both.seed, both.name, category, 1) % 2**31,
                solver=config.solver,
            )  # fmt: skip
            svms = read_svms(both.artifact, (f"solve-1/{category}",))
            assert np.array_equal(svms.weights[0], weights)
            assert svms.biases[0] == np.float32(bias)

    def test_the_order_of_units_does_not_matter(self, place: Workspace, both) -> None:
        again = train(svms_spec(place, "svms-again", positive_splits=("more",)), order=lambda units: units[::-1])
        assert np.array_equal(trained(again).weights, trained(both).weights)

    @pytest.mark.parametrize(
        ("splits", "message"),
        [
            (("train",), "positive_splits: 'train' comes twice: each split has one role"),
            (("more", "more"), "positive_splits: 'more' comes twice"),
        ],
    )
    def test_a_split_has_one_role(self, place: Workspace, splits: tuple[str, ...], message: str) -> None:
        stage = build_stage(svms_spec(place, "svms-refused", positive_splits=splits))
        with pytest.raises(ConfigError, match=message):
            stage.check(stage.config, {})

    def test_a_split_that_was_not_proposed_or_extracted(self, place: Workspace) -> None:
        config = build_stage(svms_spec(place, "svms-refused", positive_splits=("more",))).config
        windows = ProposeConfig(stage="propose", images="images", splits=("train", "more"))
        maps = ExtractConfig(stage="extract", images="images", backbone="network", splits=("train",), scales=SCALES)
        with pytest.raises(ConfigError, match=r"maps: split more is not among"):
            TrainSvms.check(config, {"windows": (windows,), "maps": (maps,)})

    def test_an_image_in_two_splits_is_named(self, place: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
        manifest = Manifest({"train": (("im000",),), "more": (("im001", "im000"),)}, CATEGORIES)
        monkeypatch.setattr(Manifest, "read", lambda artifact: manifest)
        with pytest.raises(ConfigError, match="image 'im000' of 'more' is one of 'train' too"):
            build_stage(svms_spec(place, "svms-refused", positive_splits=("more",))).prepare()

    def test_a_category_without_a_positive_in_any(self, place: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(SetBuilder, "build", lambda *args: TrainingSet(np.zeros((2, 3)), -np.ones(2), 0))
        stage = build_stage(svms_spec(place, "svms-both", positive_splits=("more",)))
        with pytest.raises(ConfigError, match="category 'disc' has no object in split 'train' or 'more'"):
            stage.run("solve-0/disc")


def add_head(workspace: Workspace, name: str, maps: str = "maps-tiny") -> None:
    """A head of random weights, as if fine-tuned on some maps."""
    torch.manual_seed(1)
    head = FcHead.from_spec(HeadSpec(14 * CHANNELS, (24, 16), 4, 0.0))
    trained_head = TrainedHead(head, Pyramid((3, 2, 1)), ("background", *CATEGORIES), SCALES, "paper", ())
    artifact = workspace.artifact(name)
    artifact.describe({"inputs": {"maps": [maps]}})
    artifact.publish(UNIT, Output(encode_head(trained_head), ".safetensors", 1, 0), 0)


def add_network(workspace: Workspace, name: str = "network-tiny") -> None:
    """A pre-trained network with a head of random weights, in the place of one that has none."""
    torch.manual_seed(1)
    backbone = build_backbone(BACKBONE)
    head = FcHead.from_spec(HeadSpec(14 * CHANNELS, (24, 16), 5, 0.0))
    artifact = workspace.artifact(name)
    if UNIT in artifact.committed():
        artifact.store.delete(f"{name}/_commits/{UNIT}.json")
    artifact.describe({"inputs": {"images": ["images-other"], "statistics": []}, "stage": "pretrain"})
    data = encode_network(backbone, head, Pyramid((3, 2, 1)), tuple("abcde"), [])
    artifact.publish(UNIT, Output(data, ".safetensors", 1, 0), 0)


class TestFeatures:
    @pytest.mark.parametrize(("layer", "dimension"), [("fc6", 24), ("fc7", 16)])
    def test_of_a_head(self, workspace: Workspace, layer: str, dimension: int) -> None:
        add_head(workspace, f"head-{layer}")
        stage = train(svms_spec(workspace, f"svms-{layer}", head=f"head-{layer}", features=layer))
        svms = trained(stage)
        assert svms.weights.shape == (3, dimension)
        assert svms.features == layer

    @pytest.mark.parametrize("layer", ["fc6", "fc7"])
    def test_of_the_networks_own_head(self, tmp_path, layer: str) -> None:
        """fc6 and fc7 as they were pre-trained: a network says of no maps that it was trained on them."""
        workspace = make_training_workspace(tmp_path, images=4, shard_size=4)
        add_network(workspace)
        spec = svms_spec(workspace, f"svms-own-{layer}", head="network-tiny", features=layer)
        svms = trained(train(spec))
        assert svms.weights.shape == (3, {"fc6": 24, "fc7": 16}[layer])
        other = svms_spec(workspace, "svms-not-own", head="network-else", features=layer)
        add_network(workspace, "network-else")
        with pytest.raises(ConfigError, match="maps are of another backbone than those that head network-else"):
            build_stage(other).prepare()

    def test_of_a_head_for_another_backbones_maps(self, workspace: Workspace) -> None:
        workspace.artifact("maps-other").describe({"inputs": {"backbone": ["network-other"]}})
        add_head(workspace, "head-other", "maps-other")
        stage = build_stage(svms_spec(workspace, "svms-other", head="head-other", features="fc7"))
        with pytest.raises(ConfigError, match="maps are of another backbone than those that head head-o"):
            stage.prepare()


class TestBadInput:
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
