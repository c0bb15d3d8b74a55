"""CycleQD: archives by task, whose turn comes in a cycle; children are merged, mutated and kept by cell."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from random import Random
from typing import Any

import pyarrow as pa
import pytest
import torch
from safetensors.torch import load_file, save_file

from gristmill.contracts import registry
from gristmill.contracts.errors import DataError, ModelError
from gristmill.contracts.training import INPUT
from gristmill.trainer.merging.archives import Archives, Elite, Genome, Perturbation
from gristmill.trainer.merging.components import Components
from gristmill.trainer.merging.cycle_qd import CycleQD, evolve
from gristmill.trainer.merging.methods import Mix

ONE, TWO = Genome((1.0, 0.0)), Genome((0.0, 1.0))
MIX = Mix((1.0, 1.0), 1.0, 0)


def test_an_archive_keeps_the_best_model_of_each_cell() -> None:
    archives = Archives([(0.0, 1.0), (2.0, 6.0)], cells=4)
    assert archives.place(0, (9.0, 3.5)) == (1,)  # by the loss on the other task alone
    assert archives.place(1, (0.8, 9.0)) == (3,)
    assert archives.place(0, (0.0, 1.0)) == (0,)  # beyond an edge
    for losses in ((0.5, 3.5), (0.4, 3.9), (0.6, 3.0), (0.9, 5.0)):
        archives.add(Elite(ONE, losses))
    assert {place: elite.losses for place, elite in archives.kept[0].items()} == {
        (1,): (0.4, 3.9),
        (3,): (0.9, 5.0),
    }
    assert {place: elite.losses for place, elite in archives.kept[1].items()} == {
        (2,): (0.6, 3.0),
        (1,): (0.4, 3.9),
        (3,): (0.9, 5.0),
    }
    assert archives.best(1).losses == (0.6, 3.0)


def test_good_models_are_drawn_more_often_and_none_twice() -> None:
    archives = Archives([(0.0, 1.0), (0.0, 1.0)], cells=4)
    for losses in ((0.0, 0.0), (1.0, 0.5), (1.0, 1.0)):
        archives.add(Elite(ONE, losses))
    random, drawn = Random(1), []
    for _ in range(3000):
        first, second = archives.parents(0, random)
        assert first is not second
        drawn.append(first.losses)
    chances = [0.8 * 0.8, 0.5 * 0.65, 0.5 * 0.5]
    for losses, chance in zip(((0.0, 0.0), (1.0, 0.5), (1.0, 1.0)), chances):
        assert drawn.count(losses) / 3000 == pytest.approx(chance / sum(chances), abs=0.03)
    alone = Archives([(0.0, 1.0), (0.0, 1.0)], cells=1)
    alone.add(Elite(ONE, (0.5, 0.5)))
    assert alone.parents(1, random) == (Elite(ONE, (0.5, 0.5)),) * 2


def test_a_mean_of_models_is_that_of_their_changes() -> None:
    one = Genome((1.0, 0.0), (Perturbation(0, 3, 1.0), Perturbation(1, 4, 0.5)))
    two = Genome((0.5, 0.5), (Perturbation(0, 3, 0.2),))
    mean = Genome.mean([one, two], [1.0, 3.0])
    assert mean.experts == (0.625, 0.375)
    assert mean.mutations == (
        Perturbation(0, 3, pytest.approx(0.4)),
        Perturbation(1, 4, pytest.approx(0.125)),
    )


def test_a_mutation_adds_shares_of_the_experts_own_singular_components(tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(2)
    changes = [(place, torch.randn(6, 4, generator=generator)) for place in range(2)]
    components = Components(tmp_path, rate=0.3, seed=5)
    genome = Genome((0.25, 0.75), (Perturbation(1, 7, 0.5),))
    plain = 0.25 * changes[0][1] + 0.75 * changes[1][1]
    for _ in range(2):  # computed, and read
        added = components.of(genome)("layer", changes, MIX) - plain
        u, sizes, v = torch.linalg.svd(changes[1][1], full_matrices=False)
        inside = u.T @ added @ v.T
        shares = inside.diagonal() / sizes
        torch.testing.assert_close(inside, (shares * sizes).diag(), atol=1e-5, rtol=0)
        assert ((shares > 0) & (shares < 0.15)).all()
        assert shares.std() > 0
    # The shares do not depend on the singular values: an expert twice as far away adds twice as much.
    doubled = [(place, 2 * change) for place, change in changes]
    twice = Components(tmp_path / "twice", rate=0.3, seed=5).of(genome)("layer", doubled, MIX)
    torch.testing.assert_close(twice, 2 * (plain + added), atol=1e-5, rtol=0)
    other = components.of(Genome((0.25, 0.75), (Perturbation(1, 8, 0.5),)))("layer", changes, MIX)
    assert not torch.allclose(other, plain + added, atol=1e-4)
    vector = [(1, torch.ones(4))]
    torch.testing.assert_close(components.of(genome)("norm", vector, MIX), torch.full((4,), 0.75))


def test_tasks_take_turns_and_a_child_is_near_the_mean_of_its_parents() -> None:
    made: list[Genome] = []

    def losses_of(number: int, genome: Genome) -> tuple[float, ...]:
        assert number == len(made)
        made.append(genome)
        share = genome.experts[0]
        return (1 - share) ** 2, share**2

    genome, archives = evolve(2, 6, 8, True, 3, losses_of)
    assert made[:2] == [ONE, TWO]
    assert [child.mutations[-1].task for child in made[2:4]] == [0, 1]
    newest = [max(child.mutations, key=lambda each: each.number) for child in made[2:]]
    assert [(each.task, each.number, each.weight) for each in newest] == [(n % 2, n, 1.0) for n in range(6)]
    assert made[2].experts == (pytest.approx(0.5, abs=0.02), pytest.approx(0.5, abs=0.02))
    assert made[2].experts != (0.5, 0.5)
    assert sum(made[5].experts) == pytest.approx(1.0)
    best = [archives.best(task) for task in (0, 1)]
    weights = [math.exp(math.exp(-elite.losses[task])) for task, elite in enumerate(best)]
    assert genome == Genome.mean([elite.genome for elite in best], weights)
    plain, _ = evolve(2, 6, 8, False, 3, lambda number, genome: losses_of(len(made), genome))
    assert plain.mutations == ()


def test_a_stopped_evolution_goes_on_and_makes_the_same_model(
    bench: Any, rows: list[dict[str, Any]], stopped: Any, tmp_path: Path
) -> None:
    tensors = load_file(bench.path / "model.safetensors")
    for number, name in enumerate(("code", "math")):
        generator = torch.Generator().manual_seed(number)
        shutil.copytree(bench.path, tmp_path / name)
        changed = {
            key: tensor + 0.1 * torch.randn(tensor.shape, generator=generator) if "proj" in key else tensor
            for key, tensor in tensors.items()
        }
        save_file(changed, tmp_path / name / "model.safetensors", metadata={"format": "pt"})
    names = pa.DictionaryArray.from_arrays(pa.array([0] * 6 + [1] * 6, pa.int32()), pa.array(["a", "b"]))
    table = pa.Table.from_pylist(rows[:12]).append_column(INPUT, names)
    step = CycleQD(model="base", students=("code", "math"), dtype="fp32", generations=3, cells=4)
    bench.stop_at = 3
    with pytest.raises(stopped):
        step.fit(table, bench)
    bench.stop_at = None
    made = step.fit(table, bench)
    digest = load_file(made.adapter / "model.safetensors")
    bench.workdir = tmp_path / "again"
    bench.workdir.mkdir()
    again = step.fit(table, bench)
    assert again.metrics == made.metrics
    for name, tensor in load_file(again.adapter / "model.safetensors").items():
        assert torch.equal(tensor, digest[name])
    assert sum(made.metrics["merged"].values()) == pytest.approx(1.0)
    assert made.metrics["experts"]["code"] != made.metrics["experts"]["math"]
    assert len(made.metrics["held_out_losses"]) == 2
    measured = [(done, total) for done, total, figures in bench.reports if "held_out_loss" in figures]
    assert measured[-6:] == [(done, 6) for done in range(1, 7)]  # two experts, three children, the merged one
    # What was measured is read, and not measured again.
    (kept,) = bench.workdir.rglob("losses.json")
    found = json.loads(kept.read_text())
    kept.write_text(json.dumps({**found, "0": [loss + 1 for loss in found["0"]]}))
    read = step.fit(table, bench).metrics["experts"]["code"]
    assert read == [loss + 1 for loss in made.metrics["experts"]["code"]]
    assert {file.name for file in bench.workdir.glob("*.arrow")} == {"held-out-0.arrow", "held-out-1.arrow"}
    assert not (bench.workdir / "tried").exists()


@pytest.mark.parametrize(
    ("number", "told"),
    [
        (1, "the expert 'math' has"),
        (3, "generation 2 has .*: lower mutation, which is 0.5"),
        (5, "the last model"),
    ],
)
def test_losses_that_are_not_finite_are_one_error(number: int, told: str) -> None:
    step = CycleQD(model="base", students=("code", "math"), generations=3, mutation=0.5)
    step._check_finite(number, [1.0, 2.0])
    for lost in (math.nan, math.inf):
        with pytest.raises(ModelError, match=told):
            step._check_finite(number, [1.0, lost])


@pytest.mark.parametrize("more", [{"mix": (1.0, 2.0)}, {"mix_until": "all_exhausted"}, {"mutation": 1.5}])
def test_what_a_merge_does_not_use_is_refused(more: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(more))):
        CycleQD(model="base", students=("code", "math"), **more)


def test_a_file_names_it_with_an_expert_for_each_task() -> None:
    assert registry.find("merge", "cycle_qd") is CycleQD
    step = CycleQD(model="base", students=("code", "math"))
    step.check_inputs(["a", "b"])
    for names in (["a"], ["a", "b", "c"]):
        with pytest.raises(DataError, match="give one expert for each task"):
            step.check_inputs(names)
