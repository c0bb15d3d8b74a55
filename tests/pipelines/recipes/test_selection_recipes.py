"""The recipes that choose rows towards a target task or by clusters, run with the real embedder. Where a
recipe asks the model to be trained, its likelihoods are scripted.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gristmill
from gristmill.contracts.inference import ModelWeights
from gristmill.pipelines.api import Run
from gristmill.pipelines.engines.sentence_embedder import load
from gristmill.pipelines.report.embedding_map import embedding_map
from gristmill.pipelines.report.gather import gather
from gristmill.pipelines.view.silent import SilentView

MATH = ["What is the sum of 3 and 4?", "What is the sum of 9 and 20?", "What is the product of 3 and 5?"]
TRAVEL = ["Plan a weekend in Lisbon.", "Which museums of Paris are worth a visit?", "Where do I eat in Rome?"]
TARGET = ["What is the sum of 12 and 30?", "What is the product of 6 and 7?"]


@pytest.fixture
def choose(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Run]:
    """Runs a recipe on files of rows. ``others``: more settings, such as a scripted step."""
    monkeypatch.chdir(tmp_path)

    def run(
        name: str,
        variables: dict[str, Any],
        *others: str,
        until: str | None = None,
        **files: list[dict[str, Any]],
    ) -> Run:
        for key, rows in files.items():
            Path(f"{key}.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
        overrides = [*others, *(f"vars.{key}={key}.jsonl" for key in files)]
        overrides += [f"vars.{key}={json.dumps(value)}" for key, value in variables.items()]
        return gristmill.run(
            name, tmp_path / "run", overrides=overrides, until=until, observer=SilentView(sys.stderr)
        )

    return run


def prompts(texts: list[str]) -> list[dict[str, Any]]:
    return [{"prompt": text, "kind": "math" if "What is" in text else "travel"} for text in texts]


@pytest.mark.parametrize("name", ["zip_fit", "got_d"])
def test_the_rows_of_the_targets_kind_are_chosen_with_both_baselines(
    choose: Callable[..., Run], name: str
) -> None:
    pool = [text for pair in zip(TRAVEL, MATH) for text in pair]
    run = choose(name, {"columns": ["prompt"], "rows": 3}, pool=prompts(pool), target=prompts(TARGET))
    assert sorted(run["chosen"].to_arrow()["prompt"].to_pylist()) == sorted(MATH)
    assert run["chosen"].to_arrow()["kind"].to_pylist() == ["math"] * 3
    longest = sorted(pool, key=lambda text: -len(text))[:3]
    assert sorted(run["longest"].to_arrow()["prompt"].to_pylist()) == sorted(longest)
    assert len(run["random"].to_arrow()) == 3
    # The report's map reads the vectors that the packaged embedder made.
    found = embedding_map(gather(run.directory).rounds[0])
    assert (None if found is None else found.rows) == (6 if name == "got_d" else None)


def test_cornstack_drops_exchanged_documents_and_mines_negatives(choose: Callable[..., Run]) -> None:
    pairs = {
        "Return the sum of a list of numbers.": "def total(numbers):\n    return sum(numbers)",
        "Read a text file and return its lines.": "def lines(path):\n    return open(path).readlines()",
        "Sort people by age.": "def by_age(people):\n    return sorted(people, key=lambda p: p.age)",
        "Compute the factorial of n.": "def fetch(url):\n    return requests.get(url).json()",
        "Download JSON from a web address.": "def factorial(n):\n    return math.prod(range(1, n + 1))",
    }
    rows = [{"prompt": query, "response": code} for query, code in pairs.items()]
    run = choose("cornstack", {"nearest": 1, "min_similarity": 0, "negatives": 2}, pairs=rows)
    kept = run["consistent"].to_arrow().to_pylist()
    assert [row["prompt"] for row in kept] == list(pairs)[:3]
    for row in kept:
        assert len(row["negatives"]) == 2
        assert row["response"] not in row["negatives"]


def column(run: Run, step: str, name: str = "prompt") -> list[Any]:
    values: list[Any] = run[step].to_arrow()[name].to_pylist()
    return values


def in_turns(pool: np.ndarray, target: np.ndarray, rows: int) -> list[int]:
    """The rows of the pool that the rows of the target take in turns, each its closest one that is left."""
    taken: list[int] = []
    while len(taken) < rows:
        for row in target:
            if len(taken) < rows:
                left = [place for place in range(len(pool)) if place not in taken]
                taken.append(left[int(np.argmax(pool[left] @ row))])
    return taken


def test_rds_plus_takes_what_is_closest_in_hidden_states_pooled_by_position(
    choose: Callable[..., Run], make_model: Callable[..., Path]
) -> None:
    words = ["mill", "flour", "grain", "bran", "stone", "water", "wheel", "sack", "meal", "oat", "rye", "hop"]
    texts = [f"{a} {b} {words[(i * j) % 12]}" for i, a in enumerate(words) for j, b in enumerate(words)]
    pool, target = texts[::3], texts[1::36]
    path = make_model()
    run = choose(
        "rds_plus", {"columns": ["prompt"], "rows": 10}, f"models.rds.path={path}",
        pool=prompts(pool), target=prompts(target),
    )  # fmt: skip

    def expected(pooling: str) -> set[str]:
        model = load(ModelWeights("lm", path, "digest"), pooling=pooling)
        return {pool[row] for row in in_turns(model.encode(pool), model.encode(target), 10)}

    chosen = set(column(run, "chosen"))
    assert chosen == expected("position_weighted")
    assert chosen != expected("mean")
    assert len(column(run, "random")) == len(column(run, "longest")) == 10


def test_deft_takes_the_easiest_and_the_hardest_rows_of_each_cluster(choose: Callable[..., Run]) -> None:
    more = [f"What is the sum of {n} and {n * 7}?" for n in range(2, 7)]
    run = choose(
        "deft", {"columns": ["prompt"], "clusters": 2, "easy": 2, "hard": 2, "rows": 7},
        pool=prompts(MATH + more + TRAVEL),
    )  # fmt: skip
    clusters: dict[int, list[tuple[float, str]]] = {}
    for row in run["clustered"].to_arrow().to_pylist():
        clusters.setdefault(row["cluster"], []).append((row["cluster_cosine"], row["prompt"]))
    assert sorted(map(len, clusters.values())) == [3, 8]
    expected: set[str] = set()
    for own in clusters.values():
        ordered = [text for _, text in sorted(own)]
        expected |= {*ordered[:2], *ordered[-2:]}
    # The middle row of the small cluster is both easy and hard.
    assert Counter(column(run, "chosen")) == Counter(expected)
    assert len(expected) == 7
    assert len(column(run, "random")) == len(column(run, "longest")) == 7


def test_cdas_takes_the_most_complex_rows_of_each_cluster_that_do_not_mislead(
    choose: Callable[..., Run],
) -> None:
    # Every request of travel is less complex than those of mathematics; one request of each misleads.
    difficulty = dict(zip(MATH + TRAVEL, [0.7, 0.8, 1.2, 0.3, 1.5, 0.4]))
    rows = [{"prompt": text, "response": "a", "difficulty": value} for text, value in difficulty.items()]
    scored = {"compute": {"ifd": "difficulty"}, "from": "pool"}
    run = choose("cdas", {"clusters": 2, "rows": 2}, f"steps.scored={json.dumps(scored)}", pool=rows)
    assert sorted(column(run, "chosen", "difficulty")) == [0.4, 0.8]
    assert len(column(run, "random")) == len(column(run, "longest")) == 2


def test_diversify_and_conquer_draws_from_the_clusters_that_the_student_learned_from(
    choose: Callable[..., Run],
) -> None:
    cities = ["Lisbon", "Paris", "Rome", "Vienna", "Oslo", "Prague", "Athens", "Dublin", "Madrid", "Berlin"]
    gains = {
        **{f"What is the sum of {n} and {n * 7}?": 2.0 for n in range(30)},
        **{f"Plan a weekend in {city} {when}.": 0.25 for city in cities for when in ("in May", "by train")},
        **{f"xq {chr(97 + n)}zk vv{n} qqj": -0.5 for n in range(10)},
    }
    rows = [{"prompt": text, "response": "", "gained": gain} for text, gain in gains.items()]
    measured = {"compute": {"mean_logprob": "-3.0"}, "from": "clustered"}
    likely = {"compute": {"mean_logprob": "before + gained"}, "from": "before"}
    run = choose(
        "diversify_and_conquer", {"clusters": 3, "each": 2, "rows": 24, "turns": 2},
        f"steps.measured={json.dumps(measured)}", f"steps.turns.steps.likely={json.dumps(likely)}",
        until="chosen_2", pool=rows,
    )  # fmt: skip
    assert Counter(column(run, "chosen_1", "gained")) == {2.0: 2, 0.25: 2, -0.5: 2}
    assert "weight" not in run["chosen_1"].to_arrow().column_names, "training would weigh the loss by it"
    shares = {row["prompt"]: row["share"] for row in run["weighed_1"].to_arrow().to_pylist()}
    expected = {2.0: 2 / 30, 0.25: 0.25 / 20, -0.5: 0.001 / 10}
    first = set(column(run, "chosen_1"))
    others = {text: gain for text, gain in gains.items() if text not in first}
    assert shares == pytest.approx({text: expected[gain] for text, gain in others.items()})
    second = Counter(column(run, "chosen_2", "gained"))
    assert second[2.0] > 2 * second[0.25] > 0
    assert second[-0.5] == 0
    assert not first & set(column(run, "chosen_2"))
