"""Display of rows as a training reads them, before it starts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...contracts.context import Context
from ...contracts.errors import DataError
from ..model.model_config import ModelConfig
from ..settings import TrainSettings
from .encode import encode_rows, show_labels
from .unfit import check_share

if TYPE_CHECKING:
    import pyarrow as pa


def show(
    step: TrainSettings, table: pa.Table, context: Context, *, whole: bool
) -> tuple[str, DataError | None]:
    """Format each row's sequences token by token, with trained tokens in [brackets], and the rows left out.

    With it comes the error with which training stops if these are all the rows (``whole``) and too many are
    left out. Loads the tokenizer, and no weights. Raises DataError if no row can be trained on.
    """
    path = context.weights(step.model).path
    encoder = step.encoder(path)
    objective = step.objective(context)
    encoded = encode_rows(
        table.to_pylist(),
        objective.encode,
        encoder,
        max_length=step.max_length,
        vocabulary=ModelConfig.read(path).vocabulary,
        unfit_limit=1.0,
        teaches_to_stop=objective.teaches_to_stop,
    )
    lines = [show_labels(encoded.examples, encoder)]
    lines += [f"row {row.id}: left out: {row.message}" for row in encoded.left_out]
    try:
        check_share(encoded.left_out, len(table), step.share_left_out() if whole else 1.0)
    except DataError as error:
        return "\n".join(lines), error
    return "\n".join(lines), None
