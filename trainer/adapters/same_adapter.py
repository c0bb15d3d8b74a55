"""Whether a training can go on from the adapter of another. Imports no torch, since plans check it."""

from __future__ import annotations

from .adapter_settings import AdapterSettings


def why_other(asked: AdapterSettings, earlier: AdapterSettings) -> str | None:
    """Return why a training with ``asked`` cannot go on from an adapter with ``earlier``; None if it can.

    An adapter in PEFT's layout may go on under other settings that give the same factors, which only its
    files tell, so that of two such adapters only the class is compared.
    """
    if asked.kind == earlier.kind == "delta":
        return None
    fields = ["kind"] if _class_of(asked) != _class_of(earlier) else []
    if asked.own_layout or earlier.own_layout:
        fields = list(type(asked).model_fields)
    for name in fields:
        had, wanted = getattr(earlier, name), getattr(asked, name)
        if had != wanted:
            return f"it has an adapter with {name} = {had}, but this step asks for {wanted}"
    return None


def _class_of(settings: AdapterSettings) -> tuple[bool, bool]:
    return settings.kind == "dora", settings.rank_stabilized
