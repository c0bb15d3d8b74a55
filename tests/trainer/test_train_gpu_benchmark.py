"""The code paths of the GPU training benchmark with a tiny model, on a GPU if there is one."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


@pytest.fixture
def benchmark(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("train_gpu")


@pytest.fixture
def cases(benchmark: ModuleType) -> ModuleType:
    return importlib.import_module("train_gpu_cases")


@pytest.fixture(params=[True, False], ids=["tied", "untied"])
def model(request: pytest.FixtureRequest, benchmark: ModuleType, tmp_path: Path) -> Path:
    tiny = benchmark.Shape(64, 96, 2, 4, 2, 16, 128, request.param)
    benchmark.write_random(tiny, tmp_path / "model", DEVICE)
    return tmp_path / "model"


def test_ours_trains_the_random_model_and_compares_itself_with_its_roof_and_plan(
    benchmark: ModuleType, cases: ModuleType, model: Path
) -> None:
    def run(who: str, model: Path, length: int, count: int) -> dict[str, Any]:
        return cases.run(who, model, length, count, 5, DEVICE, (1e10, 1e11))

    figures, table = benchmark.compare(run, model, "tiny", (16, 32), 32, 1, ())
    assert figures == []
    assert [(row["length"], row["who"]) for row in table] == [(16, "ours"), (32, "ours")]
    for row in table:
        assert row["tokens_per_s"] > 0
        assert row["of_roofline"] > 0
        assert len(row["loss"]) == 5
        assert all(4 < loss < 6 for loss in row["loss"])  # ln 128 = 4.85
        parts = row["predicted_parts"]
        assert sum(parts.values()) == row["predicted_bytes"]


@pytest.mark.parametrize("recompute", [False, True])
def test_the_roofs_operations_add_up_to_the_steps_flop(
    benchmark: ModuleType, model: Path, recompute: bool
) -> None:
    """Compare the sum over matrix products with the formula used in training."""
    from gristmill.trainer.data.examples import Example, TokenSequence
    from gristmill.trainer.forecast.memory_plan import block_weights
    from gristmill.trainer.forecast.speed import StepWork
    from gristmill.trainer.model.model_config import ModelConfig
    from gristmill.trainer.model.weight_formats import FORMATS

    roofline, config = importlib.import_module("step_roofline"), ModelConfig.read(model)
    lengths, rank = [200, 56], 4
    settings = {"rank": rank, "itemsize": 2, "held": FORMATS["nf4"], "recompute": recompute}
    work = roofline.step_work(config, lengths, trained=254, **settings)
    products = ("QKV", "attention", "projection", "MLP", "head")
    found = sum(each.times * each.cost.flop for each in work if any(part in each.name for part in products))
    factors = config.layers * rank * sum((64 + 64, 64 + 32, 64 + 32, 64 + 64, 64 + 96, 64 + 96, 96 + 64))
    whole = StepWork(
        body=block_weights(config), trained=factors, dense=False, head=config.vocabulary * config.hidden,
        mixed=config.layers * config.heads * config.head_size, recompute=recompute,
    )  # fmt: skip
    rows = [Example("", (TokenSequence((0,) * size, (False, *(True,) * (size - 1))),)) for size in lengths]
    assert whole.flop(rows) == pytest.approx(found, rel=0.04)
    assert roofline.seconds(work, 1e30, 1.0) > found
    assert roofline.seconds(work, 1.0, 1e30) == sum(each.times * each.cost.moved for each in work)


def test_a_peer_starts_from_the_same_loss(cases: ModuleType, model: Path) -> None:
    found = [cases.run(who, model, 16, 2, 3, DEVICE, (1e10, 1e11))["losses"] for who in ("ours", "peft")]
    assert found[0] == pytest.approx(found[1], rel=0.02)


def test_a_case_that_fails_is_reported_and_the_others_compared(
    benchmark: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(who: str, model: Path, length: int, count: int) -> dict[str, Any]:
        if who == "liger":
            raise RuntimeError("it said\nCUDA out of memory")
        speed, peak = (200.0, 100 << 20) if who == "ours" else (100.0, 150 << 20)
        answer = {"tokens_per_s": speed, "peak_bytes": peak, "losses": [5.0], "of_roofline": 0.5}
        return {**answer, "predicted_bytes": 99 << 20, "predicted_parts": {}}

    figures, table = benchmark.compare(run, tmp_path, "8b", (2048,), 8192, 3, ("peft", "liger"))
    assert [(figure.unit, figure.ratio) for figure in figures] == [("tokens/s", 2.0), ("peak MiB", 1.5)]
    assert sum("failed" in row for row in table) == 3
    assert next(row for row in table if row["who"] == "ours")["plan_error"] == pytest.approx(-0.01)
    assert "liger: failed: CUDA out of memory" in capsys.readouterr().out


def test_a_peak_that_was_not_seen_says_nothing_of_the_plan(
    benchmark: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(who: str, model: Path, length: int, count: int) -> dict[str, Any]:
        answer = {"tokens_per_s": 200.0, "peak_bytes": 0, "losses": [5.0], "of_roofline": 0.5}
        return {**answer, "predicted_bytes": 99 << 20, "predicted_parts": {}}

    _, table = benchmark.compare(run, tmp_path, "tiny", (16,), 32, 1, ())
    assert "plan_error" not in table[0]
    assert capsys.readouterr().out == "tiny 16: 50.0% of the roofline\n"


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
def test_says_in_one_line_that_there_is_no_gpu(
    benchmark: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    assert benchmark.main([]) == 2
    assert capsys.readouterr().out == "train_gpu: no CUDA GPU here, so nothing was measured\n"


def test_no_case_starts_when_the_time_is_over(
    benchmark: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    answer = {"tokens_per_s": 200.0, "peak_bytes": 0, "losses": [5.0], "of_roofline": 0.5}
    answer |= {"predicted_bytes": 99 << 20, "predicted_parts": {}}
    left = iter([True, False, False, False])
    figures, table = benchmark.compare(
        lambda *_: answer, tmp_path, "8b", (2048, 8192), 8192, 1, ("peft",), lambda: next(left)
    )
    assert figures == []
    assert [(row["length"], row["who"]) for row in table] == [(2048, "ours")]
    assert capsys.readouterr().out.count("no time left") == 3


def test_both_gpu_benchmarks_take_at_most_twelve_minutes(
    benchmark: ModuleType, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    both = importlib.import_module("gpu")
    planned = both.plan()
    assert [Path(command[1]).name for command, _ in planned] == ["kernels_gpu.py", "train_gpu.py"]
    assert all(Path(command[1]).is_file() for command, _ in planned)
    assert sum(minutes for _, minutes in planned) <= 12
    given = planned[1][0]
    assert float(given[given.index("--minutes") + 1]) < planned[1][1]
    monkeypatch.setattr(
        both, "plan", lambda: [([both.sys.executable, "-c", "import time; time.sleep(9)"], 0.001)]
    )
    assert both.main() == 1
    assert "stopped after" in capsys.readouterr().out
