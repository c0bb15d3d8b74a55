"""Which trainings go on from a student, and over which base."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, get_args

import pytest
import torch

from gristmill.contracts.errors import ModelError
from gristmill.contracts.inference import ModelWeights
from gristmill.trainer.adapters.adapter_names import (
    FOUND_AGAIN,
    KEEPING_INITS,
    KIND_OF,
    NOT_CONTINUED,
    Start,
)
from gristmill.trainer.adapters.adapter_settings import AdapterSettings
from gristmill.trainer.adapters.adapter_table import INITS
from gristmill.trainer.adapters.load_adapted import load_adapted
from gristmill.trainer.adapters.own_files import first_seed
from gristmill.trainer.adapters.peft_files import save_adapter
from gristmill.trainer.adapters.same_adapter import trains_more, why_not_carried, why_other
from gristmill.trainer.adapters.training_record import TrainingRecord
from gristmill.trainer.model.decoder import Decoder

IDS = torch.arange(20)


def _settings(init: str) -> AdapterSettings:
    kinds: dict[str, Any] = {**KIND_OF, "truncated": "kasa"}
    return AdapterSettings.model_validate({"kind": kinds.get(init, "lora"), "init": init})


def _load(path: Path, settings: AdapterSettings, seed: int, adapter: Path | None = None) -> Decoder:
    weights = ModelWeights("base", path, "digest", adapter)
    return load_adapted(weights, settings, seed=seed, dtype=torch.float32).eval()


@pytest.mark.parametrize(
    "given", [{"kind": "dylora", "rank": 8, "dylora_keep": 4}, {"init": "pissa"}, {"init": "olora"}]
)
def test_a_student_is_continued_by_a_training_of_another_seed(
    given: dict[str, Any], make_model, tmp_path: Path
) -> None:
    """As a turn of a `repeat` is: PiSSA's decomposition is a random one, which is drawn as it was first."""
    path, settings = make_model(), AdapterSettings.model_validate({"rank": 4, **given})
    model = _load(path, settings, 1)
    with torch.no_grad():
        for number, (_, linear) in enumerate(model.linears()):
            linear.adapter.b.add_(0.01 * (number + 1))
    record = TrainingRecord(settings, 1, "none", (), "fp32")
    save_adapter(model, tmp_path / "student", settings.peft(str(path)), IDS, record)
    again = _load(path, settings, 2, tmp_path / "student")
    with torch.no_grad():
        torch.testing.assert_close(again.logits(IDS, [20]), model.logits(IDS, [20]))
    assert first_seed(ModelWeights("base", path, "digest", tmp_path / "student"), 2) == 1
    assert first_seed(ModelWeights("base", path, "digest", None), 2) == 2


@pytest.mark.parametrize("init", get_args(Start))
def test_what_plans_say_of_an_initialization_is_what_it_does(init: Start) -> None:
    class Empty:
        def linears(self) -> list[Any]:
            return []

    settings = _settings(init)
    try:
        INITS[init](settings, 1).resume(Empty(), {})  # type: ignore[arg-type]
        resumes = True
    except ModelError:
        resumes = False
    assert (init in NOT_CONTINUED) is not resumes
    assert (why_other(settings, settings) is None) is resumes
    # The factors of `welore` take the place of the weight.
    assert (init in KEEPING_INITS) is (INITS[init].changes_base and init != "welore")


def test_all_of_a_student_with_its_initial_factors_is_trained_unless_they_are_found_again() -> None:
    plain, pissa, corda = map(_settings, ("default", "pissa", "corda"))
    assert not trains_more(pissa, pissa)
    assert not trains_more(corda, plain)
    assert trains_more(corda, corda)
    assert trains_more(plain, pissa)


@pytest.mark.parametrize("init", sorted(FOUND_AGAIN - {"loftq"}))
def test_a_student_without_the_factors_of_an_initialization_is_not_continued_over_its_base(
    init: Start, make_model, tmp_path: Path
) -> None:
    """The base of the second training would lack its factors, and nothing would stand for them."""
    asked = _settings(init).model_copy(update={"rank": 4, "alpha": 6.0})
    plain = asked.model_copy(update={"init": "default"})
    path = make_model()
    save_adapter(_load(path, plain, 1), tmp_path / "a", plain.peft(str(path)), IDS)
    with pytest.raises(ModelError, match=f"was not trained with init '{init}'"):
        _load(path, asked, 2, tmp_path / "a")
    assert f"init {init!r} takes its factors out of the base" in (why_other(asked, plain) or "")
    assert why_other(plain, asked) is None


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"kind": "kasa"}, "only the product of what kind 'kasa' trained was saved, which has no moments"),
        ({"kind": "dylora", "dylora_keep": 4}, "only the first 4 ranks of what kind 'dylora' trained"),
        ({"kind": "dylora", "dylora_keep": 8}, None),
        ({"kind": "dylora"}, None),
        ({}, None),
    ],
)
def test_moments_are_not_carried_to_values_that_were_not_trained(
    given: dict[str, Any], told: str | None
) -> None:
    settings = AdapterSettings.model_validate({"rank": 8, **given})
    why = why_not_carried(settings, settings)
    assert settings.read_back is (told is None)
    assert why is None if told is None else told in (why or "")


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"alpha_pattern": {"q_proj": 12}}, r"a scale of 3 in layers\.0\.self_attn\.q_proj \(alpha_pattern"),
        ({"init_lora_weights": "pissa"}, "PEFT started it with init_lora_weights = 'pissa', which changes"),
    ],
)
def test_an_adapter_that_a_training_would_read_otherwise_is_not_continued(
    changed: dict[str, Any], said: str, make_model, tmp_path: Path
) -> None:
    path, settings = make_model(), AdapterSettings(rank=4, alpha=6)
    save_adapter(_load(path, settings, 1), tmp_path / "a", settings.peft(str(path)), IDS)
    _load(path, settings, 2, tmp_path / "a")
    config = tmp_path / "a" / "adapter_config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), **changed}))
    with pytest.raises(ModelError, match=said):
        _load(path, settings, 2, tmp_path / "a")


@pytest.mark.parametrize("init", ["pissa", "truncated"])
def test_initial_factors_move_with_their_adapter(init: str, make_model) -> None:
    model = _load(make_model(), _settings(init).model_copy(update={"rank": 4}), 1)
    adapter = next(iter(model.linears()))[1].adapter.to("meta")
    assert {tensor.device.type for tensor in adapter.state().values()} == {"meta"}
    assert len(adapter.state()["lora_A.weight"]) == 8
    assert len(adapter.state("held")["lora_A.weight"]) == 4
