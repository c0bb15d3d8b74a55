"""Combines a request with compatible constraints, and assigns the combination to a split.

The split is a fixed hash of the *combination*: the set of kinds, or for a single constraint its kind and
parameters. One combination in four is held out. An evaluation prompt therefore never has a set of kinds that
a training prompt has, and a single constraint never has parameters seen in training. A single kind without
parameters always belongs to training.
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

#: Salt of the hash, chosen so that both splits contain every kind, in pairs and alone.
SALT = b"split 2157"


@dataclass(frozen=True, slots=True)
class Task:
    """A prompt and its constraints."""

    prompt: str
    constraints: tuple[Constraint, ...]
    topic: str
    form: Form

    @property
    def combination(self) -> str:
        return combination(self.constraints)


def combination(constraints: Sequence[Constraint]) -> str:
    """Return the key of the split: the sorted kinds ``kind+kind``, or one kind with its parameters."""
    if len(constraints) > 1:
        return "+".join(sorted(constraint.kind for constraint in constraints))
    parameters = constraints[0].model_dump(mode="json")
    return constraints[0].kind + (f" {json.dumps(parameters, sort_keys=True)}" if parameters else "")


def split_of(name: str) -> Split:
    """Return the split of a combination, which does not depend on the seed."""
    if name in KINDS:
        return "train"
    digest = blake2b(name.encode(), digest_size=8, person=SALT).digest()
    return "eval" if int.from_bytes(digest, "big") % HELD_OUT == 0 else "train"


def compatible(rng: Random, kinds: Sequence[str], count: int) -> list[str] | None:
    """Draw ``count`` kinds without conflicts; None if no further kind is compatible."""
    chosen: list[str] = []
    for kind in rng.sample(kinds, len(kinds)):
        if len(chosen) == count:
            break
        if not any(conflict(kind, other) for other in chosen):
            chosen.append(kind)
    return chosen if len(chosen) == count else None


def compose(rng: Random, split: Split, kinds: Sequence[str], count: int) -> Task | None:
    """Compose a prompt with ``count`` constraints; None if the draw belongs to the other split."""
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
