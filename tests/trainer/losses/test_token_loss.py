"""Supervised and critique fine-tuning: the cross-entropy by its formula, for any packs."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gristmill.kernels.cross_entropy import linear_cross_entropy
from gristmill.trainer.losses.token_loss import linear_token_loss
from gristmill.trainer.methods.cft import CritiqueFineTuning, critique_messages
from gristmill.trainer.methods.sft import SupervisedFineTuning

TEXT = st.text("abc xyz", min_size=1, max_size=20).filter(str.strip)


def test_sft_is_the_weighted_mean_of_the_tokens_negative_log_probabilities(lab, texts, context) -> None:
    objective = SupervisedFineTuning(model="base").objective(context)
    examples = lab.encode(objective, texts)
    losses, counts = [], []
    for example, row in zip(examples, texts):
        (tokens,) = example.sequences
        weights = torch.tensor(row.get("token_weights", [1.0] * (len(row["response"]) + 1))).double()
        losses.append(-(weights * lab.log_p(tokens)).sum() / weights.sum())
        counts.append(row.get("weight", 1.0) * weights.sum().item())
        assert objective.count(example) == pytest.approx(counts[-1])
    lab.check(objective, examples, losses, counts)


def test_without_weights_a_step_is_the_mean_over_its_tokens_not_over_its_rows(lab, context) -> None:
    objective = SupervisedFineTuning(model="base").objective(context)
    rows = [
        {"_id": "short", "prompt": "a", "response": "b"},
        {"_id": "long", "prompt": "a", "response": "b" * 30},
    ]
    examples = lab.encode(objective, rows)
    everything = torch.cat([lab.log_p(example.sequences[0]) for example in examples])
    total, _, by_row = lab.run(objective, examples)
    assert total == pytest.approx(-everything.mean().item(), rel=1e-9)
    assert abs(total - sum(by_row.values()) / 2) > 1e-3


@pytest.mark.parametrize("texts", [TEXT])
@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_packs_and_accumulation_change_nothing(texts, lab, context, data: st.DataObject) -> None:
    """The model is not changed, so all examples may share it."""
    weight = st.none() | st.floats(0.1, 10)
    drawn = data.draw(st.lists(st.tuples(texts, texts, weight), min_size=1, max_size=6))
    rows = [
        {"_id": f"{n}", "prompt": prompt, "response": response, "weight": weight}
        for n, (prompt, response, weight) in enumerate(drawn)
    ]
    objective = SupervisedFineTuning(model="base").objective(context)
    examples = lab.encode(objective, rows)
    longest = max(example.tokens for example in examples)
    capacity = data.draw(st.integers(longest, sum(example.tokens for example in examples)))
    together = lab.run(objective, examples)
    lab.same(lab.run(objective, examples, capacity=capacity), together)
    lab.same(lab.run(objective, examples, capacity=0), together)


def test_cft_is_the_loss_of_the_critique_alone(lab, context) -> None:
    objective = CritiqueFineTuning(model="base").objective(context)
    row = {"_id": "c", "question": "1+1?", "response": "3", "critique": "No: it is 2."}
    (example,) = lab.encode(objective, [row])
    (tokens,) = example.sequences
    assert lab.encoder.show(tokens) == "No: it is 2.<|end|>"
    prompt = lab.encoder.tokenizer.decode([token for token, on in zip(tokens.ids, tokens.trained) if not on])
    assert "1+1?" in prompt
    assert "3" in prompt
    lab.check(objective, [example], [-lab.log_p(tokens).mean()], [len(lab.aims(tokens))])


@pytest.mark.parametrize("more", [{"verdict": None}, {"verdict": "wrong"}, {"revision": 5}])
def test_other_columns_of_a_critique_do_not_count(more: dict[str, object]) -> None:
    texts = {"question": "1+1?", "response": "3", "critique": "No: it is 2."}
    assert critique_messages({**texts, **more}) == critique_messages(texts)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"question": "1+1?", "response": "3"}, r"'critique'; found \['question', 'response'\]"),
        ({"question": "1+1?", "critique": "No."}, r"found \['critique', 'question'\]"),
        ({"question": "1+1?", "response": "3", "critique": None}, "needs the texts.*its 'critique' is None"),
    ],
)
def test_a_row_without_the_fields_of_a_critique_is_refused(
    lab, context, row: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        lab.encode(CritiqueFineTuning(model="base").objective(context), [{"_id": "c", **row}])


def test_a_row_without_a_response_is_refused(lab, context) -> None:
    objective = SupervisedFineTuning(model="base").objective(context)
    for row in ({"prompt": "a"}, {"response": "b"}, {"text": "c"}):
        with pytest.raises(ValueError, match=r"last turn is not the assistant's|no chat form"):
            lab.encode(objective, [{"_id": "r", **row}])


@pytest.mark.parametrize("chunk", [1, 3, 64])
def test_any_loss_of_logits_is_fused_as_the_cross_entropy_is(chunk: int) -> None:
    generator = torch.Generator().manual_seed(1)
    head = torch.randn(11, 6, generator=generator, dtype=torch.float64)
    targets = torch.randint(0, 11, (7,), generator=generator)
    weights = torch.rand(7, generator=generator, dtype=torch.float64)
    hidden = torch.randn(7, 6, generator=generator, dtype=torch.float64, requires_grad=True)

    def loss(logits: torch.Tensor, part: slice) -> torch.Tensor:
        return -logits.log_softmax(1).gather(1, targets[part, None])[:, 0]

    ours = linear_token_loss(hidden, head, loss, chunk)
    theirs, each = linear_cross_entropy(hidden, head, targets, weights, chunk)
    torch.testing.assert_close(ours, each)
    slopes = [torch.autograd.grad(total, hidden)[0] for total in ((ours * weights).sum(), theirs)]
    torch.testing.assert_close(*slopes)
    assert torch.autograd.gradcheck(lambda x: linear_token_loss(x, head, loss, chunk), hidden)
    both = (hidden, head.requires_grad_())
    assert torch.autograd.gradcheck(lambda x, weight: linear_token_loss(x, weight, loss, chunk), both)
