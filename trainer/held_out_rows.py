"""The rows of the held-out loss of a training: those of ``evaluate_on``, or of ``validation_split``."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pyarrow as pa

from ..contracts.context import Context
from ..contracts.errors import DataError
from ..contracts.inference import derive_seed
from .best_weights import BestWeights
from .data.encode import Encoded, RowEncoder
from .data.encode_table import encode_table
from .data.lazy_examples import tokens_of
from .data.packs import capacity_of, pack
from .data.unfit import count_reasons
from .data.validation_split import split
from .loop import HeldOut
from .losses.objective import Objective
from .model.decoder import Decoder
from .settings import TrainSettings


def split_off(step: TrainSettings, table: pa.Table, context: Context) -> tuple[pa.Table, pa.Table | None]:
    """Return the rows to train on, and those that ``validation_split`` holds out."""
    if step.validation_split is None:
        return table, None
    return split(table, step.validation_split, derive_seed(context.seed, "validation"))


def encode_held_out(
    step: TrainSettings, apart: pa.Table | None, context: Context, rows: RowEncoder, objective: Objective
) -> Encoded | None:
    """Encode the held-out rows; None if there are none. Raises DataError, naming where they are from.

    ``apart``: those that :func:`split_off` has found.
    """
    if step.evaluate_on is not None:
        table, whose = (
            context.table(step.evaluate_on),
            f"evaluate_on, the held-out rows of {step.evaluate_on!r}",
        )
    elif apart is not None:
        table, whose = apart, "validation_split, the held-out rows"
    else:
        return None
    try:
        return arranged(encode_table(step, table, context, rows, "held-out"), objective)
    except DataError as error:
        raise DataError(f"{whose}: {error.message}") from None


def arranged(encoded: Encoded, objective: Objective) -> Encoded:
    """Return the rows with what the objective adds from the other rows."""
    examples, figures = objective.arrange(encoded.examples)
    return replace(encoded, examples=examples, figures=figures)


def held_out_of(
    step: TrainSettings,
    objective: Objective,
    model: Decoder,
    held: Encoded,
    context: Context,
    pack_tokens: int,
) -> HeldOut:
    """Return what the loop measures."""
    capacity = capacity_of(pack_tokens, held.examples)
    examples = objective.prepare(model, held.examples, capacity)
    packs = pack(tokens_of(examples), capacity)
    best = BestWeights(context.workdir / "best.pt") if step.keep_best else None
    return HeldOut(examples, packs, step.evaluate_every, best, step.patience)


def held_out_metrics(held: Encoded | None, loss: float | None) -> dict[str, Any]:
    """Return the metrics of the held-out rows; none without any."""
    if held is None:
        return {}
    return {
        "held_out_loss": loss,
        "held_out_rows": held.rows,
        "held_out_left_out": count_reasons(held.left_out),
    }
