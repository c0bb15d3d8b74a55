"""Rows to train on, a context that can be stopped, and a tiny model whose losses are also written plainly, a
sequence at a time.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import torch
from torch import Tensor

from gristmill.contracts.inference import ModelWeights
from gristmill.contracts.training import Trained
from gristmill.trainer.adapters.lora import LoRA
from gristmill.trainer.data.chat import ChatEncoder
from gristmill.trainer.data.examples import Example, TokenSequence
from gristmill.trainer.data.packs import Pack, pack
from gristmill.trainer.losses.objective import Objective, StepContext
from gristmill.trainer.model.decoder import Decoder
from gristmill.trainer.model.loading import load_model
from gristmill.trainer.parallel import Processes


class Stopped(Exception):
    """Raised by the test's context to stop a run."""


@dataclass
class Stopping:
    """A context of one train step that stops the run at the ``stop_at``-th check."""

    workdir: Path
    path: Path
    adapter: Path | None = None
    stop_at: int | None = None
    seed: int = 17
    step: str = "student"
    tables: dict[str, pa.Table] = field(default_factory=dict)
    asked: int = 0
    reports: list[tuple[float, float, dict[str, float]]] = field(default_factory=list)
    told: list[tuple[str, float, float]] = field(default_factory=list)
    memory: list[float] = field(default_factory=list)

    def weights(self, model: str) -> ModelWeights:
        return ModelWeights(model, self.path, "digest", self.adapter)

    def progress(self, done: float, total: float, unit: str, **figures: float) -> None:
        if unit == "steps":
            self.reports.append((done, total, figures))
        else:
            self.told.append((unit, done, total))
            self.memory += [figures["memory_mib"]] if "memory_mib" in figures else []

    def check(self) -> None:
        self.asked += 1
        if self.stop_at is not None and self.asked > self.stop_at:
            raise Stopped

    def table(self, step: str) -> pa.Table:
        return self.tables[step]


@pytest.fixture
def stopping() -> type[Stopping]:
    return Stopping


@pytest.fixture
def stopped() -> type[Stopped]:
    return Stopped


@pytest.fixture
def one_of_two(monkeypatch: pytest.MonkeyPatch) -> None:
    """This process is the first of two. The other one takes part in nothing, which raises here."""
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "get_rank", lambda: 0)
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 2)
    assert Processes.current() == Processes(0, 2)


@pytest.fixture
def rows() -> list[dict[str, Any]]:
    return [
        {"_id": f"row-{n}", "prompt": "count " * (n % 5 + 1), "response": "one two three "[: 4 + n % 9]}
        for n in range(17)
    ]


@pytest.fixture
def digest() -> Callable[[Trained], str]:
    """Return a function that computes a digest of what a training wrote."""

    def digest_of(trained: Trained) -> str:
        (file,) = trained.adapter.glob("*.safetensors")
        return hashlib.sha256(file.read_bytes()).hexdigest()

    return digest_of


#: Loss, gradients by parameter, and the loss of each row by its id.
Found = tuple[float, list[Tensor], dict[str, float]]


def adapted(path: Path) -> Decoder:
    """Load the model in float64, with adapters that are not at their initial values."""
    model = load_model(path, dtype=torch.float64)
    generator = torch.Generator().manual_seed(7)
    for _, linear in model.linears():
        linear.adapter = LoRA(linear.shape, rank=2, alpha=4, generator=generator).double()
        torch.nn.init.normal_(linear.adapter.b, std=0.1, generator=generator)
    return model


@dataclass
class Lab:
    """Common fixtures of the tests of objectives."""

    path: Path
    model: Decoder
    encoder: ChatEncoder

    def encode(self, objective: Objective, rows: Sequence[dict[str, Any]]) -> list[Example]:
        return [objective.encode(row, self.encoder) for row in rows]

    def logits(self, tokens: TokenSequence) -> Tensor:
        """Return the logits (tokens, V) that predict the trained tokens of a single sequence."""
        logits = self.model.logits(torch.tensor(tokens.ids), [len(tokens.ids)])
        return logits[[place - 1 for place, on in enumerate(tokens.trained) if on]]

    def aims(self, tokens: TokenSequence) -> Tensor:
        return torch.tensor([token for token, on in zip(tokens.ids, tokens.trained) if on])

    def log_p(self, tokens: TokenSequence) -> Tensor:
        """Return the log-probability of each trained token."""
        return self.logits(tokens).log_softmax(1).gather(1, self.aims(tokens)[:, None])[:, 0]

    def gradients(self, loss: Tensor) -> list[Tensor]:
        return list(torch.autograd.grad(loss, list(self.model.parameters())))

    def run(
        self,
        objective: Objective,
        examples: Sequence[Example],
        capacity: int | None = None,
        progress: float = 0.0,
    ) -> Found:
        """Compute as the training loop does, in packs of at most ``capacity`` tokens (None for one pack)."""
        lengths = [example.tokens for example in examples]
        packs = pack(lengths, max(lengths) if capacity == 0 else capacity or sum(lengths))
        step_context = StepContext(sum(objective.count(example) for example in examples), progress)
        total, rows = 0.0, {}
        for parameter in self.model.parameters():
            parameter.grad = None
        for indices in packs:
            chosen = [examples[index] for index in indices]
            found = objective.loss(self.model, Pack.of(chosen, torch.device("cpu")), step_context)
            torch.autograd.backward(found.loss)
            total += found.loss.item()
            rows |= dict(zip((example.id for example in chosen), found.rows.tolist()))
        return total, [parameter.grad.clone() for parameter in self.model.parameters()], rows

    def check(
        self,
        objective: Objective,
        examples: Sequence[Example],
        losses: Sequence[Tensor],
        counts: Sequence[float],
        tolerance: float = 1e-9,
        **options: Any,
    ) -> Found:
        """Check loss, gradients and row losses against ``losses``, one per row, weighted by ``counts``."""
        loss = sum(count * each for count, each in zip(counts, losses)) / sum(counts)
        assert isinstance(loss, Tensor)
        wanted = self.gradients(loss)
        total, gradients, rows = self.run(objective, examples, **options)
        assert total == pytest.approx(loss.item(), rel=tolerance)
        for found, expected in zip(gradients, wanted):
            assert expected.abs().max() > 0
            assert (found - expected).abs().max() <= tolerance * expected.abs().max()
        for example, each in zip(examples, losses):
            assert rows[example.id] == pytest.approx(each.item(), rel=tolerance)
        return total, gradients, rows

    def same(self, one: Found, other: Found, tolerance: float = 1e-9) -> None:
        """Check that both runs gave the same losses and gradients."""
        assert one[0] == pytest.approx(other[0], rel=tolerance)
        assert one[2] == pytest.approx(other[2], rel=tolerance)
        for found, expected in zip(one[1], other[1]):
            assert (found - expected).abs().max() <= tolerance * expected.abs().max()


@pytest.fixture
def lab_of(make_model: Callable[..., Path]) -> Callable[..., Lab]:
    """Return a function that makes a lab with a model of a family."""

    def make(family: str = "llama", **changes: Any) -> Lab:
        path = make_model(family, **changes)
        return Lab(path, adapted(path), ChatEncoder(path))

    return make


@pytest.fixture
def lab(lab_of: Callable[..., Lab]) -> Lab:
    return lab_of()


@pytest.fixture
def texts() -> list[dict[str, Any]]:
    """Rows with responses of various lengths, some with weights."""
    rows: list[dict[str, Any]] = [
        {"_id": f"row-{n}", "prompt": "ab c" * (n % 4 + 1), "response": "one two three"[: 2 + n]}
        for n in range(7)
    ]
    rows[1]["weight"] = 2.5
    rows[2]["token_weights"] = [0.0, 1.0, 0.5, 2.0, 1.0]
    rows[4] |= {"weight": 0.3, "token_weights": [3.0] * 7}
    return rows


@pytest.fixture
def pairs() -> list[dict[str, Any]]:
    """Rows with a better and a worse response."""
    rows: list[dict[str, Any]] = [
        {
            "_id": f"pair-{n}",
            "prompt": "ab " * (n + 1),
            "chosen": "yes, sir"[: n + 2],
            "rejected": "no way"[: 6 - n],
        }
        for n in range(5)
    ]
    rows[1]["weight"] = 2.5
    rows[3]["system"] = "Be short."
    return rows
