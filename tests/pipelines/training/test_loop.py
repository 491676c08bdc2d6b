"""The step loop: schedules, the curve, divergence, and several workers against one."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

import pytest
import torch
from pydantic import ValidationError
from torch import nn
from torch.nn import functional as F

from pipelines.engine.commits import Output
from pipelines.engine.stage import StageConfig, StageSpec
from pipelines.training.checkpoints import Checkpoints
from pipelines.training.config import Plateau, Rate, TrainingConfig
from pipelines.training.loop import Training, TrainingStage
from pipelines.training.task import Curve, Task
from pipelines.training.workers import LocalWorker, Worker
from sppnet.errors import ConfigError, IncompleteError
from sppnet.networks.weights import read_safetensors, write_safetensors
from tests.support.gloo_pair import PairWorker, leave_group
from tests.support.waiting import PATIENCE

BATCH = 12


class LineConfig(TrainingConfig):
    stage: Literal["line"] = "line"
    explode_at: int = -1


class LineTask(Task):
    """Fits y = 2 x0 - x1 + 0.5, with dropout so that random numbers matter."""

    def __init__(self, worker: Worker, config: LineConfig) -> None:
        self.worker, self.config, self.batch = worker, config, BATCH
        self.model = nn.Sequential(nn.Linear(2, 1)).to(worker.device)
        self.closed = False

    def loss(self, model: nn.Module, step: int) -> torch.Tensor:
        x = torch.randn(BATCH, 2, generator=torch.Generator().manual_seed(step))
        y = 2 * x[:, :1] - x[:, 1:] + 0.5
        mine = slice(self.worker.rank, None, self.worker.world_size)
        x = F.dropout(x[mine], 0.1) if self.worker.world_size == 1 else x[mine]
        loss = F.mse_loss(model(x), y[mine], reduction="sum") * (self.worker.world_size / BATCH)
        return loss * float("nan") if step == self.config.explode_at else loss

    def measure(self) -> Mapping[str, float]:
        assert not self.model.training
        return {"held_out_error": 0.5, "weight": float(self.model[0].weight[0, 0])}

    def finish(self, curve: Curve) -> Output:
        return Output(write_safetensors(self.model.state_dict()), ".safetensors", 2, 0, metrics={"points": len(curve)})

    def close(self) -> None:
        self.closed = True


class Line(TrainingStage[LineConfig]):
    name: ClassVar[str] = "line"
    makes: ClassVar[str] = "head"
    seeded: ClassVar[bool] = True
    config_type: ClassVar[type[StageConfig]] = LineConfig

    def task(self, worker: Worker) -> Task:
        self.last = LineTask(worker, self.config)
        return self.last


def make_line(root: Path, name: str = "head-line", seed: int = 1, number: int = 0, **changes: Any) -> Line:
    fields: dict[str, Any] = {
        "schedule": (Rate(lr=0.1, steps=20), Rate(lr=0.01, steps=10)),
        "weight_decay": 0,
        "checkpoint_every": 8,
        "log_every": 5,
        "measure_every": 15,
    }
    config = LineConfig(**{**fields, "seed": number, **changes})
    return Line(config, StageSpec(str(root), "line", name, config.model_dump_json(), (), seed))


def weights(output: Output | None) -> torch.Tensor:
    assert output is not None
    assert output.data is not None
    tensors = read_safetensors(output.data)
    return torch.cat([tensors[name].flatten() for name in sorted(tensors)])


CPU = torch.device("cpu")


def test_it_fits_and_logs_where_it_should(tmp_path: Path) -> None:
    stage = make_line(tmp_path)
    training = Training(stage, LocalWorker(CPU))
    found = weights(training.run())
    assert torch.allclose(found, torch.tensor([0.5, 2.0, -1.0]), atol=0.2)
    assert [point["step"] for point in training.curve] == [5, 8, 10, 15, 16, 20, 24, 25, 30]
    assert [point["lr"] for point in training.curve] == [0.1] * 6 + [0.01] * 3
    assert [point["step"] for point in training.curve if "held_out_error" in point] == [15, 30]
    assert training.curve[-1]["weight"] == pytest.approx(float(found[1]), abs=1e-6)
    assert training.curve[0]["loss"] > training.curve[-1]["loss"] > 0
    assert Checkpoints(stage.artifact).steps() == [24, 30]
    assert stage.last.closed


def test_the_same_seed_gives_the_same_bits_and_another_others(tmp_path: Path) -> None:
    runs = [weights(make_line(tmp_path, f"head-{i}", seed).run("model")) for i, seed in enumerate((1, 1, 2))]
    assert torch.equal(runs[0], runs[1])
    assert not torch.equal(runs[0], runs[2])


@pytest.mark.parametrize("damage", [False, True])
def test_it_goes_on_from_the_latest_whole_checkpoint(
    tmp_path: Path, damage: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    undisturbed = weights(make_line(tmp_path, "head-whole").run("model"))
    stage = make_line(tmp_path)
    seen: list[int] = []
    loss = LineTask.loss

    def stopping(self: LineTask, model: nn.Module, step: int) -> torch.Tensor:
        if step == 21 and 21 not in seen:
            seen.append(step)
            raise KeyboardInterrupt
        seen.append(step)
        return loss(self, model, step)

    monkeypatch.setattr(LineTask, "loss", stopping)
    with pytest.raises(KeyboardInterrupt):
        stage.run("model")
    assert Checkpoints(stage.artifact).steps() == [8, 16]
    if damage:
        (path,) = (tmp_path / "head-line" / "checkpoints").glob("step-000016-*.safetensors")
        path.write_bytes(b"")
    resumed = Training(make_line(tmp_path), LocalWorker(CPU))
    assert torch.equal(weights(resumed.run()), undisturbed)
    assert seen[22:] == list(range(8 if damage else 16, 30))
    assert [point["step"] for point in resumed.curve] == [5, 8, 10, 15, 16, 20, 24, 25, 30]


def best_line(root: Path, name: str, **changes: Any) -> Line:
    return make_line(root, name, keep="best", measure_every=4, **changes)


def judge_by_target(monkeypatch: pytest.MonkeyPatch, seen: list[tuple[float, torch.Tensor]]) -> None:
    """Lets the held-out error be the distance of a weight, which goes from about 0 to 2, to 1."""

    def measure(self: LineTask) -> Mapping[str, float]:
        error = abs(float(self.model[0].weight[0, 0]) - 1.0)
        seen.append((round(error, 6), torch.cat([p.detach().clone().flatten() for p in self.model.parameters()])))
        return {"held_out_error": error}

    monkeypatch.setattr(LineTask, "measure", measure)


def test_the_best_weights_are_kept_whatever_was_interrupted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[float, torch.Tensor]] = []
    judge_by_target(monkeypatch, seen)
    whole = Training(best_line(tmp_path, "head-best"), LocalWorker(CPU))
    found = read_safetensors(whole.run().data)
    errors = [error for error, _ in seen]
    best = errors.index(min(errors))
    assert 0 < best < len(errors) - 1  # neither the first nor the last
    assert torch.equal(torch.cat([found["0.weight"].flatten(), found["0.bias"]]), seen[best][1])
    marked = [point for point in whole.curve if "kept" in point]
    assert [(point["step"], point["held_out_error"]) for point in marked] == [(4 * (best + 1), errors[best])]
    last = Training(make_line(tmp_path, "head-last", measure_every=4), LocalWorker(CPU))
    assert not torch.equal(read_safetensors(last.run().data)["0.weight"], found["0.weight"])
    assert not any("kept" in point for point in last.curve)

    loss, stops = LineTask.loss, [9, 17, 26]

    def stopping(self: LineTask, model: nn.Module, step: int) -> torch.Tensor:
        if stops and step == stops[0]:
            stops.pop(0)
            raise KeyboardInterrupt
        return loss(self, model, step)

    monkeypatch.setattr(LineTask, "loss", stopping)
    for _ in range(3):
        with pytest.raises(KeyboardInterrupt):
            best_line(tmp_path, "head-resumed").run("model")
    resumed = Training(best_line(tmp_path, "head-resumed"), LocalWorker(CPU))
    assert read_safetensors(resumed.run().data)["0.weight"].equal(found["0.weight"])
    assert resumed.curve == whole.curve


def test_the_best_of_nothing_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LineTask, "measure", lambda self: {})
    with pytest.raises(ConfigError, match="step line: keep: best needs held-out images, and there are none"):
        best_line(tmp_path, "head-none").run("model")
    with pytest.raises(ConfigError, match="set holdout above 0"):
        LineConfig(schedule=(Rate(lr=0.1, steps=1),), keep="best").check_held_out(0.0)


def test_a_loss_that_is_not_finite_stops_it_and_names_the_step(tmp_path: Path) -> None:
    stage = make_line(tmp_path, explode_at=19)
    expected = (
        "step line: training diverged, the loss of training step 20 is nan; the last good checkpoint is that of step 16"
    )
    with pytest.raises(IncompleteError, match=expected):
        stage.run("model")
    assert stage.last.closed
    with pytest.raises(IncompleteError, match="the loss of training step 1 is nan; there is no checkpoint yet"):
        make_line(tmp_path, "head-first", explode_at=0).run("model")


def test_the_last_steps_loss_is_checked_before_anything_is_published(tmp_path: Path) -> None:
    stage = make_line(tmp_path, explode_at=29)
    with pytest.raises(IncompleteError, match="the loss of training step 30 is nan"):
        stage.run("model")
    assert Checkpoints(stage.artifact).steps() == [16, 24]


def test_a_networks_number_is_in_all_its_seeds(tmp_path: Path) -> None:
    runs = [
        weights(make_line(tmp_path, f"head-seed-{i}", seed=7, number=n).run("model")) for i, n in enumerate((0, 1, 1))
    ]
    assert not torch.equal(runs[0], runs[1])
    assert torch.equal(runs[1], runs[2])
    assert torch.equal(runs[0], weights(make_line(tmp_path, "head-plain", seed=7).run("model")))


def test_a_compiled_model_is_trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = weights(make_line(tmp_path).run("model"))
    compiled: list[Any] = []
    monkeypatch.setattr(torch, "compile", lambda what, **options: (compiled.append((what, options)), what)[1])
    stage = make_line(tmp_path, "head-compiled", compile=True)
    assert torch.equal(weights(stage.run("model")), plain)
    assert compiled == [(torch.neg, {}), (stage.last.model, {"options": {"fallback_random": True}})]


def test_without_a_compiler_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: Any) -> Any:
        raise RuntimeError("no working C++ compiler found\nand much more")

    monkeypatch.setattr(torch, "compile", lambda _: fail)
    stage = make_line(tmp_path, compile=True)
    with pytest.raises(ConfigError, match=r"compile: .* \(no working C\+\+ compiler found\); set compile: false"):
        stage.run("model")
    assert stage.last.closed


def test_a_rate_far_too_high_is_reported_not_published(tmp_path: Path) -> None:
    with pytest.raises(IncompleteError, match="diverged"):
        make_line(tmp_path, schedule=(Rate(lr=1e30, steps=30),)).run("model")


def test_the_bias_has_its_own_rate(tmp_path: Path) -> None:
    stage = make_line(tmp_path, bias_rate=2.0, schedule=(Rate(lr=1e-3, steps=1),), momentum=0)
    torch.manual_seed(0)
    training = Training(stage, LocalWorker(CPU))
    task = stage.task(training.worker)
    model = task.model = nn.Linear(2, 1)
    training.begin(task)
    optimizer = training._optimizer
    assert [group["factor"] for group in optimizer.param_groups] == [1.0, 2.0]
    assert optimizer.param_groups[1]["params"] == [model.bias]
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    for group in optimizer.param_groups:
        group["lr"] = 0.5 * group["factor"]
    optimizer.step()
    assert torch.allclose(before["weight"] - model.weight, torch.tensor(0.5))
    assert torch.allclose(before["bias"] - model.bias, torch.tensor(1.0))


def test_a_plateau_divides_the_rate_twice_at_most() -> None:
    plateau = Plateau(patience=2, factor=10, divisions=2)
    errors = [0.9, 0.5, 0.6, 0.5, 0.4, 0.45, 0.41, 0.4, 0.4, 0.4]
    rates = [plateau.divide(1.0, errors[:n]) for n in range(len(errors) + 1)]
    assert rates == pytest.approx([1, 1, 1, 1, 0.1, 0.1, 0.1, 0.01, 0.01, 0.01, 0.01])


def test_the_plateau_of_the_curve_steers_the_schedule(tmp_path: Path) -> None:
    stage = make_line(tmp_path, plateau=Plateau(patience=1, divisions=1), measure_every=5)
    training = Training(stage, LocalWorker(CPU))
    training.run()
    rates = {point["step"]: point["lr"] for point in training.curve}
    assert (rates[5], rates[10]) == (0.1, 0.1)  # the second measurement is no better: it counts from step 11 on
    assert rates[15] == pytest.approx(0.01)
    assert rates[25] == pytest.approx(0.001)


def test_the_schedule_is_checked() -> None:
    with pytest.raises(ValidationError, match="at least 1 item"):
        LineConfig(schedule=())
    with pytest.raises(ValidationError, match="greater than 0"):
        Rate(lr=0, steps=3)
    assert LineConfig(schedule=({"lr": 0.1, "steps": 3}, {"lr": 0.01, "steps": 4})).steps == 7  # type: ignore[arg-type]


def test_runtime_fields_are_not_in_the_fingerprint() -> None:
    one = LineConfig(schedule=(Rate(lr=0.1, steps=3),))
    other = one.model_copy(update={"workers": 4, "checkpoint_every": 7, "log_every": 3, "gpus": 1.0, "cpus": 2.0})
    assert one.semantic() == other.semantic()
    assert one.semantic() != one.model_copy(update={"momentum": 0.5}).semantic()


def run_rank(rank: int, root: str) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"file://{root}/rendezvous", rank=rank, world_size=2)
    training = Training(make_line(Path(root), "head-pair"), PairWorker(rank, 2))
    output = training.run()
    assert (output is None) == (rank == 1)
    body = write_safetensors(training.stage.last.model.state_dict())
    Path(root, f"rank{rank}.safetensors").write_bytes(body)
    best = Training(make_line(Path(root), "head-pair-best", keep="best"), PairWorker(rank, 2))
    if (output := best.run()) is not None:
        Path(root, "best.safetensors").write_bytes(output.data)
        Path(root, "kept.txt").write_text(" ".join(str(p["step"]) for p in best.curve if "kept" in p))
    Path(root, f"curve{rank}.txt").write_text("\n".join(f"{p['step']} {p['loss']}" for p in training.curve))
    del training, best
    leave_group()


def test_two_workers_share_a_batch_and_stay_equal(tmp_path: Path) -> None:
    context = torch.multiprocessing.get_context("spawn")
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    children = [context.Process(target=run_rank, args=(rank, str(tmp_path))) for rank in range(2)]
    for child in children:
        child.start()
    for child in children:
        child.join(timeout=PATIENCE)
    assert [child.exitcode for child in children] == [0, 0]
    one, two = (read_safetensors((tmp_path / f"rank{rank}.safetensors").read_bytes()) for rank in range(2))
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert (tmp_path / "curve0.txt").read_text() == (tmp_path / "curve1.txt").read_text()
    # Two slices of a batch give the gradient of the whole: without dropout, one worker ends up there too.
    alone, alone_best = make_line(tmp_path, "head-alone"), make_line(tmp_path, "head-alone-best", keep="best")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(F, "dropout", lambda x, p: x)
        single, single_best = weights(alone.run("model")), weights(alone_best.run("model"))
    assert torch.allclose(single, torch.cat([one["0.bias"], one["0.weight"].flatten()]), atol=1e-5)
    # All measurements are equal here: the first one's weights are kept, whatever the number of workers.
    best = read_safetensors((tmp_path / "best.safetensors").read_bytes())
    assert (tmp_path / "kept.txt").read_text() == "15"
    assert torch.allclose(single_best, torch.cat([best["0.bias"], best["0.weight"].flatten()]), atol=1e-5)
    assert not torch.allclose(single_best, single, atol=1e-5)
