"""The types of options that name a server and the variable with its key."""

from __future__ import annotations

import os
import re
from typing import Annotated

from pydantic import AfterValidator

from ...contracts.addresses import holds, refusal
from ...contracts.errors import ModelError
from ...contracts.secrets import learn_key, scrub

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
#: A path is appended to the address, so it must not have a query.
_SERVER = re.compile(r"https?://[^\s/?#]+[^\s?#]*")


def _variable(key_env: str) -> str:
    if _VARIABLE.fullmatch(key_env) is None or scrub(key_env) != key_env:
        learn_key(key_env)
        raise ValueError(
            "must name an environment variable that holds the key; it must not be the key itself"
        )
    return key_env


def _address(url: str) -> str:
    secret = refusal(url) or (holds(url, "a user or password") if "@" in url else None)
    if secret is not None:
        raise ValueError(f"{secret}. Put it into an environment variable, and name that: `key_env: MY_KEY`")
    if _SERVER.fullmatch(url) is None:
        raise ValueError(f"found {url.partition('?')[0]!r}; give an address such as http://localhost:8000/v1")
    return url.rstrip("/")


Key = Annotated[str, AfterValidator(_variable)]
ServerAddress = Annotated[str, AfterValidator(_address)]


def key_in(variable: str | None) -> str | None:
    """The key in the environment variable, which is hidden from now on; None if there is no variable.

    Raises ModelError if it is not set.
    """
    if variable is None:
        return None
    key = os.environ.get(variable)
    if not key:
        raise ModelError(f"the environment variable {variable!r} (key_env) is not set")
    learn_key(key)
    return key
