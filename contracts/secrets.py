"""Which values are secret, and how they are removed from text before it reaches a file, a terminal or a log.

A secret is recognized by its value: the value of an environment variable, or of an entry of a pipeline file
or ``--set``, whose name looks like that of a secret, and of the variable that ``key_env`` names. Its encoded
forms are recognized too (JSON, HTML, URLs, base64, hexadecimal), in any case. :func:`scrub` also hides text
in the format of well-known keys. Part of the contracts.
"""

from __future__ import annotations

import base64
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from html import escape
from typing import Any
from urllib.parse import quote, quote_plus

HIDDEN = "***"
#: Shorter values under a secret's name are settings ("false", "none"), not secrets.
SHORTEST = 8
#: The variable that ``key_env`` names is certainly a key; shorter values mean "no key".
SHORTEST_KEY = 4
#: Lines of a multi-line secret (a PEM file) are secret too, from this length.
LINE = 16

_SECRET = re.compile(
    r"((key|token|secret|password|passwd|passphrase|credential)s?|pwd|auth|authorization|bearer|jwt|cookie)$"
)
#: Words that mark a secret only at the end of a name: DB_PASS does, pass_rate does not.
_LAST = {"pass", "pat", "pw"}
_PASSWORD = re.compile(r"(password|passwd|passphrase|secret|pwd)$", re.IGNORECASE)
#: Words with other meanings as well: a column may be a "key", a word of a text a "token".
_WEAK = {"key", "keys", "token", "tokens"}
#: Names with these endings say where a secret is, or its name, and do not hold it.
_ABOUT = {"env", "file", "path", "dir", "sock", "socket", "column", "field", "name", "type", "count", "limit"}
#: max_tokens is a number of them.
_AMOUNT = {"max", "min", "num", "n"}
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_PLAIN_WORD = re.compile(r"[A-Za-z_]{1,16}")

#: Values that were learned in this process.
_learned: set[str] = set()


@lru_cache(maxsize=4096)
def looks_secret(name: str) -> bool:
    """Does ``name`` look like the name of a secret (``MY_KEY``, ``openaiToken``, ``X-Auth``)?"""
    words = [word.lower() for word in _WORD.findall(name)]
    if not words or words[-1] in _ABOUT or words[0] in _AMOUNT:
        return False
    return words[-1] in _LAST or any(map(_SECRET.search, words))


def signs(name: str) -> bool:
    """Does the parameter ``name=value`` of an address's query grant access to anyone with the address?"""
    return looks_secret(name) or name.lower().endswith(("sig", "signature"))


def learn(name: str, value: object) -> None:
    """Remember ``value``, and all strings in it, if ``name`` or a name in it looks like that of a secret.

    ``key_env`` names an environment variable: its value is remembered.
    """
    if isinstance(value, Mapping):
        for inner, part in value.items():
            learn(str(inner), part)
    elif isinstance(value, (list, tuple)):
        for part in value:
            learn(name, part)
    elif isinstance(value, str):
        if name == "key_env":
            learn_key(os.environ.get(value, ""))
        elif looks_secret(name) and "${" not in value and not _is_setting(name, value):
            _learned.add(value)


def learn_key(value: str) -> None:
    """Remember a value that is certainly a secret."""
    if len(value) >= SHORTEST_KEY:
        _learned.add(value)


def learned() -> frozenset[str]:
    """The values remembered so far, for another process, which adds them with :func:`learn_key`."""
    return frozenset(_learned)


def scrub(text: str) -> str:
    """``text`` (a message or a page) with every known secret hidden,
    and every text in the format of a key.
    """
    text = without(text, known())
    for form, put in _FORMS:
        text = form.sub(put, text)
    return text


def scrubbed(value: Any) -> Any:
    """A record (mappings, lists, strings) with every known secret hidden, and the values under a secret's
    name.

    Nothing is hidden by its format alone, so that a record can be read again.
    """
    return _record(value, known())


def without(text: str, secrets: Iterable[str]) -> str:
    """``text`` with these secrets hidden in each of their forms, in any case."""
    lowered, found = text.lower(), dict[str, str]()
    for secret in frozenset(secrets):
        for form, pattern in _patterns(secret):
            if form in lowered:
                found[pattern] = form
    if not found:
        return text
    # Longest first: a secret may contain another.
    ordered = sorted(found, key=lambda pattern: len(found[pattern]), reverse=True)
    return re.sub("|".join(ordered), HIDDEN, text, flags=re.IGNORECASE)


def known() -> frozenset[str]:
    """The values that are secret in this process at this moment."""
    return _environment(tuple(os.environ.items())) | _learned


def _record(value: Any, secrets: frozenset[str], name: str = "") -> Any:
    if isinstance(value, Mapping):
        return {
            without(inner, secrets) if isinstance(inner, str) else inner: _record(part, secrets, str(inner))
            for inner, part in value.items()
        }
    if isinstance(value, (list, tuple)):
        return [_record(part, secrets, name) for part in value]
    if isinstance(value, str):
        hidden = looks_secret(name) and not _is_setting(name, value)
        return HIDDEN if hidden else without(value, secrets)
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return HIDDEN if is_number and _PASSWORD.search(name) else value


def _is_weak(name: str) -> bool:
    words = [word.lower() for word in _WORD.findall(name)]
    return {word for word in words if _SECRET.search(word) or word in _LAST} <= _WEAK


def _is_setting(name: str, value: str) -> bool:
    """Is the value too plain to be a secret: short, or a possible name of a column?"""
    return len(value) < SHORTEST or (_is_weak(name) and _PLAIN_WORD.fullmatch(value) is not None)


@lru_cache(maxsize=8)
def _environment(variables: tuple[tuple[str, str], ...]) -> frozenset[str]:
    """The secrets among environment variables, and the passwords in addresses (of a proxy, a database)."""
    found = set()
    for name, value in variables:
        if looks_secret(name) and len(value) >= SHORTEST and not os.path.exists(value):
            found.add(value)
        for _, user, password in _USER.findall(value):
            found.update(part for part in (f"{user}:{password}", password) if len(part) >= SHORTEST_KEY)
    return frozenset(found)


@lru_cache(maxsize=4096)
def _patterns(secret: str) -> tuple[tuple[str, str], ...]:
    """Every form of a secret, in lower case, and the pattern that finds it."""
    plain = set(_forms(secret))
    plain |= {other for form in plain for other in (form.upper(), form.lower())}
    encoded = {form for text in _texts(secret) for form in _base64(text.encode(errors="surrogatepass"))}
    # Base64 is case-sensitive; the neighboring characters encode parts of the secret too.
    return (
        *((form.lower(), re.escape(form)) for form in plain),
        *((form.lower(), rf"(?-i:[\w+/-]?{re.escape(form)}[\w+/-]?=*)") for form in encoded),
    )


def _texts(secret: str) -> Iterator[str]:
    """A secret without surrounding white space, and those of its lines that are secret by themselves."""
    lines = [line.strip() for line in secret.splitlines()]
    yield from (
        text for text in (secret, secret.strip(), *(line for line in lines if len(line) >= LINE)) if text
    )


def _forms(secret: str) -> Iterator[str]:
    """A secret as it is, and as encoded in JSON, Python, HTML, URLs and hexadecimal."""
    for text in _texts(secret):
        yield text
        yield from _escaped(text)
        yield from (inner for outer in _escaped(text) for inner in _escaped(outer))
        yield from (quote(text, safe=""), quote(text), quote_plus(text))
        yield text.encode(errors="surrogatepass").hex()
        html = escape(text)
        yield from (
            html,
            escape(text, quote=False),
            html.replace("&#x27;", "&#39;").replace("&quot;", "&#34;"),
        )


def _escaped(text: str) -> tuple[str, ...]:
    return (json.dumps(text)[1:-1], json.dumps(text, ensure_ascii=False)[1:-1], repr(text)[1:-1])


def _base64(secret: bytes) -> Iterator[str]:
    """The base64 characters that depend on the secret alone, wherever it begins in the encoded text."""
    for before in range(3):
        text = base64.b64encode(bytes(before) + secret).decode()
        inner = text[-(-before * 8 // 6) : (before + len(secret)) * 8 // 6]
        if len(inner) >= SHORTEST_KEY:
            yield from (inner, inner.replace("+", "-").replace("/", "_"))


# Each pattern starts at a fixed text or at a word boundary, so that a long page is scanned once. None ends
# in a backslash, so that JSON stays valid.
#: User and password of an address.
_USER = re.compile(r"(://)([^\s/?#@:\"'<>]*):([^\s/?#@\"'<>]+)@")
_FORMS = (
    (_USER, rf"\1{HIDDEN}@"),
    (re.compile(r"(https?://)[^\s/?#@\"'<>]+@"), rf"\1{HIDDEN}@"),
    (
        re.compile(r"([?&](?:amp;)?)([\w.~%-]+)=[^\s&#\\\"'<>]+"),
        lambda found: f"{found[1]}{found[2]}={HIDDEN}" if signs(found[2]) else found[0],
    ),
    (re.compile(r"(?i)\b(bearer|basic)(\s+)(?=\S*[0-9=_.-])[\w.~+/=-]{8,}"), rf"\1\2{HIDDEN}"),
    (re.compile(r"(?<![\w-])(?:hf_|sk-|gh[opsu]_|github_pat_|glpat-|xox[abp]-|AKIA|AIza)[\w-]{16,}"), HIDDEN),
    (re.compile(r"(?<![\w-])eyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*"), HIDDEN),
)
