"""How servers are told to think, and for how many tokens: each has fields of its own for it."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

Fields = dict[str, Any]


def thinking_fields(url: str, flavor: str, enabled: bool | None, tokens: int | None) -> Fields:
    """Return what a request says about thinking: ``enabled``, if it is not None, and at most ``tokens``.

    Raises ValueError if it is not known how this server takes a number of tokens.
    """
    if enabled is None and tokens is None:
        return {}
    host = urlsplit(url).hostname or ""
    vendor = next(
        (write for name, write in _VENDORS.items() if host == name or host.endswith(f".{name}")), None
    )
    if vendor is not None:
        return vendor(enabled is not False, tokens)
    told: Fields = {} if enabled is None else {"chat_template_kwargs": {"enable_thinking": enabled}}
    if tokens is None:
        return told
    if flavor != "vllm":
        raise ValueError(
            f"thinking_tokens: it is not known how the server {host} takes a number of tokens: give its own "
            "field with `extra_body`, or `reasoning_effort`"
        )
    return {**told, "thinking_token_budget": tokens}


def _anthropic(enabled: bool, tokens: int | None) -> Fields:
    if not enabled:
        return {"thinking": {"type": "disabled"}}
    return {"thinking": {"type": "enabled", "budget_tokens": tokens or 1024}}


def _gemini(enabled: bool, tokens: int | None) -> Fields:
    budget = {} if tokens is None else {"thinking_budget": tokens}
    config = {**budget, "include_thoughts": True} if enabled else {"thinking_budget": 0}
    return {"extra_body": {"google": {"thinking_config": config}}}


def _dashscope(enabled: bool, tokens: int | None) -> Fields:
    return {"enable_thinking": enabled, **({"thinking_budget": tokens} if enabled and tokens else {})}


def _openrouter(enabled: bool, tokens: int | None) -> Fields:
    return {"reasoning": {"max_tokens": tokens} if enabled and tokens else {"enabled": enabled}}


#: What a vendor's server is told, by its host.
_VENDORS = {
    "api.anthropic.com": _anthropic,
    "generativelanguage.googleapis.com": _gemini,
    "aliyuncs.com": _dashscope,
    "openrouter.ai": _openrouter,
}
