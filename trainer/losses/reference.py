"""Log-probabilities under a model as it is, for losses that are relative to it."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from ..data.examples import Example
from ..data.lazy_examples import tokens_of
from ..data.packs import Pack
from ..data.packs import pack as bins
from ..model.decoder import Decoder
from .pairs import token_log_probs


def token_references(model: Decoder, examples: Sequence[Example], capacity: int) -> list[tuple[float, ...]]:
    """Return the log-probability (nats) of each trained token of each example under ``model`` as it is now.

    ``capacity``: tokens that may go through the model at once.
    """
    found: list[tuple[float, ...]] = [()] * len(examples)
    was_training = model.training
    model.eval()
    with torch.no_grad():
        sizes = tokens_of(examples)
        for indices in bins(sizes, max(capacity, max(sizes, default=0))):
            pack = Pack.of([examples[index] for index in indices], model.embeddings.device)
            log_p, start = token_log_probs(model, pack).tolist(), 0
            for index, example in zip(indices, pack.examples):
                stop = start + example.trained_tokens
                found[index] = tuple(log_p[start:stop])
                start = stop
    model.train(was_training)
    return found
