"""The scalar head of a reward model in a merge.

The base has none, so nothing is added to it: the head is kept as it was trained, and the merged model is one
for sequence classification with one label, as transformers loads it.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from ...contracts.durable import replace_directory
from ...contracts.errors import ModelError
from ..model.model_config import ModelConfig
from ..model.tensor_files import TensorReader, TensorWriter, check_written, copy_rest
from ..model.trained_tensors import HEAD
from .sources import SCORE, AdapterSource, MergeSource


def head_of(
    sources: Sequence[MergeSource], paths: Sequence[Path], base: Path, config: ModelConfig
) -> Tensor | None:
    """Return the head of the one source that has one, (1, hidden); None if none has.

    Raises ModelError for several heads, for one of another model, and for a family of which transformers has
    no model with such a head.
    """
    found = [
        (path, source.score)
        for path, source in zip(paths, sources)
        if isinstance(source, AdapterSource) and source.score is not None
    ]
    if not found:
        return None
    if len(found) > 1:
        named = ", ".join(str(path) for path, _ in found)
        raise ModelError(
            f"{named} each have the head of a reward model, and a model has one: merge one of them"
        )
    path, head = found[0]
    if head.shape != (1, config.hidden):
        raise ModelError(f"{path}: its head is {list(head.shape)}, but {base} needs [1, {config.hidden}]")
    _class_of(path, config)
    return head


def add_head(directory: Path, head: Tensor, config: ModelConfig) -> None:
    """Make a reward model of the merged model in ``directory``: with ``head`` in place of that over tokens.

    Every tensor is read back and compared.
    """
    headed = directory.with_name(f"{directory.name}.headed")
    shutil.rmtree(headed, ignore_errors=True)
    headed.mkdir()
    try:
        with TensorReader(directory) as reader:
            writer = TensorWriter(headed)
            for name in reader:
                if name != HEAD:
                    writer.put(name, reader.get(name))
            writer.put(SCORE, head)
            writer.finish()
        copy_rest(directory, headed)
        settings = json.loads((headed / "config.json").read_text())
        settings |= {"architectures": [_class_of(directory, config)], "num_labels": 1}
        (headed / "config.json").write_text(json.dumps(settings, indent=2) + "\n")
        check_written(headed, writer.digests)
        replace_directory(headed, directory)
    finally:
        shutil.rmtree(headed, ignore_errors=True)


def _class_of(path: Path, config: ModelConfig) -> str:
    """Return the class of transformers for a model of this family with a scalar head."""
    from transformers.models.auto.modeling_auto import MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES

    name = MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES.get(config.family)
    if not isinstance(name, str):
        raise ModelError(
            f"{path}: it has the head of a reward model, and transformers has no model of type "
            f"{config.family!r} with such a head: use the adapter over its base"
        )
    return name
