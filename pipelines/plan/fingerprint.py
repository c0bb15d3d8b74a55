"""Fingerprints: a hash over everything that determines a step's rows, and nothing else.

The canonical request of a step is a JSON object: the operator and its version, its parameters, the
digests of files, templates and functions they name, the weights, engines and options of its
models, its seed if it uses one, and the fingerprints of its input steps. Options that only
affect the speed (the executor, the number of requests in flight) are not part of it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from hashlib import sha256

from ...contracts.inference import derive_seed
from ...contracts.operators import Map, Operator
from ...contracts.training import Train
from .nodes import PlannedModel

#: Options that change an engine's speed or how it is reached, but never its answers.
PACE_OPTIONS = frozenset(
    {
        "also",
        "attempts",
        "batch",
        "batch_size",
        "concurrency",
        "draft",
        "gpu_memory_utilization",
        "key_env",
        "latency",
        "max_lora_rank",
        "max_num_seqs",
        "mode",
        "patience",
        "poll",
        "price",
        "replicas",
        "request_log",
        "resident",
        "supports",
        "tensor_parallel_size",
        "timeout",
        "tokenizer",
        "url",
    }
)


def fingerprint_of(request: Mapping[str, object]) -> str:
    """The hash (64 hex digits) of a canonical request."""
    return sha256(canonical(request).encode()).hexdigest()


def canonical(value: object) -> str:
    """JSON with sorted keys and no spaces, so that equal values give equal text."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)


def draws(operator: Operator) -> bool:
    """Does the operator's output depend on its seed? If not, a new seed does not run it again."""
    asks = isinstance(operator, Map) and any(kind == "model" for _, kind, _ in operator.references())
    return operator.seeded or asks or isinstance(operator, Train)


def step_seed(operator_seed: int | None, seed: int, round_number: int, step: str) -> int:
    """The seed of a step: its own ``seed`` in every round, or else a new one for each round."""
    return operator_seed if operator_seed is not None else derive_seed(seed, round_number, step)


def parameters(operator: Operator) -> dict[str, object]:
    """The parameters that determine the rows, without the names of models and steps.

    The content of those is hashed instead.
    """
    names = {field for field, _ in type(operator).reference_fields()}
    return operator.model_dump(mode="json", exclude=names | operator.pace)


def model_request(model: PlannedModel, operator: Operator) -> dict[str, object]:
    """The parts of a model that a step depends on: the weights and, for requests, also the engine."""
    if isinstance(operator, Train):
        return {"digest": model.digest}
    return {"digest": model.digest, "engine": model.engine, "options": engine_options(model)}


def vectors_of(model: PlannedModel) -> str:
    """Identifies what determines the vectors of an embedding model: 24 hex digits."""
    return vectors_named({"digest": model.digest, "options": engine_options(model)})


def vectors_named(asked: Mapping[str, object]) -> str:
    """:func:`vectors_of` the model in a step's request."""
    from ..engines.embedder import VECTORS

    return fingerprint_of({"digest": asked["digest"], "options": asked["options"], "version": VECTORS})[:24]


def engine_options(model: PlannedModel) -> dict[str, object]:
    """The options that affect answers, with defaults filled in, so that writing a default changes nothing."""
    given = _filled(model.engine, canonical(dict(model.options)))
    return {name: value for name, value in given.items() if name not in PACE_OPTIONS}


@cache
def _filled(engine: str, options: str) -> dict[str, object]:
    from ..file.models_section import options_model

    return options_model(engine).model_validate(json.loads(options)).model_dump(mode="json")
