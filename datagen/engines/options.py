"""The options of an engine as a pipeline file gives them: one frozen pydantic model an engine."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ...pipelines.errors import ModelError
from ...pipelines.validation import told


class EngineOptions(BaseModel):
    """Base of every engine's options: unknown names are refused, values are strict.

    ``max_num_seqs``: requests decoded together; the run keeps half as many again waiting.
    ``replicas``: how many engines serve the model on a Ray cluster.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    max_num_seqs: int = Field(default=128, ge=1)
    replicas: int = Field(default=1, ge=1)

    @property
    def slots(self) -> int:
        """How many requests one engine works on at once."""
        return self.max_num_seqs


Options = TypeVar("Options", bound=EngineOptions)


def nearest(name: str, known: list[str]) -> str:
    """`` (did you mean 'x'?)``, or nothing where no known name is close."""
    close = get_close_matches(name, known, n=1, cutoff=0.5)
    return f" (did you mean {close[0]!r}?)" if close else ""


def parse(kind: str, model: type[Options], given: Mapping[str, object]) -> Options:
    """The typed options of an engine. Raises ModelError that names every mistake and its fix."""
    try:
        return model.model_validate(dict(given))
    except ValidationError as error:
        known = sorted(model.model_fields)
        mistakes = []
        for detail in error.errors():
            place = ".".join(str(part) for part in detail["loc"])
            if detail["type"] == "extra_forbidden":
                mistakes.append(f"unknown option {place!r}{nearest(place, known)}")
            else:
                mistakes.append(f"{place or 'options'}: {told(detail)}")
        raise ModelError(
            f"engine {kind!r}: {'; '.join(mistakes)}. Its options are: {', '.join(known)}."
        ) from None
