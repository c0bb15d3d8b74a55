"""Mean log-probability of a response under the model that sampled it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from ..columns import require_columns
from .lists import flatten, sum_by_list

if TYPE_CHECKING:
    import pyarrow as pa


def mean_logprob(table: pa.Table) -> Mapping[str, pa.Array]:
    """``mean_logprob``: the mean log-probability of the response's tokens, float64, nats per token.

    From ``logprobs`` (list<float>, one per token). The exponential of its negative is the perplexity under
    the sampling model. Null if there are no log-probabilities, if one of them is null, or if the mean is not
    finite. Raises DataError if there is no ``logprobs`` column.
    """
    import numpy as np
    import pyarrow as pa

    who = "score: mean_logprob (set `logprobs` on the generate step)"
    require_columns(table, ["logprobs"], who)
    values, lengths = flatten(table.column("logprobs"), who)
    # A null becomes NaN, and so does every sum that includes it.
    sums = sum_by_list(values.to_numpy(zero_copy_only=False).astype(np.float64), lengths)
    means = np.divide(sums, lengths, out=np.full(len(sums), np.nan), where=lengths > 0)
    return {"mean_logprob": pa.array(means, mask=~np.isfinite(means))}
