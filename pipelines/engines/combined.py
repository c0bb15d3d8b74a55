"""Engine that decodes with several models at once, on transformers in this process.

At each token the logits are ``base + sum of scale * (plus - minus)``: proxy-tuning (Liu et al., 2401.08565),
emulated fine-tuning (Mitchell et al., 2310.12962), Dynamic Logits Fusion (Fan et al., 2406.15480).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, cast

from pydantic import Field, model_validator

from ...contracts.errors import ModelError
from ...contracts.inference import Capability, EngineSettings, ModelWeights
from .combining import FixedScales, Formula, JointModel
from .fusion import DynamicScales
from .transformers import DecodingOptions, TransformersEngine, load_model
from .vocabularies import check_same_tokens

NEEDS_WEIGHTS = True
APART = False

Scale = Annotated[float, Field(allow_inf_nan=False)]


class CombinedOptions(DecodingOptions):
    """Options of the engine that combines several models."""

    scale: Scale | tuple[Scale, ...] | Literal["dynamic"] = 1.0
    """How much of `plus - minus` is added: a number, or one for each pair. 0 leaves the base alone, a
    negative number turns it away. With `dynamic` a weight from 0 to 2 is found at each token, so that the
    base moves as far as the small model did when it was tuned (both KL divergences)."""
    parts: int = Field(default=1, ge=1, le=20)
    """With `scale: dynamic` and several pairs, how finely the weight is divided among them. By default one
    pair has all of it at each token, as in the paper's experiments. 4 divides it in quarters, which takes
    longer: every division is tried."""
    draft: int = Field(default=0, ge=0, le=16)
    """Number of tokens that the first tuned model drafts, to be checked by the others in one pass. It changes
    the speed and not the answers, but for the rounding of `dtype`. By default nothing is drafted. Try 4 where
    the base is many times larger than the others."""

    @model_validator(mode="after")
    def _parts_are_dynamic(self) -> CombinedOptions:
        if self.parts > 1 and self.scale != "dynamic":
            raise ValueError("`parts` divides a weight that is found at each token: add `scale: dynamic`")
        return self

    def formula(self, pairs: int) -> Formula:
        """The formula for a number of pairs."""
        if self.scale == "dynamic":
            return DynamicScales(self.parts)
        return FixedScales(self.scale if isinstance(self.scale, tuple) else (self.scale,) * pairs)


OPTIONS = CombinedOptions


def capabilities(options: CombinedOptions) -> frozenset[Capability]:
    return options.offered()


def start(settings: EngineSettings, options: CombinedOptions) -> TransformersEngine:
    """Load all models, each once. The first tuned model's tokenizer, chat template and end tokens are used.

    Raises ModelError if one cannot be loaded, or their tokens differ.
    """
    base = cast(ModelWeights, settings.weights)
    plus, minus = settings.beside["plus"], settings.beside["minus"]
    formula = options.formula(len(plus))
    check_same_tokens({each.name: each.path for each in (base, *plus, *minus)})
    return TransformersEngine(
        lambda: _load(base, plus, minus, formula, options),
        plus[0],
        options,
        capabilities(options),
        options.draft,
        beside=(base, *plus[1:], *minus),
    )


def _load(
    base: ModelWeights,
    plus: Sequence[ModelWeights],
    minus: Sequence[ModelWeights],
    formula: Formula,
    options: CombinedOptions,
) -> JointModel:
    named: Mapping[str, ModelWeights] = {each.name: each for each in (base, *plus, *minus)}
    place = {name: number for number, name in enumerate(named)}
    models = {name: load_model(each, options) for name, each in named.items()}
    if options.draft:
        _check_attention(models)
    return JointModel(
        models=list(models.values()),
        base=place[base.name],
        plus=tuple(place[each.name] for each in plus),
        minus=tuple(place[each.name] for each in minus),
        formula=formula,
    )


def _check_attention(models: Mapping[str, Any]) -> None:
    """Refuse models whose state cannot be freed of a token that was guessed wrong."""
    for name, model in models.items():
        kinds = set(getattr(model.config.get_text_config(), "layer_types", None) or ())
        if kinds - {"full_attention"}:
            raise ModelError(
                f"draft: {name} has layers of the kinds {', '.join(sorted(kinds))}, and only full attention "
                "can leave out tokens that were guessed wrong: set `draft: 0`"
            )
