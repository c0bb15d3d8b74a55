"""``train: mft``: which tokens are masked, that labels stay, and the same masks after a resume."""

from __future__ import annotations

import pytest
import torch

from gristmill.contracts.errors import ModelError
from gristmill.contracts.inference import ModelWeights
from gristmill.trainer.data.packs import Pack
from gristmill.trainer.losses.masked_thought import find_mask
from gristmill.trainer.losses.objective import StepContext
from gristmill.trainer.methods.mft import MaskedThoughtFineTuning

CPU = torch.device("cpu")


@pytest.fixture
def objective(lab, context):
    context.models["base"] = ModelWeights("base", lab.path, "digest", None)
    lab.model.train()
    step = MaskedThoughtFineTuning(model="base", mask=0.5, ramp=0.5, mask_token="?")
    return step.objective(context)


def test_tokens_are_replaced_in_the_input_and_stay_the_labels(lab, texts, objective) -> None:
    examples = lab.encode(objective, texts)
    pack = Pack.of(examples, CPU)
    masked = objective.masked(pack, 0.6)
    assert 0 < masked.sum() < len(masked)
    losses, counts, start = [], [], 0
    for example, row in zip(examples, texts):
        (tokens,) = example.sequences
        own = masked[start : start + tokens.trained_tokens].tolist()
        start += tokens.trained_tokens
        places = [place for place, on in enumerate(tokens.trained) if on]
        seen = list(tokens.ids)
        for place, hidden in zip(places, own):
            if hidden:
                seen[place] = lab.encoder.tokenizer.encode("?", add_special_tokens=False)[0]
        logits = lab.model.logits(torch.tensor(seen), [len(seen)])[[place - 1 for place in places]]
        log_p = logits.log_softmax(1).gather(1, lab.aims(tokens)[:, None])[:, 0]
        weights = torch.tensor(row.get("token_weights", [1.0] * len(log_p))).double()
        losses.append(-(weights * log_p).sum() / weights.sum())
        counts.append(row.get("weight", 1.0) * weights.sum().item())
    lab.check(objective, examples, losses, counts, progress=0.6)


def test_masks_depend_on_the_step_and_the_row_and_not_on_packs(lab, texts, objective) -> None:
    examples = lab.encode(objective, texts)
    together = lab.run(objective, examples, progress=0.6)
    lab.same(lab.run(objective, examples, capacity=0, progress=0.6), together)
    torch.manual_seed(99)
    lab.same(lab.run(objective, examples, progress=0.6), together)
    assert lab.run(objective, examples, progress=0.7)[0] != pytest.approx(together[0], rel=1e-3)


def test_the_share_rises_to_what_is_set(lab, objective) -> None:
    long = lab.encode(objective, [{"_id": "a", "prompt": "a", "response": "b" * 4000}])
    pack = Pack.of(long, CPU)
    for progress, share in ((0.0, 0.0), (0.25, 0.25), (0.5, 0.5), (0.9, 0.5)):
        assert objective.masked(pack, progress).double().mean() == pytest.approx(share, abs=0.03)


def test_held_out_rows_are_not_masked(lab, texts, objective) -> None:
    examples = lab.encode(objective, texts)
    pack, step_context = Pack.of(examples, CPU), StepContext(1.0, 0.6)
    plain = objective.loss(lab.model, pack, StepContext(1.0, 0.0)).loss
    assert objective.loss(lab.model.eval(), pack, step_context).loss == plain


def test_the_mask_token_is_one_token_and_never_the_end_of_turn(lab) -> None:
    with pytest.raises(ModelError, match="'xyz' is 3 tokens"):
        find_mask(lab.encoder, "xyz")
    with pytest.raises(ModelError, match="no mask, unknown or padding token besides the end of turn"):
        find_mask(lab.encoder, None)
    lab.encoder.tokenizer.mask_token = "<|start|>"
    assert find_mask(lab.encoder, None) == 0
