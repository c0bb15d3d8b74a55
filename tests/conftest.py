"""What tests share: a context in which an operator can be tried on its own, and tiny random models."""

from __future__ import annotations

import asyncio
import gc
import hashlib
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType
from typing import Any

import pyarrow as pa
import pytest
import setuptools  # noqa: F401 (it replaces distutils, and cannot once that was imported)
from hypothesis import settings

from gristmill.contracts.asking import ask
from gristmill.contracts.errors import EngineError
from gristmill.contracts.inference import (
    Completion,
    Embedder,
    Engine,
    ModelWeights,
    Request,
    StoredEmbedder,
)

from .endpoint import Reply, Say, Server, Teacher

# Machines are noisy: a time limit on an example fails for the wrong reason.
settings.register_profile("gristmill", deadline=None, max_examples=50)
settings.load_profile("gristmill")


class InterpretTriton(MetaPathFinder):
    """Without a GPU Triton's kernels run through its interpreter, which is decided once a process, when
    Triton is first imported: so whoever imports it first in these tests, it is asked for then. Child
    processes do not inherit the setting.
    """

    def find_spec(self, name: str, path: Any = None, target: ModuleType | None = None) -> ModuleSpec | None:
        if name != "triton":
            return None
        # Torch only asks whether Triton is there, while it is imported itself: so nothing is decided before
        # Triton runs.
        found = PathFinder.find_spec(name)
        if found is None or found.loader is None:
            return found
        run = found.loader.exec_module

        def interpreted(module: ModuleType) -> None:
            sys.meta_path.remove(self)
            if _has_gpu():
                run(module)
                return
            os.environ["TRITON_INTERPRET"] = "1"
            try:
                run(module)
                module.knobs.runtime.interpret = True
            finally:
                del os.environ["TRITON_INTERPRET"]

        found.loader.exec_module = interpreted  # type: ignore[method-assign]
        return found


def _has_gpu() -> bool:
    import torch

    return torch.cuda.is_available()


sys.meta_path.insert(0, InterpretTriton())


@pytest.fixture(scope="session")
def cpu_seconds() -> Callable[[Callable[[], object]], float]:
    """What a call takes, for tests that its cost has a bound: the lowest of three times of this thread's CPU,
    with garbage collection paused, since a full collection of this process's heap takes longer than most
    calls.
    """

    def measure(call: Callable[[], object]) -> float:
        times = []
        gc.disable()
        try:
            for _ in range(3):
                started = time.thread_time()
                call()
                times.append(time.thread_time() - started)
        finally:
            gc.enable()
        return min(times)

    return measure


#: Folders and files of tests that compute on one core, start nothing and look at no clock.
LIGHT = (
    "datagen/constraints", "datagen/sources/test_constraint_tasks.py", "datagen/verify/test_constraints.py",
    "datagen/evaluate", "datagen/mutation", "datagen/parsers", "docs", "filters",
    "kernels", "mutants", "pipelines/plan", "pipelines/reference", "pipelines/report", "pipelines/sinks",
    "pipelines/sources", "pipelines/file", "pipelines/view",
)  # fmt: skip


#: Files of tests that compare times or have tight limits of time: nothing runs beside them.
ALONE = (
    "datagen/sandbox/test_bubblewrap.py", "datagen/sandbox/test_cgroups.py",
    "datagen/sandbox/test_controls.py", "datagen/sandbox/test_escape.py",
    "datagen/sandbox/test_failures.py", "datagen/sandbox/test_following.py", "datagen/sandbox/test_pool.py",
    "datagen/sandbox/test_syscalls.py", "datagen/sandbox/test_unsafe.py", "pipelines/cli/test_startup.py",
    "pipelines/engines/test_openai.py", "pipelines/run/test_occupancy.py", "trainer/forecast/test_speed.py",
)  # fmt: skip


#: Folders and files of tests that share engines or a cluster: one process runs them, one after the other.
TOGETHER = {
    "engines": ("tests/pipelines/engines/",),
    "ray": (
        "tests/pipelines/run/test_kill.py", "tests/pipelines/run/test_planted_secrets.py",
        "tests/pipelines/run/test_ray.py", "tests/pipelines/run/training/test_on_ray.py",
        "tests/pipelines/run/whole_table/test_on_ray.py",
    ),
}  # fmt: skip


HERE = Path(__file__).parent


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """With ``-m alone`` read only the files of ``ALONE``, and with ``-m "not alone"`` none of them: to import
    every test takes most of a minute.
    """
    chosen = config.getoption("markexpr")
    files = {HERE / each for each in ALONE}
    if chosen == "alone" and not any(file.is_relative_to(collection_path) for file in files):
        return True
    return True if chosen == "not alone" and collection_path in files else None


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Number bytes in the ids of tests: the bytes themselves, as of a gzip header with its time, may differ
    between the two processes, which then refuse to share the tests.
    """
    return argname if isinstance(val, bytes) else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what is light, and what ``make test`` runs alone."""
    for item in items:
        place = item.path.relative_to(HERE).as_posix()
        heavy = any(item.get_closest_marker(name) for name in ("engine", "ray", "gpu", "browser"))
        if place.startswith(LIGHT) and not heavy:
            item.add_marker("light")
        if place in ALONE:
            item.add_marker("alone")


def pytest_collection_finish() -> None:
    """Exempt what collection left, some 800,000 objects, from garbage collection. A run collects garbage each
    time that it frees a model, which takes a second if it visits all of them.
    """
    gc.collect()
    gc.freeze()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """With ``--dist loadfile``, give a process all of ``TOGETHER`` as if it were one file."""
    from xdist.scheduler import LoadFileScheduling

    class Together(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file: str = super()._split_scope(nodeid)
            return next((name for name, places in TOGETHER.items() if file.startswith(places)), file)

    return Together(config, log) if config.getvalue("dist") == "loadfile" else None


@dataclass
class Bench:
    """A Context around one operator: its engines, weights and tables are what the test puts there."""

    workdir: Path
    step: str = "step"
    seed: int = 17
    engines: dict[str, Engine] = field(default_factory=dict)
    models: dict[str, ModelWeights] = field(default_factory=dict)
    embedders: dict[str | None, Embedder] = field(default_factory=dict)
    tables: dict[str, pa.Table] = field(default_factory=dict)
    known: dict[str, Mapping[str, dict[str, Any]]] = field(default_factory=dict)
    reports: list[tuple[float, float, str]] = field(default_factory=list)

    def engine(self, model: str) -> Engine:
        return self.engines[model]

    def ask(self, model: str, requests: Sequence[Request]) -> list[Completion | EngineError]:
        return asyncio.run(ask(self.engine(model), requests))

    def weights(self, model: str) -> ModelWeights:
        return self.models[model]

    def embedder(self, model: str | None) -> StoredEmbedder:
        from gristmill.pipelines.run.stored_embedder import KeptVectors
        from gristmill.pipelines.store.vectors import VectorStore

        return KeptVectors(VectorStore(self.workdir, model or "default"), lambda: self.embedders[model])

    def table(self, step: str) -> pa.Table:
        return self.tables[step]

    def measured(self, model: str) -> Mapping[str, dict[str, Any]] | None:
        return self.known.get(model)

    def progress(self, done: float, total: float, unit: str, **figures: float) -> None:
        self.reports.append((done, total, unit))

    def check(self) -> None:
        return None


@pytest.fixture
def context(tmp_path: Path) -> Bench:
    return Bench(workdir=tmp_path / "work")


TEMPLATE = (
    "{% for message in messages %}<|start|>{{ message['role'] }}\n{{ message['content'] "
    "}}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|start|>assistant\n{% endif %}"
)
SHAPE = {
    "vocab_size": 300,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
    "bos_token_id": None,
    "eos_token_id": 1,
}

MakeModel = Callable[..., Path]


def _save_tokenizer(
    path: Path,
    template: str | None = TEMPLATE,
    end: str = "<|end|>",
    more: Sequence[str] = (),
    begin: str | None = None,
) -> None:
    """A byte-level tokenizer of 258 tokens, without merges: every text can be encoded.

    ``more``: further special tokens. ``begin``: the one that begins a text.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {"<|start|>": 0, "<|end|>": 1, **{letter: place + 2 for place, letter in enumerate(letters)}}
    tokenizer = Tokenizer(models.BPE(vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token=end,
        pad_token=end,
        additional_special_tokens=["<|start|>", "<|end|>", *more],
        **({} if begin is None else {"bos_token": begin}),
    )
    fast.chat_template = template
    fast.save_pretrained(path)


@pytest.fixture
def save_tokenizer() -> Callable[..., None]:
    """A function that saves the tests' tokenizer with another template or end token."""
    return _save_tokenizer


@pytest.fixture(scope="session")
def saved_models(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """A function that saves a random model once, answers its directory, and leaves torch's random numbers as
    they are after its weights were drawn.
    """
    states: dict[str, Any] = {}
    folder = tmp_path_factory.mktemp("models")

    def save(family: str, shards: str, seed: int, changes: dict[str, Any]) -> Path:
        import torch
        from transformers import AutoConfig, AutoModelForCausalLM

        key = hashlib.sha256(repr((family, shards, seed, sorted(changes.items()))).encode()).hexdigest()
        path = folder / key
        torch.manual_seed(seed)
        if key in states:
            torch.set_rng_state(states[key])
            return path
        config = AutoConfig.for_model(family, **{**SHAPE, **changes})
        model = AutoModelForCausalLM.from_config(config)
        for parameter in model.parameters():  # norms and biases too, so that leaving one out shows
            torch.nn.init.normal_(parameter, std=0.15 if parameter.dim() > 1 else 1.0)
        model.save_pretrained(path, max_shard_size=shards)
        _save_tokenizer(path)
        states[key] = torch.get_rng_state()
        return path

    return save


@pytest.fixture
def make_model(tmp_path: Path, saved_models: Callable[..., Path]) -> MakeModel:
    """A function that saves a random model of a family and answers its directory, which is the test's own."""

    def make(
        family: str = "llama", name: str = "model", shards: str = "5GB", seed: int = 0, **changes: Any
    ) -> Path:
        path = tmp_path / name
        saved = saved_models(family, shards, seed, changes)
        shutil.copytree(saved, path, copy_function=shutil.copyfile, dirs_exist_ok=True)
        return path

    return make


Listen = Callable[[Callable[[int, dict[str, Any]], Reply]], Server]


@pytest.fixture
def listen() -> Iterator[Listen]:
    """Start a server that replies to each post, of a number and JSON, as a function says."""
    servers: list[Server] = []

    def start(reply: Callable[[int, dict[str, Any]], Reply]) -> Server:
        servers.append(Server(reply))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


@pytest.fixture
def teach(listen: Listen) -> Callable[..., Teacher]:
    """Start a teacher, behind a real HTTP server that speaks the OpenAI API, that answers as a function of
    the prompt (the last turn) and the request's seed says, or with ``talk=True`` of all the messages.
    """

    def start(say: Say, talk: bool = False) -> Teacher:
        teacher = Teacher(say, talk)
        teacher.url = listen(teacher.reply).url
        return teacher

    return start
