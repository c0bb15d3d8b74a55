"""Explains, step by step, why a plan differs from an earlier one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ...contracts.nearest import brief


@dataclass(frozen=True, slots=True)
class Difference:
    """One step that is new, removed or changed. ``reasons``: what changed, causes before effects."""

    step: str
    kind: str  # "new", "removed" or "changed"
    reasons: tuple[str, ...]


def difference(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Difference]:
    """The differences between two recorded plans (see :func:`.record.as_record`), in the order of the new
    one.
    """
    old, new = before["steps"], after["steps"]
    found = []
    for name, step in new.items():
        if name not in old:
            found.append(Difference(name, "new", ("new step",)))
        elif old[name]["fingerprint"] != step["fingerprint"]:
            found.append(
                Difference(name, "changed", tuple(_reasons(name, before, after)) or ("its request changed",))
            )
    found.extend(Difference(name, "removed", ("removed",)) for name in old if name not in new)
    return found


def _reasons(name: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """The differences between two hashed requests, in words; digests are replaced by the names they belong
    to.
    """
    old, new = before["steps"][name], after["steps"][name]
    was, now = old["request"], new["request"]
    told = []
    if was["operator"] != now["operator"]:
        told.append(f"operator changed: {was['operator']} -> {now['operator']}")
    else:
        if was["version"] != now["version"]:
            told.append(f"{now['operator']} has a new version: {was['version']} -> {now['version']}")
        told += _changes("", was["params"], now["params"])
    told += _contents(was["content"], now["content"])
    for field in dict.fromkeys([*was["models"], *now["models"]]):
        told += _models(field, old, new, before, after)
    if None not in (was["seed"], now["seed"]) and was["seed"] != now["seed"]:
        told.append(f"seed changed: {was['seed']} -> {now['seed']}")
    told += _inputs("input", old["from"], new["from"], was["inputs"], now["inputs"])
    for field in dict.fromkeys([*was["reads"], *now["reads"]]):
        names, hashes = (
            [each.get(field, []) for each in pair]
            for pair in ((old["reads"], new["reads"]), (was["reads"], now["reads"]))
        )
        told += _inputs(field, *names, *hashes)
    return told


def _inputs(
    what: str, names: Sequence[str], new_names: Sequence[str], was: Sequence[str], now: Sequence[str]
) -> list[str]:
    """Changes of the steps that a step takes rows from, in their names and in their rows."""
    if was == now:
        return []
    told = [f"{what} changed: {_listed(names)} -> {_listed(new_names)}"] if names != new_names else []
    made = dict(zip(names, was, strict=True))
    return [
        *told,
        *(
            f"input {name!r} differs"
            for name, fingerprint in zip(new_names, now, strict=True)
            if made.get(name, fingerprint) != fingerprint
        ),
    ]


def _changes(path: str, old: Any, new: Any) -> list[str]:
    """Every value that differs between two parameter trees."""
    if isinstance(old, dict) and isinstance(new, dict):
        return [
            line
            for key in dict.fromkeys([*old, *new])
            for line in _changes(f"{path}.{key}" if path else str(key), old.get(key), new.get(key))
        ]
    if old == new:
        return []
    return [f"{path} changed: {_shown(old)} -> {_shown(new)}"]


def _shown(value: Any) -> str:
    return str(value) if isinstance(value, list) and len(str(value)) <= 60 else brief(value)


def _contents(old: Mapping[str, str], new: Mapping[str, str]) -> list[str]:
    told = []
    for what in dict.fromkeys([*old, *new]):
        if what in old and what in new and old[what] != new[what]:
            told.append(f"the content of {what} changed: {old[what][:12]} -> {new[what][:12]}")
        elif what not in old:
            told.append(f"{what} is used now")
        elif what not in new:
            told.append(f"{what} is no longer used")
    return told


def _models(
    field: str,
    old: Mapping[str, Any],
    new: Mapping[str, Any],
    before: Mapping[str, Any],
    after: Mapping[str, Any],
) -> list[str]:
    """Changes of the models that one parameter names."""
    names, new_names = old["models"].get(field, []), new["models"].get(field, [])
    was, now = old["request"]["models"].get(field, []), new["request"]["models"].get(field, [])
    if was == now:
        return []
    if names != new_names:
        return [f"{field or 'embedder'} changed: {_listed(names)} -> {_listed(new_names)}"]
    told = []
    for name, one, other in zip(names, was, now, strict=True):
        if one.get("trained") != other.get("trained"):
            told.append(f"the student {name!r} differs")
        elif one["digest"] != other["digest"]:
            told.append(_weights(name, before["models"].get(name, {}), after["models"].get(name, {})))
        for key in ("engine", "options"):
            told += _changes(f"model {name!r}: {key}", one.get(key), other.get(key))
    return told


def _weights(model: str, was: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    if was.get("path") != now.get("path"):
        return f"model {model!r} changed: {was.get('path')} -> {now.get('path')}"
    if was.get("adapter") != now.get("adapter"):
        return (
            f"model {model!r} has another adapter: {was.get('adapter') or 'none'} -> "
            f"{now.get('adapter') or 'none'}"
        )
    return (
        f"the weights of model {model!r} changed: {str(was.get('digest'))[:12]} -> "
        f"{str(now.get('digest'))[:12]}"
    )


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names) or "none"
