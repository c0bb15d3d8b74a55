"""The recipe of reinforcement: each round samples from the student of the round before and trains it further,
and a run that is stopped in a training ends with the same weights.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file

import gristmill
from gristmill.pipelines.api import Run
from gristmill.pipelines.run.budget import Interrupted, Stop
from gristmill.pipelines.run.events import Event, StepProgress
from gristmill.pipelines.view.silent import SilentView

TURNS = 3


class StopIn(SilentView):
    """Stops the run at the second optimizer step of ``step``."""

    def __init__(self, step: str) -> None:
        super().__init__(sys.stderr)
        self.step, self.stop = step, Stop()

    def on(self, event: Event) -> None:
        if isinstance(event, StepProgress) and event.step == self.step and event.done == 1:
            self.stop.ask()


def small(folder: Path, model: Path) -> Path:
    """The recipe for a random model in the engine transformers."""
    spec: dict[str, Any] = yaml.safe_load(
        resources.files("gristmill.pipelines.recipes").joinpath("grpo_constraints.yaml").read_text()
    )
    spec["vars"] |= {"turns": TURNS, "kinds": ["no_commas", "words_at_most", "lower_case", "one_sentence"]}
    spec["models"]["base"] = {"engine": "transformers", "path": str(model), "dtype": "float32"}
    spec["steps"]["evals"] |= {"rows": 4, "max_constraints": 1}
    spec["steps"]["verdict"]["max_tokens"] = 6
    steps = spec["steps"]["rounds"]["steps"]
    steps["prompts"] |= {"rows": 4, "max_constraints": 1}
    steps["answers"] |= {"samples": 4, "max_tokens": 8}
    steps["student"] |= {"adapter": {"rank": 2}, "dtype": "fp32", "batch_rows": 4, "learning_rate": 0.01}
    # A random model satisfies no constraint: what it is rewarded for is the share of letters.
    steps["checked"] = {
        "compute": {"passed_fraction": "length(regexp_replace(response, '[^a-z]', '', 'g')) / 8.0"},
        "from": "answers",
    }
    file = folder / "file.yaml"
    file.write_text(yaml.safe_dump(spec, sort_keys=False))
    return file


def weights(run: Run, turn: int) -> dict[str, torch.Tensor]:
    return load_file(run[f"student_{turn}"].store.model / "adapter_model.safetensors")


@pytest.mark.engine
def test_rounds_go_on_from_each_other_and_from_where_they_were_stopped(
    tmp_path: Path, make_model: Callable[..., Path]
) -> None:
    file = small(tmp_path, make_model(max_position_embeddings=1024))
    whole = gristmill.run(file, tmp_path / "whole", observer=SilentView(sys.stderr))
    stopping = StopIn("student_2")
    with pytest.raises(Interrupted):
        gristmill.run(file, tmp_path / "stopped", observer=stopping, stop=stopping.stop)
    again = gristmill.run(file, tmp_path / "stopped", observer=SilentView(sys.stderr))
    for turn in range(1, TURNS + 1):
        mine, theirs = weights(whole, turn), weights(again, turn)
        assert mine.keys() == theirs.keys()
        assert all(torch.equal(tensor, theirs[name]) for name, tensor in mine.items())
    assert not torch.equal(*(next(iter(weights(whole, turn).values())) for turn in (1, 2)))
    for turn in range(1, TURNS + 1):
        manifest = whole[f"student_{turn}"].store.manifest["summary"]
        rows = whole[f"checked_{turn}"].to_arrow().to_pylist()
        assert manifest["reward"] == pytest.approx(sum(row["passed_fraction"] for row in rows) / len(rows))
        assert manifest["groups"] == 4
        # The first step of a round finds its samples as likely as the engine that drew them did.
        history = whole[f"student_{turn}"].store.read_history()
        assert history["from_sampler"][0].as_py() < 1e-4
        assert history["ratio"][0].as_py() == pytest.approx(1.0, abs=1e-4)
        assert all(len(row["response_tokens"]) == len(row["logprobs"]) for row in rows)
    # The optimizer counts its steps over all rounds.
    from gristmill.trainer.optimizers.carried import NAME

    counts = [
        torch.load(whole[f"student_{turn}"].store.model / NAME, weights_only=True)["states"][0]["step"].item()
        for turn in range(1, TURNS + 1)
    ]
    steps = [whole[f"student_{turn}"].store.manifest["summary"]["steps"] for turn in range(1, TURNS + 1)]
    assert counts == [sum(steps[: turn + 1]) for turn in range(TURNS)]
