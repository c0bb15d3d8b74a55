"""What is secret, and the one way by which text loses its secrets before it leaves: for a file, a terminal, a log.

A secret is known by its value: that of an environment variable, or of an entry of a pipeline file or ``--set``,
whose name looks like a secret's, and of the variable that ``key_env`` names. Its encoded forms are known too (JSON,
HTML, URLs, base64, hexadecimal), in capitals or not. :func:`scrub` also hides what has the form of a secret. Part of the ground floor.
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
#: Of the key that a file names by ``key_env`` nobody doubts that it is one; shorter ones stand for "no key".
SHORTEST_KEY = 4
#: A line of a secret of several lines (a PEM file) is secret too from this length.
LINE = 16

_SECRET = re.compile(
    r"((key|token|secret|password|passwd|passphrase|credential)s?|pwd|auth|authorization|bearer|jwt|cookie)$"
)
#: Words that are a secret's name at its end alone: DB_PASS is one, pass_rate is none.
_LAST = {"pass", "pat", "pw"}
_PASSWORD = re.compile(r"(password|passwd|passphrase|secret|pwd)$", re.IGNORECASE)
#: Words that other things are called by as well: a column is a "key", a word of a text a "token".
_WEAK = {"key", "keys", "token", "tokens"}
#: A name that ends so says where a secret is, or what it is called, and does not hold it.
_ABOUT = {"env", "file", "path", "dir", "sock", "socket", "column", "field", "name", "type", "count", "limit"}
#: max_tokens is a number of them.
_AMOUNT = {"max", "min", "num", "n"}
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_PLAIN_WORD = re.compile(r"[A-Za-z_]{1,16}")

#: Values that were learned in this process.
_learned: set[str] = set()


@lru_cache(maxsize=4096)
def looks_secret(name: str) -> bool:
    """Is ``name`` one under which people keep secrets (``MY_KEY``, ``openaiToken``, ``X-Auth``)?"""
    words = [word.lower() for word in _WORD.findall(name)]
    if not words or words[-1] in _ABOUT or words[0] in _AMOUNT:
        return False
    return words[-1] in _LAST or any(map(_SECRET.search, words))


def signs(name: str) -> bool:
    """Does a part ``name=value`` of an address's query let in whoever has the address?"""
    return looks_secret(name) or name.lower().endswith(("sig", "signature"))


def learn(name: str, value: object) -> None:
    """Remember ``value``, and all texts in it, if ``name`` or a name in it looks like a secret's.

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
    """Remember a value that is a secret for certain."""
    if len(value) >= SHORTEST_KEY:
        _learned.add(value)


def learned() -> frozenset[str]:
    """What was remembered so far, for another process: it learns them with :func:`learn_key`."""
    return frozenset(_learned)


def scrub(text: str) -> str:
    """``text``, a message or a page, with every known secret hidden, and whatever has the form of one."""
    text = without(text, known())
    for form, put in _FORMS:
        text = form.sub(put, text)
    return text


def scrubbed(value: Any) -> Any:
    """A record (mappings, lists, texts) with every known secret hidden, and what a secret's name holds.

    Nothing is guessed by its form: a record can be read again.
    """
    return _record(value, known())


def without(text: str, secrets: Iterable[str]) -> str:
    """``text`` with these secrets hidden in each of their forms, in capitals or not."""
    lowered, found = text.lower(), dict[str, str]()
    for secret in frozenset(secrets):
        for form, pattern in _patterns(secret):
            if form in lowered:
                found[pattern] = form
    if not found:
        return text
    # First the longest, which may hold another.
    ordered = sorted(found, key=lambda pattern: len(found[pattern]), reverse=True)
    return re.sub("|".join(ordered), HIDDEN, text, flags=re.IGNORECASE)


def known() -> frozenset[str]:
    """The values that are secret in this process now."""
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
    """Is the value under a secret's name too plain to be one: short, or what a column may be called?"""
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
    # Capitals count in base64; the characters beside these are of the secret too, in part.
    return (
        *((form.lower(), re.escape(form)) for form in plain),
        *((form.lower(), rf"(?-i:[\w+/-]?{re.escape(form)}[\w+/-]?=*)") for form in encoded),
    )


def _texts(secret: str) -> Iterator[str]:
    """A secret, without white space around it, and those of its lines that are secret alone."""
    lines = [line.strip() for line in secret.splitlines()]
    yield from (
        text for text in (secret, secret.strip(), *(line for line in lines if len(line) >= LINE)) if text
    )


def _forms(secret: str) -> Iterator[str]:
    """A secret as it is, and as JSON, Python, HTML, addresses and hexadecimal digits write it."""
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
    """The characters that the secret alone decides, wherever it stands in what is encoded (``user:password``)."""
    for before in range(3):
        text = base64.b64encode(bytes(before) + secret).decode()
        inner = text[-(-before * 8 // 6) : (before + len(secret)) * 8 // 6]
        if len(inner) >= SHORTEST_KEY:
            yield from (inner, inner.replace("+", "-").replace("/", "_"))


# Each of these starts at a fixed text, or where a word starts: a page of letters without spaces is read once. None ends
# in a backslash: JSON stays JSON.
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
