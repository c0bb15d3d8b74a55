"""Which trainings go on from a student, and over which base."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import pytest
import torch

from gristmill.contracts.errors import ModelError
from gristmill.contracts.inference import ModelWeights
from gristmill.trainer.adapters.adapter_names import KEEPING_INITS, KIND_OF, NOT_CONTINUED, Start
from gristmill.trainer.adapters.adapter_settings import AdapterSettings
from gristmill.trainer.adapters.adapter_table import INITS
from gristmill.trainer.adapters.load_adapted import load_adapted
from gristmill.trainer.adapters.own_files import first_seed
from gristmill.trainer.adapters.peft_files import save_adapter
from gristmill.trainer.adapters.same_adapter import trains_more, why_other
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


@pytest.mark.parametrize("init", ["pissa", "truncated"])
def test_initial_factors_move_with_their_adapter(init: str, make_model) -> None:
    model = _load(make_model(), _settings(init).model_copy(update={"rank": 4}), 1)
    adapter = next(iter(model.linears()))[1].adapter.to("meta")
    assert {tensor.device.type for tensor in adapter.state().values()} == {"meta"}
    assert len(adapter.state()["lora_A.weight"]) == 8
    assert len(adapter.state("held")["lora_A.weight"]) == 4
