"""Why a plan differs from an earlier one, step by step, in words a person can act on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..spec.nearest import brief


@dataclass(frozen=True, slots=True)
class Difference:
    """One step that is new, gone or changed. ``reasons``: what changed, the cause before the effect."""

    step: str
    kind: str  # "new", "removed" or "changed"
    reasons: tuple[str, ...]


def difference(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Difference]:
    """What differs between two plans as recorded (see :func:`.record.as_record`), in the new one's order."""
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
    old, new = before["steps"][name], after["steps"][name]
    told = []
    if old["operator"] != new["operator"]:
        told.append(f"operator changed: {old['operator']} -> {new['operator']}")
    elif old["version"] != new["version"]:
        told.append(f"{new['operator']} has a new version: {old['version']} -> {new['version']}")
    told += _changes("", old["params"], new["params"]) if old["operator"] == new["operator"] else []
    told += _contents(old["content"], new["content"])
    told += _models(name, before, after)
    if new.get("draws") and old["seed"] != new["seed"]:
        told.append(f"seed changed: {old['seed']} -> {new['seed']}")
    if old["from"] != new["from"]:
        told.append(f"input changed: {_listed(old['from'])} -> {_listed(new['from'])}")
    for other in [*new["from"], *new["reads"]]:
        was, now = before["steps"].get(other), after["steps"].get(other)
        if was is not None and now is not None and was["fingerprint"] != now["fingerprint"]:
            told.append(f"input {other!r} differs")
    return told


def _changes(path: str, old: Any, new: Any) -> list[str]:
    """Each value that differs inside two parameter trees."""
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


def _models(name: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    old, new = before["steps"][name]["models"], after["steps"][name]["models"]
    told = []
    for model, digest in new.items():
        if model not in old:
            continue  # another name: the parameter that names it has been told already
        if model in after["steps"]:
            if old[model] != digest:
                told.append(f"the student {model!r} differs")
            continue
        was, now = before["models"].get(model, {}), after["models"].get(model, {})
        if old[model] != digest:
            told.append(_weights(model, was, now))
        for key in ("engine", "options"):
            told += _changes(f"model {model!r}: {key}", was.get(key), now.get(key))
    return told


def _weights(model: str, was: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    if was.get("path") != now.get("path"):
        return f"model {model!r} changed: {was.get('path')} -> {now.get('path')}"
    if was.get("adapter") != now.get("adapter"):
        return f"model {model!r} has another adapter: {was.get('adapter') or 'none'} -> {now.get('adapter') or 'none'}"
    return f"the weights of model {model!r} changed: {str(was.get('digest'))[:12]} -> {str(now.get('digest'))[:12]}"


def _listed(names: list[str]) -> str:
    return ", ".join(names) or "none"
