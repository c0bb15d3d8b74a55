"""The training loop: bitwise resumption, errors that name rows, and reproducibility."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from gristmill.contracts.errors import DataError
from gristmill.contracts.training import Trained
from gristmill.kernels.cross_entropy import linear_cross_entropy
from gristmill.kernels.lora_maps import Rounded
from gristmill.trainer.losses.token_loss import TokenObjective
from gristmill.trainer.methods.dpo import DirectPreferenceOptimization
from gristmill.trainer.methods.sft import SupervisedFineTuning

LORA = {"rank": 4, "alpha": 8}
DELTA = {"kind": "delta"}
METHODS: dict[str, dict[str, Any]] = {
    "lora, nf4, bf16": {"adapter": LORA, "quantize": "nf4", "dtype": "bf16"},
    "lora+, dropout": {"adapter": {**LORA, "dropout": 0.3, "b_rate": 4.0}},
    "dora, nf4, dropout": {"adapter": {**LORA, "kind": "dora", "dropout": 0.2}, "quantize": "nf4"},
    "selekt": {"adapter": DELTA, "sparse": {"density": 0.1, "every": 2}},
    "selekt, nf4, by tensor": {
        "adapter": DELTA, "sparse": {"density": 0.1, "every": 3, "scope": "tensor"}, "quantize": "nf4",
    },
    "half": {"adapter": DELTA, "sparse": {"kind": "half"}},
}  # fmt: skip
Fit = Callable[..., Trained]


def step_of(**changes: Any) -> SupervisedFineTuning:
    defaults: dict[str, Any] = {
        "batch_tokens": 300,
        "max_length": 128,
        "pack_tokens": 128,
        "learning_rate": 1e-2,
        "adapter": LORA,
        "dtype": "fp32",
        "quantize": "none",
    }
    return SupervisedFineTuning.model_validate({"model": "base", **defaults, **changes})


@pytest.fixture
def fit(make_model, rows, stopping, tmp_path: Path) -> Fit:
    """Train in a directory of ``tmp_path``: ``fit("whole", epochs=2)``.

    ``stop_at``: number of steps to stop after.
    """
    path, table = make_model(), pa.Table.from_pylist(rows)

    def run(name: str, stop_at: int | None = None, **changes: Any) -> Trained:
        bench = stopping(tmp_path / name, path, stop_at=stop_at, tables={"other": table})
        return step_of(**changes).fit(table, bench)

    return run


def same(one: Trained, other: Trained, digest: Callable[[Trained], str]) -> None:
    """Check bitwise equality of the saved weights and of the history, except its seconds."""
    assert digest(one) == digest(other)
    assert one.history.drop(["seconds"]).equals(other.history.drop(["seconds"]))


@settings(max_examples=14, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    method=st.sampled_from(sorted(METHODS)),
    optimizer=st.sampled_from(["adamw", "adamw8bit", "lion"]),
    stop=st.integers(0, 5),
    again=st.booleans(),
    every=st.sampled_from([2, 3, 100]),
)
def test_a_run_stopped_anywhere_and_resumed_gives_the_same_bits(
    fit: Fit, digest, stopped, tmp_path: Path, method: str, optimizer: str, stop: int, again: bool, every: int
) -> None:
    """Compare weights, losses and history, for every method and optimizer, stopped once or twice."""
    options = {**METHODS[method], "optimizer": optimizer, "checkpoint_every": every, "epochs": 2}
    number = len(list(tmp_path.iterdir()))
    name = f"{method} {optimizer}"
    for more in [stop, 5 - stop] if again else [stop]:
        with pytest.raises(stopped):
            fit(f"part {number}", stop_at=more, **options)
        torch.rand(3)  # change the state of the random generator that the stopped run left
    resumed = fit(f"part {number}", **options)
    whole = fit(name, **options)  # a finished run is restored from its checkpoint
    assert whole.metrics["steps"] == 6
    same(resumed, whole, digest)


def test_each_phase_of_lt_sft_has_a_schedule_of_its_own(fit: Fit) -> None:
    options = {"adapter": DELTA, "epochs": 2, "schedule": "linear", "warmup_ratio": 0.0}
    trained = fit("lt_sft", sparse={"kind": "lt_sft", "density": 0.1, "lt_sft_dense": 0.5}, **options)
    rates = trained.history["lr"].to_pylist()
    assert rates == [rates[0] * (1 - step / 3) for step in (0, 1, 2, 0, 1, 2)]


def poison(path: Path, letter: str) -> None:
    """Make the embedding of a letter infinite."""
    tensors = load_file(path / "model.safetensors")
    tensors["model.embed_tokens.weight"][ord(letter) - ord("!") + 2] = float("inf")
    save_file(tensors, path / "model.safetensors", metadata={"format": "pt"})


def test_a_loss_that_is_not_finite_names_the_rows_that_have_it_and_no_others(
    make_model, rows, stopping, tmp_path: Path
) -> None:
    path = make_model(tie_word_embeddings=False)
    poison(path, "z")
    rows[3]["prompt"], rows[11]["prompt"] = "fizz", "buzz"
    with pytest.raises(
        DataError, match=r"stopped at step \d: loss nan, gradient norm nan; rows row-(3|11)\. Check"
    ):
        step_of(batch_rows=5).fit(pa.Table.from_pylist(rows), stopping(tmp_path / "w", path))
    assert not (tmp_path / "w" / "adapter").exists()


class Steep(SupervisedFineTuning):
    """A finite loss with an infinite gradient: the square root of 0, if a row has the letter z."""

    def objective(self, context: Any) -> TokenObjective:
        def losses(hidden, head, pack, weights, step_context):
            total, each = linear_cross_entropy(hidden, head, pack.targets, weights)
            steep = hidden[pack.targets == ord("z") - ord("!") + 2].sum()
            return total + (steep - steep.detach()).abs().sqrt(), each

        return TokenObjective(losses)


def test_a_gradient_that_is_not_finite_names_its_row_too(make_model, rows, stopping, tmp_path: Path) -> None:
    rows[6]["response"] = "fizz"
    step = Steep.model_validate(step_of(batch_tokens=10_000).model_dump())
    with pytest.raises(DataError, match=r"step 0: loss \d.*, gradient norm nan; rows row-6\. Check"):
        step.fit(pa.Table.from_pylist(rows), stopping(tmp_path / "w", make_model()))


def test_evaluating_leaves_the_training_bits_alone(fit: Fit, digest) -> None:
    dropout = {"adapter": {**LORA, "dropout": 0.3}}
    plain = fit("plain", **dropout)
    evaluated = fit("evaluated", evaluate_on="other", evaluate_every=2, **dropout)
    assert digest(evaluated) == digest(plain)
    seen = evaluated.history["held_out_loss"].to_pylist()
    assert [value is not None for value in seen] == [n % 2 == 0 for n in range(len(seen))]
    assert plain.history["loss"].equals(evaluated.history["loss"])
    assert evaluated.metrics["held_out_loss"] < seen[0]
    assert "held_out_loss" not in plain.metrics


def test_the_held_out_loss_is_that_of_the_training_rows_where_they_are_the_same(fit: Fit) -> None:
    trained = fit("all", batch_tokens=10_000, epochs=4, evaluate_on="other", evaluate_every=1)
    history = trained.history.to_pydict()
    assert history["held_out_loss"] == pytest.approx(history["loss"], rel=1e-6)
    assert trained.metrics["held_out_loss"] < history["held_out_loss"][-1]


def test_a_resumed_run_takes_the_held_out_loss_where_the_whole_one_does(fit: Fit, digest, stopped) -> None:
    options = {"evaluate_on": "other", "evaluate_every": 2, "checkpoint_every": 100}
    whole = fit("whole", **options)
    with pytest.raises(stopped):
        fit("part", stop_at=2, **options)
    resumed = fit("part", **options)
    same(resumed, whole, digest)
    assert resumed.metrics["held_out_loss"] == whole.metrics["held_out_loss"]


@pytest.mark.parametrize("method", ["lora, nf4, bf16", "lora+, dropout", "selekt"])
def test_whatever_becomes_of_the_activations_the_bits_are_the_same(fit: Fit, digest, method: str) -> None:
    kept = fit("keep", **METHODS[method])
    for kind in ("recompute", "offload"):
        same(fit(kind, activations=kind, **METHODS[method]), kept, digest)


def test_progress_and_metrics_say_how_near_to_the_roofline_a_step_is(
    make_model, rows, stopping, tmp_path: Path
) -> None:
    bench = stopping(tmp_path / "w", make_model())
    metrics = step_of().fit(pa.Table.from_pylist(rows), bench).metrics
    assert all(0 < figures["roofline"] < 1 for _, _, figures in bench.reports[1:])
    assert all(figures["tokens_per_s"] > 0 for _, _, figures in bench.reports[1:])
    assert 0 < metrics["roofline"] < 1
    seconds = metrics["tera_flop"] / metrics["matmul_tflops"]
    assert metrics["roofline"] == pytest.approx(seconds / metrics["seconds"], rel=1e-6)


def test_each_measurement_of_the_held_out_loss_is_told_at_its_step(
    make_model, rows, stopping, tmp_path: Path
) -> None:
    table = pa.Table.from_pylist(rows)
    bench = stopping(tmp_path / "w", make_model(), tables={"other": table})
    trained = step_of(evaluate_on="other", evaluate_every=2, epochs=2).fit(table, bench)
    told = [
        (done, figures["held_out_loss"]) for done, _, figures in bench.reports if "held_out_loss" in figures
    ]
    measured = trained.history["held_out_loss"].to_pylist()
    steps = [(step, loss) for step, loss in enumerate(measured) if loss is not None]
    assert told == [*steps, (len(measured), trained.metrics["held_out_loss"])]
    assert len(told) > 2


def test_a_rate_that_was_measured_too_low_gives_no_roofline(
    make_model, rows, stopping, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gristmill.trainer.fit.matmul_rate", lambda *_: 1.0)
    bench = stopping(tmp_path / "w", make_model())
    metrics = step_of(max_steps=2).fit(pa.Table.from_pylist(rows), bench).metrics
    assert metrics["matmul_tflops"] == 1e-12
    assert not any("roofline" in figures for figures in [metrics, *(report[2] for report in bench.reports)])


def test_the_factors_of_all_layers_are_rounded_once_per_step(
    fit: Fit, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a step they are rounded together, so that no layer rounds its own."""
    made: list[tuple[int, ...]] = []
    of = Rounded.of

    def noted(*given: Any) -> Rounded:
        made.append(tuple(given[0].shape))
        return of(*given)

    monkeypatch.setattr(Rounded, "of", noted)
    counts = []
    for steps in (1, 3):
        made.clear()
        assert len(fit(f"{steps}", max_steps=steps, dtype="bf16").history) == steps
        counts.append(len(made))
    assert counts[0] == counts[1] > 0


def test_what_comes_before_the_first_step_is_told(make_model, stopping, tmp_path: Path) -> None:
    step = DirectPreferenceOptimization.model_validate(
        {"model": "base", "max_length": 128, "adapter": {"rank": 2}, "dtype": "fp32", "pack_tokens": 1}
    )
    pairs = [{"_id": f"{n}", "prompt": "ab", "chosen": "yes" * (n + 1), "rejected": "no"} for n in range(3)]
    context = stopping(tmp_path, make_model())
    step.fit(pa.Table.from_pylist(pairs), context)
    assert context.told == [
        ("encoding rows", 3, 3),
        ("loading the model", 0, 1),
        *[("measuring the reference", n, 3) for n in (1, 2, 3)],
    ]
