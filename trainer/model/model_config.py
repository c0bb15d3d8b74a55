"""The config of a model, read from a Hugging Face ``config.json``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from ...contracts.errors import ModelError
from .checkpoint_kind import check_kind
from .config_fields import ConfigFields, read_config
from .families import FAMILIES
from .family_defaults import DEFAULTS
from .model_options import ModelOptions


@dataclass(frozen=True, slots=True)
class ModelConfig(ModelOptions):
    """Shape and options of a model, see :class:`ModelOptions`, and how they are read."""

    @classmethod
    def read(cls, path: Path) -> ModelConfig:
        """Read the config of the model in directory ``path``.

        Raises ModelError if the config cannot be read or the model is not supported.
        """
        return cls.of(read_config(path), path)

    @classmethod
    def of(cls, raw: Mapping[str, Any], path: Path) -> ModelConfig:
        """Read a config. ``path``: its directory, for errors. Raises ModelError as :meth:`read`."""
        family = raw.get("model_type")
        if not isinstance(family, str) or family not in FAMILIES:
            raise ModelError(
                f"{path}: cannot train a model of type {family!r}; supported: {', '.join(FAMILIES)}"
            )
        check_kind(path, raw)
        given = ConfigFields(path, family, raw, DEFAULTS[family])
        try:
            options = FAMILIES[family](given)
        except (TypeError, ValueError, KeyError) as error:
            raise ModelError(f"{path}: config.json is not that of a {family!r} model ({error!r})") from None
        given.refuse_rest()
        return cls(**{field.name: getattr(options, field.name) for field in fields(options)})
