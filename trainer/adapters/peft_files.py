"""Adapters in PEFT's layout: writing, reading and verification."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ...contracts.durable import replace_directory
from ...contracts.errors import ModelError
from ...contracts.peft_settings import check_original_base
from ...contracts.unmerged import unmerged_settings
from ...kernels.head import head_logits
from ..model.decoder import Decoder
from ..model.linear import Linear
from ..model.tensor_files import content_digest
from ..model.trained_tensors import EMBEDDINGS, HEAD, trained_tensors
from .training_record import RECORD, TrainingRecord

#: PEFT's prefixes of a model's tensors, and of those of its blocks.
MODEL = "base_model.model."
PREFIX = f"{MODEL}model."
#: The scalar head of a reward model, which PEFT saves whole (``modules_to_save``).
SCORE = f"{MODEL}score.weight"
WEIGHTS, CONFIG = "adapter_model.safetensors", "adapter_config.json"


def adapted(model: Decoder) -> dict[str, Linear]:
    """Return the linear layers that have an adapter, by name."""
    return {name: linear for name, linear in model.linears() if linear.adapter is not None}


def save_adapter(
    model: Decoder,
    directory: Path,
    config: dict[str, Any],
    probe: Tensor,
    record: TrainingRecord | None = None,
) -> None:
    """Write the model's adapters to ``directory`` in PEFT's layout, then load them back and compare.

    ``config``: PEFT's adapter settings. ``probe``: int64 (tokens,), one sequence for the comparison.
    ``record``: how they were trained, written beside them with the digest of the tensors. (Neither is in the
    metadata of safetensors: the order of two entries there changes from run to run.) The
    adapters are written to be served over the original base, also if their initialization changed it. The
    directory is written atomically. Raises ModelError if the loaded adapters give other logits than the
    model.
    """
    from safetensors.torch import save_file

    states = {name: linear.adapter.state() for name, linear in adapted(model).items()}  # type: ignore[union-attr, operator]
    tensors = {
        f"{PREFIX}{name}.{suffix}": tensor.cpu().contiguous()
        for name, state in states.items()
        for suffix, tensor in state.items()
    }
    whole = {name: trained.whole().cpu() for name, trained in trained_tensors(model).items()}
    if _trains_tied(model):  # PEFT wants both
        whole[HEAD] = whole[EMBEDDINGS].clone()
    tensors |= {MODEL + name: tensor for name, tensor in whole.items()}
    if model.score is not None:
        tensors[SCORE] = model.score.detach().cpu().contiguous()
    temporary = directory.with_name(directory.name + ".tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    save_file(tensors, temporary / WEIGHTS, metadata={"format": "pt"})
    aside = {"tensors": content_digest(tensors)}
    trained = {} if record is None else {"training": record.as_json()}
    (temporary / RECORD).write_text(json.dumps({**aside, **trained}) + "\n")
    full = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM" if model.score is None else "SEQ_CLS",
        "bias": "none",
        "inference_mode": True,
        "fan_in_fan_out": False,
        "use_dora": False,
        **config,
        **_saved_modules([*whole, *([] if model.score is None else [SCORE])], tied=_trains_tied(model)),
        **_sizes(model, {name: len(state["lora_A.weight"]) for name, state in states.items()}, config),
    }
    (temporary / CONFIG).write_text(json.dumps(full, indent=2, sort_keys=True) + "\n")
    _check(model, temporary, probe)
    replace_directory(temporary, directory)


def _trains_tied(model: Decoder) -> bool:
    """Return whether embeddings are trained to which the head is tied."""
    return model.stored_head is model.embeddings and EMBEDDINGS in trained_tensors(model)


def _saved_modules(names: Iterable[str], *, tied: bool) -> dict[str, Any]:
    """Return PEFT's settings of the tensors ``names`` that are saved as they are."""
    modules = {name.removesuffix(".weight").rsplit(".", 1)[-1] for name in names}
    if not modules:
        return {}
    if not tied:
        return {"modules_to_save": sorted(modules)}
    return {"modules_to_save": sorted(modules - {"lm_head"}), "ensure_weight_tying": True}


def _sizes(model: Decoder, ranks: dict[str, int], config: dict[str, Any]) -> dict[str, Any]:
    """Return PEFT's settings of the adapted layers, their ranks and the scales used in training."""
    largest = max(ranks.values())
    layers = adapted(model)

    def alpha(name: str, rank: int) -> float:
        scale: float = layers[name].adapter.scale  # type: ignore[union-attr, assignment]
        return scale * (math.sqrt(rank) if config.get("use_rslora") else rank)

    short = {name.rsplit(".", 1)[1] for name in ranks}
    every = {name for name, _ in model.linears() if name.rsplit(".", 1)[1] in short}
    smaller = {name: rank for name, rank in ranks.items() if rank != largest}
    return {
        "r": largest,
        "lora_alpha": alpha(next(iter(ranks)), largest),
        "rank_pattern": {f"model.{name}": rank for name, rank in smaller.items()},
        "alpha_pattern": {f"model.{name}": alpha(name, rank) for name, rank in smaller.items()},
        "target_modules": sorted(short if every == set(ranks) else {f"model.{name}" for name in ranks}),
    }


def load_adapter(model: Decoder, directory: Path) -> None:
    """Load PEFT adapters from ``directory`` into the model's adapters.

    Raises ModelError if they do not fit.
    """
    tensors = read_adapter(directory)
    unread = set(tensors)
    for name, linear in adapted(model).items():
        wanted = f"{PREFIX}{name}."
        found = {key[len(wanted) :]: tensor for key, tensor in tensors.items() if key.startswith(wanted)}
        try:
            _check_shapes(found, linear)
            linear.adapter.load(found)  # type: ignore[union-attr, operator]
        except (KeyError, RuntimeError) as error:
            raise ModelError(f"{directory}: its adapter does not fit {name}: {error}") from None
        unread -= {wanted + suffix for suffix in linear.adapter.state()}  # type: ignore[union-attr, operator]
    for name, trained in trained_tensors(model).items():
        if MODEL + name not in tensors:
            raise ModelError(f"{directory}: it has no {name}, which this training trains")
        try:
            trained.load(tensors[MODEL + name])
        except RuntimeError as error:
            raise ModelError(f"{directory}: its {name} does not fit: {error}") from None
        unread.discard(MODEL + name)
    if _trains_tied(model):
        unread.discard(MODEL + HEAD)
    if model.score is not None:
        _load_score(model.score, tensors, directory)
        unread.discard(SCORE)
    if unread:
        raise ModelError(
            f"{directory}: it adapts layers that this training does not: {', '.join(sorted(unread)[:3])}"
        )


def _load_score(score: torch.nn.Parameter, tensors: dict[str, Tensor], directory: Path) -> None:
    """Load the scalar head, if the adapter has one. Raises ModelError for one of another shape."""
    if SCORE not in tensors:
        return
    if tensors[SCORE].shape != score.shape:
        raise ModelError(
            f"{directory}: its head is {list(tensors[SCORE].shape)}, not {list(score.shape)}: only a head "
            "with one label is supported"
        )
    with torch.no_grad():
        score.copy_(tensors[SCORE])


def _check_shapes(found: dict[str, Tensor], linear: Linear) -> None:
    """Raise RuntimeError if a tensor has none of the shapes that the adapter may be saved with.

    Without this check, ``copy_`` would broadcast a vector over a matrix.
    """
    forms = [linear.adapter.state(over) for over in ("original", "held")]  # type: ignore[union-attr, operator]
    for suffix, tensor in found.items():
        wanted = list(dict.fromkeys(tuple(form[suffix].shape) for form in forms if suffix in form))
        if wanted and tuple(tensor.shape) not in wanted:
            expected = " or ".join(str(list(shape)) for shape in wanted)
            raise RuntimeError(f"{suffix} is {list(tensor.shape)}, not {expected}")


def read_adapter(directory: Path) -> dict[str, Tensor]:
    """Return the tensors of the adapter in ``directory``, by PEFT's names.

    Raises ModelError if they cannot be read, or if their digest was saved and does not match.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        tensors: dict[str, Tensor] = load_file(directory / WEIGHTS)
    except (OSError, SafetensorError) as error:
        raise ModelError(f"{directory}: cannot read {WEIGHTS} ({error})") from None
    aside = directory / RECORD
    if aside.exists() and json.loads(aside.read_text()).get("tensors") != content_digest(tensors):
        raise ModelError(f"{directory}: {WEIGHTS} is damaged: its values are not those that were written")
    return tensors


def read_ranks(directory: Path) -> dict[str, int]:
    """Return the rank of each adapted layer, by its name."""
    ending = ".lora_A.weight"
    return {
        name[len(PREFIX) : -len(ending)]: len(tensor)
        for name, tensor in read_adapter(directory).items()
        if name.endswith(ending)
    }


def read_adapter_config(directory: Path) -> dict[str, Any]:
    """Return PEFT's settings of the adapter in ``directory``.

    Raises ModelError if they cannot be read, or it does not apply to the original base.
    """
    if (beside := unmerged_settings(directory)) is not None:
        raise ModelError(
            f"{directory} has an adapter of kind {beside.get('kind')!r}, which is not in PEFT's layout: give "
            "the same adapter settings to go on from it"
        )
    try:
        config: dict[str, Any] = json.loads((directory / CONFIG).read_text())
    except (OSError, ValueError) as error:
        raise ModelError(f"{directory}: cannot read {CONFIG} ({error})") from None
    check_original_base(directory, config)
    return config


def _check(model: Decoder, directory: Path, probe: Tensor) -> None:
    with torch.no_grad():
        before = _outputs(model, probe)
        kept = {name: linear.adapter.state() for name, linear in adapted(model).items()}  # type: ignore[union-attr, operator]
        kept = {
            name: {suffix: tensor.clone() for suffix, tensor in state.items()} for name, state in kept.items()
        }
        deltas = [(trained.delta, trained.delta.clone()) for trained in trained_tensors(model).values()]
        try:
            load_adapter(model, directory)
            after = _outputs(model, probe)
        finally:
            for name, linear in adapted(model).items():
                linear.adapter.load(kept[name])  # type: ignore[union-attr, operator]
            for delta, before_it in deltas:
                delta.copy_(before_it)
    apart = (before - after).abs().max().item()
    if not apart <= 1e-5 * max(1.0, before.abs().max().item()):
        raise ModelError(
            f"{directory}: the adapter read back gives other logits (largest difference {apart:.3g})"
        )


def _outputs(model: Decoder, probe: Tensor) -> Tensor:
    """Return the logits of the tokens and, with a scalar head, their scores: (tokens, V [+ 1])."""
    hidden: Tensor = model(probe, [len(probe)])
    outputs = head_logits(hidden, model.head).to(hidden.dtype)
    if model.score is None:
        return outputs
    return torch.cat([outputs.float(), hidden.float() @ model.score.float().T], dim=1)
