"""``train: grpo``: the surrogate written out in float64, the effect of each option, unreadable rows."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from gristmill.contracts.errors import DataError
from gristmill.trainer.data.chat import ChatEncoder
from gristmill.trainer.data.examples import Example
from gristmill.trainer.data.packs import Pack
from gristmill.trainer.data.unfit import Unfit
from gristmill.trainer.losses.objective import StepContext
from gristmill.trainer.methods.grpo import GroupRelativePolicyOptimization
from gristmill.trainer.model.loading import load_model
from gristmill.trainer.model.trained_parts import PARTS
from gristmill.trainer.model.trained_tensors import train_parts, trained_tensors


def step(**options: Any) -> GroupRelativePolicyOptimization:
    return GroupRelativePolicyOptimization(model="base", **options)


@pytest.fixture
def samples(lab) -> list[dict[str, Any]]:
    """Three samples of each of three prompts. The last group's rewards are all the same."""
    rows = []
    for n in range(9):
        text = "yes, sir, no"[n % 4 : n % 4 + 3 + n]
        tokens = [*lab.encoder.tokenizer.encode(text), lab.encoder.end_of_turn]
        rows.append(
            {
                "_id": f"row-{n}",
                "_parents": [f"prompt-{n // 3}"],
                "prompt": "ab " * (n // 3 + 1),
                "response": text,
                "response_tokens": tokens,
                "logprobs": [-0.1] * len(tokens),
                "finish": "length" if n == 4 else "stop",
                "reward": float(n % 3) if n < 6 else 1.0,
            }
        )
    rows[1]["weight"] = 2.5
    return rows


def ready(lab, objective, rows: list[dict[str, Any]], spread: float = 0.3) -> list[Example]:
    """Encode and arrange the rows, with ratios to the sampler around 1, of ``spread`` nats."""
    generator = torch.Generator().manual_seed(3)
    near = []
    for example in lab.encode(objective, rows):
        (tokens,) = example.sequences
        log_p = lab.log_p(tokens).detach()
        noise = torch.randn(len(log_p), generator=generator, dtype=torch.float64) * spread
        near.append(replace(example, sampled=tuple((log_p + noise).tolist())))
    return objective.arrange(near)[0]


def written_out(lab, example: Example, above: float, base=None, **options: Any) -> Tensor:
    """The losses of one response's tokens, (tokens,): DeepSeekMath, equation 3, with all options."""
    log_p = lab.log_p(example.sequences[0])
    ratio = (log_p - torch.tensor(example.sampled, dtype=torch.float64)).exp()
    if options.get("ratio") == "sequence":
        ratio = ratio.prod().pow(1 / len(ratio)).expand(len(ratio))
    low, high = 1 - options.get("clip_low", 0.2), 1 + options.get("clip_high", 0.2)
    losses = []
    for r in ratio:
        free = (
            r
            if options.get("ratio_limit") is None
            else min(r, torch.tensor(options["ratio_limit"], dtype=torch.float64))
        )
        held = min(max(r, torch.tensor(low, dtype=torch.float64)), torch.tensor(high, dtype=torch.float64))
        losses.append(-min(free * above, held * above))
    found = torch.stack(losses)
    if options.get("kl"):
        trained, lab.model = lab.model, base
        with torch.no_grad():
            reference = lab.log_p(example.sequences[0])
        lab.model = trained
        found = found + options["kl"] * ((reference - log_p).exp() - (reference - log_p) - 1)
    return found


OPTIONS: dict[str, dict[str, Any]] = {
    "grpo": {},
    "kl": {"kl": 0.3},
    "clip_higher, token": {"clip_low": 0.1, "clip_high": 0.4, "loss_scale": "token"},
    "dr_grpo": {"scale": "none", "loss_scale": "constant", "max_tokens": 11},
    "rloo": {"advantage": "rloo", "scale": "none", "loss_scale": "token"},
    "gspo": {"ratio": "sequence", "clip_low": 0.05, "clip_high": 0.05},
    "limit": {"ratio_limit": 1.05, "clip_low": 0.5, "clip_high": 0.5},
}


@pytest.mark.parametrize("name", OPTIONS)
def test_loss_and_gradient_are_the_written_out_formula(lab, samples, context, name: str) -> None:
    options = OPTIONS[name]
    objective = step(**options).objective(context)
    base = load_model(lab.path, dtype=torch.float64)
    examples = ready(lab, objective, samples)
    assert [example.id for example in examples] == [f"row-{n}" for n in range(6)]
    if options.get("kl"):
        lab.model.noise = 50.0  # noise of training, which the reference has not
        examples = objective.prepare(lab.model, examples, 150)
        lab.model.noise = 0.0
        assert lab.model.training
        assert all(linear.adapter is not None for _, linear in lab.model.linears())
    rewards = torch.tensor([0.0, 1.0, 2.0], dtype=torch.float64)
    advantage = rewards - rewards.mean()
    if options.get("advantage") == "rloo":
        advantage = torch.tensor([0 - 1.5, 1 - 1.0, 2 - 0.5], dtype=torch.float64)
    if options.get("scale") != "none":
        advantage = advantage / (rewards.std() + 1e-4)
    total, weights = torch.zeros((), dtype=torch.float64), 0.0
    for example, row in zip(examples, samples):
        losses = written_out(lab, example, float(advantage[int(row["reward"])]), base, **options)
        weight, scale = row.get("weight", 1.0), options.get("loss_scale")
        total = total + weight * (losses.sum() if scale else losses.mean())
        weights += weight * {"token": len(losses), "constant": 11}.get(scale, 1)
    wanted = total / weights
    gradients = lab.gradients(wanted)
    assert max(each.abs().max() for each in gradients) > 0
    for capacity in (None, 0):
        loss, found, _ = lab.run(objective, examples, capacity=capacity)
        assert loss == pytest.approx(wanted.item(), rel=1e-9, abs=1e-12)
        for one, expected in zip(found, gradients):
            assert (one - expected).abs().max() <= 1e-9 * max(each.abs().max() for each in gradients)


@pytest.mark.parametrize("name", ["grpo", "clip_higher, token", "dr_grpo", "gspo"])
@pytest.mark.parametrize("away", [0.0, 0.4])
def test_figures_are_means_over_tokens(lab, samples, context, name: str, away: float) -> None:
    """The log-ratios of a response are ``away`` and its opposite, in turn."""
    objective = step(**OPTIONS[name]).objective(context)
    examples = [
        replace(
            each,
            sampled=tuple(value - away * (-1) ** place for place, value in enumerate(each.sampled)),
        )
        for each in ready(lab, objective, samples, spread=0.0)
        if each.trained_tokens % 2 == 0 and each.value
    ]
    assert len({each.trained_tokens for each in examples}) > 1
    step_context = StepContext(sum(objective.count(each) for each in examples), 0.0)
    found = objective.loss(lab.model, Pack.of(examples, torch.device("cpu")), step_context).figures
    ratios = [1.0] if name == "gspo" else [math.exp(away), math.exp(-away)]
    assert float(found["ratio"]) == pytest.approx(sum(ratios) / len(ratios))
    assert float(found["from_sampler"]) == pytest.approx(away, abs=1e-9)
    clipped = 0.5 if away and name != "gspo" else 0.0
    assert float(found["clipped"]) == pytest.approx(clipped, abs=1e-9)


def test_the_reference_is_the_base_whatever_is_trained(lab, samples, context) -> None:
    objective = step(kl=0.3).objective(context)
    base = load_model(lab.path, dtype=torch.float64)
    train_parts(lab.model, PARTS)
    lab.model.double()
    with torch.no_grad():
        for trained in trained_tensors(lab.model).values():
            trained.delta.uniform_(-0.5, 0.5, generator=torch.Generator().manual_seed(5))
    changed = {name: trained.whole() for name, trained in trained_tensors(lab.model).items()}
    examples = objective.prepare(lab.model, ready(lab, objective, samples), 150)
    for name, trained in trained_tensors(lab.model).items():
        assert torch.equal(trained.whole(), changed.pop(name)), "what is trained is there again"
    assert not changed
    lab.model = base
    for example in examples:
        torch.testing.assert_close(
            torch.tensor(list(example.reference), dtype=torch.float64), lab.log_p(example.sequences[0])
        )


def test_at_the_sampler_the_gradient_is_that_of_the_policy(lab, samples, context) -> None:
    """All ratios are 1: the gradient is -A grad log p, and nothing is clipped."""
    objective = step(loss_scale="token").objective(context)
    examples = ready(lab, objective, samples, spread=0.0)
    _, found, _ = lab.run(objective, examples)
    plain = -sum(
        example.weight * example.value * lab.log_p(example.sequences[0]).sum() for example in examples
    ) / sum(example.weight * example.trained_tokens for example in examples)
    for one, expected in zip(found, lab.gradients(plain)):
        assert (one - expected).abs().max() <= 1e-9 * max(1.0, expected.abs().max())


def test_beyond_the_clip_a_token_has_no_gradient(lab, samples, context) -> None:
    """Every ratio is e: clipped where the advantage is positive, and not where it is negative."""
    objective = step().objective(context)
    examples = [
        replace(each, sampled=tuple(value - 1.0 for value in each.sampled))
        for each in ready(lab, objective, samples, spread=0.0)
    ]
    better = [each for each in examples if each.value > 0]
    worse = [each for each in examples if each.value < 0]
    assert all(not gradient.any() for gradient in lab.run(objective, better)[1])
    assert any(gradient.any() for gradient in lab.run(objective, worse)[1])
    higher = step(clip_high=2.0).objective(context)
    assert any(gradient.any() for gradient in lab.run(higher, better)[1])


def test_groups_without_a_difference_are_left_out_and_counted(lab, samples, context) -> None:
    objective = step().objective(context)
    examples, figures = objective.arrange(lab.encode(objective, samples))
    assert {example.group for example in examples} == {"prompt-0", "prompt-1"}
    assert figures == {"reward": 1.0, "groups": 3.0, "groups_equal": 1.0, "rows_cut_off": 1.0}
    other = step(equal_groups="keep").objective(context)
    kept, _ = other.arrange(lab.encode(other, samples))
    assert len(kept) == 9
    assert [example.value for example in kept[6:]] == [0.0] * 3
    same, _ = objective.arrange(lab.encode(objective, [{**row, "reward": True} for row in samples]))
    assert len(same) == 9


def test_responses_that_were_cut_off_count_in_their_group_only(lab, samples, context) -> None:
    one = step().objective(context)
    whole = {each.id: each for each in one.arrange(lab.encode(one, samples))[0]}
    other = step(cut_off="leave_out").objective(context)
    examples, _ = other.arrange(lab.encode(other, samples))
    assert [each.id for each in examples] == ["row-0", "row-1", "row-2", "row-3", "row-5"]
    assert all(each.value == whole[each.id].value for each in examples)


def test_a_response_near_the_limit_is_punished_before_the_advantage(lab, samples, context) -> None:
    rows = [{**row, "reward": 1.0} for row in samples[:3]]
    lengths = [len(row["response_tokens"]) for row in rows]
    assert lengths == [4, 5, 6]
    objective = step(max_tokens=6, overlong_margin=2, scale="none").objective(context)
    examples, figures = objective.arrange(lab.encode(objective, rows))
    assert [each.value for each in examples] == pytest.approx([0.5, 0.0, -0.5])
    assert figures["reward"] == 1.0


def test_the_group_may_be_a_column(lab, samples, context) -> None:
    objective = step(group="topic").objective(context)
    examples = lab.encode(objective, [{**row, "topic": n % 2} for n, row in enumerate(samples)])
    assert {example.group for example in examples} == {"0", "1"}
    with pytest.raises(ValueError, match="its 'topic' is empty"):
        lab.encode(objective, samples)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"response_tokens": None}, "it has no sampled tokens: generate with record_tokens: true"),
        ({"logprobs": [-0.1]}, "it has 4 response_tokens, but 1 logprobs"),
        ({"logprobs": [0.5] * 4}, "its 'logprobs' are not all log-probabilities"),
        ({"reward": None}, "its 'reward' is None, not a reward"),
        ({"prompt_tokens": 3}, "but was 3 when it was sampled"),
        ({"_parents": []}, "it was made from no row: name the column"),
        ({"prompt": None}, "it has neither a 'prompt' nor 'messages'"),
    ],
)
def test_rows_that_cannot_be_read_say_why(lab, samples, context, change, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        lab.encode(step().objective(context), [{**samples[0], **change}])


def test_a_conversation_is_read_as_its_prompt_and_its_tokens(lab, samples, context) -> None:
    row = samples[0]
    turns = [
        {"role": "user", "content": row["prompt"]},
        {"role": "assistant", "content": row["response"]},
    ]
    objective = step().objective(context)
    (one, other) = lab.encode(objective, [row, {**row, "prompt": None, "messages": turns}])
    assert one.sequences == other.sequences
    (tokens,) = one.sequences
    assert tokens.ids == lab.encoder.encode(turns).ids
    assert list(tokens.ids[-4:]) == row["response_tokens"]


OFFERS = (
    "{% if tools %}<|start|>tools {{ tools | tojson }}<|end|>\n{% endif %}"
    "{% for m in messages %}<|start|>{{ m.role }}\n{{ m.content }}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|start|>assistant\n{% endif %}"
)
TOOLS = [{"type": "function", "function": {"name": "lookup"}}]


def served_and_trained(
    row: dict[str, Any], context: Any, folder: Path, offered: Any
) -> tuple[list[int], list[int]]:
    """The prompt with the tools that were ``offered``, and the tokens that a row with tools is trained on."""
    encoder = ChatEncoder(folder)
    served = encoder.tokenizer.apply_chat_template(
        [{"role": "user", "content": row["prompt"]}],
        tools=offered,
        add_generation_prompt=True,
        return_dict=False,
    )
    row = {**row, "tools": json.dumps(TOOLS), "prompt_tokens": len(served)}
    (tokens,) = step().objective(context).encode(row, encoder).sequences
    return [*served, *row["response_tokens"]], list(tokens.ids)


def test_the_prompt_offers_the_tools_that_the_sampler_was_offered(
    samples, context, tmp_path: Path, save_tokenizer: Callable[..., None]
) -> None:
    save_tokenizer(tmp_path, template=OFFERS)
    served, trained = served_and_trained(samples[0], context, tmp_path, TOOLS)
    assert trained == served


@pytest.mark.parametrize("template", [OFFERS, OFFERS.partition("\n{% endif %}")[2]])
def test_the_prompt_offers_no_tools_if_the_sampler_was_offered_none(
    samples, context, tmp_path: Path, save_tokenizer: Callable[..., None], template: str
) -> None:
    """Whether the template could write them or not."""
    save_tokenizer(tmp_path, template=template)
    served, trained = served_and_trained(samples[0], context, tmp_path, None)
    assert trained == served


def test_settings_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValidationError, match="overlong_margin needs max_tokens"):
        step(overlong_margin=4)
    with pytest.raises(ValidationError, match="loss_scale: constant needs max_tokens"):
        step(loss_scale="constant")
    with pytest.raises(ValidationError, match="overlong_margin must be below max_tokens"):
        step(overlong_margin=4, max_tokens=4)
    with pytest.raises(ValidationError, match="the initialization 'pissa' changes the base"):
        step(kl=0.1, adapter={"init": "pissa"})
    with pytest.raises(DataError, match="record_tokens"):
        step().check_columns(["_id", "prompt", "reward", "logprobs"])


def test_the_tools_of_a_row_are_given_to_the_template(lab, samples) -> None:
    with pytest.raises(Unfit, match="leaves out the tool 'lookup'"):
        lab.encode(step().objective(None), [{**samples[0], "tools": [{"name": "lookup"}]}])
