"""Merging of changes into a base, tensor by tensor, with verification of the result."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ...contracts.durable import replace_directory
from ...contracts.errors import ModelError
from ..adapters.adapter_table import INITS
from ..adapters.delta import DenseDelta
from ..adapters.own_files import CONFIG as OWN_CONFIG
from ..adapters.peft_files import CONFIG as ADAPTER_CONFIG
from ..adapters.training_record import TrainingRecord
from ..model.bitsandbytes_layout import from_tensors, is_part, is_quantized
from ..model.decoder import LINEARS, Decoder
from ..model.linear import Linear
from ..model.loading import load_model, read_weight
from ..model.model_config import ModelConfig
from ..model.quantization import Into, Quantization
from ..model.tensor_files import TensorReader, TensorWriter, check_place, check_written, copy_rest
from ..model.trained_parts import PARTS
from ..model.trained_tensors import EMBEDDINGS, HEAD, train_parts, trained_tensors
from ..model.weight_formats import FORMATS, dense
from ..student_files import copy_chat_template
from .depth_scale import DepthScale
from .methods import METHODS, Method, Mix
from .open_source import open_merge_source
from .own_source import TrainedOwnSource
from .reward_head import add_head, head_of
from .source_weights import DENSITY, OUTLIERS, why_not, why_unread
from .sources import AdapterSource, DeltaSource, MergeSource
from .trained_source import TrainedSource

#: Tokens of the sequence for the comparison of the merged model with the base plus adapter.
PROBE = 64
#: Largest relative root mean square difference of the logits, for a model stored in 64 or 32 bits, and in 16
#: bits. Sums are in 32 bits.
TOLERANCE = {torch.float64: 1e-4, torch.float32: 1e-4, torch.bfloat16: 5e-2, torch.float16: 1e-2}

Progress = Callable[[int, int], None]


def merge(
    base: Path,
    sources: Sequence[Path],
    out: Path,
    *,
    method: str | Method = "task-arithmetic",
    weights: Sequence[float] | None = None,
    density: float = DENSITY,
    outliers: float = OUTLIERS,
    depth_scale: tuple[float, float] = (1.0, 1.0),
    seed: int = 0,
    into: Into = "original",
    skip: Sequence[str] = (),
    progress: Progress = lambda done, total: None,
) -> None:
    """Write to ``out`` the model in ``base`` with the changes of ``sources``.

    ``out`` has the base's dtypes and layout. Sums are in float32 and rounded once. A base that bitsandbytes
    has quantized is dequantized. Memory: one tensor and its change by each source; no model is loaded before
    the check.

    - ``method``: a name of :data:`.methods.METHODS`, or a function like those.
    - ``weights``: one per source, 1 by default.
    - ``density``, ``outliers``: see :mod:`.methods`.
    - ``depth_scale``: factors of the merged change, in the first block and in the last, see
      :mod:`.depth_scale`.
    - ``into``: "original"; "trained", for one adapter, whose change is added to the weights that its training
      held; or a quantized format. With a format, the changes are added to dequantized weights, in all linear
      layers, also of experts, except those in ``skip``.

    The scalar head of a reward model is kept, see :mod:`.reward_head`.

    Every tensor is read back and compared. If there is only one source, the logits are compared too, with
    those of the base with that source. Raises ModelError if they differ, or if a source does not fit the
    base; then ``out`` is not changed.
    """
    _check_arguments(sources, method, weights, density, outliers, into, skip)
    check_place(out, [base, *sources])
    config = ModelConfig.read(base)
    opened = _open(base, sources, into)
    head = head_of(opened, sources, base, config)
    mix = Mix(tuple(weights or [1.0] * len(sources)), density, seed, outliers)
    depth = DepthScale(*depth_scale, config.layers)
    temporary = out.with_name(out.name + ".tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
        with TensorReader(base) as reader:
            names = [name for name in reader if not is_part(name)]
            _check_fit(base, names, opened, sources)
            writer = TensorWriter(temporary)
            for done, name in enumerate(names):
                # A tied head that is stored too stays equal to the embeddings.
                place = EMBEDDINGS if config.tied and name == HEAD else name
                writer.put(name, _merged(reader, place, opened, method, mix, depth, into, skip))
                progress(done + 1, len(names))
            writer.finish()
        copy_rest(base, temporary)
        copy_chat_template(sources, temporary)
        drop_quantization(temporary)
        check_written(temporary, writer.digests)
        if depth_scale == (1.0, 1.0):
            _check_logits(base, temporary, opened, mix, method, into, skip, config)
        if head is not None:
            add_head(temporary, head, config)
        replace_directory(temporary, out)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def _check_arguments(
    sources: Sequence[Path],
    method: str | Method,
    weights: Sequence[float] | None,
    density: float,
    outliers: float,
    into: Into,
    skip: Sequence[str],
) -> None:
    if isinstance(method, str) and method not in METHODS:
        raise ModelError(f"no merging method {method!r}; there are {', '.join(METHODS)}")
    if not sources:
        raise ModelError("nothing to merge: give at least one adapter, sparse delta or model")
    if isinstance(method, str) and (reason := why_not(method, weights, len(sources))) is not None:
        raise ModelError(reason)
    if not 0 < density <= 1:
        raise ModelError(f"density = {density}: give a share above 0 and at most 1")
    shares = {"density": density, "outliers": outliers}
    if isinstance(method, str) and (reason := why_unread(method, shares)) is not None:
        raise ModelError(reason)
    if method == "breadcrumbs" and not 0 <= outliers <= 1 - density:
        raise ModelError(
            f"outliers = {outliers}: breadcrumbs drops this share of the largest entries and keeps density = "
            f"{density} of the others: give shares that add up to at most 1"
        )
    short = [layer.rsplit(".", 1)[1] for layer in LINEARS]
    unknown = sorted(set(skip) - set(short))
    if unknown:
        raise ModelError(f"no linear layers called {', '.join(unknown)}; there are {', '.join(short)}")
    if skip and into in ("original", "trained"):
        raise ModelError("skip excludes layers from quantization: give it only when merging into a format")


def _open(base: Path, sources: Sequence[Path], into: Into) -> list[MergeSource]:
    """Open the sources. Raises ModelError for one that was not trained over the base that ``into`` says."""
    if into == "trained":
        if len(sources) == 1 and (sources[0] / OWN_CONFIG).exists():
            return [TrainedOwnSource(sources[0])]
        if len(sources) > 1 or not (sources[0] / ADAPTER_CONFIG).exists():
            raise ModelError("--into trained merges one adapter into the weights that it was trained over")
        return [TrainedSource(sources[0])]
    for path in sources if into != "original" else ():
        if (path / OWN_CONFIG).exists():
            raise ModelError(
                f"{path}: its change is computed from the weights that it was trained over: give "
                "--into trained (exactly the trained model), or --into original"
            )
        record = TrainingRecord.read(path) if (path / ADAPTER_CONFIG).exists() else None
        if record is not None and INITS[record.settings.init].changes_base:
            raise ModelError(
                f"{path}: its training started with init {record.settings.init!r}, which changes the base "
                f"before it is quantized, so it was not trained over the base in {into}; give --into trained "
                "(exactly the trained model), or --into original"
            )
    return [open_merge_source(path, base) for path in sources]


def _check_fit(
    base: Path, names: Sequence[str], opened: Sequence[MergeSource], paths: Sequence[Path]
) -> None:
    for source, path in zip(opened, paths):
        unknown = sorted(source.names - set(names))
        if unknown:
            raise ModelError(f"{path}: it changes tensors that {base} lacks: {', '.join(unknown[:3])}")


def _merged(
    reader: TensorReader,
    name: str,
    opened: Sequence[MergeSource],
    method: str | Method,
    mix: Mix,
    depth: DepthScale,
    into: Into,
    skip: Sequence[str],
) -> Tensor:
    """Return the merged tensor. A tensor that no source changes is returned bit for bit."""
    source = opened[0]
    if isinstance(source, TrainedSource | TrainedOwnSource) and _layer(name):
        dtype, weight = _stored_type(reader, name), source.base(name, read_weight(reader, name))
    elif is_quantized(name, reader.files):
        quantized, dtype = from_tensors(name, reader.files, reader.get)
        weight = dense(quantized, torch.float32)
    else:
        stored = reader.get(name)
        dtype, weight = stored.dtype, stored
        if into != "original" and _layer(name) and name.rsplit(".", 2)[1] not in skip:
            weight = dense(FORMATS[into].quantize(stored), torch.float32)
        elif not any(name in source.names for source in opened):
            return stored
    weight = weight.float()
    changes = [
        (place, source.change(name, weight)) for place, source in enumerate(opened) if name in source.names
    ]
    if changes:
        combine = METHODS[method] if isinstance(method, str) else method
        weight = weight.add(combine(name, changes, mix), alpha=depth.factor(name))
    if not torch.isfinite(weight).all():
        raise ModelError(f"{name} is not finite after merging: check the sources and their weights")
    return weight.to(dtype)


def _stored_type(reader: TensorReader, name: str) -> torch.dtype:
    """Return the dtype of a weight; of a quantized one, the dtype that it dequantizes to."""
    if is_quantized(name, reader.files):
        return from_tensors(name, reader.files, reader.get)[1]
    return reader.get(name).dtype


def _layer(name: str) -> bool:
    """Return whether ``name`` is the weight of a linear layer of a block, or of one of its experts."""
    of_block = re.sub(r"\.experts\.\d+\.", ".", name)
    return of_block.endswith(tuple(f".{layer}.weight" for layer in LINEARS))


def drop_quantization(directory: Path) -> None:
    """Remove the quantization settings from the config, since merged weights are dense."""
    path = directory / "config.json"
    config: dict[str, Any] = json.loads(path.read_text())
    if config.pop("quantization_config", None) is not None:
        path.write_text(json.dumps(config, indent=2) + "\n")


def _check_logits(
    base: Path,
    merged: Path,
    opened: Sequence[MergeSource],
    mix: Mix,
    method: str | Method,
    into: Into,
    skip: Sequence[str],
    config: ModelConfig,
) -> None:
    """Compare the written model with the base with its source, if there is only one source."""
    generator = torch.Generator().manual_seed(mix.seed)
    probe = torch.randint(0, config.vocabulary, (min(PROBE, config.positions),), generator=generator)
    after = _logits(load_model(merged, dtype=torch.float32), probe)
    if not torch.isfinite(after).all():
        raise ModelError(f"{merged}: the merged model's logits are not finite")
    source = opened[0]
    if (
        len(opened) > 1
        or not isinstance(method, str)
        or method in ("dare", "breadcrumbs")
        or mix.weights != (1.0,)
        or (method == "ties" and mix.density < 1)
    ):
        return
    if not isinstance(source, AdapterSource | DeltaSource | TrainedOwnSource):
        return
    if isinstance(source, TrainedSource | TrainedOwnSource):
        model = load_model(
            base,
            dtype=torch.float32,
            change=lambda name, stored, hold: source.base(f"model.{name}.weight", stored),
        )
    else:
        assert into != "trained"  # its source is a TrainedSource
        held: Quantization = "none" if into == "original" else into
        model = load_model(base, dtype=torch.float32, quantize=held, skip=skip)
    for name, linear in model.linears():
        if f"model.{name}.weight" in source.names:
            linear.adapter = _live(source, f"model.{name}", linear)
    train_parts(model, PARTS)
    with torch.no_grad():
        for name, trained in trained_tensors(model).items():
            if name in source.names:
                trained.delta.copy_(source.change(name, trained.stored))
    before = _logits(model, probe)
    with TensorReader(merged) as reader:
        stored = min((reader.get(name).dtype for name in source.names), key=lambda kind: kind.itemsize)
    apart = ((after - before).square().mean().sqrt() / before.square().mean().sqrt()).item()
    if not apart <= TOLERANCE[stored]:
        raise ModelError(
            f"{merged}: the logits of the merged model differ from those of the base with its adapter "
            f"(relative difference {apart:.2g}, at most {TOLERANCE[stored]:.0e} is rounding); "
            "nothing was exported"
        )


def _live(source: AdapterSource | DeltaSource | TrainedOwnSource, layer: str, linear: Linear) -> nn.Module:
    """Return the source as an adapter over ``linear``, as in training."""
    if isinstance(source, TrainedOwnSource):
        return source.adapter(f"{layer}.weight", linear.weight())
    if isinstance(source, AdapterSource):
        adapter = source.adapter(layer, linear.shape)
        adapter.measure(linear.weight())
        return adapter
    delta = DenseDelta(linear.shape)
    delta.load({"delta": source.delta.dense(f"{layer}.weight")})
    return delta


def _logits(model: Decoder, probe: Tensor) -> Tensor:
    with torch.no_grad():
        return model.logits(probe, [len(probe)])
