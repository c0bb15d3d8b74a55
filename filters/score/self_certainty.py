"""Self-certainty: divergence of the model's next-token distributions from the uniform one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from ..columns import require_columns
from .lists import flatten, sum_by_list

if TYPE_CHECKING:
    import pyarrow as pa


def self_certainty(table: pa.Table) -> Mapping[str, pa.Array]:
    """``self_certainty``: mean over positions of KL(uniform || p), float64, nats.

    Kang, Zhao and Song, "Scalable Best-of-N Selection for Large Language Models via Self-Certainty"
    (2025): -(1/(nV)) sum_i sum_j log(V p_ij) for n positions and a vocabulary of V tokens. Higher is more
    certain; a uniform prediction has 0.

    From ``top_logprobs`` (list<list<float>>, the k likeliest tokens of each position, in nats) and
    ``vocab_size`` (int, per row). The estimator spreads the remaining mass r evenly over the other V - k
    tokens:

        -(1/V) [ sum_{j<=k} log(V p_j) + (V - k) log(V r / (V - k)) ]

    By the concavity of the logarithm this is a *lower bound* of the exact value: the error is
    (V - k)/V times the KL divergence of the tail itself from the uniform, usually several nats. It
    vanishes as k approaches V. Compare only values with the same k and the same model, and do not read
    them as the exact self-certainty. r is clamped between 2**-23 (float32 log-probabilities do not
    resolve a smaller r) and (V - k) p_k, the largest mass that the less likely tokens can have.

    Null if a position has no finite log-probability or ``vocab_size`` is null. Raises DataError if one
    of the columns is missing.
    """
    import numpy as np
    import pyarrow as pa

    who = "score: self_certainty (set `logprobs`, for example to 20, on the generate step)"
    require_columns(table, ["top_logprobs", "vocab_size"], who)
    positions, tokens_of_row = flatten(table.column("top_logprobs"), who)
    values, reported = flatten(pa.chunked_array([positions]), who)
    logprobs = values.to_numpy(zero_copy_only=False).astype(np.float64)
    vocabulary = table.column("vocab_size").cast(pa.float64()).to_numpy()
    size = np.repeat(vocabulary, tokens_of_row)

    # A token of probability 0 (minus infinity) counts as one of the unreported tokens.
    seen = np.isfinite(logprobs)
    safe = np.where(seen, logprobs, 0.0)
    k = sum_by_list(seen.astype(np.float64), reported)
    mass = sum_by_list(np.where(seen, np.exp(safe), 0.0), reported)
    least = np.full(len(reported), np.nan)
    filled = reported > 0
    if filled.any():
        starts = np.concatenate(([0], np.cumsum(reported)[:-1]))[filled]
        least[filled] = np.minimum.reduceat(np.where(seen, logprobs, np.inf), starts)
    others = np.maximum(size - k, 0.0)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        rest = np.minimum(np.maximum(1.0 - mass, 2.0**-23), others * np.exp(least))
        tail = np.where(others > 0, others * np.log(size * rest / others), 0.0)
        certainty = -(sum_by_list(safe, reported) + k * np.log(size) + tail) / size
        certainty[k == 0] = np.nan
        means = sum_by_list(certainty, tokens_of_row) / tokens_of_row
    return {"self_certainty": pa.array(means, mask=~np.isfinite(means))}
