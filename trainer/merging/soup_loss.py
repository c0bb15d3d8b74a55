"""The loss of merged models on held-out rows, as a training measures it."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa

from ...contracts.chat_templates import read_chat_templates
from ...contracts.context import Context
from ...contracts.errors import ModelError
from ..data.encode import RowEncoder
from ..data.encode_table import encode_table
from ..data.lazy_examples import tokens_of
from ..data.packs import pack
from ..data.unfit import as_table
from ..device import choose_device
from ..loop import HeldOut, held_out_loss
from ..methods.sft import SupervisedFineTuning
from ..model.loading import load_model
from ..model.model_config import ModelConfig
from ..model.tensor_files import copy_rest
from ..parallel import Processes, alone
from ..passes import Passes
from ..student_files import copy_chat_template

#: Tokens that go through a model at once.
PACK = 1024


class SoupLoss:
    """Measures the loss of ``step`` on the rows of ``table``.

    ``tokenizer``: the directory of :func:`tokenizer_of` for all models. Raises DataError if too many rows
    cannot be measured on. ``left_out``: these. ``name``: of the file of encoded rows, its own for each table.
    """

    @alone()
    def __init__(
        self,
        tokenizer: Path,
        step: SupervisedFineTuning,
        table: pa.Table,
        context: Context,
        name: str = "held-out",
    ) -> None:
        self.step, self.objective = step, step.objective(context)
        vocabulary = ModelConfig.read(tokenizer).vocabulary
        encoder = RowEncoder.of(step, self.objective, step.encoder(tokenizer), vocabulary)
        encoded = encode_table(step, table, context, encoder, name)
        self.left_out = as_table(encoded.left_out)
        lengths = tokens_of(encoded.examples)
        packs = pack(lengths, max(PACK, max(lengths)))
        self._held_out = HeldOut(encoded.examples, packs, every=1)

    @alone()
    def __call__(self, model: Path) -> float:
        """Return the mean loss, per token, of the model in the directory ``model``."""
        loaded = load_model(model, dtype=self.step.torch_dtype(), device=choose_device(self.step.device))
        loaded.eval()
        return held_out_loss(Passes(loaded, self.objective, Processes.current()), self._held_out)


def tokenizer_of(base: Path, sources: Sequence[Path], directory: Path) -> Path:
    """Write to ``directory`` the config, tokenizer and chat template of a model merged of ``sources``.

    So rows are rendered as the merged model is asked. Returns ``directory``. Raises ModelError if it gets no
    chat template.
    """
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    copy_rest(base, directory)
    copy_chat_template(sources, directory)
    if not read_chat_templates(directory):
        raise ModelError(
            f"{base} has no chat template, and its students have no common one, so rows cannot be measured: "
            "train the students with one `chat_template`"
        )
    return directory
