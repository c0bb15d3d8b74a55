"""Whether a training can go on from the adapter of another. Imports no torch, since plans check it."""

from __future__ import annotations

from .adapter_names import DENSE_INITS, FOUND_AGAIN, KEEPING_INITS, NOT_CONTINUED
from .adapter_settings import AdapterSettings


def why_other(asked: AdapterSettings, earlier: AdapterSettings) -> str | None:
    """Return why ``asked`` cannot go on from an adapter with ``earlier``, and the fix; None if it can.

    An adapter in PEFT's layout may go on under other settings that give the same factors, which only its
    files tell, so that of two such adapters only the class is compared.
    """
    if asked.kind == earlier.kind == "delta":
        return None
    if asked.init in NOT_CONTINUED:
        return (
            f"init {asked.init!r} makes a base that only its own training has: merge the student in a step "
            "and name that, or give another init"
        )
    if asked.init in FOUND_AGAIN and asked.init != earlier.init:
        return (
            f"init {asked.init!r} takes its factors out of the base, over which it was not trained (init "
            f"{earlier.init!r}): leave out init, or merge the student in a step and name that"
        )
    fields = ["kind"] if _class_of(asked) != _class_of(earlier) else []
    if asked.own_layout or earlier.own_layout:
        fields = list(type(asked).model_fields)
    for name in fields:
        had, wanted = getattr(earlier, name), getattr(asked, name)
        if had != wanted:
            different = f"it has an adapter with {name} = {had}, but this step asks for {wanted}"
            return f"{different}: give the same adapter settings"
    return None


def trains_more(asked: AdapterSettings, earlier: AdapterSettings) -> bool:
    """Whether training goes on with more values than the adapter with ``earlier`` was trained with.

    A student of an initialization that keeps its factors is saved with both. Only the same initialization
    can tell them apart, if it needs no data.
    """
    apart = asked.init == earlier.init and asked.init not in DENSE_INITS
    return earlier.init in KEEPING_INITS and not apart


def why_not_carried(asked: AdapterSettings, earlier: AdapterSettings) -> str | None:
    """Return why ``asked`` cannot take over the moments of ``earlier``, and the fix; None if it can."""
    if trains_more(asked, earlier):
        return (
            f"it was saved with twice the rank that it trained (init {earlier.init!r}), all of which is "
            "trained on, and carry_optimizer needs a state of the same shapes: give carry_optimizer: false, "
            "or another init"
        )
    if not earlier.read_back:
        kept = "the product" if earlier.kind == "kasa" else f"the first {earlier.dylora_keep} ranks"
        return (
            f"only {kept} of what kind {earlier.kind!r} trained was saved, which has no moments: give "
            "carry_optimizer: false, or another kind"
        )
    return None


def _class_of(settings: AdapterSettings) -> tuple[bool, bool]:
    return settings.kind == "dora", settings.rank_stabilized
