"""Log-probabilities under a model as it is, for losses that are relative to it."""

from __future__ import annotations

from array import array
from collections.abc import Sequence

import torch

from ..data.examples import Example
from ..data.lazy_examples import tokens_of
from ..data.packs import Pack
from ..data.packs import pack as bins
from ..model.decoder import Decoder
from .objective import Told, silent
from .pairs import token_log_probs


def token_references(
    model: Decoder, examples: Sequence[Example], capacity: int, told: Told = silent
) -> list[Sequence[float]]:
    """Return the log-probability (nats) of each trained token of each example under ``model`` as it is now.

    They are held as numbers of 8 bytes. ``capacity``: tokens that may go through the model at once. ``told``:
    is called with the number of examples that are done, and of all.
    """
    found: list[Sequence[float]] = [()] * len(examples)
    done = 0
    was_training = model.training
    model.eval()
    with torch.no_grad():
        sizes = tokens_of(examples)
        for indices in bins(sizes, max(capacity, max(sizes, default=0))):
            pack = Pack.of([examples[index] for index in indices], model.embeddings.device)
            log_p, start = array("d", token_log_probs(model, pack).tolist()), 0
            for index, example in zip(indices, pack.examples):
                stop = start + example.trained_tokens
                found[index] = log_p[start:stop]
                start = stop
            done += len(indices)
            told(done, len(examples))
    model.train(was_training)
    return found
