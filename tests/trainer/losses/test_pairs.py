"""DPO, ORPO and SimPO: the papers' formulas, the reference, and rows that are not pairs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import logsigmoid

from gristmill.contracts.inference import ModelWeights
from gristmill.trainer.adapters.adapter_settings import AdapterSettings
from gristmill.trainer.adapters.load_adapted import load_adapted
from gristmill.trainer.data.unfit import Unfit
from gristmill.trainer.methods.asft import AlignedSupervisedFineTuning
from gristmill.trainer.methods.dpo import DirectPreferenceOptimization
from gristmill.trainer.methods.orpo import OddsRatioPreferenceOptimization, log_odds
from gristmill.trainer.methods.simpo import SimplePreferenceOptimization
from gristmill.trainer.model.loading import load_model
from gristmill.trainer.step import TrainStep

STEPS: list[tuple[type[TrainStep], dict[str, Any]]] = [
    (DirectPreferenceOptimization, {"beta": 0.3}),
    (DirectPreferenceOptimization, {"beta": 0.3, "label_smoothing": 0.2}),
    (OddsRatioPreferenceOptimization, {"odds_weight": 0.7}),
    (SimplePreferenceOptimization, {"beta": 2.0, "gamma": 0.8}),
    (AlignedSupervisedFineTuning, {"align_weight": 0.7}),
    (DirectPreferenceOptimization, {"beta": 0.3, "optimism": 0.2}),
    (DirectPreferenceOptimization, {"beta": 0.3, "optimism": 0.2, "optimism_over": "both"}),
    (DirectPreferenceOptimization, {"beta": 0.3, "optimism": 0.2, "optimism_over": "sampled"}),
]


def _dpo(
    chosen: Tensor,
    rejected: Tensor,
    before: tuple[float, ...],
    beta: float,
    label_smoothing: float = 0.0,
    optimism: float = 0.0,
    optimism_over: str = "chosen",
    third: Tensor | None = None,
):
    """Rafailov et al., equation 7; with smoothing as in their code and in Mitchell's cDPO, and with the
    optimistic term of SELM, which is over a response beside the pair in its code.
    """
    better, worse = chosen.sum() - before[0], rejected.sum() - before[1]
    margin = beta * (better - worse)
    loss = -(1 - label_smoothing) * margin.sigmoid().log() - label_smoothing * (-margin).sigmoid().log()
    sampled = better if optimism_over == "chosen" else (better + worse) / 2
    if third is not None:
        sampled = third.sum() - before[2]
    return loss + optimism * beta * sampled, margin


def _orpo(chosen: Tensor, rejected: Tensor, before: tuple[float, float], odds_weight: float):
    """Hong et al., equations 3 to 7, in probabilities."""
    p, q = chosen.mean().exp(), rejected.mean().exp()
    ratio = (p / (1 - p)) / (q / (1 - q))
    return -chosen.mean() - odds_weight * ratio.log().sigmoid().log(), ratio.log()


def _asft(chosen: Tensor, rejected: Tensor, before: tuple[float, float], align_weight: float):
    """Wang et al., in probabilities: the sigmoid of log-odds is the probability itself."""
    p, q = chosen.mean().exp(), rejected.mean().exp()
    loss = -p.log() + align_weight * (-p.log() - (1 - q).log())
    return loss, (p / (1 - p) / (q / (1 - q))).log()


def _simpo(chosen: Tensor, rejected: Tensor, before: tuple[float, float], beta: float, gamma: float):
    """Meng et al., equation 6."""
    margin = beta * chosen.sum() / len(chosen) - beta * rejected.sum() / len(rejected)
    return -logsigmoid(margin - gamma), margin


FORMULAS: dict[type[TrainStep], Callable[..., tuple[Tensor, Tensor]]] = {
    DirectPreferenceOptimization: _dpo,
    OddsRatioPreferenceOptimization: _orpo,
    SimplePreferenceOptimization: _simpo,
    AlignedSupervisedFineTuning: _asft,
}


@pytest.mark.parametrize(("kind", "options"), STEPS)
def test_loss_and_gradient_are_the_papers(
    lab, pairs, context, kind: type[TrainStep], options: dict[str, Any]
) -> None:
    objective = kind(model="base", **options).objective(context)
    base = load_model(lab.path, dtype=torch.float64)
    # Neither of the pair: what the reference sampled may have any rank.
    pairs = [{**row, "sampled": "so and so"[: 4 + n]} for n, row in enumerate(pairs)]
    examples = objective.prepare(base, lab.encode(objective, pairs), 150)
    losses, margins, counts = [], [], []
    for example, row in zip(examples, pairs):
        better, worse, *third = example.sequences
        assert len(third) == (options.get("optimism_over") == "sampled")
        before: tuple[float, ...] = (0.0, 0.0)
        if kind is DirectPreferenceOptimization:
            trained, lab.model = lab.model, base
            before = tuple(lab.log_p(each).sum().item() for each in example.sequences)
            lab.model = trained
        beside = {"third": lab.log_p(third[0])} if third else {}
        loss, margin = FORMULAS[kind](lab.log_p(better), lab.log_p(worse), before, **options, **beside)
        losses.append(loss)
        margins.append(margin.item())
        counts.append(row.get("weight", 1.0))
    lab.check(objective, examples, losses, counts)
    figures = _figures(lab, objective, examples)
    share = torch.tensor(counts) / sum(counts)
    assert figures["margin"] == pytest.approx((share * torch.tensor(margins)).sum().item(), rel=1e-5)
    assert figures["accuracy"] == pytest.approx((share * (torch.tensor(margins) > 0)).sum().item(), rel=1e-5)


def _figures(lab, objective, examples) -> dict[str, float]:
    from gristmill.trainer.data.packs import Pack
    from gristmill.trainer.losses.objective import StepContext

    step_context = StepContext(sum(objective.count(example) for example in examples), 0.0)
    return dict(objective.loss(lab.model, Pack.of(examples, torch.device("cpu")), step_context).figures)


@pytest.mark.parametrize(("kind", "options"), STEPS[1:])
@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_packs_and_accumulation_change_nothing(
    lab, context, kind: type[TrainStep], options: dict[str, Any], data: st.DataObject
) -> None:
    """The model is not changed, so all examples may share it."""
    text = st.text("abc xyz", min_size=1, max_size=15).filter(str.strip)
    drawn = data.draw(
        st.lists(st.tuples(text, text, text).filter(lambda row: row[1] != row[2]), min_size=1, max_size=4)
    )
    rows = [
        {"_id": f"{n}", "prompt": prompt, "chosen": chosen, "rejected": rejected, "weight": n + 0.5,
         "sampled": chosen + rejected}
        for n, (prompt, chosen, rejected) in enumerate(drawn)
    ]  # fmt: skip
    objective = kind(model="base", **options).objective(context)
    encoded = lab.encode(objective, rows)
    longest = max(example.tokens for example in encoded)
    capacity = data.draw(st.integers(longest, sum(example.tokens for example in encoded)))
    base = load_model(lab.path, dtype=torch.float64)
    together = lab.run(objective, objective.prepare(base, encoded, 10_000))
    lab.same(lab.run(objective, objective.prepare(base, encoded, capacity), capacity=capacity), together)
    lab.same(lab.run(objective, objective.prepare(base, encoded, longest), capacity=0), together)


@pytest.mark.parametrize("kind", FORMULAS)
def test_a_model_that_asks_learns_from_pairs_of_questions(lab, context, kind: type[TrainStep]) -> None:
    row = {
        side: [{"role": "user", "content": words}]
        for side, words in (("chosen", "how far"), ("rejected", "far"))
    }
    step = kind(model="base", train_on="user")
    encoder = step.encoder(lab.path)
    pair = step.objective(context).encode({"_id": "r", **row}, encoder).sequences
    assert [encoder.show(tokens).split("<")[0] for tokens in pair] == ["how far", "far"]
    with pytest.raises(ValueError, match="the last turn is not the assistant's"):
        lab.encode(step.objective(context), [{"_id": "r", **row}])


@pytest.mark.parametrize("kind", FORMULAS)
def test_only_the_question_in_which_a_pair_differs_is_trained_on(lab, context, kind: type[TrainStep]) -> None:
    before = [{"role": "user", "content": "far off"}, {"role": "assistant", "content": "no"}]
    row = {
        "_id": "r",
        "chosen": [*before, {"role": "user", "content": "how far"}],
        "rejected": [*before, {"role": "user", "content": "far"}],
    }
    step = kind(model="base", train_on="user")
    encoder = step.encoder(lab.path)
    pair = step.objective(context).encode(row, encoder).sequences
    assert [encoder.show(tokens) for tokens in pair] == ["how far<|end|>", "far<|end|>"]


def test_a_pair_that_a_template_makes_the_same_is_none(
    context, tmp_path: Path, save_tokenizer: Callable[..., None]
) -> None:
    save_tokenizer(
        tmp_path,
        template="{% for m in messages %}<|start|>{{ m.role }}\n{{ m.content | trim }}<|end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|start|>assistant\n{% endif %}",
    )
    step = SimplePreferenceOptimization(model="base")
    encoder, objective = step.encoder(tmp_path), step.objective(context)
    row = {"_id": "r", "prompt": "a", "chosen": "b", "rejected": "c"}
    objective.encode(row, encoder)
    with pytest.raises(Unfit, match="chosen and rejected are the same tokens"):
        objective.encode({**row, "rejected": "b\n"}, encoder)


def test_dpos_reference_is_the_model_before_training_and_the_margin_starts_at_0(lab, pairs, context) -> None:
    """With new adapters, the reference is the base without them, and without dropout."""
    objective = DirectPreferenceOptimization(model="base").objective(context)
    encoded = lab.encode(objective, pairs)
    weights = ModelWeights("base", lab.path, "digest", None)
    settings_ = AdapterSettings(rank=4, dropout=0.5)
    fresh = load_adapted(weights, settings_, seed=1, dtype=torch.float32).train()
    base = load_model(lab.path, dtype=torch.float32)
    examples = objective.prepare(fresh, encoded, 150)
    plain = objective.prepare(base, encoded, 150)
    assert [example.reference for example in examples] == [example.reference for example in plain]
    assert fresh.training
    lab.model = fresh.eval()
    found = _figures(lab, objective, examples)
    assert abs(found["margin"]) < 1e-5
    total, _, _ = lab.run(objective, examples)
    assert total == pytest.approx(torch.log(torch.tensor(2.0)).item(), rel=1e-5)


def test_orpos_log_odds_are_exact_at_both_ends() -> None:
    log_p = torch.tensor([-1e-6, -1e-3, -0.7, -5.0, -50.0, -80.0], dtype=torch.float32)
    exact = log_p.double()
    wanted = exact - torch.log1p(-exact.exp())
    torch.testing.assert_close(log_odds(log_p).double(), wanted, rtol=1e-5, atol=1e-6)
    assert torch.isfinite(log_odds(torch.zeros(1))).all()


def test_a_conversation_in_messages_is_the_same_pair(lab, pairs, context) -> None:
    objective = SimplePreferenceOptimization(model="base").objective(context)

    def turns(row: dict[str, Any], side: str) -> list[dict[str, str]]:
        system = [{"role": "system", "content": row["system"]}] if "system" in row else []
        return [
            *system,
            {"role": "user", "content": row["prompt"]},
            {"role": "assistant", "content": row[side]},
        ]

    whole = [
        {"_id": row["_id"], **{side: turns(row, side) for side in ("chosen", "rejected")}} for row in pairs
    ]
    ends = [{**row, **{side: turns(row, side)[-1:] for side in ("chosen", "rejected")}} for row in pairs]
    opened = [{**row, "prompt": [{"role": "user", "content": row["prompt"]}]} for row in pairs]
    wanted = [example.sequences for example in lab.encode(objective, pairs)]
    for rows in (whole, ends, opened):
        assert [example.sequences for example in lab.encode(objective, rows)] == wanted


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"prompt": "a", "chosen": "b"}, "'rejected' is missing or empty"),
        ({"prompt": "a", "rejected": "b", "chosen": ""}, "'chosen' is missing or empty"),
        ({"chosen": "a", "rejected": "b"}, "'prompt' is missing or empty"),
        ({"prompt": "a", "chosen": "b", "rejected": "b"}, "are the same"),
        (
            {
                "chosen": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "x"}],
                "rejected": [{"role": "user", "content": "b"}, {"role": "assistant", "content": "y"}],
            },
            "do not answer the same prompt",
        ),
        ({"prompt": "a", "chosen": "b", "rejected": "c", "weight": -1}, "its weight is -1"),
    ],
)
def test_a_row_that_is_no_pair_is_refused(lab, context, row: dict[str, Any], message: str) -> None:
    for kind, options in STEPS[1:]:
        objective = kind(model="base", **options).objective(context)
        with pytest.raises(ValueError, match=message):
            lab.encode(objective, [{"_id": "p", "sampled": "c", **row}])


def test_what_the_reference_sampled_is_read_and_checked_with_the_pair() -> None:
    step = DirectPreferenceOptimization(model="base", optimism=0.1, optimism_over="sampled")
    assert tuple(step.uses_columns()) == ("chosen", "rejected", "sampled")
    assert step.sequences_per_row == 3
    pair = {"prompt": "a", "chosen": "b", "rejected": "c"}
    step.check_row({**pair, "sampled": "b"})
    with pytest.raises(ValueError, match="'sampled' is missing or empty"):
        step.check_row(pair)
    other = [{"role": "user", "content": "x"}, {"role": "assistant", "content": "y"}]
    with pytest.raises(ValueError, match="chosen and sampled do not answer the same prompt"):
        step.check_row({**pair, "sampled": other})
    with pytest.raises(ValueError, match="optimism_over: sampled needs optimism above 0"):
        DirectPreferenceOptimization(model="base", optimism_over="sampled")
    plain = DirectPreferenceOptimization(model="base", optimism=0.1)
    assert (tuple(plain.uses_columns()), plain.sequences_per_row) == (("chosen", "rejected"), 2)


@pytest.mark.parametrize("over", ["both", "sampled"])
def test_a_response_of_an_optimistic_term_that_is_not_there_is_refused(over: str) -> None:
    with pytest.raises(ValueError, match=f"optimism_over: {over} needs optimism above 0"):
        DirectPreferenceOptimization.model_validate({"model": "base", "optimism_over": over})


def test_orpo_over_the_whole_sequence_is_what_trl_computes(lab, pairs, context) -> None:
    """-log p is the mean over prompt and response; the odds are those of the responses alone."""
    step = OddsRatioPreferenceOptimization(model="base", odds_weight=0.7, likelihood="sequence")
    objective = step.objective(context)
    plain = lab.encode(OddsRatioPreferenceOptimization(model="base").objective(context), pairs)
    examples, losses = lab.encode(objective, pairs), []
    for example, short in zip(examples, plain):
        whole, better, worse = example.sequences[0], *short.sequences
        assert whole.ids == better.ids
        assert whole.trained_tokens == len(better.ids) - 1 > better.trained_tokens
        assert example.sequences[1] == worse
        everything = lab.log_p(replace(whole, weights=None))
        assert torch.equal(everything[-better.trained_tokens :], lab.log_p(better))
        _, ratio = _orpo(lab.log_p(better), lab.log_p(worse), (0.0, 0.0), 0.7)
        losses.append(-everything.mean() - 0.7 * ratio.sigmoid().log())
    lab.check(objective, examples, losses, [row.get("weight", 1.0) for row in pairs])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"chosen": 5}, "its 'chosen' is neither a text nor turns, but 5"),
        ({"prompt": {"a": 1}}, "its 'prompt' is neither a text nor turns"),
        ({"rejected": ["b"]}, "turn 1 of its 'rejected' has no role: 'b'"),
        ({"chosen": [{"content": "x"}]}, "turn 1 of its 'chosen' has no role"),
    ],
)
def test_a_pair_of_anything_but_texts_and_turns_is_left_out(
    lab, pairs, context, change: dict[str, Any], said: str
) -> None:
    objective = DirectPreferenceOptimization(model="base").objective(context)
    with pytest.raises(Unfit, match=said):
        objective.encode({**pairs[0], **change}, lab.encoder)
