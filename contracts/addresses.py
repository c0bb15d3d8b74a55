"""Addresses in a pipeline file: which parts may hold no secret, and which part messages show.

Part of the contracts.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import parse_qsl, urlsplit

from .secrets import signs

#: Between the parts of a chain: simplecache::https://host/file, zip://inside::https://host/file.
_CHAIN = re.compile(r"::(?=[A-Za-z][\w+.-]*(?:://|::))")
_ADDRESS = re.compile(r"(?:[a-z][\w+.-]*::)*[A-Za-z][\w+.-]*://\S+")


def shown_address(address: str) -> str:
    """``scheme://host:port``, without the user, path and query, which may hold keys. Empty without a host."""
    try:
        parts = urlsplit(_CHAIN.split(address)[-1])
        port = f":{parts.port}" if parts.port is not None else ""
    except ValueError:
        return ""
    return f"{parts.scheme}://{parts.hostname}{port}" if parts.hostname else ""


def refusal(text: str) -> str | None:
    """Describe the secret that ``text`` holds if it is an address, without repeating the secret;
    else None.
    """
    secret = next(_secrets(text), None) if _ADDRESS.fullmatch(text) else None
    return None if secret is None else holds(text, secret)


def holds(address: str, secret: str) -> str:
    """The error message for an ``address`` that holds ``secret``; it names the address by its host only."""
    return " ".join(filter(None, ("the address", shown_address(address), "holds", secret)))


def _secrets(text: str) -> Iterator[str]:
    for address in _CHAIN.split(text):
        scheme = address.partition("://")[0].lower()
        try:
            parts = urlsplit(address)
            parts.port  # noqa: B018 (reading it checks it)
        except ValueError:
            if "@" in address:
                yield "a user or password"
            continue
        user, at, _ = parts.netloc.rpartition("@")
        # In abfs://container@account the first part is not a user; in a web address it always is.
        if at and (scheme in ("http", "https") or ":" in user):
            yield "a user or password"
        for part in (parts.query, parts.fragment):
            for name, value in parse_qsl(part, keep_blank_values=True):
                if signs(name):
                    yield f"the secret {name!r} in its query" if value else "a secret in its query"
