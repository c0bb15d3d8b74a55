"""The fields of a ``config.json``: each is understood, known not to change what is computed, or refused."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...contracts.errors import ModelError

#: Fields that do not change the logits of a causal model. Dropout is one of them: it is not applied.
NEUTRAL = frozenset({
    "_attn_implementation", "_name_or_path", "architectures", "attention_dropout", "attn_implementation",
    "auto_map", "bad_words_ids", "begin_suppress_tokens", "bos_token_id", "cache_implementation",
    "chunk_size_feed_forward", "decoder_start_token_id", "diversity_penalty", "do_sample", "dtype",
    "early_stopping", "embd_pdrop", "encoder_no_repeat_ngram_size", "eos_token_id",
    "exponential_decay_length_penalty", "finetuning_task", "forced_bos_token_id", "forced_eos_token_id",
    "hidden_dropout", "id2label", "initializer_range", "is_decoder", "is_llama_config",
    "keys_to_ignore_at_inference", "label2id", "length_penalty", "max_length", "min_length",
    "model_max_length", "model_type", "no_repeat_ngram_size", "num_beam_groups", "num_beams", "num_labels",
    "num_return_sequences", "output_attentions", "output_hidden_states", "output_scores", "pad_token_id",
    "prefix", "pretraining_tp", "problem_type", "quantization_config", "repetition_penalty", "resid_pdrop",
    "return_dict", "return_dict_in_generate", "sep_token_id", "suppress_tokens", "task_specific_params",
    "temperature", "tf_legacy_loss", "tokenizer_class", "top_k", "top_p", "torch_dtype", "torchscript",
    "transformers.js_config", "transformers_version", "typical_p", "unk_token_id", "unsloth_fixed",
    "unsloth_version", "use_bfloat16", "use_cache",
})  # fmt: skip


class ConfigFields:
    """The fields of a model's config, which remembers those that were read.

    ``defaults``: the values that transformers gives to fields that are absent. What is read is understood. At
    the end, :meth:`refuse_rest` refuses all other fields that may change the model.
    """

    def __init__(self, path: Path, family: str, raw: Mapping[str, Any], defaults: Mapping[str, Any]) -> None:
        self.path, self.family, self.raw, self.defaults = path, family, raw, defaults
        self._read: set[str] = set()

    def get(self, name: str) -> Any:
        """Return the value of a field, or transformers' default if it is absent."""
        self._read.add(name)
        return self.raw.get(name, self.defaults.get(name))

    def only(self, name: str, *supported: Any) -> Any:
        """Return the value of a field. Raises ModelError if it is not one of the supported ones."""
        value = self.get(name)
        if value not in supported:
            raise self.refusal(name, value, supported)
        return value

    def count(self, name: str) -> int:
        """Return the value of a field that is a whole number above 0. Raises ModelError for others."""
        value = self.get(name)
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise self.refusal(name, value, ("whole numbers above 0",))
        return value

    def positive(self, name: str) -> float:
        """Return the value of a field that is a number above 0. Raises ModelError for others."""
        value = self.get(name)
        if not isinstance(value, int | float) or isinstance(value, bool) or not value > 0:
            raise self.refusal(name, value, ("numbers above 0",))
        return value

    def refuse_rest(self) -> None:
        """Raise ModelError for a field that was not read, may change the model, and has an effect."""
        for name, value in self.raw.items():
            if name not in self._read and name not in NEUTRAL and not _idle(value):
                raise ModelError(
                    f"{self.path}: cannot train a model of type {self.family!r} with {name} = {value!r}, "
                    f"which is not understood; supported fields: {', '.join(sorted(self._read))}"
                )

    def refusal(self, name: str, value: Any, supported: tuple[Any, ...]) -> ModelError:
        """Return the error for a ``value`` of the field ``name`` that is not supported."""
        return ModelError(
            f"{self.path}: cannot train a model of type {self.family!r} with {name} = {value!r}; "
            f"supported: {', '.join(map(str, supported))}"
        )


def _idle(value: object) -> bool:
    """Return whether a field that is not understood can have no effect.

    It is a text (a note), switched off, empty, counts nothing and multiplies by one, or names full attention.
    """
    if isinstance(value, bool) or value is None:
        return not value
    if isinstance(value, list):
        return all(each in (1, "full_attention") for each in value)
    return isinstance(value, str) or value in (0, 1, {})


def read_config(path: Path) -> dict[str, Any]:
    """Read ``config.json`` in directory ``path``. Raises ModelError if it cannot be read."""
    try:
        raw = json.loads((path / "config.json").read_text())
        if not isinstance(raw, dict):
            raise ValueError(f"it holds a {type(raw).__name__}, not an object")
    except (OSError, ValueError) as error:
        raise ModelError(
            f"{path}: cannot read config.json ({error}); give a Hugging Face model directory"
        ) from None
    return raw
