"""Puts a request and compatible constraints together, and says which side of the split they are on.

The split is a fixed hash of the *combination*: for several constraints the set of their kinds, for
a single one the kind with its parameters. One combination in four is held out. So no evaluation
prompt asks for kinds together that a training prompt asked for together, and a lone constraint
never comes with parameters that training saw; a lone kind without parameters is always trained on.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from random import Random
from typing import Literal

from .constraint import Constraint
from .kinds import KINDS, conflict
from .topics import EVAL_TOPICS, FORMS, TRAIN_TOPICS, Form

Split = Literal["train", "eval"]
TOPICS: dict[Split, tuple[str, ...]] = {"train": TRAIN_TOPICS, "eval": EVAL_TOPICS}

#: One combination in this many is held out.
HELD_OUT = 4

#: Names the hash. Chosen among many so that both sides have every kind, in pairs and alone.
SALT = b"split 2157"


@dataclass(frozen=True, slots=True)
class Task:
    """A prompt and what it asks for."""

    prompt: str
    constraints: tuple[Constraint, ...]
    topic: str
    form: Form

    @property
    def combination(self) -> str:
        return combination(self.constraints)


def combination(constraints: Sequence[Constraint]) -> str:
    """What the split goes by: ``kind+kind`` in the order of the alphabet, or one kind with its parameters."""
    if len(constraints) > 1:
        return "+".join(sorted(constraint.kind for constraint in constraints))
    parameters = constraints[0].model_dump(mode="json")
    return constraints[0].kind + (f" {json.dumps(parameters, sort_keys=True)}" if parameters else "")


def split_of(name: str) -> Split:
    """The side of the split that a combination is on, whatever the seed."""
    if name in KINDS:
        return "train"
    digest = blake2b(name.encode(), digest_size=8, person=SALT).digest()
    return "eval" if int.from_bytes(digest, "big") % HELD_OUT == 0 else "train"


def compatible(rng: Random, kinds: Sequence[str], count: int) -> list[str] | None:
    """``count`` kinds drawn without conflicts, or None where the draw came to a dead end."""
    chosen: list[str] = []
    for kind in rng.sample(kinds, len(kinds)):
        if len(chosen) == count:
            break
        if not any(conflict(kind, other) for other in chosen):
            chosen.append(kind)
    return chosen if len(chosen) == count else None


def compose(rng: Random, split: Split, kinds: Sequence[str], count: int) -> Task | None:
    """A prompt of the split with ``count`` constraints, or None where the draw belongs to the other side."""
    chosen = compatible(rng, kinds, count)
    if chosen is None:
        return None
    constraints = tuple(KINDS[kind].sample(rng) for kind in chosen)
    if split_of(combination(constraints)) != split:
        return None
    choice = any(constraint.choice for constraint in constraints)
    form = rng.choice([form for form in FORMS if form.choice == choice])
    topic = rng.choice(TOPICS[split])
    asked = [constraint.describe(rng) for constraint in constraints]
    if len(asked) > 1 and rng.random() < 0.3:
        asked = [f"- {sentence}" for sentence in asked]
        prompt = "\n".join([form.about(topic), *asked])
    else:
        prompt = f"{form.about(topic)}\n{' '.join(asked)}"
    return Task(prompt, constraints, topic, form)
