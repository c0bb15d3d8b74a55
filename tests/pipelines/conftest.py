"""A finished run of two rounds, written by the same functions that a real run uses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from gristmill.contracts.inference import Usage
from gristmill.contracts.outcomes import Failed, Kept, Outcome, TableResult
from gristmill.datagen.evaluate.paired_bootstrap import paired_bootstrap
from gristmill.filters.expressions.condition import evaluate_expression
from gristmill.pipelines.run.outcomes import from_outcomes, from_source, kept_rows
from gristmill.pipelines.run.verdicts import from_table_result
from gristmill.pipelines.store.products import Product, products_in
from gristmill.pipelines.store.run_directory import RunDirectory
from gristmill.pipelines.store.tables import write_sealed

#: Text that a model may write and that a page must not execute.
HOSTILE = "</script><script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">"
TOPICS = ("tides", "bread", "glass", "bridges", "bees", "chess")
EXPRESSION = "passed AND self_certainty > quantile(0.2)"


class RunBuilder:
    """Writes the steps of rounds into a run directory, in two parts each.

    ``more``: appended to every prompt.
    """

    def __init__(self, path: Path, more: str = "") -> None:
        self.more = more
        self.run = RunDirectory.create(path, name="verified-instructions")
        self.steps: dict[str, dict[str, Any]] = {}
        self.tables: dict[str, pa.Table] = {}
        self.random = np.random.default_rng(7)

    def fingerprint(self, name: str, round_number: int) -> str:
        return sha256(f"{name} {round_number}".encode()).hexdigest()

    def add(
        self,
        name: str,
        operator: str,
        outcomes: pa.Table,
        *,
        fingerprint: str,
        inputs: Sequence[str] = (),
        rows_in: int,
        params: Mapping[str, Any] | None = None,
        models: Mapping[str, str] | None = None,
        usage: Usage | None = None,
        seconds: float = 1.0,
        summary: Mapping[str, Any] | None = None,
    ) -> None:
        store = self.run.begin_step(name, fingerprint)
        if not store.complete:
            half = outcomes.num_rows // 2
            for start, piece in ((0, outcomes.slice(0, half)), (half, outcomes.slice(half))):
                part_rows = rows_in // 2 if start == 0 else rows_in - rows_in // 2
                store.commit(
                    piece,
                    start=start,
                    stop=start + piece.num_rows,
                    basis="b",
                    rows_in=part_rows,
                    usage=usage if start and usage else Usage(),
                )
            store.finish(operator=operator, one_to_one=False, seconds=seconds, summary=dict(summary or {}))
        self.steps[name] = {
            "fingerprint": fingerprint,
            "request": {
                "operator": operator,
                "version": 1,
                "params": dict(params or {}),
                "content": {"template": "b" * 64} if operator.startswith("generate") else {},
                "models": {"model": [{"digest": digest} for digest in (models or {}).values()]},
                "seed": 17,
                "inputs": [self.steps[each]["fingerprint"] for each in inputs],
                "reads": {},
            },
            "from": list(inputs),
            "models": {"model": list(models or {})},
            "reads": {},
        }
        self.tables[name] = kept_rows(outcomes)

    def source(self, name: str, rows: list[dict[str, Any]]) -> None:
        fingerprint = self.fingerprint(name, 0)
        table = from_source(pa.Table.from_pylist(rows), fingerprint, 0)
        self.add(name, "source: constraints", table, fingerprint=fingerprint, rows_in=len(rows))

    def round(self, number: int) -> None:
        self.steps, self.tables = {}, {}
        self.source(
            "seeds", [{"prompt": f"Write about {TOPICS[i % 6]}, item {i}.{self.more}"} for i in range(60)]
        )
        self.source("evals", [{"prompt": f"Held-out task {i}."} for i in range(100)])
        self.answers(number)
        self.scored(number)
        self.kept(number)
        self.unique(number)
        self.student(number)
        summary = self.verdict(number)
        self.run.write_plan(
            number,
            {
                "round": number,
                "steps": self.steps,
                "models": {
                    "base": {
                        "engine": "vllm",
                        "path": "smollm2-135m-instruct",
                        "digest": "d" * 64,
                        "adapter": None if number == 1 else "steps/student/model",
                    }
                },
                "versions": {"gristmill": "0.1.0", "torch": "2.13.0"},
            },
        )
        self.run.write_result(
            number,
            {
                "round": number,
                "promoted": number == 1,
                "decision": "promoted" if number == 1 else "abstained",
                "when": "verdict.gain.ci_low > 0",
                "metrics": {"verdict": summary},
                "carry": {},
            },
        )

    def answers(self, number: int) -> None:
        fingerprint = self.fingerprint("answers", number)
        seeds = self.tables["seeds"]
        rows = seeds.to_pylist()
        outcomes: list[list[Outcome]] = []
        for index, row in enumerate(rows):
            answers: list[Outcome] = []
            for sample in range(4):
                text = f"Round {number}, sample {sample}: {row['prompt']} " + "word " * int(
                    self.random.integers(5, 60)
                )
                if index == 0 and sample == 0:
                    text = HOSTILE
                tokens = len(text.split())
                answers.append(
                    Kept({"response": text, "sample": sample, "finish": "stop", "completion_tokens": tokens})
                )
            if index == 5:
                answers[2] = Failed("the engine died three times", retryable=True)
            outcomes.append(answers)
        table = from_outcomes(seeds, rows, outcomes, fingerprint=fingerprint, makes_rows=True, types={})
        usage = Usage(requests=240, prompt_tokens=7_200, completion_tokens=12_345)
        self.add(
            "answers",
            "generate: respond",
            table,
            fingerprint=fingerprint,
            inputs=["seeds"],
            rows_in=60,
            usage=usage,
            seconds=20.0,
            models={"base": "model"},
            params={"samples": 4, "temperature": 0.8},
        )

    def scored(self, number: int) -> None:
        rows = self.tables["answers"]
        count = rows.num_rows
        certainty = self.random.normal(8.0 + number, 1.5, count)
        passed = self.random.random(count) < 0.7
        passed[rows["response"].to_pylist().index(HOSTILE)] = False
        columns = {"passed": pa.array(passed), "self_certainty": pa.array(certainty)}
        table = from_table_result(rows, TableResult(columns=columns))
        self.add(
            "scored",
            "score",
            table,
            fingerprint=self.fingerprint("scored", number),
            inputs=["answers"],
            rows_in=count,
        )

    def kept(self, number: int) -> None:
        rows = self.tables["scored"]
        decision = evaluate_expression(rows, EXPRESSION)
        verdicts = TableResult(kept=decision.mask, rule=[rule or "" for rule in decision.rules])
        self.add(
            "kept",
            "keep",
            from_table_result(rows, verdicts),
            fingerprint=self.fingerprint("kept", number),
            inputs=["scored"],
            rows_in=rows.num_rows,
            params={"keep": EXPRESSION},
            summary=decision.summary,
        )

    def unique(self, number: int) -> None:
        rows = self.tables["kept"]
        count = rows.num_rows
        cluster = np.array([TOPICS.index(p.split()[2].strip(",")) for p in rows["prompt"].to_pylist()])
        centres = np.random.default_rng(1).normal(size=(6, 16))
        vectors = centres[cluster] + self.random.normal(scale=0.4, size=(count, 16))
        vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
        kept = np.ones(count, bool)
        kept[10::9] = False
        ids = rows["_id"].to_pylist()
        duplicate_of = [None if good else ids[0] for good in kept]
        columns = {"embedding": pa.array(list(vectors)), "cluster": pa.array(cluster)}
        verdicts = TableResult(
            kept=kept, rule="semantic", score=np.full(count, 0.95), duplicate_of=duplicate_of, columns=columns
        )
        self.add(
            "unique",
            "dedup: semantic",
            from_table_result(rows, verdicts),
            fingerprint=self.fingerprint("unique", number),
            inputs=["kept"],
            rows_in=count,
        )

    def student(self, number: int) -> None:
        rows = self.tables["unique"]
        ids = rows["_id"].to_pylist()
        fingerprint = self.fingerprint("student", number)
        table = from_table_result(rows.select(["_id", "_parents"]), TableResult())
        self.add(
            "student",
            "train: sft",
            table,
            fingerprint=fingerprint,
            inputs=["unique"],
            rows_in=len(ids),
            models={"base": "model"},
            seconds=42.0,
            summary={"final_loss": 1.2, "held_out_loss": 0.875},
        )
        store = self.run.step("student", fingerprint)
        (store.model).mkdir(exist_ok=True)
        (store.model / "adapter_config.json").write_text("{}")
        batches = [ids[start : start + 8] for start in range(0, len(ids), 8)]
        steps = np.arange(1, len(batches) + 1)
        history = {
            "step": steps,
            "loss": 2.0 / np.sqrt(steps) + 0.5,
            "lr": np.linspace(2e-4, 0, len(steps)),
            "tokens": np.full(len(steps), 512),
            "seconds": np.full(len(steps), 0.5),
            "rows": batches,
            "row_loss": [[1.0 + position / 8 for position in range(len(batch))] for batch in batches],
            "held_out_loss": [None if index % 2 else 2.5 for index in range(len(batches))],
        }
        write_sealed(store.history, pa.table(history), {})
        products = [*products_in(store.model, self.run.path), Product.of(store.history, self.run.path)]
        summary = {"final_loss": 1.2, "held_out_loss": 0.875}
        store.finish(
            operator="train: sft", one_to_one=False, seconds=42.0, summary=summary, products=products
        )

    def verdict(self, number: int) -> dict[str, Any]:
        tasks = self.tables["evals"]
        before = (self.random.random(tasks.num_rows) < 0.3).astype(float)
        after = np.maximum(before, (self.random.random(tasks.num_rows) < (0.25 if number == 1 else 0.0)))
        gain = paired_bootstrap(after, before, seed=1)
        summary = {
            "n": tasks.num_rows,
            "model": {"strict": float(after.mean())},
            "against": {"strict": float(before.mean())},
            "gain": {"metric": "strict", **gain.figures()},
            "decision": "better" if gain.ci_low > 0 else "abstain",
        }
        columns = {"strict": pa.array(after), "against_strict": pa.array(before)}
        self.add(
            "verdict",
            "evaluate: constraints",
            from_table_result(tasks, TableResult(columns=columns)),
            fingerprint=self.fingerprint("verdict", number),
            inputs=["evals"],
            rows_in=tasks.num_rows,
            models={"student": "train", "base": "model"},
            summary=summary,
            usage=Usage(requests=200, prompt_tokens=4_000, completion_tokens=9_000),
        )
        return summary


#: Text that a terminal must not interpret, and rich not read as markup.
ORDERS = " \x1b[31mOWNED\x1b]52;c;T1dO\x07\x9b2J\u202e\rOVER [blink]MARK[/blink] [/] \\"


@pytest.fixture(scope="session")
def built_run(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    """Two rounds: seeds and tasks are shared, all else is made again; promoted, then abstained."""
    return build_run(tmp_path_factory.mktemp("runs") / "finished")


@pytest.fixture(scope="session")
def hostile_run(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    """The same run, with prompts that contain control sequences."""
    return build_run(tmp_path_factory.mktemp("runs") / "hostile", ORDERS)


def build_run(path: Path, more: str = "") -> RunDirectory:
    builder = RunBuilder(path, more)
    builder.run.write_spec("gristmill: 1\nname: verified-instructions\nbudget: {tokens: 400000, time: 900}\n")
    for number in (1, 2):
        builder.round(number)
    builder.run.write_seconds(130.0)
    return builder.run
